# A guest that spins, while the host has interrupts to handle; it never exits by itself. Its own interrupts are on: Bochs
# 2.7 keeps the host's interrupts back as long as a VMX guest has its own off, which no CPU does.

    .code64
    entry host_timer
    start64
    movl $0, SCRATCH
    movl $0, interrupt_count(%rip)
    say64 "spinning\n"
    sti
1:  cmpl $0, SCRATCH                    # the VMM writes here after some of the host's interrupts
    je 1b
    cli
    say64 "the host was interrupted and the guest went on\n"

    # And once more, with registers to lose.
    movl $0, SCRATCH
    out %al, $PORT_YIELD
    mov $0x0101010101010101, %rax
    .irp register, rbx,rcx,rdx,rsi,rdi,rbp,r8,r9,r10,r11,r12,r13,r14,r15
    mov %rax, %\register
    .endr
    sti
1:  cmpl $0, SCRATCH
    je 1b
    cli
    .irp register, rbx,rcx,rdx,rsi,rdi,rbp,r8,r9,r10,r11,r12,r13,r14,r15
    add %\register, %rax
    .endr
    say64 "sum of the registers: "
    call hex64
    mov interrupt_count(%rip), %eax
    say64 "\ninterrupts that the guest saw: "
    call hex32_64
    say64 "\n"
    finish PASSED

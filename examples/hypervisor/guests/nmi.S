# Non-maskable interrupts from the VMM: with interrupts off, one at a time, and the next one not before IRET.

    .code64
    entry nmi
    start64
    # Vector 2 gets a handler of its own.
    lea nmi_handler(%rip), %rax
    mov %ax, IDT + 2 * 16               # everything is below 64 KiB
    movl $0, nmi_count(%rip)
    say64 "NMIs: "
    mov nmi_count(%rip), %eax
    call hex32_64
    say64 "\n"
    out %al, $PORT_YIELD                # the VMM injects one
    say64 "behind it: "
    mov nmi_count(%rip), %eax
    call hex32_64
    say64 "\n"

    # Another one while a maskable interrupt waits: the NMI comes at once, the interrupt when it may.
    mov $0x31, %al
    out %al, $PORT_INJECT
    out %al, $PORT_YIELD
    mov nmi_count(%rip), %eax
    say64 "with an interrupt waiting: "
    call hex32_64
    mov interrupt_count(%rip), %eax
    say64 " and "
    call hex32_64
    sti
    nop
    cli
    mov interrupt_count(%rip), %eax
    say64 ", then "
    call hex32_64
    say64 "\n"
    finish PASSED

nmi_handler:
    push %rax
    push %rbx
    push %rcx
    push %rdx
    push %rsi
    incl nmi_count(%rip)
    say64 "NMI begins "
    mov nmi_count(%rip), %eax
    call hex32_64
    say64 "\n"
    cmpl $1, nmi_count(%rip)
    jne 1f
    out %al, $PORT_YIELD                # the VMM injects the second one, which has to wait
    xor %eax, %eax
    cpuid
1:  say64 "NMI ends "
    mov nmi_count(%rip), %eax
    call hex32_64
    say64 "\n"
    pop %rsi
    pop %rdx
    pop %rcx
    pop %rbx
    pop %rax
    iretq

    .balign 4
nmi_count:
    .long 0

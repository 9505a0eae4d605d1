# Guests for record and replay: what they compute depends on every value that the VMM answers, on the time, and on the very
# instruction at which each interrupt comes. They keep it in memory, which a replay must leave the same.

    .set NOTES, SCRATCH + 0x1000        # what the handler of interrupts notes, and the sums at its end

    .code64
    # R14: a sum of all values of RAX.
    .macro sum
    rol $7, %r14
    add %rax, %r14
    .endm

    .macro sum_time
    rdtsc
    shl $32, %rdx
    or %rdx, %rax
    sum
    .endm

    entry replay
    start64
    mov $NOTES, %r15d
    xor %r14d, %r14d
    xor %ebx, %ebx
    movl $0, replay_count(%rip)
    lea replay_interrupt(%rip), %rax
    mov $(IDT + 0x30 * 16), %edi
    call apic_gate
    mov $8, %ebp
1:  sum_time
    dec %ebp
    jnz 1b
    say64 "time\n"
    mov $16, %ebp
2:  mov $PORT_STREAM, %edx
    in %dx, %eax
    sum
    out %eax, %dx
    dec %ebp
    jnz 2b
    mov $SCRATCH, %edi
    mov $8, %ecx
    rep insb
    mov SCRATCH, %rax
    sum
    say64 "ports\n"
    mov $8, %ebp
3:  mov DEVICE, %eax
    sum
    mov %eax, DEVICE + 8
    add DEVICE + 16, %rax
    sum
    dec %ebp
    jnz 3b
    say64 "devices\n"
    mov $0x40000070, %ecx               # one that only the VMM knows
    rdmsr
    sum
    xor $1, %eax
    wrmsr
    mov $0x10, %ecx                     # IA32_TSC
    rdmsr
    sum
    say64 "registers\n"
    out %al, $PORT_YIELD                # the VMM writes to the memory
    mov SCRATCH + 8, %rax
    sum
    say64 "memory\n"
    # The shortest loop, a longer one, and a string instruction, in which interrupts come at any instruction.
    sti
4:  inc %rbx
    cmpl $8, replay_count(%rip)
    jb 4b
    say64 "a loop\n"
5:  inc %rbx
    pushfq
    pop %rax
    sum
    mov %rbx, SCRATCH + 16
    rol $3, %rbx
    cmpl $16, replay_count(%rip)
    jb 5b
    say64 "another loop\n"
6:  mov $(SCRATCH + 0x2000), %edi
    mov $4096, %ecx
    mov %bl, %al
    rep stosb
    inc %rbx
    cmpl $24, replay_count(%rip)
    jb 6b
    say64 "a string instruction\n"
    mov $4, %ebp
7:  hlt
    sum_time
    dec %ebp
    jnz 7b
    cli
    mov %r14, (%r15)
    mov %rbx, 8(%r15)
    say64 "halts\n"
    finish PASSED

    # Notes where it came: RIP, RFLAGS, and the registers of the loops.
replay_interrupt:
    push %rax
    mov 8(%rsp), %rax
    mov %rax, (%r15)
    mov 24(%rsp), %rax
    mov %rax, 8(%r15)
    mov %rbx, 16(%r15)
    mov %rcx, 24(%r15)
    mov %r14, 32(%r15)
    add $40, %r15
    incl replay_count(%rip)
    pop %rax
    iretq

    .balign 4
replay_count:
    .long 0

    # The same with the library's local APIC and its timer.
    entry replay_apic
    start64
    mov $NOTES, %r15d
    xor %r14d, %r14d
    xor %ebx, %ebx
    movl $0, replay_count(%rip)
    lea replay_timer(%rip), %rax
    mov $(IDT + 0x31 * 16), %edi
    call apic_gate
    apic_write APIC_SVR, 0x13F
    apic_write APIC_DIVIDE, 0xB
    apic_write APIC_TIMER, 0x20031      # periodic
    apic_write APIC_COUNT, 30000
    sti
1:  inc %rbx
    apic_read APIC_CURRENT
    sum
    cmpl $6, replay_count(%rip)
    jb 1b
    say64 "a loop that reads the count\n"
2:  inc %rbx
    mov %rbx, SCRATCH + 16
    cmpl $16, replay_count(%rip)
    jb 2b
    say64 "a loop\n"
    apic_write APIC_TIMER, 0x31         # once
    mov $4, %ebp
3:  apic_write APIC_COUNT, 20000
    hlt
    sum_time
    dec %ebp
    jnz 3b
    say64 "halts\n"
    cli
    apic_write APIC_ICR, TO_SELF + 0x31
    sti
    nop
    cli
    say64 "an interrupt to itself\n"
    mov %r14, (%r15)
    mov %rbx, 8(%r15)
    finish PASSED

replay_timer:
    push %rax
    apic_write APIC_EOI, 0
    pop %rax
    jmp replay_interrupt

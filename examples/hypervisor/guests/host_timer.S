# A guest that spins, while the host has interrupts to handle; it never exits by itself.

    .code64
    entry host_timer
    start64
    movl $0, SCRATCH
    say64 "spinning\n"
1:  cmpl $0, SCRATCH                    # the VMM writes here after some of the host's timer interrupts
    je 1b
    say64 "the host was interrupted and the guest went on\n"

    # And the same with the guest's interrupts on, whose vectors are nobody's business but its own.
    movl $0, SCRATCH
    movl $0, interrupt_count(%rip)
    sti
    out %al, $PORT_YIELD
1:  cmpl $0, SCRATCH
    je 1b
    cli
    mov interrupt_count(%rip), %eax
    say64 "interrupts that the guest saw: "
    call hex32_64
    say64 "\n"
    finish PASSED

# HLT, ended by interrupts that the VMM injects; and which of several comes first.

    .code64
    entry halt
    start64
    say64 "halting\n"
    sti
    hlt                                 # the VMM injects vector 30h
    say64 "woken by vector "
    mov interrupt_vector(%rip), %al
    call hex8_64
    say64 "\n"

    # A loop of a hundred, the usual idle loop.
    movl $0, interrupt_count(%rip)
    mov $100, %ebx
1:  cli
    sti
    hlt
    dec %ebx
    jnz 1b
    say64 "interrupts in a loop of 100: "
    mov interrupt_count(%rip), %eax
    call hex32_64
    say64 "\n"

    # Three that are pending with interrupts off: none is lost, and the highest comes first.
    cli
    movl $0, interrupt_count(%rip)
    mov $0x31, %al
    out %al, $PORT_INJECT
    mov $0x3F, %al
    out %al, $PORT_INJECT
    mov $0x35, %al
    out %al, $PORT_INJECT
    mov interrupt_count(%rip), %eax
    say64 "with interrupts off: "
    call hex32_64
    sti
    nop
    nop
    nop
    nop
    cli
    mov interrupt_count(%rip), %eax
    say64 ", with interrupts on: "
    call hex32_64
    say64 ", in the order "
    mov interrupt_log(%rip), %al
    call hex8_64
    say64 " "
    mov interrupt_log+1(%rip), %al
    call hex8_64
    say64 " "
    mov interrupt_log+2(%rip), %al
    call hex8_64
    say64 "\n"

    # A pending interrupt ends HLT at once: STI's shadow covers it, and nothing sleeps.
    movl $0, interrupt_count(%rip)
    mov $0x33, %al
    out %al, $PORT_INJECT
    sti
    hlt
    cli
    mov interrupt_vector(%rip), %al
    say64 "pending before the halt: "
    call hex8_64
    say64 "\n"
    finish PASSED

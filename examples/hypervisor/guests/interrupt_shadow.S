# The instruction after STI, and after MOV SS, is executed before an interrupt is taken, also when the hypervisor executes
# it.

    .macro shadowed text
7780:
    lea 7780b(%rip), %r11
    nop
    nop
    cli
    cmp %r11, interrupt_rip(%rip)
    call shadow_verdict
    say64 " \text\n"
    .endm

    .macro pend
    cli
    movq $0, interrupt_rip(%rip)
    mov $0x34, %al
    out %al, $PORT_INJECT
    .endm

    .code64
    entry interrupt_shadow
    start64
    pend
    sti
    nop
    shadowed "NOP"
    pend
    xor %eax, %eax
    sti
    cpuid
    shadowed "CPUID"
    pend
    mov $0x1B, %ecx
    sti
    rdmsr
    shadowed "RDMSR"
    pend
    mov $PORT_REGISTER, %edx
    sti
    out %al, %dx
    shadowed "OUT"
    pend
    mov $PORT_REGISTER, %edx
    sti
    in %dx, %al
    shadowed "IN"

    # POPF has no shadow: the interrupt comes at once.
    pend
    pushfq
    orl $0x200, (%rsp)
    popfq
7781:
    lea 7781b(%rip), %r11
    nop
    cli
    cmp %r11, interrupt_rip(%rip)
    call shadow_verdict
    say64 " POPF\n"

    # STI twice: only the first one casts a shadow, which the second stands in.
    pend
    sti
    sti
    shadowed "STI, STI"
    finish PASSED

shadow_verdict:
    jne 1f
    say64 "right behind"
    ret
1:  cmpq $0, interrupt_rip(%rip)
    je 2f
    say64 "at a wrong place after"
    ret
2:  say64 "no interrupt after"
    ret

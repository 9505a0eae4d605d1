# The local APIC's page moves, and an INIT comes to the bootstrap processor.

    .set MOVED,     0xFEC10000
    .set APIC_BASE, 0x1B

    .code64
    entry apic_init
    start64
    mov $APIC_BASE, %ecx
    rdmsr
    say64 "IA32_APIC_BASE is "
    call hex32_64
    say64 "\n"
    and $0xFFF, %eax
    or $MOVED, %eax
    wrmsr
    mov $(MOVED + APIC_TPR), %edi
    movl $0x50, (%rdi)
    mov (%rdi), %eax
    say64 "TPR at the new address is "
    call hex32_64
    mov %cr8, %rax
    say64 ", CR8 is "
    call hex32_64
    mov $APIC_BASE, %ecx
    rdmsr
    say64 ", IA32_APIC_BASE is "
    call hex32_64
    say64 "\n"
    # The VMM sends an INIT. What follows is never executed.
    out %al, $PORT_YIELD
    finish FAILED

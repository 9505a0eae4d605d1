# What a guest does with its local APIC all the time, with interrupts off and a yield between the kinds of it: the host counts
# exits and instructions. The macros and names are those of local_apic.S.

    .set APIC_ROUNDS, 64

    .macro rounds
    out %al, $PORT_YIELD
    mov $APIC_ROUNDS, %ebx
1:
    .endm

    .macro rounds_end
    dec %ebx
    jnz 1b
    .endm

    entry apic_exits
    start64
    apic_write APIC_SVR, 0x13F
    # The task priority: through the page, and as CR8.
    rounds
    apic_write APIC_TPR, 0x20
    rounds_end
    rounds
    mov %rbx, %rax
    and $0xF, %eax
    mov %rax, %cr8
    mov %cr8, %rax
    rounds_end
    xor %eax, %eax
    mov %rax, %cr8
    # An interrupt to itself, taken and ended.
    rounds
    apic_write APIC_ICR, TO_SELF + 0x31
    window
    apic_write APIC_EOI, 0
    rounds_end
    # Reads.
    rounds
    apic_read APIC_SVR
    apic_read APIC_ISR1
    rounds_end
    # The same in x2APIC mode.
    x2apic_write BASE_MSR, BASE_X2APIC
    rounds
    x2apic_write X2_TPR, 0x20
    rounds_end
    x2apic_write X2_TPR, 0
    rounds
    x2apic_write X2_SELF, 0x31
    window
    x2apic_write X2_EOI, 0
    rounds_end
    rounds
    mov $X2_SVR, %ecx
    rdmsr
    mov $X2_LDR, %ecx
    rdmsr
    rounds_end
    out %al, $PORT_YIELD
    say64 "interrupts "
    mov interrupt_count(%rip), %eax
    call say_word
    cmpl $2 * APIC_ROUNDS, interrupt_count(%rip)
    require e, "interrupts are missing"
    finish PASSED

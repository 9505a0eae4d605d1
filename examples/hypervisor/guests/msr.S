# Model-specific registers: the guest's own, one that the VMM answers, one that it refuses, and some that a guest must
# never reach.

    .set MSR_OF_VMM, 0x808              # x2APIC registers are a device, which the VMM answers for: this one it keeps
    .set MSR_REFUSED, 0x8FF             # and this one it rejects

    .macro msr_read register, text
    say64 "\text: "
    mov $\register, %ecx
    attempt 7775f
    rdmsr
    shl $32, %rdx
    or %rdx, %rax
    say64 "value "
    call hex64
    say64 ", "
7775:
    call outcome64
    .endm

    .macro msr_write register, text
    say64 "writing \text: "
    mov $\register, %ecx
    mov %r14d, %eax
    mov %r14, %rdx
    shr $32, %rdx
    attempt 7776f
    wrmsr
7776:
    call outcome64
    .endm

    .code64
    entry msr
    start64
    msr_read 0xC0000080, "EFER"
    msr_read 0x1B, "IA32_APIC_BASE"
    mov $0x0007040600070406, %r14
    msr_read 0x277, "IA32_PAT"
    msr_write 0x277, "IA32_PAT"
    mov $0x0007040600070402, %r14
    msr_write 0x277, "IA32_PAT, a reserved type"

    # Registers that a guest owns: what it writes, it reads.
    mov $0x00007FFF89ABCDEF, %r14
    msr_write 0xC0000082, "LSTAR"
    msr_read 0xC0000082, "LSTAR"
    msr_write 0xC0000102, "KERNEL_GS_BASE"
    msr_read 0xC0000102, "KERNEL_GS_BASE"
    msr_write 0xC0000100, "FS_BASE"
    msr_read 0xC0000100, "FS_BASE"
    msr_write 0x175, "SYSENTER_ESP"
    msr_read 0x175, "SYSENTER_ESP"
    # SWAPGS exchanges with what was written.
    mov $0x00007FFF89ABCDEF, %r14
    swapgs
    msr_read 0xC0000101, "GS_BASE after SWAPGS"
    swapgs

    # The VMM's register.
    mov $0x1122334455667788, %r14
    msr_read MSR_OF_VMM, "the VMM's register"
    msr_write MSR_OF_VMM, "the VMM's register"
    msr_read MSR_OF_VMM, "the VMM's register"
    msr_read MSR_REFUSED, "a register that the VMM rejects"
    msr_write MSR_REFUSED, "a register that the VMM rejects"

    msr_read 0x40000000, "a register that nobody knows"

    # RDMSR zeroes the upper halves of RAX and RDX.
    mov $-1, %rax
    mov %rax, %rdx
    mov $0x1B, %ecx
    rdmsr
    or %rdx, %rax
    shr $32, %rax
    say64 "upper halves: "
    call hex32_64
    say64 "\n"

    # The host's.
    xor %r14d, %r14d
    msr_read 0x3A, "IA32_FEATURE_CONTROL"
    msr_read 0x480, "IA32_VMX_BASIC"
    msr_read 0xC0010114, "VM_CR"
    msr_read 0xC0010117, "VM_HSAVE_PA"
    msr_write 0xC0010117, "VM_HSAVE_PA"
    msr_write 0x79, "IA32_BIOS_UPDT_TRIG"
    msr_write 0x600, "IA32_DS_AREA"
    mov $0x1D01, %r14d                  # SVME
    msr_write 0xC0000080, "EFER.SVME"
    mov $0xC01, %r14d                   # LME cleared, while paging
    msr_write 0xC0000080, "EFER without LME"

    # The time-stamp counter goes forward; not with every instruction, in an emulator of several CPUs.
    rdtsc
    shl $32, %rdx
    lea (%rdx,%rax), %rbx
    mov $1000000, %ecx
1:  rdtsc
    shl $32, %rdx
    or %rax, %rdx
    cmp %rbx, %rdx
    ja 2f
    dec %ecx
    jnz 1b
2:  cmp %rbx, %rdx
    require a, "the time-stamp counter does not go forward"
    say64 "the time-stamp counter goes forward\n"
    finish PASSED

# What a guest has no business with has the answer of a CPU without it; and what the VMM changes of its policies holds.

    .set PORT_PIC_MASK, 0x21            # of the host's interrupt controller, which masks everything

    .macro gives text, bytes:vararg
    say64 "\text: "
    attempt 7779f
    .byte \bytes
7779:
    call outcome64
    .endm

    .macro policy_read register, text
    say64 "\text: "
    mov $\register, %ecx
    attempt 7780f
    rdmsr
    shl $32, %rdx
    or %rdx, %rax
    call hex64
    say64 ", "
7780:
    call outcome64
    .endm

    .macro policy_write register, high, low, text
    say64 "writing \text: "
    mov $\register, %ecx
    mov $\high, %edx
    mov $\low, %eax
    attempt 7781f
    wrmsr
7781:
    call outcome64
    .endm

    .code64
    entry policies
    start64
    mov $SCRATCH, %ebx
    mov $SCRATCH, %eax
    xor %ecx, %ecx
    xor %edx, %edx
    # Not here, because one emulator or the other executes them whatever the CPU has: MONITOR and MCOMMIT (which it takes for
    # MONITORX), TPAUSE, UMWAIT, and a MOV to CR8 of more than 4 bits.
    gives "GETSEC", 0x0F, 0x37
    gives "RSM", 0x0F, 0xAA
    gives "INVD", 0x0F, 0x08
    gives "WBINVD", 0x0F, 0x09
    gives "MWAIT", 0x0F, 0x01, 0xC9
    gives "RDPMC", 0x0F, 0x33
    gives "ENCLS", 0x0F, 0x01, 0xCF
    gives "PCONFIG", 0x0F, 0x01, 0xC5
    gives "VMFUNC", 0x0F, 0x01, 0xD4
    gives "VMRESUME", 0x0F, 0x01, 0xC3
    gives "VMXOFF", 0x0F, 0x01, 0xC4
    gives "VMSAVE", 0x0F, 0x01, 0xDB
    gives "SKINIT", 0x0F, 0x01, 0xDE
    gives "INVLPGA", 0x0F, 0x01, 0xDF
    gives "RDPRU", 0x0F, 0x01, 0xFD
    gives "INVLPGB", 0x0F, 0x01, 0xFE
    gives "TLBSYNC", 0x0F, 0x01, 0xFF
    gives "XSAVES", 0x0F, 0xC7, 0x2B
    gives "XSETBV", 0x0F, 0x01, 0xD1

    # RDTSCP is there exactly when CPUID says so, and then with its register.
    mov $0x80000001, %eax
    cpuid
    xor %ebp, %ebp
    bt $27, %edx
    adc $0, %ebp
    mov $0xC0000103, %ecx               # IA32_TSC_AUX
    xor %edx, %edx
    mov $0x12345678, %eax
    attempt 1f
    wrmsr
1:  xor %r15d, %r15d
    cmpb $NO_FAULT, fault_vector(%rip)
    sete %r15b
    xor %ecx, %ecx
    attempt 1f
    rdtscp
1:  xor %r14d, %r14d
    cmp $0x12345678, %ecx
    sete %r14b
    cmp %ebp, %r15d
    require e, "IA32_TSC_AUX does not agree with CPUID"
    cmp %ebp, %r14d
    require e, "RDTSCP does not agree with CPUID"
    say64 "RDTSCP agrees with CPUID\n"

    # Bits of CR4 that no feature has, or none that is offered: SMXE, LA57, 15, 19, CET, PKS, UINTR, 26 and above.
    xor %r14d, %r14d
    mov $(1 << 12 | 1 << 13 | 1 << 14 | 1 << 15 | 1 << 19 | 0x7F800000), %r15d
1:  bsf %r15d, %ecx
    jz 3f
    btr %ecx, %r15d
    mov %cr4, %rax
    bts %rcx, %rax
    attempt 2f
    mov %rax, %cr4
2:  cmpb $13, fault_vector(%rip)
    jne 1b
    inc %r14d
    jmp 1b
3:  say64 "bits of CR4 that raise #GP: "
    mov %r14d, %eax
    call hex8_64
    say64 "\n"
    # PCIDE with other bits in CR3 than those of the address, offered or not.
    mov %cr3, %rbx
    mov %rbx, %rax
    or $8, %rax
    mov %rax, %cr3
    mov %cr4, %rax
    bts $17, %rax
    say64 "CR4.PCIDE with CR3.PWT: "
    attempt 1f
    mov %rax, %cr4
1:  call outcome64
    mov %rbx, %cr3

    # Registers that systems read when they boot, and some of the host's.
    policy_read 0x1A0, "IA32_MISC_ENABLE"
    policy_write 0x1A0, 4, 0x00850008, "IA32_MISC_ENABLE"
    policy_read 0x1A0, "IA32_MISC_ENABLE"
    policy_write 0x1A0, 0x80000000, 0, "IA32_MISC_ENABLE, bit 63"
    policy_read 0x8B, "IA32_BIOS_SIGN_ID"
    policy_write 0x8B, 0, 0, "IA32_BIOS_SIGN_ID"
    policy_read 0x17, "IA32_PLATFORM_ID"
    policy_read 0x179, "IA32_MCG_CAP"
    policy_read 0x400, "IA32_MC0_CTL"
    policy_write 0x1D9, 0, 3, "IA32_DEBUGCTL, LBR and BTF"
    policy_read 0x1D9, "IA32_DEBUGCTL"
    policy_read 0xDA0, "IA32_XSS"
    policy_read 0x186, "IA32_PERFEVTSEL0"
    policy_read 0xC001001A, "TOP_MEM"
    policy_write 0xC0010111, 0, 0, "SMBASE"
    policy_write 0x1B, 0, 0xFEE00901, "IA32_APIC_BASE, bit 0"

    # What the VMM changes.
    policy_read 0x40000000, "a register that nobody knows"
    policy_write 0x174, 0, 8, "SYSENTER_CS"
    out %al, $PORT_YIELD
    policy_read 0x40000000, "with a value of the VMM's"
    policy_write 0x40000000, 0, 0, "it"
    policy_read 0x174, "SYSENTER_CS, which the VMM has closed"
    mov $0xFB, %al
    out %al, $PORT_PIC_MASK
    xor %eax, %eax
    in $PORT_PIC_MASK, %al
    say64 "a port that the VMM has opened: "
    call hex8_64
    in $PORT_PIC_MASK, %ax
    say64 ", with the one behind it: "
    call hex32_64
    say64 "\n"
    mov $0xFF, %al
    out %al, $PORT_PIC_MASK
    out %al, $PORT_YIELD
    policy_read 0x40000000, "the register that nobody knows"
    policy_read 0x174, "SYSENTER_CS"
    mov $0xFB, %al
    out %al, $PORT_PIC_MASK
    xor %eax, %eax
    in $PORT_PIC_MASK, %al
    say64 "the port, closed: "
    call hex8_64
    say64 "\n"
    finish PASSED

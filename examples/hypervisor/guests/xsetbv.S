# XSETBV: the values that are allowed, and those that raise #GP.

    .set CR4_OSXSAVE, 1 << 18

    .macro xcr_write index, high, low, text
    say64 "XCR\index = \text: "
    mov $\index, %ecx
    mov $\high, %edx
    mov $\low, %eax
    attempt 7778f
    xsetbv
7778:
    call outcome64
    .endm

    .macro xcr_read
    xor %ecx, %ecx
    xgetbv
    shl $32, %rdx
    or %rdx, %rax
    say64 "XCR0 is "
    call hex64
    say64 "\n"
    .endm

    .code64
    entry xsetbv
    start64
    mov $1, %eax
    cpuid
    bt $26, %ecx                        # XSAVE
    jc 1f
    finish NOT_APPLICABLE
1:
    say64 "without CR4.OSXSAVE: "
    attempt 1f
    xor %ecx, %ecx
    xor %edx, %edx
    mov $1, %eax
    xsetbv
1:  call outcome64
    mov %cr4, %rax
    or $CR4_OSXSAVE, %rax
    mov %rax, %cr4
    mov $1, %eax
    cpuid
    shr $27, %ecx
    mov %ecx, %eax
    and $1, %eax
    say64 "OSXSAVE in CPUID: "
    call hex32_64
    say64 "\n"
    xcr_read
    xcr_write 0, 0, 1, "x87"
    xcr_write 0, 0, 3, "x87 SSE"
    xcr_read
    xcr_write 0, 0, 0, "nothing"
    xcr_write 0, 0, 2, "SSE"
    xcr_write 0, 0, 5, "x87 AVX"
    xcr_write 0, 0x40000000, 3, "bit 62"
    xcr_write 2, 0, 1, "x87"
    xcr_read

    # AVX where there is AVX: not in the transcript, because not every CPU has it.
    mov $0xD, %eax
    xor %ecx, %ecx
    cpuid
    bt $2, %eax
    jnc 1f
    mov $7, %eax
    xor %edx, %edx
    xor %ecx, %ecx
    xsetbv
    xgetbv
    cmp $7, %eax
    require e, "XCR0 did not become 7"
    mov $0xD, %eax                      # at once: there may have been no exit
    xor %ecx, %ecx
    cpuid
    cmp $0x340, %ebx
    require e, "CPUID does not follow XCR0"
    xor %ecx, %ecx
    mov $3, %eax
    xor %edx, %edx
    xsetbv
1:
    # XSAVE's area grows and shrinks with XCR0.
    mov $0xD, %eax
    xor %ecx, %ecx
    cpuid
    mov %ebx, %eax
    say64 "bytes for what is enabled: "
    call hex32_64
    say64 "\n"
    finish PASSED

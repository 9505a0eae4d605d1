# CPUID, which always exits: a loop, with prefixes, and across a page boundary. Where hardware does not report the length
# of the instruction, the hypervisor must find it.

    .set CPUID_PAGE_TABLE, 0x7000
    .set CPUID_LINEAR, SCRATCH + 0x4000  # two pages that follow one another here, and not in physical memory
    .set CPUID_FIRST,  SCRATCH + 0x2000
    .set CPUID_SECOND, SCRATCH + 0x1000

    # CPUID with prefixes, which change nothing, and an instruction that must be the next one.
    .macro prefixed_cpuid bytes:vararg
    xor %eax, %eax
    xor %r12d, %r12d
    .byte \bytes
    .byte 0x0F, 0xA2
    inc %r12d
    call cpuid_check
    .endm

    .code64
    entry cpuid
    start64

    # The same leaf a thousand times.
    xor %eax, %eax
    cpuid
    mov %eax, cpuid_leaf0(%rip)
    mov %ebx, cpuid_leaf0+4(%rip)
    mov %ecx, cpuid_leaf0+8(%rip)
    mov %edx, cpuid_leaf0+12(%rip)
    mov $1000, %esi
    xor %r13d, %r13d
1:  xor %eax, %eax
    mov $1, %r12d
    cpuid
    call cpuid_check
    dec %esi
    jnz 1b
    say64 "1000 times: "
    call cpuid_verdict

    # The upper halves of the four registers become zero.
    mov $-1, %rbx
    mov %rbx, %rcx
    mov %rbx, %rdx
    mov $0xFFFFFFFF00000000, %rax
    cpuid
    or %rbx, %rax
    or %rcx, %rax
    or %rdx, %rax
    shr $32, %rax
    say64 "upper halves: "
    call hex32_64
    say64 "\n"

    prefixed_cpuid 0x66
    prefixed_cpuid 0x67
    prefixed_cpuid 0xF2
    prefixed_cpuid 0xF3
    prefixed_cpuid 0x2E
    prefixed_cpuid 0x48
    prefixed_cpuid 0x4F
    prefixed_cpuid 0x66, 0x66, 0x64, 0xF3, 0x41
    prefixed_cpuid 0x2E, 0x36, 0x3E, 0x26, 0x64, 0x65, 0x66, 0x67, 0xF2, 0xF3, 0x66, 0x67, 0x48
    say64 "with prefixes: "
    call cpuid_verdict

    # Across the boundary of two pages, each byte of the code in turn last in the first page.
    movq $(CPUID_FIRST + 3), CPUID_PAGE_TABLE + 8 * (CPUID_LINEAR >> 12)
    movq $(CPUID_SECOND + 3), CPUID_PAGE_TABLE + 8 * (CPUID_LINEAR >> 12) + 8
    invlpg CPUID_LINEAR
    invlpg CPUID_LINEAR + 0x1000
    mov $(CPUID_LINEAR + 0x1000), %ebp
1:  dec %ebp
    lea cpuid_crossing(%rip), %rsi
    mov %ebp, %edi
    mov $(cpuid_crossing_end - cpuid_crossing), %ecx
    rep movsb
    xor %eax, %eax
    xor %r12d, %r12d
    call *%rbp
    call cpuid_check
    cmp $(CPUID_LINEAR + 0x1000 - (cpuid_crossing_end - cpuid_crossing)), %ebp
    jne 1b
    say64 "across pages: "
    call cpuid_verdict

    # What a hypervisor must not show of itself or its host: VMX, SVM, and OSXSAVE follows CR4.
    mov $1, %eax
    cpuid
    shr $27, %ecx
    and $1, %ecx
    mov %ecx, %r8d                      # OSXSAVE, with CR4.OSXSAVE 0
    mov $1, %eax
    cpuid
    shr $5, %ecx
    and $1, %ecx
    mov %ecx, %r9d                      # VMX
    mov $0x80000001, %eax
    cpuid
    shr $2, %ecx
    and $1, %ecx                        # SVM
    mov %r8d, %eax
    shl $8, %eax
    or %r9d, %eax
    shl $8, %eax
    or %ecx, %eax
    say64 "OSXSAVE, VMX, SVM: "
    call hex32_64
    say64 "\n"
    finish PASSED

cpuid_check:                            # counts in R13D: leaf 0 came back, and the next instruction was executed once
    cmp cpuid_leaf0(%rip), %eax
    jne 1f
    cmp cpuid_leaf0+4(%rip), %ebx
    jne 1f
    cmp cpuid_leaf0+8(%rip), %ecx
    jne 1f
    cmp cpuid_leaf0+12(%rip), %edx
    jne 1f
    cmp $1, %r12d
    jne 1f
    inc %r13d
1:  ret

cpuid_verdict:                          # says how many there were
    mov %r13d, %eax
    call hex32_64
    say64 " right\n"
    xor %r13d, %r13d
    ret

cpuid_crossing:
    .byte 0x66, 0x48, 0x0F, 0xA2        # CPUID
    inc %r12d
    ret
cpuid_crossing_end:

    .balign 4
cpuid_leaf0:
    .skip 16

# Everything that XSAVE manages and the guest may enable holds over exits, other vCPUs and moves to another CPU: x87, SSE, AVX,
# AVX-512, PKRU. Which of them there are depends on the CPU; what is printed does not.
#
# vCPUs of one machine run this with different numbers in RDI. Each has four pages of its own: what it loads, what it finds, and
# a stack.

    .set VECTORS, 0x40000
    .set VECTORS_CR4, 1 << 9 | 1 << 10 | 1 << 18    # OSFXSR, OSXMMEXCPT, OSXSAVE

    .code64
vectors_compare:                        # RSI, as many bytes as ECX says: adds to EBP how many differ from those a page further
    movzbl (%rsi), %eax
    cmp %al, 0x1000(%rsi)
    setne %al
    add %eax, %ebp
    inc %rsi
    dec %ecx
    jnz vectors_compare
    ret

vectors_check:                          # R13: the pages; R14: the components. Adds to EBP what differs
    mov %r14d, %eax
    xor %edx, %edx
    xsave64 0x1000(%r13)
    xor %eax, %eax
    .irp part, 0, 24                    # the control words
    mov \part(%r13), %ecx
    cmp %ecx, 0x1000 + \part(%r13)
    setne %al
    add %eax, %ebp
    .endr
    .irp n, 0,1,2,3,4,5,6,7             # the x87 registers
    lea 32 + 16 * \n(%r13), %rsi
    mov $10, %ecx
    call vectors_compare
    .endr
    lea 160(%r13), %rsi                 # the XMM registers
    mov $256, %ecx
    call vectors_compare
    mov $2, %r15d
1:  bt %r15d, %r14d
    jnc 2f
    mov $0xD, %eax
    mov %r15d, %ecx
    cpuid
    mov %eax, %ecx
    cmp $9, %r15d                       # PKRU has four bytes, and the component eight
    jne 3f
    mov $4, %ecx
3:  lea (%r13,%rbx), %rsi
    xor %eax, %eax
    call vectors_compare
2:  inc %r15d
    cmp $32, %r15d
    jne 1b
    ret

    entry vectors
    cli
    cld
    mov %rdi, %r12
    mov %edi, %r13d
    shl $14, %r13d
    add $VECTORS, %r13d
    lea 0x4000(%r13), %esp
    call setup64
    mov $1, %eax
    cpuid
    bt $26, %ecx                        # XSAVE
    jc 1f
    finish NOT_APPLICABLE
1:  mov %cr4, %rax
    or $VECTORS_CR4, %rax
    mov %rax, %cr4
    mov %cr0, %rax
    and $~0xC, %rax                     # EM, TS
    mov %rax, %cr0
    mov $0xD, %eax
    xor %ecx, %ecx
    cpuid
    mov %eax, %r14d
    mov %r14d, %eax
    xor %ecx, %ecx
    xor %edx, %edx
    xsetbv

    mov %r13, %rdi                      # a pattern of the vCPU's own
    imul $91, %r12d, %eax
    mov $4096, %ecx
1:  add $37, %al
    xor %cl, %al
    stosb
    dec %ecx
    jnz 1b
    movl $0x027F, (%r13)                # x87: 53 bits of precision, all registers in use
    movl $0xFF, 4(%r13)
    movq $0, 8(%r13)
    movq $0, 16(%r13)
    movl $0x5F80, 24(%r13)              # MXCSR: rounding up
    movl $0, 28(%r13)
    lea 512(%r13), %rdi                 # the header
    xor %eax, %eax
    mov $8, %ecx
    rep stosq
    mov %r14, 512(%r13)
    mov %r14d, %eax
    xor %edx, %edx
    xrstor64 (%r13)

    xor %ebp, %ebp
    call vectors_check
    mov $12, %r11d
1:  push %r11
    call vectors_check
    out %al, $PORT_YIELD
    call vectors_check
    pop %r11
    dec %r11d
    jnz 1b
    say64 "vCPU "
    mov %r12, %rax
    call hex8_64
    say64 ", differences: "
    mov %ebp, %eax
    call hex32_64
    say64 "\n"
    finish PASSED

    # Protection keys: a page of key 1 can be read and not written while PKRU says so, and the error code tells. (That a key
    # forbids reading, one emulator does not do to supervisors.)
    .set CR4_PKE, 1 << 22

    .code64
    entry protection_keys
    start64
    mov $7, %eax
    xor %ecx, %ecx
    cpuid
    bt $3, %ecx                         # PKU
    jc 1f
    finish NOT_APPLICABLE
1:  mov %ecx, %eax
    shr $4, %eax
    and $1, %eax
    say64 "OSPKE in CPUID: "
    call hex32_64
    mov %cr4, %rax
    or $CR4_PKE, %rax
    mov %rax, %cr4
    mov $7, %eax
    xor %ecx, %ecx
    cpuid
    mov %ecx, %eax
    shr $4, %eax
    and $1, %eax
    say64 ", with CR4.PKE: "
    call hex32_64
    say64 "\n"
    # The page becomes the user's, with key 1.
    mov %cr3, %rbx
    mov $0xFFFFFF000, %rdx
    orb $4, (%rbx)
    mov (%rbx), %rbx
    and %rdx, %rbx
    orb $4, (%rbx)
    mov (%rbx), %rbx
    and %rdx, %rbx
    orb $4, (%rbx)
    mov (%rbx), %rbx
    and %rdx, %rbx
    lea VECTORS >> 12 << 3(%rbx), %rbx
    orb $4, (%rbx)
    mov $1 << 59, %rax
    or %rax, (%rbx)
    mov %cr3, %rax
    mov %rax, %cr3
    mov $2 << 2, %eax                   # WD of key 1
    xor %ecx, %ecx
    xor %edx, %edx
    wrpkru
    out %al, $PORT_YIELD
    xor %ecx, %ecx
    rdpkru
    say64 "PKRU after an exit: "
    call hex32_64
    say64 "\nreading: "
    attempt 1f
    mov VECTORS, %eax
1:  call outcome64
    say64 "writing it: "
    attempt 1f
    mov %eax, VECTORS
1:  call outcome64
    # The same by what the VMM does on the guest's behalf.
    say64 "INS to it: "
    mov $PORT_STREAM, %edx
    mov $VECTORS, %edi
    attempt 1f
    insb
1:  call outcome64
    say64 "OUTS from it: "
    mov $PORT_STREAM, %edx
    mov $VECTORS, %esi
    attempt 1f
    outsb
1:  call outcome64
    mov $1 << 2, %eax                   # AD of key 1
    xor %ecx, %ecx
    xor %edx, %edx
    wrpkru
    say64 "OUTS without the right to read: "
    mov $PORT_STREAM, %edx
    mov $VECTORS, %esi
    attempt 1f
    outsb
1:  call outcome64
    xor %eax, %eax
    xor %ecx, %ecx
    xor %edx, %edx
    wrpkru
    say64 "INS with all rights: "
    mov $PORT_STREAM, %edx
    mov $VECTORS, %edi
    attempt 1f
    insb
1:  call outcome64
    finish PASSED

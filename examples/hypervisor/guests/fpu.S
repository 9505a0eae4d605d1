# The guest's x87, XMM and MXCSR registers hold over exits, whatever the host computes with its own.

    .set CR4_OSFXSR, 0x200

    .code64
fpu_fill:                               # from RDI, a number: XMM0..15, three x87 registers, both control words; R13: scratch
    movq %rdi, %xmm0
    punpcklqdq %xmm0, %xmm0
    .irp n, 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15
    lea \n(%rdi), %rax
    movq %rax, %xmm\n
    not %rax
    movq %rax, %xmm0
    punpcklqdq %xmm0, %xmm\n
    .endr
    movq %rdi, %xmm0
    punpcklqdq %xmm0, %xmm0
    fninit
    mov %rdi, (%r13)
    fildll (%r13)
    fldpi
    fld1
    movl $0x027F, (%r13)                # 53 bits of precision
    fldcw (%r13)
    movl $0x5F80, (%r13)                # rounding up
    ldmxcsr (%r13)
    ret

fpu_check:                              # RDI as above; adds to EBP what differs
    movq %xmm0, %rax
    cmp %rdi, %rax
    setne %al
    movzx %al, %eax
    add %eax, %ebp
    movdqu %xmm0, (%r13)
    cmp %rdi, 8(%r13)
    setne %al
    movzx %al, %eax
    add %eax, %ebp
    .irp n, 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15
    movdqu %xmm\n, (%r13)
    lea \n(%rdi), %rax
    cmp %rax, (%r13)
    setne %cl
    movzx %cl, %ecx
    add %ecx, %ebp
    not %rax
    cmp %rax, 8(%r13)
    setne %al
    movzx %al, %eax
    add %eax, %ebp
    .endr
    stmxcsr (%r13)
    cmpl $0x5F80, (%r13)
    setne %al
    movzx %al, %eax
    add %eax, %ebp
    fnstcw (%r13)
    cmpw $0x027F, (%r13)
    setne %al
    movzx %al, %eax
    add %eax, %ebp
    fnstsw %ax
    and $0x3800, %eax                   # the top of the stack: three are in use
    cmp $(5 << 11), %eax
    setne %al
    movzx %al, %eax
    add %eax, %ebp
    # And back onto the stack.
    fstpt (%r13)
    fstpt 16(%r13)
    fistpll 32(%r13)
    mov $0x8000000000000000, %rax       # the significands of 1 and of pi
    cmp %rax, (%r13)
    setne %al
    movzx %al, %eax
    add %eax, %ebp
    mov $0xC90FDAA22168C235, %rax
    cmp %rax, 16(%r13)
    setne %al
    movzx %al, %eax
    add %eax, %ebp
    cmp %rdi, 32(%r13)
    setne %al
    movzx %al, %eax
    add %eax, %ebp
    fildll 32(%r13)
    fldt 16(%r13)
    fldt (%r13)
    ret

    .macro start_fpu
    mov %cr4, %rax
    or $CR4_OSFXSR, %rax
    mov %rax, %cr4
    mov %cr0, %rax
    and $~0xC, %rax                     # EM, TS
    mov %rax, %cr0
    .endm

    .code64
    entry fpu
    start64
    start_fpu
    mov $SCRATCH, %r13d
    mov $0x4142434445464748, %rdi
    xor %ebp, %ebp
    call fpu_fill
    call fpu_check
    say64 "before any exit, differences: "
    mov %ebp, %eax
    call hex32_64
    xor %eax, %eax
    cpuid
    call fpu_check
    say64 "\nafter CPUID: "
    mov %ebp, %eax
    call hex32_64
    out %al, $PORT_YIELD                # the VMM clobbers its own registers
    call fpu_check
    say64 "\nafter the VMM: "
    mov %ebp, %eax
    call hex32_64
    mov $100, %ebx
1:  out %al, $PORT_YIELD
    call fpu_check
    dec %ebx
    jnz 1b
    say64 "\nafter it a hundred times: "
    mov %ebp, %eax
    call hex32_64
    say64 "\n"
    finish PASSED

    # Several vCPUs of one machine run this, with different numbers in RDI, on one CPU in turn, on two, or moving between
    # them. Each has a page of its own, for scratch and, from the end, for its stack.
    entry numbered
    cli
    cld
    mov %rdi, %r12
    mov %edi, %r13d
    shl $12, %r13d
    add $SCRATCH, %r13d
    lea 0x1000(%r13), %esp
    call setup64
    start_fpu
    mov $0x0101010101010101, %rax
    imul %rax, %rdi
    xor %ebp, %ebp
    call fpu_fill
    mov $20, %ebx
1:  push %rbx
    xor %eax, %eax
    cpuid
    pop %rbx
    call fpu_check
    out %al, $PORT_YIELD
    call fpu_check
    dec %ebx
    jnz 1b
    say64 "vCPU "
    mov %r12, %rax
    call hex8_64
    say64 ", differences: "
    mov %ebp, %eax
    call hex32_64
    say64 "\n"
    finish PASSED

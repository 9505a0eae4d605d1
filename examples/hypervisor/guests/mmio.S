# Memory-mapped I/O: the forms of MOV, with zero and sign extension, in 64-bit and in real mode. The device keeps 4096
# bytes; what was written in one width is read in others.

    .macro mmio_show text
    say64 "\text"
    call hex64
    say64 "\n"
    .endm

    .code64
    entry mmio
    start64
    mov $DEVICE, %ebx

    # Writes, from registers and of immediates.
    mov $0x8899AABBCCDDEEFF, %rax
    mov %rax, (%rbx)
    mov (%rbx), %rax
    mmio_show "64 bits written: "
    mov $0x01020304, %eax
    mov %eax, (%rbx)
    mov (%rbx), %rax
    mmio_show "then 32 bits:    "
    mov $0x0506, %eax
    mov %ax, 2(%rbx)
    mov (%rbx), %rax
    mmio_show "then 16 bits:    "
    mov $0x87, %eax
    mov %al, 1(%rbx)
    mov (%rbx), %rax
    mmio_show "then 8 bits:     "
    mov $0x9900, %eax
    mov %ah, 7(%rbx)
    mov (%rbx), %rax
    mmio_show "from AH:         "
    mov $0xA5, %sil
    mov %sil, 6(%rbx)
    mov (%rbx), %rax
    mmio_show "from SIL:        "
    movb $0x11, (%rbx)
    movw $0x2233, 4(%rbx)
    mov (%rbx), %rax
    mmio_show "immediates:      "
    movl $0x44556677, 8(%rbx)
    movq $-2, 16(%rbx)
    mov 8(%rbx), %rax
    mmio_show "32 bits:         "
    mov 16(%rbx), %rax
    mmio_show "64, extended:    "

    # Reads: what is left of the register, what is cleared.
    movq $-1, %rax
    mov (%rbx), %al
    mmio_show "into AL:         "
    movq $-1, %rax
    mov 1(%rbx), %ah
    mmio_show "into AH:         "
    movq $-1, %rax
    mov (%rbx), %ax
    mmio_show "into AX:         "
    movq $-1, %rax
    mov (%rbx), %eax
    mmio_show "into EAX:        "
    movq $-1, %r12
    mov (%rbx), %r12b
    mov %r12, %rax
    mmio_show "into R12B:       "
    movq $-1, %r15
    mov 2(%rbx), %r15d
    mov %r15, %rax
    mmio_show "into R15D:       "
    movq $-1, %rdi
    mov 1(%rbx), %dil
    mov %rdi, %rax
    mmio_show "into DIL:        "

    # Extension.
    movq $-1, %rax
    movzbl 1(%rbx), %eax
    mmio_show "MOVZX 8 to 32:   "
    movq $-1, %rax
    movzbw 1(%rbx), %ax
    mmio_show "MOVZX 8 to 16:   "
    movq $-1, %rax
    movzwl 6(%rbx), %eax
    mmio_show "MOVZX 16 to 32:  "
    movq $-1, %r9
    movzwq 6(%rbx), %r9
    mov %r9, %rax
    mmio_show "MOVZX 16 to 64:  "
    xor %eax, %eax
    movsbl 1(%rbx), %eax
    mmio_show "MOVSX 8 to 32:   "
    xor %eax, %eax
    movsbw 1(%rbx), %ax
    mmio_show "MOVSX 8 to 16:   "
    xor %eax, %eax
    movswq 6(%rbx), %rax
    mmio_show "MOVSX 16 to 64:  "
    xor %eax, %eax
    movslq 4(%rbx), %rax
    mmio_show "MOVSXD:          "

    # Addresses: scaled index, negative displacement, RIP-relative is out of reach, a segment with a base, an absolute one.
    mov $3, %ecx
    xor %eax, %eax
    mov -8(%rbx,%rcx,4), %ax
    mmio_show "scaled index:    "
    mov %rbx, %r13
    xor %eax, %eax
    mov (%r13), %al
    mmio_show "base R13:        "
    push %rcx
    mov $0xC0000100, %ecx               # FS_BASE
    mov $DEVICE, %eax
    xor %edx, %edx
    wrmsr
    pop %rcx
    xor %eax, %eax
    mov %fs:8, %eax
    mmio_show "segment FS:      "
    xor %eax, %eax
    movabs DEVICE + 8, %eax
    mmio_show "absolute:        "
    mov $0x0F, %al
    movabs %al, DEVICE + 9
    xor %eax, %eax
    mov 8(%rbx), %eax
    mmio_show "after a write:   "
    xor %eax, %eax
    mov $0xFFFFFFFF00000000 + DEVICE + 8, %rdx
    addr32 mov (%edx), %eax
    mmio_show "32-bit address:  "

    # Flags stay, and the instruction after is executed once.
    xor %ecx, %ecx
    stc
    mov (%rbx), %al
    adc $0, %ecx
    inc %ecx
    mov %rcx, %rax
    mmio_show "flags and RIP:   "
    finish PASSED

    .code16
    entry mmio_real
    start16
    mov $(DEVICE >> 4), %ax
    mov %ax, %fs
    mov $0x11223344, %eax
    mov %eax, %fs:0x20
    movw $0x5566, %fs:0x22
    movb $0x77, %fs:0x21
    mov %fs:0x20, %eax
    call hex16
    say16 "\n"
    mov $-1, %eax
    mov %fs:0x21, %ax                   # MOV AX, moffs
    call hex16
    say16 "\n"
    mov $-1, %ecx
    mov %fs:0x22, %cx                   # MOV r16, [disp16]
    mov %ecx, %eax
    call hex16
    say16 "\n"
    mov $-1, %eax
    mov $0x20, %bx
    mov $2, %si
    movzbw %fs:-1(%bx,%si), %ax
    call hex16
    say16 "\n"
    mov $-1, %eax
    movzwl %fs:(%bx), %eax
    call hex16
    say16 "\n"
    mov $-1, %eax
    mov $0x20, %bp                      # BP's own segment is SS; the prefix wins
    mov %fs:(%bp), %al
    call hex16
    say16 "\n"
    finish PASSED

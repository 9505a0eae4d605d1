# Memory that is there as soon as it is touched: the VMM maps it on demand, readable at first and then writable.

    .code64
    entry nested_fault
    start64
    mov ON_DEMAND, %rax
    say64 "a new page reads as "
    call hex64
    say64 "\n"
    movq $0x1234, ON_DEMAND + 8
    incq ON_DEMAND + 8
    mov ON_DEMAND + 8, %rax
    say64 "what was written: "
    call hex64
    say64 "\n"

    # Sixteen pages, the last bytes of one and the first of the next in a single access.
    mov $(ON_DEMAND + 0x2FFC), %ebx
    mov $16, %ecx
1:  mov %rbx, (%rbx)
    add $0x1000, %ebx
    dec %ecx
    jnz 1b
    mov $(ON_DEMAND + 0x2FFC), %ebx
    mov $16, %ecx
    xor %edx, %edx
1:  add (%rbx), %rdx
    add $0x1000, %ebx
    dec %ecx
    jnz 1b
    mov %rdx, %rax
    say64 "sum across pages: "
    call hex64
    say64 "\n"

    # Code in a new page: MOV EAX, imm32; RET.
    movb $0xB8, ON_DEMAND + 0x30000
    movl $0x600DC0DE, ON_DEMAND + 0x30001
    movb $0xC3, ON_DEMAND + 0x30005
    mov $(ON_DEMAND + 0x30000), %edx
    call *%rdx
    say64 "code in a new page says "
    call hex32_64
    say64 "\n"

    # The stack in a new page, for an interrupt. It is not mistaken for the exception before it, as one emulator would have it.
    attempt 1f
    ud2
1:  movq $0, resume(%rip)
    mov %rsp, %rbx
    mov $(ON_DEMAND + 0x50000), %esp
    int $0x30
    mov %rbx, %rsp
    say64 "an interrupt on a new stack: "
    mov interrupt_vector(%rip), %al
    call hex8_64
    say64 "\n"
    finish PASSED

# Real mode: port I/O, segments, 32-bit registers, a software interrupt and a divide error through the vectors at 0.

    .code16
    entry real
    start16
    say16 "hello from real mode\n"

    # Segments: the same byte through two of them.
    mov $0x2000, %ax
    mov %ax, %es
    movb $0x5A, %es:0x1234
    mov $0x2100, %ax
    mov %ax, %fs
    movzbl %fs:0x0234, %eax
    say16 "through another segment: "
    call hex16
    say16 "\n"

    # A sum that needs 32 bits.
    xor %eax, %eax
    mov $100000, %ecx
1:  add %ecx, %eax
    dec %ecx
    jnz 1b
    say16 "sum of 1 to 100000, low half: "
    call hex16
    say16 "\n"

    # A far call, and back.
    lcall $0x0800, $(real_far - guests_start)

    # Software interrupt 40h and divide error 0.
    movw $(real_interrupt + .Lguest), 0x40 * 4
    movw $0, 0x40 * 4 + 2
    movw $(real_divide + .Lguest), 0
    movw $0, 2
    int $0x40
    xor %cx, %cx
    div %cx
    say16 "after the divide error\n"
    finish PASSED

real_far:
    say16 "in a far call\n"
    lret

real_interrupt:
    say16 "in interrupt 40h\n"
    iret

real_divide:
    say16 "in the divide error's handler\n"
    mov %sp, %bp
    addw $2, (%bp)                      # behind `div %cx`
    iret

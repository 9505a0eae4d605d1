# What the guests use in real mode. DS, ES and SS are 0.

    .code16
print16:                                # SI: the string
    push %ax
1:  lodsb
    test %al, %al
    jz 2f
    out %al, $PORT_PRINT
    jmp 1b
2:  pop %ax
    ret

hex16:                                  # EAX: eight hexadecimal digits
    push %cx
    push %bx
    mov $8, %cx
1:  rol $4, %eax
    mov %al, %bl
    and $0xF, %bx
    push %ax
    mov digits + .Lguest(%bx), %al
    out %al, $PORT_PRINT
    pop %ax
    loop 1b
    pop %bx
    pop %cx
    ret

    # Segments and stack, as every guest in real mode wants them.
    .macro start16
    cli
    cld
    xor %ax, %ax
    mov %ax, %ds
    mov %ax, %es
    mov %ax, %ss
    mov $REAL_STACK, %sp
    .endm

digits:
    .ascii "0123456789abcdef"

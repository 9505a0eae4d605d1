# What the guests use in 32-bit protected mode: flat segments, paging or not.

    .code32
print32:                                # ESI: the string
    push %eax
1:  lodsb
    test %al, %al
    jz 2f
    out %al, $PORT_PRINT
    jmp 1b
2:  pop %eax
    ret

hex32:                                  # EAX: eight hexadecimal digits
    push %ecx
    push %ebx
    mov $8, %ecx
1:  rol $4, %eax
    mov %eax, %ebx
    and $0xF, %ebx
    push %eax
    mov digits + .Lguest(%ebx), %al
    out %al, $PORT_PRINT
    pop %eax
    loop 1b
    pop %ebx
    pop %ecx
    ret

    # Makes vector \vector go to \handler, in the table that `start32` loads. Changes EAX.
    .macro gate32 vector, handler
    mov $(\handler + .Lguest), %eax
    mov %ax, IDT + \vector * 8
    movw $CODE32, IDT + \vector * 8 + 2
    movw $0x8E00, IDT + \vector * 8 + 4
    shr $16, %eax
    mov %ax, IDT + \vector * 8 + 6
    .endm

    # Segments, stack and tables of the guest's own, for one that starts in protected mode.
    .macro start32
    cli
    cld
    mov $STACK, %esp
    lgdt gdt_descriptor + .Lguest
    ljmp $CODE32, $(7773f + .Lguest)
7773:
    mov $DATA, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss
    lidt idt32_descriptor + .Lguest
    .endm

    # The descriptors of all modes. Their "accessed" bits are set, so that a table may be read-only.
    .set CODE64, 8
    .set DATA,   16
    .set CODE32, 24
    .set CODE16, 32
    .set DATA16, 40
    .balign 8
gdt:
    .quad 0
    .quad 0x00AF9B000000FFFF
    .quad 0x00CF93000000FFFF
    .quad 0x00CF9B000000FFFF
    .quad 0x00009B000000FFFF
    .quad 0x000093000000FFFF
gdt_end:

gdt_descriptor:                         # read as 6 or, in 64-bit mode, as 10 bytes
    .word gdt_end - gdt - 1
    .quad gdt + .Lguest
idt32_descriptor:
    .word 0x80 * 8 - 1
    .long IDT
idt16_descriptor:                       # the vectors of real mode
    .word 0x3FF
    .long 0

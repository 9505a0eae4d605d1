# Instructions at a device other than MOV, in real mode: FS is the device's segment, GS begins 16 bytes before it.

    .macro forms_show16 text
    say16 "\text"
    call hex16
    say16 "\n"
    .endm

    .code16
    entry mmio_forms_real
    start16
    mov $(DEVICE >> 4), %ax
    mov %ax, %fs
    mov $((DEVICE >> 4) - 1), %ax
    mov %ax, %gs
    movl $0x11223344, %gs:14            # memory and device
    mov %gs:14, %eax
    forms_show16 "memory and device:  "
    mov %fs:0, %ax
    movzwl %ax, %eax
    forms_show16 "the device's half:  "
    movl $0x55667788, %fs:0xFFE         # two pages of the device
    mov %fs:0xFFE, %eax
    forms_show16 "device and device:  "
    movl $0x99AABBCC, %fs:0x1FFD        # device and memory
    mov %fs:0x1FFD, %eax
    forms_show16 "device and memory:  "
    mov %fs:0x2000, %al
    movzbl %al, %eax
    forms_show16 "the memory's byte:  "

    # REP MOVS, upwards to the device and downwards from it.
    movl $0x03020100, SCRATCH16
    movl $0x07060504, SCRATCH16 + 4
    mov %fs, %ax
    mov %ax, %es
    mov $SCRATCH16, %si
    mov $0x10, %di
    mov $4, %cx
    rep movsw
    movzwl %di, %eax
    forms_show16 "REP MOVSW, DI:      "
    mov %fs:0x14, %eax
    forms_show16 "its last words:     "
    xor %ax, %ax
    mov %ax, %es
    mov $0x17, %si
    mov $(SCRATCH16 + 0x17), %di
    mov $8, %cx
    std
    rep movsb %fs:(%si), %es:(%di)
    cld
    movzwl %si, %eax
    forms_show16 "REP MOVSB down, SI: "
    mov SCRATCH16 + 0x10, %eax
    forms_show16 "its last bytes:     "

    lock addw $0x1111, %fs:0x10
    mov %fs:0x10, %eax
    forms_show16 "LOCK ADD:           "
    mov $0x22, %al
    lock xaddb %al, %fs:0x10
    movzbl %al, %eax
    forms_show16 "LOCK XADD:          "
    mov %fs:0x10, %eax
    lock cmpxchgl %esp, %fs:0x10
    setz %al
    movzbl %al, %eax
    forms_show16 "LOCK CMPXCHG:       "
    mov %fs:0x10, %eax
    forms_show16 "what it stored:     "
    movl $0x12345678, %fs:0x18
    movl $0x9ABCDEF0, %fs:0x1C
    mov $0x12345678, %eax
    mov $0x9ABCDEF0, %edx
    mov $0x0BADCAFE, %ebx
    mov $0x600DF00D, %ecx
    lock cmpxchg8b %fs:0x18
    mov %fs:0x18, %eax
    forms_show16 "CMPXCHG8B, low:     "
    mov %fs:0x1C, %eax
    forms_show16 "high:               "
    movl $0, %fs:0x20
    movl $0, %fs:0x24
    mov $37, %ax
    bts %ax, %fs:0x20
    mov %fs:0x24, %eax
    forms_show16 "BTS of bit 37:      "
    mov $-1, %ax
    btr %ax, %fs:0x26
    sbb %eax, %eax
    forms_show16 "BTR of bit -1:      "
    movw $0x8001, %fs:0x26
    mov $3, %cl
    rolw %cl, %fs:0x26
    mov %fs:0x24, %eax
    forms_show16 "ROL:                "
    pushw %fs:0x26
    xor %eax, %eax
    pop %ax
    forms_show16 "PUSH, POP:          "
    pushl $0x01020304
    popl %fs:0x28
    mov %fs:0x28, %eax
    forms_show16 "POP to the device:  "
    mov $DEVICE, %ebx
    mov $0x0A, %ecx
    xor %ax, %ax
    mov %ax, %ds
    mov %fs:0x28, %ax
    addw %ax, %fs:(%ecx,%ecx,4)
    mov %fs:0x30, %eax
    forms_show16 "32-bit address:     "
    finish PASSED
    .set SCRATCH16, 0x6000              # below the stack

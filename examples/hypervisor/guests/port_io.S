# IN and OUT of 1, 2 and 4 bytes, with the port in DX and in the instruction. The device keeps a value per width.

    .code64
    entry port_io
    start64
    mov $0x1122334455667788, %rax
    mov $PORT_REGISTER, %edx
    out %al, %dx
    add $2, %edx
    out %ax, %dx
    add $2, %edx
    out %eax, %dx

    # What a narrow IN leaves of RAX, and what a wide one clears.
    mov $PORT_REGISTER, %edx
    mov $-1, %rax
    in %dx, %al
    say64 "8 bits:  "
    call hex64
    add $2, %edx
    mov $-1, %rax
    in %dx, %ax
    say64 "\n16 bits: "
    call hex64
    add $2, %edx
    mov $-1, %rax
    in %dx, %eax
    say64 "\n32 bits: "
    call hex64
    say64 "\n"

    # A port in the instruction, and one where nothing answers.
    mov $0x5C, %al
    out %al, $0x80
    mov $-1, %rax
    in $0x80, %al
    say64 "port 80h: "
    call hex64
    say64 "\n"

    # RDX and the flags stay as they are.
    mov $0xFFFFFFFFFFFF0500, %rdx
    stc
    in %dx, %al
    setc %bl
    movzx %bl, %ebx
    say64 "carry: "
    mov %ebx, %eax
    call hex32_64
    say64 ", RDX: "
    mov %rdx, %rax
    call hex64
    say64 "\n"
    finish PASSED

# String I/O: OUTS and INS, alone and repeated, in all widths, upward and downward, across pages, in 64-bit and in real
# mode. The stream device counts up when it is read, and sums what is written to it.

    .set STRING, SCRATCH + 0x0FF8       # crosses a page

    .code64
    entry string_io
    start64
    # REP OUTSB to the printer.
    lea string_text(%rip), %rsi
    mov $PORT_PRINT, %edx
    mov $(string_text_end - string_text), %ecx
    rep outsb
    lea string_text_end(%rip), %rax
    sub %rsi, %rax
    lea 7f(%rip), %rsi
    outsb
    call newline
    say64 "RCX left: "
    xchg %rax, %rcx
    call hex32_64
    say64 ", RSI left: "
    mov %ecx, %eax
    call hex32_64
    call newline

    # REP INSB, INSW, INSL.
    mov $PORT_STREAM, %edx
    mov $STRING, %edi
    mov $16, %ecx
    rep insb
    mov $STRING, %esi
    call string_dump
    mov $STRING, %edi
    mov $8, %ecx
    rep insw
    mov $STRING, %esi
    call string_dump
    mov $STRING, %edi
    mov $4, %ecx
    rep insl
    mov $STRING, %esi
    call string_dump

    # Downward.
    std
    mov $(STRING + 15), %edi
    mov $16, %ecx
    rep insb
    cld
    say64 "downward "
    mov $STRING, %esi
    call string_dump

    # One element, and none.
    mov $STRING, %edi
    insl
    xor %ecx, %ecx
    rep insl
    lea -STRING(%rdi), %rax
    say64 "one and none: RDI moved by "
    call hex32_64
    say64 "\n"

    # Out again: the device sums.
    mov $STRING, %esi
    mov $4, %ecx
    rep outsl
    mov $STRING, %esi
    mov $8, %ecx
    rep outsw
    mov $STRING, %esi
    mov $16, %ecx
    rep outsb
    add $4, %edx                        # where the sum is read
    in %dx, %eax
    say64 "sum: "
    call hex32_64
    say64 "\n"

    finish PASSED

7:  .ascii "!"

string_text:
    .ascii "printed by one instruction"
string_text_end:

string_dump:                            # RSI: 16 bytes, the lowest first
    push %rcx
    mov $16, %ecx
1:  lodsb
    call hex8_64
    dec %ecx
    jnz 1b
    call newline
    pop %rcx
    ret

newline:
    push %rsi
    say64 "\n"
    pop %rsi
    ret

    entry string_io_fault
    start64
    # A page that is not there, in the middle: the fault comes after the elements before it.
    mov 0x7000 + 8 * (SCRATCH >> 12) + 8, %rbx
    movq $0, 0x7000 + 8 * (SCRATCH >> 12) + 8
    invlpg SCRATCH + 0x1000
    mov $PORT_STREAM, %edx
    mov $STRING, %edi
    mov $16, %ecx
    say64 "into a page that is not there: "
    attempt 1f
    rep insb
1:  call outcome64
    mov %rbx, 0x7000 + 8 * (SCRATCH >> 12) + 8
    say64 "left: "
    mov %ecx, %eax
    call hex32_64
    say64 ", RDI moved by "
    lea -STRING(%rdi), %rax
    call hex32_64
    say64 "\n"
    finish PASSED

    .code16
    entry string_io_real
    start16
    mov $0x0FF0, %ax
    mov %ax, %es                        # INS writes through ES
    mov $PORT_STREAM, %dx
    mov $0x10, %di
    mov $8, %cx
    rep insw
    mov $0x0FF0, %ax
    mov %ax, %fs
    mov $0x10, %si                      # OUTS reads through DS, or what a prefix says
    mov $8, %cx
    rep outsw %fs:(%si), %dx
    add $4, %dx
    in %dx, %eax
    mov %si, %bp
    say16 "sum: "
    call hex16
    mov %bp, %ax
    shl $16, %eax
    mov %cx, %ax
    say16 "\nSI, CX: "
    call hex16
    say16 "\n"
    finish PASSED

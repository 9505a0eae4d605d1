# INS and OUTS in 32-bit protected mode: limits that a repeated instruction runs into, expand-down segments, downward, and
# registers of 16 bits that wrap.

    .set LIMITED,     0x08 * 6          # 16 bytes at SCRATCH
    .set EXPAND_DOWN, 0x08 * 7          # from 1000h up, base SCRATCH
    .set WHOLE_64K,   0x08 * 8

    # \instruction with EDI, ESI = \index and ECX = \count; says how it went and where it stopped.
    .macro string32 segment, index, count, text, bytes:vararg
    mov $\segment, %eax
    mov %eax, %es
    mov $\index, %edi
    mov %edi, %esi
    mov $\count, %ecx
    attempt32 7786f
    .byte \bytes
7786: cld
    mov %esi, %ebp
    say32 "\text: "
    call string_io_limits_say
    .endm

    .code32
    entry string_io_limits
    start32
    lgdt string_io_limits_descriptor + .Lguest
    gate32 13, control_faults_general32
    mov $PORT_STREAM, %edx
    string32 LIMITED, 8, 16, "REP INSB over a limit", 0xF3, 0x6C
    string32 LIMITED, 14, 4, "REP INSW over a limit", 0x66, 0xF3, 0x6D
    string32 LIMITED, 15, 4, "REP INSW across a limit", 0x66, 0xF3, 0x6D
    string32 LIMITED, 13, 1, "INSL across a limit", 0x6D
    string32 LIMITED, 0xFFFFFFFE, 4, "REP INSL around the end", 0xF3, 0x6D
    std
    string32 LIMITED, 3, 8, "REP INSB downward", 0xF3, 0x6C
    string32 EXPAND_DOWN, 0xFFF, 1, "REP INSB below an expand-down segment", 0xF3, 0x6C
    string32 EXPAND_DOWN, 0x1000, 1, "REP INSB at its start", 0xF3, 0x6C
    string32 0, 0, 1, "REP INSB through a null selector", 0xF3, 0x6C
    string32 WHOLE_64K, 0xABCDFFFE, 0x12340004, "REP INSB with 16-bit addresses", 0x67, 0xF3, 0x6C
    string32 WHOLE_64K, 0xFFFF, 2, "REP INSW with 16-bit addresses", 0x67, 0x66, 0xF3, 0x6D
    string32 LIMITED, 12, 8, "REP OUTSB through ES", 0x26, 0xF3, 0x6E
    string32 LIMITED, 12, 2, "REP OUTSW through ES with 16-bit addresses", 0x26, 0x67, 0x66, 0xF3, 0x6F
    string32 LIMITED, 16, 0, "REP OUTSB of nothing, over a limit", 0x26, 0xF3, 0x6E
    add $4, %edx
    in %dx, %eax
    say32 "sum: "
    call hex32
    say32 "\n"
    mov SCRATCH, %eax
    call hex32
    say32 " "
    mov SCRATCH + 12, %eax
    call hex32
    say32 " "
    mov SCRATCH + 0x1000, %eax
    call hex32
    say32 " "
    mov SCRATCH + 0xFFFC, %eax
    call hex32
    say32 "\n"
    finish PASSED

string_io_limits_say:
    cmpl $13, control_faults_vector + .Lguest
    je 1f
    say32 "no exception"
    jmp 2f
1:  say32 "#GP"
2:  say32 ", ECX "
    mov %ecx, %eax
    call hex32
    say32 ", EDI "
    mov %edi, %eax
    call hex32
    say32 ", ESI "
    mov %ebp, %eax
    call hex32
    say32 "\n"
    ret

    .balign 8
string_io_limits_gdt:
    .quad 0
    .quad 0x00AF9B000000FFFF            # as in `gdt`
    .quad 0x00CF93000000FFFF
    .quad 0x00CF9B000000FFFF
    .quad 0x00009B000000FFFF
    .quad 0x000093000000FFFF
    .quad 0x004093000000000F | (SCRATCH & 0xFFFFFF) << 16
    .quad 0x0040970000000FFF | (SCRATCH & 0xFFFFFF) << 16
    .quad 0x004093000000FFFF | (SCRATCH & 0xFFFFFF) << 16
string_io_limits_descriptor:
    .word . - string_io_limits_gdt - 1
    .long string_io_limits_gdt + .Lguest

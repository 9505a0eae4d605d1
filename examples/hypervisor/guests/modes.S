# From real mode to protected mode to long mode, by way of compatibility mode, and all the way back, twice.

    .set MODES_PAGE_MAP, 0x1000

    .code16
    entry modes
    start16
    say16 "real mode\n"
    movw $2, modes_rounds + .Lguest
    # Page tables: 1 GiB one to one, by 2 MiB pages.
    mov $(MODES_PAGE_MAP >> 4), %ax
    mov %ax, %es
    xor %di, %di
    xor %eax, %eax
    mov $(3 * 4096 / 4), %cx
    rep stosl
    movl $(MODES_PAGE_MAP + 0x1003), %es:0
    movl $(MODES_PAGE_MAP + 0x2003), %es:0x1000
    mov $0x2000, %di
    mov $0x83, %eax
1:  mov %eax, %es:(%di)
    add $0x200000, %eax
    add $8, %di
    cmp $0x3000, %di
    jne 1b

modes_round:
    lgdtl gdt_descriptor + .Lguest
    mov %cr0, %eax
    or $1, %al
    mov %eax, %cr0
    ljmpl $CODE32, $(modes_protected + .Lguest)

    .code32
modes_protected:
    mov $DATA, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss
    mov $STACK, %esp
    say32 "protected mode\n"
    mov %cr4, %eax
    or $0x20, %eax                      # PAE
    mov %eax, %cr4
    mov $MODES_PAGE_MAP, %eax
    mov %eax, %cr3
    mov $0xC0000080, %ecx               # EFER
    rdmsr
    or $0x100, %eax                     # LME
    wrmsr
    say32 "EFER before paging: "
    rdmsr
    call hex32
    say32 "\n"
    mov %cr0, %eax
    or $0x80000000, %eax
    mov %eax, %cr0
    say32 "compatibility mode, EFER "
    rdmsr
    call hex32
    say32 "\n"
    ljmp $CODE64, $(modes_long + .Lguest)

    .code64
modes_long:
    mov $STACK, %esp                    # the upper half of RSP was undefined
    say64 "long mode, upper half of a register: "
    mov $0x600DF00D00000000, %rax
    shr $32, %rax
    call hex32_64
    say64 "\n"
    ljmp *modes_back(%rip)

    .balign 8
modes_back:
    .long modes_compatibility + .Lguest
    .word CODE32
modes_rounds:
    .word 0

    .code32
modes_compatibility:
    say32 "compatibility mode again\n"
    mov %cr0, %eax
    and $0x7FFFFFFF, %eax
    mov %eax, %cr0
    mov $0xC0000080, %ecx
    rdmsr
    say32 "EFER after paging: "
    call hex32
    say32 "\n"
    and $~0x100, %eax
    wrmsr
    mov %cr4, %eax
    and $~0x20, %eax
    mov %eax, %cr4
    ljmp $CODE16, $(modes_16 + .Lguest)

    .code16
modes_16:
    mov $DATA16, %eax
    mov %ax, %ds
    mov %ax, %es
    mov %ax, %ss
    mov %cr0, %eax
    and $~1, %al
    mov %eax, %cr0
    ljmp $0, $(modes_real + .Lguest)

modes_real:
    start16
    say16 "real mode again\n"
    decw modes_rounds + .Lguest
    jnz modes_round
    finish PASSED

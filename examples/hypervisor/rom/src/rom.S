# The last 64 KiB of a 2 MiB ROM. The image is at the ROM's start: the length of what follows in 4 bytes, and then the image
# compressed, as a block of LZ4. This code unpacks it to 1 MiB, which is where it is linked, and enters it there the way a multiboot loader would: 32-bit protected mode, flat segments, EAX the
# loader's magic, EBX a multiboot information block, which whoever starts the machine has put into RAM, with what it
# tells of: the command line, the memory, and perhaps one module.
#
# Nothing else is set up: no interrupt controller, no PCI, no tables of any kind.

    .set ROM_START,     0xFFE00000      # 2 MiB below 4 GiB
    .set CODE_START,    0xFFFF0000      # where this file is linked
    .set IMAGE_ADDRESS, 0x00100000
    .set INFO_ADDRESS,  0x0008F000      # the multiboot information block
    .set HAS_MODULES,   1 << 3          # in its flags
    .set INFO_MODULES,  24              # in it: the address of the list of modules
    .set BLOCK,         0x00020000      # what Bochs hands out memory by

    .section .rom, "ax"
    .globl reset

    .code16
    .org 0xF000, 0xFF                   # near the reset vector: a 16-bit jump does not reach across the whole segment
start:
    cli
    cld
    in $0x92, %al                       # open the A20 gate
    or $2, %al
    out %al, $0x92
    # CS is still the one of the reset, so the offset of the GDT's descriptor in this segment is the low half of its
    # address. The 32-bit form: the 16-bit one would drop the top byte of the GDT's address.
    lgdtl %cs:(gdt_descriptor - CODE_START)
    mov %cr0, %eax
    or $1, %al                          # CR0.PE
    mov %eax, %cr0
    ljmpl $8, $protected

    .code32
protected:
    mov $16, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss

    # Bochs has read the module's file into its own memory as one piece, but only the first block of it has an address
    # yet: the others get theirs one after the other when they are first touched. So all of the module is touched from
    # its start upward, before anything else in memory is.
    mov $INFO_ADDRESS, %ebx
    testl $HAS_MODULES, (%ebx)
    jz 2f
    mov INFO_MODULES(%ebx), %esi
    mov (%esi), %edi                    # where the module starts, at the start of a block
    mov 4(%esi), %ecx                   # and ends
1:  mov (%edi), %eax
    add $BLOCK, %edi
    cmp %ecx, %edi
    jb 1b
2:
    # A block of LZ4 is sequences: a token with two lengths of 4 bits, literals, and how far back what follows them was before,
    # for at least 4 bytes. A length of 15 goes on in bytes, up to one that is not 255. The last sequence ends behind its literals.
    mov $ROM_START, %esi
    lodsl
    lea (%esi, %eax), %edx              # the end
    mov $IMAGE_ADDRESS, %edi
sequence:
    xor %eax, %eax
    lodsb
    mov %eax, %ebp
    shr $4, %eax
    mov %eax, %ecx
    cmp $15, %ecx
    jne 4f
3:  xor %eax, %eax
    lodsb
    add %eax, %ecx
    cmp $255, %al
    je 3b
4:  rep movsb
    cmp %edx, %esi
    jae unpacked
    xor %eax, %eax
    lodsw
    mov %edi, %ebx
    sub %eax, %ebx                      # where it was before
    mov %ebp, %ecx
    and $15, %ecx
    cmp $15, %ecx
    jne 6f
5:  xor %eax, %eax
    lodsb
    add %eax, %ecx
    cmp $255, %al
    je 5b
6:  add $4, %ecx
    xchg %esi, %ebx
    rep movsb
    mov %ebx, %esi
    jmp sequence
unpacked:
    mov $INFO_ADDRESS, %ebx

    mov $0x2BADB002, %eax               # what a multiboot loader passes
    mov $IMAGE_ADDRESS, %ecx
    jmp *%ecx

    .balign 8
gdt:
    .quad 0
    .quad 0x00CF9B000000FFFF            # 8: code, 32 bits, 4 GiB from 0
    .quad 0x00CF93000000FFFF            # 16: data, 4 GiB from 0
gdt_descriptor:
    .word gdt_descriptor - gdt - 1
    .long gdt

    .org 0xFFF0, 0xFF
reset:                                  # CS base FFFF0000h, IP FFF0h
    .code16
    jmp start
    .org 0x10000, 0xFF

    .text
    .code64

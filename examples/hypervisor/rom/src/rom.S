# The last 64 KiB of a 2 MiB ROM. The image lies flat at the ROM's start; this code copies it to 1 MiB, which is where
# it is linked, and enters it there the way a multiboot loader would: 32-bit protected mode, flat segments, EAX the
# loader's magic, EBX a multiboot information block. The only thing in that block is the command line, which whoever
# starts the machine has put into RAM.
#
# Nothing else is set up: no interrupt controller, no PCI, no tables of any kind.

    .set ROM_START,     0xFFE00000      # 2 MiB below 4 GiB
    .set CODE_START,    0xFFFF0000      # where this file is linked
    .set IMAGE_ADDRESS, 0x00100000
    .set IMAGE_LIMIT,   CODE_START - ROM_START
    .set INFO_ADDRESS,  0x0008F000      # the multiboot information block
    .set COMMAND_LINE,  0x00090000

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

    mov $ROM_START, %esi
    mov $IMAGE_ADDRESS, %edi
    mov $(IMAGE_LIMIT / 4), %ecx
    rep movsl

    mov $INFO_ADDRESS, %ebx
    movl $4, (%ebx)                     # flags: there is a command line, and nothing else
    movl $COMMAND_LINE, 16(%ebx)
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

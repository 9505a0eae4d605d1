# From the loader to Rust: 32-bit protected mode -> long mode, on the first CPU and on the ones that it starts.
#
# A multiboot loader, and the ROM, enter with EAX = magic and EBX = information block, flat segments, paging off and
# interrupts off. Memory is mapped one to one: 4 GiB by 2 MiB pages, the last GiB (devices) uncached.

    .set PRESENT_WRITABLE, 0x003
    .set LARGE,            0x080
    .set UNCACHED,         0x018
    .set CR0_LONG,         0x80010033   # PG WP NE ET MP PE; CD, NW, EM and TS clear
    .set CR4_LONG,         0x00000620   # PAE, OSFXSR, OSXMMEXCPT
    .set MSR_EFER,         0xC0000080
    .set EFER_LONG,        0x00000900   # LME, NXE
    .set CODE_SELECTOR,    8
    .set DATA_SELECTOR,    16
    .set HEAP_END,         0x01000000   # see memory.rs

    .section .boot, "ax"
    .code32
    .globl _start
_start:
    jmp boot

    # The loader's instructions (multiboot 1). Bit 16 of the flags: take the addresses below, whatever the file's
    # format, which is what makes the loader accept a 64-bit ELF.
    .balign 4
multiboot_header:
    .long 0x1BADB002
    .long 0x00010003
    .long -(0x1BADB002 + 0x00010003)
    .long multiboot_header
    .long _image_start
    .long _image_data_end
    .long HEAP_END                      # the loader puts modules behind the heap
    .long _start

boot:
    cli
    cld
    mov %eax, %ebp                      # the magic; EBX holds the information block
    mov $_bss_start, %edi               # after the ROM there is no zeroed memory
    mov $_image_end, %ecx
    sub %edi, %ecx
    shr $2, %ecx
    xor %eax, %eax
    rep stosl

    movl $(page_directory_pointers + PRESENT_WRITABLE), page_map
    mov $(page_directories + PRESENT_WRITABLE), %eax
    mov $page_directory_pointers, %edi
1:  mov %eax, (%edi)                    # four page directories, 1 GiB each
    add $4096, %eax
    add $8, %edi
    cmp $(page_directories + 4 * 4096 + PRESENT_WRITABLE), %eax
    jne 1b
    mov $(PRESENT_WRITABLE | LARGE), %eax
    mov $page_directories, %edi
2:  mov %eax, (%edi)                    # 2048 pages of 2 MiB
    cmp $0xC0000000, %eax
    jb 3f
    orl $UNCACHED, (%edi)
3:  add $8, %edi
    add $0x200000, %eax
    jnc 2b

    mov $boot_stack_end, %esp
    mov $start_first, %edx
    jmp enable_long_mode

# The other CPUs arrive here from the trampoline, one at a time.
start_next_32:
    mov next_stack_end, %esp
    mov $start_next, %edx

# Turns paging and long mode on and goes to the 64-bit code at EDX.
enable_long_mode:
    mov %edx, %edi
    mov $CR4_LONG, %eax
    mov %eax, %cr4
    mov $page_map, %eax
    mov %eax, %cr3
    mov $MSR_EFER, %ecx
    rdmsr
    or $EFER_LONG, %eax
    wrmsr
    mov $CR0_LONG, %eax
    mov %eax, %cr0
    lgdt boot_gdt_descriptor
    ljmp $CODE_SELECTOR, $long_mode

    .code64
long_mode:
    mov $DATA_SELECTOR, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss
    xor %eax, %eax
    mov %eax, %fs
    mov %eax, %gs
    mov %edi, %edi                      # the upper half is undefined after the change of mode
    mov %esp, %esp
    jmp *%rdi

start_first:
    mov %ebp, %edi
    mov %ebx, %esi
    xor %ebp, %ebp                      # where a walk over the frame pointers ends
    call first_cpu
    ud2

start_next:
    xor %ebp, %ebp
    call next_cpu
    ud2

# Where a CPU starts after the startup message, in real mode; copied below 1 MiB, to any page. CS:0 is its first byte.
    .code16
    .globl trampoline_start, trampoline_end
trampoline_start:
    cli
    cld
    lgdtl %cs:(trampoline_gdt_descriptor - trampoline_start)
    mov $0x00000011, %eax               # CR0: ET, PE
    mov %eax, %cr0
    ljmpl $trampoline_code_selector, $trampoline_32
    .balign 4
trampoline_gdt_descriptor:
    .word boot_gdt_end - boot_gdt - 1
    .long boot_gdt
trampoline_end:

    .set trampoline_code_selector, boot_gdt_code_32 - boot_gdt
    .code32
trampoline_32:
    mov $DATA_SELECTOR, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss
    jmp start_next_32

    .balign 8
boot_gdt:
    .quad 0
    .quad 0x00AF9B000000FFFF            # CODE_SELECTOR: 64 bits
    .quad 0x00CF93000000FFFF            # DATA_SELECTOR
boot_gdt_code_32:
    .quad 0x00CF9B000000FFFF            # 32 bits, for the way there
boot_gdt_end:
boot_gdt_descriptor:
    .word boot_gdt_end - boot_gdt - 1
    .long boot_gdt

    .section .bss.boot, "aw", @nobits
    .balign 4096
    .globl page_map
page_map:
    .skip 4096
page_directory_pointers:
    .skip 4096
page_directories:
    .skip 4 * 4096
    .globl boot_stack, boot_stack_end
boot_stack:
    .skip 262144
boot_stack_end:
    .globl next_stack_end
next_stack_end:
    .skip 8

    .text                               # what follows in the same assembly is the compiler's
    .code64

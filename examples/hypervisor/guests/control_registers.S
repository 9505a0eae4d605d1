# Writes to CR0, CR4, CR8 and EFER: what is allowed reads back, what is not raises #GP and changes nothing.

    .set CR0_PG, 0x80000000

    .macro cr_write register, value, text
    say64 "\text: "
    mov $\value, %rax
    attempt 7782f
    mov %rax, %\register
7782:
    call outcome64
    .endm

    .macro cr_read register, text
    mov %\register, %rax
    say64 "\text is "
    call hex64
    say64 "\n"
    .endm

    .code64
    entry control_registers
    start64
    # A state that does not depend on how the VMM started the guest.
    mov $0x80000011, %eax               # PG, ET, PE
    mov %rax, %cr0
    mov $0x20, %eax                     # PAE
    mov %rax, %cr4
    cr_read cr0, "CR0"
    cr_read cr4, "CR4"

    # Bits that may be set and cleared.
    cr_write cr0, 0x80010033, "CR0 = PG WP NE ET MP PE"
    cr_read cr0, "CR0"
    cr_write cr0, 0xC0050011, "CR0 = PG CD AM WP ET PE"
    cr_read cr0, "CR0"
    cr_write cr0, 0x80000001, "CR0 without ET"
    cr_read cr0, "CR0"
    mov $0x8000001F, %eax               # TS EM MP
    mov %rax, %cr0
    cr_read cr0, "CR0"
    clts
    cr_read cr0, "CR0 after CLTS"
    xor %eax, %eax
    lmsw %ax                            # cannot clear PE
    cr_read cr0, "CR0 after LMSW of 0"
    mov $8, %eax
    lmsw %ax
    smsw %eax
    say64 "SMSW gives "
    call hex32_64
    say64 "\n"
    mov $0x80000011, %r9d
    mov %r9, %cr0                       # with a register of the upper eight
    mov %cr0, %r14
    mov %r14, %rax
    say64 "by way of R9 and R14: "
    call hex64
    say64 "\n"

    cr_write cr0, 0x80000010, "CR0 = PG without PE"
    cr_write cr0, 0xA0000011, "CR0 = NW without CD"
    cr_write cr0, 0x180000011, "CR0, bit 32"
    cr_write cr0, 0x00000011, "CR0 without PG in 64-bit mode"
    cr_read cr0, "CR0"

    cr_write cr4, 0x6A0, "CR4 = OSXMMEXCPT OSFXSR PGE PAE"
    cr_read cr4, "CR4"
    cr_write cr4, 0x680, "CR4 without PAE"
    cr_write cr4, 0x26A0, "CR4 with VMXE"
    cr_write cr4, 0x800006A0, "CR4, bit 31"
    cr_write cr4, 0x1000006A0, "CR4, bit 32"
    cr_read cr4, "CR4"

    # CR3: flushes and reads back.
    mov %cr3, %rax
    mov %rax, %cr3
    mov %cr3, %rbx
    sub %rax, %rbx
    mov %rbx, %rax
    say64 "CR3 differs by "
    call hex64
    say64 "\n"

    # CR8, and CR2 which is a place to keep things.
    mov $5, %eax
    mov %rax, %cr8
    mov %cr8, %r15
    mov %r15, %rax
    say64 "CR8 is "
    call hex64
    say64 "\n"
    xor %eax, %eax
    mov %rax, %cr8
    mov $0xFFFF800012345678, %rax
    mov %rax, %cr2
    xor %eax, %eax
    cpuid
    cr_read cr2, "CR2"

    # EFER.
    mov $0xC0000080, %ecx
    rdmsr
    or $1, %eax                         # SCE
    wrmsr
    rdmsr
    say64 "EFER with SCE is "
    call hex32_64
    say64 "\n"
    and $~0x100, %eax                   # LME, while paging
    say64 "EFER without LME: "
    attempt 1f
    wrmsr
1:  call outcome64
    rdmsr
    or $2, %eax                         # reserved
    say64 "EFER, bit 1: "
    attempt 1f
    wrmsr
1:  call outcome64
    rdmsr
    say64 "EFER is "
    call hex32_64
    say64 "\n"

    # The no-execute bit works when EFER.NXE says so.
    rdmsr
    or $0x800, %eax
    wrmsr
    mov $(SCRATCH + 0x1000), %ebx
    movb $0xC3, (%rbx)                  # RET
    call *%rbx
    btsq $63, 0x7000 + 8 * ((SCRATCH + 0x1000) >> 12)
    invlpg (%rbx)
    say64 "executing a no-execute page: "
    mov %rsp, %r12
    attempt 1f
    call *%rbx
1:  mov %r12, %rsp
    call outcome64
    btrq $63, 0x7000 + 8 * ((SCRATCH + 0x1000) >> 12)
    invlpg (%rbx)

    # Write protection works for ring 0 when CR0.WP says so.
    andq $~2, 0x7000 + 8 * ((SCRATCH + 0x1000) >> 12)
    invlpg (%rbx)
    movb $0x90, (%rbx)
    say64 "writing a read-only page without WP: no exception\n"
    mov $0x80010011, %eax
    mov %rax, %cr0
    say64 "and with it: "
    attempt 1f
    movb $0x90, (%rbx)
1:  call outcome64
    finish PASSED

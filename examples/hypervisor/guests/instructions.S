# Instructions in every mode and at every privilege: which of them a guest may execute, and what the others raise.
#
# Each row of a table is an instruction. It is executed in 64-bit mode at CPL 0 and 3, in 32-bit compatibility mode at CPL 0
# and 3 and in 16-bit compatibility mode at CPL 3, as far as the row says; a cell is `--` (no exception), `UD`, `GP` with error
# code 0, or the vector; `..` was not executed.

    .set IN_64_0, 1
    .set IN_64_3, 2
    .set IN_32_0, 4
    .set IN_32_3, 8
    .set IN_16_3, 16
    .set AT_CPL_3, IN_64_3 | IN_32_3 | IN_16_3
    .set AT_CPL_0, IN_64_0 | IN_32_0
    .set EVERYWHERE, 31

    .set INSTRUCTION, SCRATCH + 0x800   # where a row's instruction is executed
    .set USER_STACK,  SCRATCH + 0x2000
    .set RING0_STACK, STACK - 0x400     # of instructions at CPL 0
    .set TSS_STACK,   STACK - 0x800
    .set TASK_STATE,  SCRATCH + 0x3000
    .set IO_BITMAP,   0x68
    .set TABLES_TOP,  0x1000            # the page tables of the VMM's making
    .set TABLE_OF_4K, 0x7000

    # Selectors of `instructions_gdt`.
    .set USER_DATA,   0x3B
    .set USER_CODE64, 0x43
    .set USER_CODE32, 0x4B
    .set USER_CODE16, 0x53
    .set TASK,        0x58

    .macro row modes, text, bytes:vararg
    .byte \modes
    .byte 7781f - 7780f
7780: .byte \bytes
7781: .asciz "\text"
    .endm

    .macro rows table
    lea \table(%rip), %rbp
    call instructions_rows
    .endm

    .code64
    entry instructions
    start64
    call instructions_setup
    rows instructions_table
    # The stores that UMIP takes from programs, and instructions that are there when CPUID says so.
    rows instructions_descriptor_table

    say64 "CR4.TSD, PCE:\n"
    mov %cr4, %rax
    or $0x104, %rax
    mov %rax, %cr4
    rows instructions_tsd_table
    mov %cr4, %rax
    and $~0x104, %rax
    mov %rax, %cr4

    say64 "I/O, all ports denied by the bitmap:\n"
    rows instructions_io_table
    # The bitmap lets E8h and EAh through, and not E9h.
    movb $0xFA, TASK_STATE + IO_BITMAP + (0xE8 >> 3)
    say64 "I/O, E8h and EAh allowed:\n"
    rows instructions_io_table
    say64 "I/O, E8h and EAh allowed, IOPL 3:\n"
    movl $0x3002, instructions_flags(%rip)
    rows instructions_io_table
    movl $2, instructions_flags(%rip)
    say64 "I/O, no bitmap:\n"
    movw $0xFFFF, TASK_STATE + 0x66
    rows instructions_io_table

    # XSETBV, where there is XSAVE, at CPL 3. (QEMU looks at the privilege before it looks at CR4.OSXSAVE.)
    mov $1, %eax
    cpuid
    bt $26, %ecx
    jnc 1f
    mov %cr4, %rax
    bts $18, %rax
    mov %rax, %cr4
    call instructions_xsetbv_at_cpl_3
    cmp $13, %eax
    require e, "XSETBV at CPL 3 does not raise #GP"
    mov %cr4, %rax
    btr $18, %rax
    mov %rax, %cr4
    # UMIP, where it is.
1:  mov $7, %eax
    xor %ecx, %ecx
    cpuid
    bt $2, %ecx
    jnc 2f
    mov %cr4, %rax
    bts $11, %rax
    mov %rax, %cr4
    lea instructions_descriptor_table(%rip), %rbp
1:  call instructions_next
    jc 2f
    mov $IN_64_3, %eax
    call instructions_run
    cmpb $13, fault_vector(%rip)
    require e, "UMIP lets an instruction pass"
    jmp 1b
2:  # INVPCID at CPL 3: #GP where it is, #UD where it is not.
    mov $7, %eax
    xor %ecx, %ecx
    cpuid
    mov $6, %r12d
    mov $13, %eax
    bt $10, %ebx
    cmovc %eax, %r12d
    lea instructions_invpcid(%rip), %rbp
    call instructions_next
    mov $IN_64_3, %eax
    call instructions_run
    movzbl fault_vector(%rip), %eax
    cmp %r12d, %eax
    require e, "INVPCID at CPL 3"
    finish PASSED

instructions_xsetbv_at_cpl_3:           # EAX: the vector
    lea instructions_xsetbv(%rip), %rbp
    call instructions_next
    mov $IN_64_3, %eax
    call instructions_run
    movzbl fault_vector(%rip), %eax
    ret

    # Descriptors, task state, a gate for programs, pages that programs may use.
instructions_setup:
    lgdt instructions_gdt_descriptor(%rip)
    mov $TASK_STATE, %edi
    mov $((0x2000 + IO_BITMAP + 1) / 4), %ecx
    mov $-1, %eax
    rep stosl
    mov $TASK_STATE, %edi
    mov $(IO_BITMAP / 4), %ecx
    xor %eax, %eax
    rep stosl
    movq $TSS_STACK, TASK_STATE + 4
    movw $IO_BITMAP, TASK_STATE + 0x66
    mov $TASK, %eax
    ltr %ax
    lea instructions_back(%rip), %rax
    mov $(IDT + 0x30 * 16), %edi
    mov %ax, (%rdi)
    movw $CODE64, 2(%rdi)
    movw $0xEE00, 4(%rdi)               # an interrupt gate for CPL 3
    shr $16, %rax
    mov %eax, 6(%rdi)
    mov $USER_DATA, %eax
    mov %eax, %ds
    mov %eax, %es
    # Everything below 2 MiB is for programs.
    mov $TABLES_TOP, %edi
    orb $4, (%rdi)
    mov (%rdi), %edi
    and $~0xFFF, %edi
    orb $4, (%rdi)
    mov (%rdi), %edi
    and $~0xFFF, %edi
    orb $4, (%rdi)
    mov (%rdi), %edi
    and $~0xFFF, %edi
    mov $512, %ecx
1:  orb $4, (%rdi)
    add $8, %edi
    dec %ecx
    jnz 1b
    mov %cr3, %rax
    mov %rax, %cr3
    ret

instructions_rows:                      # RBP: the table
1:  call instructions_next
    jc 9f
    mov instructions_text(%rip), %rsi
    call print64
    say64 ":"
    mov $1, %ebx
2:  say64 " "
    test %bl, instructions_modes(%rip)
    jnz 3f
    say64 ".."
    jmp 4f
3:  mov %ebx, %eax
    call instructions_run
    call instructions_cell
4:  add %ebx, %ebx
    cmp $EVERYWHERE, %ebx
    jb 2b
    say64 "\n"
    jmp 1b
9:  ret

instructions_next:                      # takes the next row at RBP; CF: there is none
    movzbl (%rbp), %eax
    test %eax, %eax
    stc
    jz 9f
    mov %al, instructions_modes(%rip)
    movzbl 1(%rbp), %ecx
    mov %ecx, instructions_length(%rip)
    lea 2(%rbp), %rsi
    mov $INSTRUCTION, %edi
    rep movsb
    movw $0x30CD, (%rdi)                # INT 30h
    mov %rsi, instructions_text(%rip)
    mov %rsi, %rbp
1:  cmpb $0, (%rbp)
    lea 1(%rbp), %rbp
    jne 1b
    clc
9:  ret

instructions_cell:                      # says how it went
    mov fault_vector(%rip), %al
    cmp $NO_FAULT, %al
    je 1f
    cmp $6, %al
    je 2f
    cmp $13, %al
    jne 4f
    cmpq $0, fault_error(%rip)
    jne 4f
    say64 "GP"
    ret
1:  say64 "--"
    ret
2:  say64 "UD"
    ret
4:  call hex8_64
    ret

instructions_run:                       # executes the instruction in the mode EAX
    push %rbx
    push %rbp
    push %r12
    mov %rsp, instructions_stack(%rip)
    mov $INSTRUCTION, %esi
    mov instructions_flags(%rip), %edx
    mov $CODE64, %ecx
    mov $DATA, %ebx
    mov $RING0_STACK, %edi
    cmp $IN_64_0, %eax
    je 1f
    mov $CODE32, %ecx
    cmp $IN_32_0, %eax
    je 1f
    mov $USER_DATA, %ebx
    mov $USER_STACK, %edi
    mov $USER_CODE64, %ecx
    cmp $IN_64_3, %eax
    je 1f
    mov $USER_CODE32, %ecx
    cmp $IN_32_3, %eax
    je 1f
    mov $USER_CODE16, %ecx
    sub $SCRATCH, %esi                  # where its segment starts
1:  push %rbx
    push %rdi
    push %rdx
    push %rcx
    push %rsi
    add instructions_length(%rip), %esi
    mov %rsi, resume(%rip)
    movb $NO_FAULT, fault_vector(%rip)
    movq $0, fault_error(%rip)
    mov $SCRATCH, %eax
    mov $SCRATCH, %ebx
    xor %ecx, %ecx
    mov $0xE8, %edx
    mov $SCRATCH, %esi
    xor %edi, %edi
    mov $0x700, %ebp                    # [BP+DI], where EBX points in the other modes
    iretq

instructions_back:                      # from INT 30h
    mov instructions_stack(%rip), %rsp
    movq $0, resume(%rip)
    cld
    mov $USER_DATA, %eax
    mov %eax, %ds
    mov %eax, %es
    pop %r12
    pop %rbp
    pop %rbx
    ret

    .balign 8
instructions_stack:  .quad 0
instructions_text:   .quad 0
instructions_flags:  .long 2
instructions_length: .long 0
instructions_modes:  .byte 0

    .balign 8
instructions_gdt:
    .quad 0
    .quad 0x00AF9B000000FFFF            # as in `gdt`
    .quad 0x00CF93000000FFFF
    .quad 0x00CF9B000000FFFF
    .quad 0x00009B000000FFFF
    .quad 0x000093000000FFFF
    .quad 0
    .quad 0x00CFF3000000FFFF            # USER_DATA
    .quad 0x00AFFB000000FFFF            # USER_CODE64
    .quad 0x00CFFB000000FFFF            # USER_CODE32
    .quad 0x0000FB000000FFFF | (SCRATCH & 0xFFFFFF) << 16 # USER_CODE16
    .quad 0x0000890000000000 | (TASK_STATE & 0xFFFFFF) << 16 | 0x2068 # TASK
    .quad 0
instructions_gdt_end:
instructions_gdt_descriptor:
    .word instructions_gdt_end - instructions_gdt - 1
    .quad instructions_gdt + .Lguest

instructions_table:
    row EVERYWHERE, "VMXON", 0xF3, 0x0F, 0xC7, 0x33
    row EVERYWHERE, "VMCLEAR", 0x66, 0x0F, 0xC7, 0x33
    row EVERYWHERE, "VMPTRLD", 0x0F, 0xC7, 0x33
    row EVERYWHERE, "VMPTRST", 0x0F, 0xC7, 0x3B
    row EVERYWHERE, "VMREAD", 0x0F, 0x78, 0xC3
    row EVERYWHERE, "VMWRITE", 0x0F, 0x79, 0xC3
    row EVERYWHERE, "VMLAUNCH", 0x0F, 0x01, 0xC2
    row EVERYWHERE, "VMRESUME", 0x0F, 0x01, 0xC3
    row EVERYWHERE, "VMXOFF", 0x0F, 0x01, 0xC4
    row EVERYWHERE, "VMFUNC", 0x0F, 0x01, 0xD4
    row EVERYWHERE, "INVEPT", 0x66, 0x0F, 0x38, 0x80, 0x03
    row EVERYWHERE, "INVVPID", 0x66, 0x0F, 0x38, 0x81, 0x03
    row AT_CPL_3, "VMCALL", 0x0F, 0x01, 0xC1
    row AT_CPL_3, "VMMCALL", 0x0F, 0x01, 0xD9
    # Above CPL 0 AMD's CPUs look at the privilege first, and EFER.SVME is on under the guest: #GP there.
    row AT_CPL_0, "VMRUN", 0x0F, 0x01, 0xD8
    row AT_CPL_0, "VMLOAD", 0x0F, 0x01, 0xDA
    row AT_CPL_0, "VMSAVE", 0x0F, 0x01, 0xDB
    row AT_CPL_0, "STGI", 0x0F, 0x01, 0xDC
    row AT_CPL_0, "CLGI", 0x0F, 0x01, 0xDD
    row AT_CPL_0, "SKINIT", 0x0F, 0x01, 0xDE
    row AT_CPL_0, "INVLPGA", 0x0F, 0x01, 0xDF
    row EVERYWHERE, "GETSEC", 0x0F, 0x37
    row EVERYWHERE, "RSM", 0x0F, 0xAA
    row EVERYWHERE, "ENCLS", 0x0F, 0x01, 0xCF
    row EVERYWHERE, "PCONFIG", 0x0F, 0x01, 0xC5
    row EVERYWHERE, "MWAIT", 0x0F, 0x01, 0xC9
    row EVERYWHERE, "XSAVES", 0x0F, 0xC7, 0x2B
    row EVERYWHERE, "XRSTORS", 0x0F, 0xC7, 0x1B
    row EVERYWHERE, "INVD", 0x0F, 0x08
    row EVERYWHERE, "WBINVD", 0x0F, 0x09
    row EVERYWHERE, "RDPMC", 0x0F, 0x33
    row EVERYWHERE, "RDTSC", 0x0F, 0x31
    row EVERYWHERE, "CPUID", 0x0F, 0xA2
    row AT_CPL_3, "HLT", 0xF4
    row EVERYWHERE, "CLI", 0xFA
    row AT_CPL_3, "STI", 0xFB
    row EVERYWHERE, "CLTS", 0x0F, 0x06
    row EVERYWHERE, "LMSW", 0x0F, 0x01, 0xF0
    row EVERYWHERE, "INVLPG", 0x0F, 0x01, 0x3B
    row AT_CPL_3, "LGDT", 0x0F, 0x01, 0x13
    row AT_CPL_3, "LIDT", 0x0F, 0x01, 0x1B
    row AT_CPL_3, "LLDT", 0x0F, 0x00, 0xD0
    row AT_CPL_3, "LTR", 0x0F, 0x00, 0xD8
    row AT_CPL_3, "RDMSR", 0x0F, 0x32
    row AT_CPL_3, "WRMSR", 0x0F, 0x30
    row EVERYWHERE, "MOV from CR0", 0x0F, 0x20, 0xC0
    row AT_CPL_3, "MOV to CR0", 0x0F, 0x22, 0xC0
    row EVERYWHERE, "MOV from CR3", 0x0F, 0x20, 0xD8
    row AT_CPL_3, "MOV to CR3", 0x0F, 0x22, 0xD8
    row EVERYWHERE, "MOV from CR4", 0x0F, 0x20, 0xE0
    row AT_CPL_3, "MOV to CR4", 0x0F, 0x22, 0xE0
    row IN_64_0 | IN_64_3, "MOV from CR8", 0x44, 0x0F, 0x20, 0xC0
    row IN_64_3, "MOV to CR8", 0x44, 0x0F, 0x22, 0xC0
    row IN_64_0 | IN_32_0, "MOV from CR1", 0x0F, 0x20, 0xC8
    row IN_64_0 | IN_32_0, "MOV to CR5", 0x0F, 0x22, 0xE8
    row EVERYWHERE, "MOV from DR0", 0x0F, 0x21, 0xC0
    row EVERYWHERE, "MOV from DR7", 0x0F, 0x21, 0xF8
    row AT_CPL_3, "MOV to DR7", 0x0F, 0x23, 0xF8
    row IN_64_3 | IN_32_0 | IN_32_3, "SWAPGS", 0x0F, 0x01, 0xF8
    row EVERYWHERE, "PAUSE", 0xF3, 0x90
    .byte 0
instructions_descriptor_table:
    row EVERYWHERE, "SGDT", 0x0F, 0x01, 0x03
    row EVERYWHERE, "SIDT", 0x0F, 0x01, 0x0B
    row EVERYWHERE, "SLDT", 0x0F, 0x00, 0xC0
    row EVERYWHERE, "STR", 0x0F, 0x00, 0xC8
    row EVERYWHERE, "SMSW", 0x0F, 0x01, 0xE0
    .byte 0
instructions_tsd_table:
    row EVERYWHERE, "RDTSC", 0x0F, 0x31
    row EVERYWHERE, "RDPMC", 0x0F, 0x33
    .byte 0
instructions_io_table:
    row EVERYWHERE, "IN AL, E8h", 0xE4, 0xE8
    row EVERYWHERE, "IN AL, E9h", 0xE4, 0xE9
    row IN_64_0 | IN_64_3 | IN_32_3, "IN EAX, E8h", 0xE5, 0xE8
    row EVERYWHERE, "IN AL, DX", 0xEC
    row EVERYWHERE, "OUT DX, AL", 0xEE
    row IN_64_0 | IN_64_3 | IN_32_3, "OUTSB", 0x6E
    row AT_CPL_3, "CLI", 0xFA
    .byte 0
instructions_xsetbv:
    row IN_64_3, "XSETBV", 0x0F, 0x01, 0xD1
    .byte 0
instructions_invpcid:
    row IN_64_3, "INVPCID", 0x66, 0x0F, 0x38, 0x82, 0x03
    .byte 0

# Tasks: by CALL, JMP, IRET and task gates; for exceptions with and without an error code; a segment of 16 bits; a fault in the
# new task.

    .set TASKS_GDT,   0x22000
    .set TASKS_MAIN,  0x23000
    .set TASKS_OTHER, 0x23100
    .set TASKS_16,    0x23200
    .set TASKS_SKIP,  0x23300           # how long the instruction is that the main task does not execute again
    .set TASKS_STACK, 0x26000
    .set MAIN_TSS,    48
    .set OTHER_TSS,   56
    .set TSS_16,      64
    .set TASK_GATE,   72

    .macro tss_descriptor selector, base, limit, rights
    movl $((\base & 0xFFFF) << 16 | \limit), TASKS_GDT + \selector
    movl $(\base >> 16 | \rights << 8), TASKS_GDT + \selector + 4
    .endm

    .macro task_gate vector
    movl $(OTHER_TSS << 16), IDT + \vector * 8
    movl $0x8500, IDT + \vector * 8 + 4
    .endm

    .code32
    entry task_switch
    start32
    mov $(gdt + .Lguest), %esi
    mov $TASKS_GDT, %edi
    mov $12, %ecx
    rep movsl
    mov $TASKS_MAIN, %edi
    mov $0x100, %ecx
    xor %eax, %eax
    rep stosl
    tss_descriptor MAIN_TSS, TASKS_MAIN, 103, 0x89
    tss_descriptor OTHER_TSS, TASKS_OTHER, 103, 0x89
    tss_descriptor TSS_16, TASKS_16, 43, 0x81
    movl $(OTHER_TSS << 16), TASKS_GDT + TASK_GATE
    movl $0x8500, TASKS_GDT + TASK_GATE + 4
    movw $(TASK_GATE + 7), SCRATCH
    movl $TASKS_GDT, SCRATCH + 2
    lgdt SCRATCH
    mov $MAIN_TSS, %eax
    ltr %ax
    movl $(task_other + .Lguest), TASKS_OTHER + 0x20
    movl $2, TASKS_OTHER + 0x24
    movl $0x600DF00D, TASKS_OTHER + 0x34
    movl $TASKS_STACK, TASKS_OTHER + 0x38
    movl $DATA, TASKS_OTHER + 0x48
    movl $CODE32, TASKS_OTHER + 0x4C
    movl $DATA, TASKS_OTHER + 0x50
    movl $DATA, TASKS_OTHER + 0x54

    mov $0xB0B, %ebx
    say32 "CALL\n"
    lcall $OTHER_TSS, $0xF4F4F4F4       # the offset counts for nothing
    call task_back
    say32 "CALL again, through a gate\n"
    lcall $TASK_GATE, $0
    call task_back
    say32 "JMP\n"
    ljmp $OTHER_TSS, $0
    call task_back
    say32 "INT 30h\n"
    task_gate 0x30
    int $0x30
    call task_back
    say32 "UD2\n"
    task_gate 6
    movl $2, TASKS_SKIP
    ud2
    call task_back
    say32 "MOV to FS\n"
    task_gate 13
    movl $2, TASKS_SKIP
    mov $0x7FF8, %eax
    mov %eax, %fs
    call task_back
    say32 "CALL of a busy task\n"
    movl $7, TASKS_SKIP
    lcall $MAIN_TSS, $0
    call task_back

    say32 "CALL with a bad DS\n"
    gate32 10, task_invalid
    movl $0x1F8, TASKS_OTHER + 0x54
    lcall $OTHER_TSS, $0
    call task_back

    say32 "CALL, 16 bits\n"
    movw $(task_16 + .Lguest), TASKS_16 + 14
    movw $2, TASKS_16 + 16
    movw $0x7F00, TASKS_16 + 26
    movw $DATA, TASKS_16 + 34
    movw $CODE32, TASKS_16 + 36
    movw $DATA16, TASKS_16 + 38            # the upper half of ESP is undefined
    movw $DATA, TASKS_16 + 40
    lcall $TSS_16, $0
    call task_back
    finish PASSED

task_back:
    say32 "back, EBX "
    mov %ebx, %eax
    call hex32
    call task_say
    ret

    # The task register, NT and TS.
task_say:
    say32 ", TR "
    xor %eax, %eax
    str %ax
    call hex32
    say32 ", NT "
    pushf
    pop %eax
    and $0x4000, %eax
    call hex32
    say32 ", TS "
    mov %cr0, %eax
    and $8, %eax
    call hex32
    say32 "\n"
    clts
    ret

task_other:
    cmp $TASKS_STACK, %esp
    je 1f
    pop %eax
    say32 "error code "
    call hex32
    say32 "\n"
1:  say32 "other, EBX "
    mov %ebx, %eax
    call hex32
    call task_say
    say32 "link "
    movzwl TASKS_OTHER, %eax
    call hex32
    say32 ", types "
    movzbl TASKS_GDT + MAIN_TSS + 5, %eax
    call hex32
    say32 " "
    movzbl TASKS_GDT + OTHER_TSS + 5, %eax
    call hex32
    say32 "\n"
    mov TASKS_SKIP, %eax
    add %eax, TASKS_MAIN + 0x20
    movl $0, TASKS_SKIP
    inc %ebx
    pushf
    pop %eax
    test $0x4000, %eax
    jz 2f
    iret
    jmp task_other
2:  ljmp $MAIN_TSS, $0
    jmp task_other

task_invalid:                           # in the new task, which has no DS yet
    mov $DATA, %eax
    mov %eax, %ds
    pop %eax
    say32 "#TS, error code "
    call hex32
    say32 "\n"
    movl $(task_other + .Lguest), (%esp) # one emulator has the old task's EIP here
    iret

task_16:
    say32 "other"
    call task_say
    iret

# 32-bit protected mode: port I/O, exceptions with and without an error code, and 32-bit paging.

    .set DIRECTORY, 0x1000
    .set TABLE,     0x2000
    .set WINDOW,    0x400000            # linear; outside what is mapped one to one
    .set CR0_PG_WP, 0x80010000

    .code32
    entry protected
    start32
    say32 "hello from protected mode\n"
    gate32 6, protected_invalid_opcode
    gate32 13, protected_general
    gate32 14, protected_page_fault
    gate32 0x40, protected_interrupt
    int $0x40
    ud2
    mov $0x7FF8, %eax                   # beyond the descriptor table: #GP with the selector
    mov %eax, %fs

    # 32-bit paging: 4 MiB one to one, and a window of one page.
    mov $TABLE, %edi
    mov $3, %eax
1:  stosl
    add $0x1000, %eax
    cmp $0x400003, %eax
    jne 1b
    movl $(TABLE + 3), DIRECTORY
    movl $(SCRATCH + 0x1000 + 3), DIRECTORY + 4 # the window's table: in the second scratch page
    movl $0, SCRATCH + 0x1000
    movl $0x600DF00D, SCRATCH
    mov $DIRECTORY, %eax
    mov %eax, %cr3
    mov %cr0, %eax
    or $CR0_PG_WP, %eax
    mov %eax, %cr0
    say32 "paging is on\n"

    mov WINDOW, %eax                    # not present: the handler maps it
    say32 "read through the window: "
    call hex32
    say32 "\n"
    incl WINDOW                         # read-only: the handler makes it writable
    mov SCRATCH, %eax
    say32 "after the increment: "
    call hex32
    say32 "\n"

    mov %cr0, %eax
    and $0x7FFFFFFF, %eax
    mov %eax, %cr0
    say32 "paging is off\n"
    finish PASSED

protected_interrupt:
    say32 "in interrupt 40h\n"
    iret

protected_invalid_opcode:
    say32 "#UD\n"
    addl $2, (%esp)                     # behind UD2
    iret

protected_general:                      # behind MOV to FS
    pop %eax
    push %esi
    say32 "#GP, error code "
    call hex32
    say32 "\n"
    pop %esi
    addl $2, (%esp)
    iret

protected_page_fault:
    pop %eax
    push %esi
    say32 "#PF, error code "
    call hex32
    mov %cr2, %eax
    say32 " at "
    call hex32
    say32 "\n"
    pop %esi
    # First present, then writable.
    testl $1, SCRATCH + 0x1000
    jnz 1f
    movl $(SCRATCH + 1), SCRATCH + 0x1000
    iret
1:  orl $2, SCRATCH + 0x1000
    invlpg WINDOW
    iret

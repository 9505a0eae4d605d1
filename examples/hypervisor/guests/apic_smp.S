# Two CPUs that know each other through their local APICs alone: INIT and start-up message, interrupts back and forth, halted
# and running.

    .set OTHER_CPU, 1
    .set PINGS, 20
    .set PING, 0x35
    .set PONG, 0x36

    .code64
    entry apic_smp
    start64
    apic_write APIC_SVR, 0x13F
    # The trampoline goes to its page; a start-up message names it.
    .set TRAMPOLINE, 0x22000
    lea apic_trampoline(%rip), %rsi
    mov $TRAMPOLINE, %edi
    mov $(apic_trampoline_end - apic_trampoline), %ecx
    rep movsb
    # A message that starts nobody: it does not wait for one. Then INIT, and the page twice.
    apic_write APIC_ICR2, OTHER_CPU << 24
    apic_write APIC_ICR, 0x4500
    apic_write APIC_ICR, 0x8500
    apic_write APIC_ICR, 0x4600 + (TRAMPOLINE >> 12)
    apic_write APIC_ICR, 0x4600 + (TRAMPOLINE >> 12)
    say64 "waiting for the other\n"
1:  pause
    cmpl $1, apic_started(%rip)
    jne 1b
    say64 "it runs\n"

    # Pings that the other one answers while this one spins: both run.
    mov $PINGS, %ebx
2:  movl $0, interrupt_count(%rip)
    apic_write APIC_ICR2, OTHER_CPU << 24
    apic_write APIC_ICR, 0x4000 + PING
    sti
3:  cmpl $0, interrupt_count(%rip)
    je 3b
    cli
    apic_write APIC_EOI, 0
    dec %ebx
    jnz 2b
    say64 "answers while it spins "
    mov apic_pings(%rip), %eax
    call say_word

    # The same while this one halts.
    mov $PINGS, %ebx
2:  movl $0, interrupt_count(%rip)
    apic_write APIC_ICR, 0xC4000 + PING   # to all but itself
    sti
    hlt
    cli
    apic_write APIC_EOI, 0
    dec %ebx
    jnz 2b
    say64 "answers while it halts "
    mov apic_pings(%rip), %eax
    call say_word

    # As for the translations of another CPU: both ask each other at the same time, and wait with interrupts on.
    movl $1, apic_phase(%rip)
    apic_write APIC_ICR2, OTHER_CPU << 24
    apic_write APIC_ICR, 0x4000 + PING
    mov $PINGS, %ebx
4:  mov apic_acknowledged(%rip), %eax
    apic_write APIC_ICR, 0x4000 + PONG
    sti
5:  cmp apic_acknowledged(%rip), %eax
    je 5b
    cli
    dec %ebx
    jnz 4b
    sti
6:  cmpl $1, apic_finished(%rip)
    jne 6b
    cli
    say64 "both have waited for each other\n"
    # An NMI, which needs no permission.
    apic_write APIC_ICR, 0x4400
7:  pause
    cmpl $1, apic_other_nmis(%rip)
    jne 7b
    say64 "the other had its NMI\n"
    # INIT again: it is gone.
    apic_write APIC_ICR, 0x4500
    movl $0, apic_started(%rip)
    apic_write APIC_ICR, 0x4600 + (TRAMPOLINE >> 12)
8:  pause
    cmpl $1, apic_started(%rip)
    jne 8b
    say64 "it runs again\n"
    finish PASSED

    # The other CPU, in real mode at the start of a page.
    .code16
apic_trampoline:
    cli
    xor %ax, %ax
    mov %ax, %ds
    mov $(PAGE_MAP_ADDRESS), %eax
    mov %eax, %cr3
    mov %cr4, %eax
    or $0x20, %eax
    mov %eax, %cr4
    mov $0xC0000080, %ecx
    rdmsr
    or $0x100, %eax
    wrmsr
    lgdtl gdt_descriptor + .Lguest
    mov %cr0, %eax
    or $0x80000001, %eax
    mov %eax, %cr0
    ljmpl $CODE64, $(apic_other + .Lguest)
apic_trampoline_end:

    .code64
apic_other:
    mov $0x1C000, %esp
    mov $DATA, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss
    lidt apic_idt_descriptor(%rip)
    # Its own table: pings, acknowledgements, NMIs.
    lea apic_ping(%rip), %rax
    mov $(APIC_IDT + PING * 16), %edi
    call apic_gate
    lea apic_pong(%rip), %rax
    mov $(APIC_IDT + PONG * 16), %edi
    call apic_gate
    # The first CPU's too, for the last part.
    mov $(IDT + PONG * 16), %edi
    call apic_gate
    lea apic_other_nmi(%rip), %rax
    mov $(APIC_IDT + 2 * 16), %edi
    call apic_gate
    apic_write APIC_SVR, 0x13F
    movl $1, apic_started(%rip)
1:  sti
    hlt
    cli
    cmpl $1, apic_phase(%rip)
    jne 1b
    # The last part: as the first CPU does.
    movl $2, apic_phase(%rip)
    apic_write APIC_ICR2, 0
    mov $PINGS, %ebx
4:  mov apic_other_acknowledged(%rip), %eax
    apic_write APIC_ICR, 0x4000 + PONG
    sti
5:  cmp apic_other_acknowledged(%rip), %eax
    je 5b
    cli
    dec %ebx
    jnz 4b
    movl $1, apic_finished(%rip)
6:  sti
    hlt
    jmp 6b

apic_ping:                              # on the other CPU: counts, and answers the first
    push %rax
    incl apic_pings(%rip)
    apic_write APIC_EOI, 0
    cmpl $0, apic_phase(%rip)
    jne 1f
    apic_write APIC_ICR2, 0
    apic_write APIC_ICR, 0x4000 + 0x33
1:  pop %rax
    iretq

apic_pong:                              # on both: whoever asked sees the number of the other change
    push %rax
    apic_read APIC_ID
    test %eax, %eax
    jz 1f
    incl apic_acknowledged(%rip)
    jmp 2f
1:  incl apic_other_acknowledged(%rip)
2:  apic_write APIC_EOI, 0
    pop %rax
    iretq

apic_other_nmi:
    incl apic_other_nmis(%rip)
    iretq

    .set APIC_IDT, 0x23000
    .set PAGE_MAP_ADDRESS, 0x1000
apic_idt_descriptor:
    .word 64 * 16 - 1
    .quad APIC_IDT
    .balign 4
apic_started:            .long 0
apic_pings:              .long 0
apic_phase:              .long 0
apic_acknowledged:       .long 0
apic_other_acknowledged: .long 0
apic_finished:           .long 0
apic_other_nmis:         .long 0

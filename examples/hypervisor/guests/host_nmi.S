# A guest that spins while the host gets non-maskable interrupts. It has a handler for its own, of which none comes.

    .code64
    entry host_nmi
    start64
    lea host_nmi_handler(%rip), %rax
    mov %ax, IDT + 2 * 16               # everything is below 64 KiB
    movl $0, host_nmi_count(%rip)
    movl $0, SCRATCH
    say64 "spinning\n"
    out %al, $PORT_YIELD                # the VMM knows that it may begin
    sti
1:  cmpl $0, SCRATCH                    # it writes here when it has had enough
    je 1b
    cli
    say64 "NMIs that the guest saw: "
    mov host_nmi_count(%rip), %eax
    call hex32_64
    say64 "\n"
    finish PASSED

host_nmi_handler:
    incl host_nmi_count(%rip)
    iretq

    .balign 4
host_nmi_count:
    .long 0

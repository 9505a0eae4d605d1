# The local APIC of the library, through the page of the xAPIC; and as MSRs of the x2APIC.

    .set APIC,         0xFEE00000
    .set APIC_ID,      0x020
    .set APIC_VERSION, 0x030
    .set APIC_TPR,     0x080
    .set APIC_PPR,     0x0A0
    .set APIC_EOI,     0x0B0
    .set APIC_LDR,     0x0D0
    .set APIC_DFR,     0x0E0
    .set APIC_SVR,     0x0F0
    .set APIC_ISR1,    0x110
    .set APIC_TMR1,    0x190
    .set APIC_IRR1,    0x210
    .set APIC_ESR,     0x280
    .set APIC_ICR,     0x300
    .set APIC_ICR2,    0x310
    .set APIC_TIMER,   0x320
    .set APIC_LINT0,   0x350
    .set APIC_LINT1,   0x360
    .set APIC_ERROR,   0x370
    .set APIC_COUNT,   0x380
    .set APIC_CURRENT, 0x390
    .set APIC_DIVIDE,  0x3E0
    .set TO_SELF,      0x40000

    .code64
    # EAX: a register of the page; changes only RAX.
    .macro apic_read register
    mov $APIC + \register, %eax
    mov (%rax), %eax
    .endm

    .macro apic_write register, value
    push %rax
    mov $APIC + \register, %eax
    movl $\value, (%rax)
    pop %rax
    .endm

    # Says a text and a register.
    .macro apic_say text, register
    say64 "\text"
    apic_read \register
    call say_word
    .endm

say_word:                               # EAX and a new line
    call hex32_64
    say64 "\n"
    ret

say_interrupts:                         # how many, and which ones, and forgets them
    push %rax
    push %rbx
    say64 "interrupts:"
    xor %ebx, %ebx
1:  cmp interrupt_count(%rip), %ebx
    je 2f
    say64 " "
    mov interrupt_log + .Lguest(%rbx), %al
    call hex8_64
    inc %ebx
    jmp 1b
2:  say64 "\n"
    movl $0, interrupt_count(%rip)
    pop %rbx
    pop %rax
    ret

    # Interrupts may come here.
    .macro window
    sti
    nop
    nop
    cli
    .endm

    entry local_apic
    start64
    apic_say "version ", APIC_VERSION
    apic_say "spurious vector register ", APIC_SVR
    apic_say "LINT0 ", APIC_LINT0
    # Turned off by software, entries stay masked and nothing is received.
    apic_write APIC_TIMER, 0x30
    apic_say "timer entry while it is off ", APIC_TIMER
    apic_write APIC_ICR, TO_SELF + 0x31
    apic_say "requests while it is off ", APIC_IRR1
    apic_write APIC_SVR, 0x13F
    apic_say "turned on ", APIC_SVR

    # A request with interrupts off, then delivered, then in service.
    apic_write APIC_ICR, TO_SELF + 0x31
    apic_say "requested ", APIC_IRR1
    window
    call say_interrupts
    apic_say "requested ", APIC_IRR1
    apic_say "in service ", APIC_ISR1
    apic_say "processor priority ", APIC_PPR
    # The same class waits, a higher one does not.
    apic_write APIC_ICR, TO_SELF + 0x3A
    apic_write APIC_ICR, TO_SELF + 0x29
    window
    call say_interrupts
    apic_write APIC_EOI, 0
    say64 "after an EOI: "
    window
    call say_interrupts
    apic_write APIC_EOI, 0
    say64 "after another: "
    window
    call say_interrupts
    apic_write APIC_EOI, 0
    apic_say "in service ", APIC_ISR1

    # The task priority, through CR8 and through its register.
    mov $3, %eax
    mov %rax, %cr8
    apic_say "task priority ", APIC_TPR
    apic_write APIC_ICR, TO_SELF + 0x31
    window
    call say_interrupts
    mov $2, %eax
    mov %rax, %cr8
    window
    call say_interrupts
    apic_write APIC_EOI, 0
    apic_write APIC_TPR, 0x38
    mov %cr8, %rax
    say64 "CR8 "
    call say_word
    apic_write APIC_ICR, TO_SELF + 0x30
    window
    call say_interrupts
    apic_write APIC_TPR, 0
    window
    call say_interrupts
    apic_write APIC_EOI, 0

    # Errors: an illegal vector, a register that is not there.
    apic_write APIC_ICR, TO_SELF + 0x0F
    apic_say "errors before the write ", APIC_ESR
    apic_write APIC_ESR, 0
    apic_say "errors ", APIC_ESR
    mov $APIC + 0x3D0, %eax
    mov (%rax), %eax
    apic_write APIC_ESR, 0
    apic_say "errors ", APIC_ESR
    apic_write APIC_ESR, 0
    apic_say "errors ", APIC_ESR
    apic_write APIC_ERROR, 0x3E
    apic_write APIC_ICR, TO_SELF
    window
    call say_interrupts
    apic_write APIC_EOI, 0

    # Instructions that read and write.
    mov $APIC + APIC_TPR, %eax
    movl $0x10, (%rax)
    orl $0x21, (%rax)
    apic_say "task priority ", APIC_TPR
    apic_write APIC_TPR, 0

    # A level-triggered interrupt of the VMM's, whose end it is told.
    out %al, $PORT_YIELD
    apic_say "triggered by level ", APIC_TMR1
    window
    call say_interrupts
    apic_write APIC_EOI, 0
    apic_say "in service ", APIC_ISR1

    # LINT0 as the input of a PIC, LINT1 as that of NMIs: the VMM uses both.
    apic_write APIC_LINT0, 0x700
    apic_write APIC_LINT1, 0x400
    lea apic_nmi(%rip), %rax
    mov $(IDT + 2 * 16), %edi
    call apic_gate
    out %al, $PORT_YIELD
    sti
    nop
    nop
    cli
    call say_interrupts
    apic_say "in service ", APIC_ISR1
    say64 "NMIs "
    mov apic_nmis(%rip), %eax
    call say_word
    apic_write APIC_LINT0, 0x10700
    out %al, $PORT_YIELD

    # The timer, once.
    apic_write APIC_DIVIDE, 0xB
    apic_write APIC_TIMER, 0x32
    apic_write APIC_COUNT, 2000000000
    apic_read APIC_CURRENT
    sub $1, %eax
    cmp $1999999999, %eax
    require b, "the count does not count"
    apic_write APIC_COUNT, 20000
    sti
    hlt
    cli
    call say_interrupts
    apic_say "count ", APIC_CURRENT
    apic_write APIC_EOI, 0
    # Without a HLT: the guest is interrupted while it runs.
    apic_write APIC_COUNT, 20000
    sti
1:  cmpl $0, interrupt_count(%rip)
    je 1b
    cli
    call say_interrupts
    apic_write APIC_EOI, 0
    # Again and again.
    apic_write APIC_TIMER, 0x20033
    apic_write APIC_COUNT, 40000
    mov $3, %ebx
1:  sti
    hlt
    cli
    apic_write APIC_EOI, 0
    dec %ebx
    jnz 1b
    apic_write APIC_COUNT, 0
    call say_interrupts
    # A fourth may have come before the count stopped.
    window
    apic_write APIC_EOI, 0
    movl $0, interrupt_count(%rip)
    # By a deadline.
    mov $1, %eax
    cpuid
    bt $24, %ecx
    require c, "no TSC deadline"
    apic_write APIC_TIMER, 0x40034
    mov $0x6E0, %ecx
    rdtsc
    add $5000000, %eax
    adc $0, %edx
    mov %edx, %esi
    mov %eax, %edi
    wrmsr
    rdmsr
    # An emulator that keeps real time may have passed it.
    test %eax, %eax
    jz 1f
    cmp %edi, %eax
    require e, "another deadline"
1:
    sti
    hlt
    cli
    rdtsc
    sub %edi, %eax
    sbb %esi, %edx
    require ae, "too early"
    call say_interrupts
    mov $0x6E0, %ecx
    rdmsr
    say64 "deadline "
    call say_word
    apic_write APIC_EOI, 0
    # A deadline that has passed.
    mov $0x6E0, %ecx
    mov $1, %eax
    xor %edx, %edx
    wrmsr
    window
    call say_interrupts
    apic_write APIC_EOI, 0
    apic_write APIC_TIMER, 0x10000
    finish PASSED

apic_gate:                              # RAX: the handler, RDI: where its gate is; changes RDX
    movzwl %ax, %edx
    or $(CODE64 << 16), %edx
    mov %edx, (%rdi)
    mov %eax, %edx
    mov $0x8E00, %dx
    mov %edx, 4(%rdi)
    movq $0, 8(%rdi)
    ret

apic_nmi:
    incl apic_nmis(%rip)
    iretq

    .balign 4
apic_nmis:
    .long 0

    # Says a text, and how a write of EDX:EAX to the MSR ECX went.
    .macro x2apic_try text
    say64 "\text"
    attempt 7776f
    wrmsr
7776: call outcome64
    .endm

    .set BASE_MSR,  0x1B
    .set BASE_XAPIC,  0xFEE00900
    .set BASE_X2APIC, 0xFEE00D00
    .set X2_ID,       0x802
    .set X2_TPR,      0x808
    .set X2_EOI,      0x80B
    .set X2_LDR,      0x80D
    .set X2_SVR,      0x80F
    .set X2_ESR,      0x828
    .set X2_ICR,      0x830
    .set X2_ICR2,     0x831
    .set X2_TIMER,    0x832
    .set X2_SELF,     0x83F

    .macro x2apic_write register, value
    mov $\register, %ecx
    mov $\value, %eax
    xor %edx, %edx
    wrmsr
    .endm

    .macro x2apic_say text, register
    say64 "\text"
    mov $\register, %ecx
    rdmsr
    call say_word
    .endm

    entry x2apic
    start64
    mov $1, %eax
    cpuid
    bt $21, %ecx
    require c, "no x2APIC"
    x2apic_say "base ", BASE_MSR
    mov $X2_ID, %ecx
    say64 "read before: "
    attempt 1f
    rdmsr
1:  call outcome64
    mov $BASE_MSR, %ecx
    xor %edx, %edx
    mov $BASE_XAPIC + 0x200, %eax
    x2apic_try "a reserved bit: "
    mov $BASE_MSR, %ecx
    mov $BASE_X2APIC, %eax
    x2apic_try "x2APIC mode: "
    mov $BASE_MSR, %ecx
    mov $BASE_XAPIC, %eax
    x2apic_try "back to xAPIC mode: "
    x2apic_say "id ", X2_ID
    x2apic_say "logical id ", X2_LDR
    x2apic_write X2_SVR, 0x13F
    x2apic_write X2_SELF, 0x35
    window
    call say_interrupts
    mov $X2_EOI, %ecx
    mov $1, %eax
    x2apic_try "an EOI of 1: "
    xor %eax, %eax
    x2apic_try "an EOI: "
    mov $X2_ID, %ecx
    x2apic_try "write the id: "
    mov $X2_ICR2, %ecx
    x2apic_try "the upper half of the command: "
    mov $X2_TPR, %ecx
    mov $0x100, %eax
    x2apic_try "a reserved bit: "
    mov $X2_TIMER, %ecx
    mov $0x80000, %eax
    x2apic_try "a reserved bit: "
    mov $X2_ICR, %ecx
    mov $0x2000, %eax
    x2apic_try "a reserved bit: "
    mov $X2_ESR, %ecx
    mov $1, %eax
    x2apic_try "errors of 1: "
    # To itself, by its id and by its logical id.
    mov $X2_ICR, %ecx
    mov $0x36, %eax
    xor %edx, %edx
    wrmsr
    window
    call say_interrupts
    x2apic_write X2_EOI, 0
    mov $X2_ICR, %ecx
    mov $0x837, %eax
    mov $1, %edx
    wrmsr
    window
    call say_interrupts
    x2apic_write X2_EOI, 0
    # The priority holds back.
    x2apic_write X2_TPR, 0x30
    mov %cr8, %rax
    say64 "CR8 "
    call say_word
    x2apic_write X2_SELF, 0x38
    window
    call say_interrupts
    x2apic_write X2_TPR, 0
    window
    call say_interrupts
    x2apic_write X2_EOI, 0
    # Off, which CPUID shows, and on again.
    x2apic_write BASE_MSR, 0xFEE00100
    mov $1, %eax
    cpuid
    say64 "local APIC "
    mov %edx, %eax
    shr $9, %eax
    and $1, %eax
    call say_word
    mov $BASE_MSR, %ecx
    xor %edx, %edx
    mov $BASE_X2APIC, %eax
    x2apic_try "from off to x2APIC mode: "
    x2apic_write BASE_MSR, BASE_XAPIC
    apic_say "spurious vector register ", APIC_SVR
    finish PASSED

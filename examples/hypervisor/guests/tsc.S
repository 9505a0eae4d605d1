# The time-stamp counter: what the guest writes, what the VMM adds, and how fast it runs.

    .set MSR_TSC, 0x10
    .set MSR_TSC_ADJUST, 0x3B

    # \register: the counter, by RDTSC. Changes RAX and RDX.
    .macro counter register
    rdtsc
    shl $32, %rdx
    lea (%rdx,%rax), \register
    .endm

    .macro read_msr register, into
    mov $\register, %ecx
    rdmsr
    shl $32, %rdx
    lea (%rdx,%rax), \into
    .endm

    .macro write_msr register, from
    mov $\register, %ecx
    mov \from, %rdx
    mov %edx, %eax
    shr $32, %rdx
    wrmsr
    .endm

    # Prints by how many times 2^40 \after is above \before, to the nearest: what a few instructions take does not show.
    .macro say_difference after, before, text
    say64 "\text: "
    mov \after, %rax
    sub \before, %rax
    mov $(1 << 39), %rdx
    add %rdx, %rax
    shr $40, %rax
    call hex32_64
    say64 "\n"
    .endm

    .code64
    entry tsc
    start64
    # IA32_TSC and IA32_TSC_ADJUST move together.
    read_msr MSR_TSC_ADJUST, %r14
    say64 "IA32_TSC_ADJUST: "
    mov %r14, %rax
    call hex64
    counter %rbx
    mov $(3 << 40), %rbp
    add %rbx, %rbp
    write_msr MSR_TSC, %rbp
    counter %rbp
    say_difference %rbp, %rbx, "\nthe counter after a write of IA32_TSC"
    read_msr MSR_TSC_ADJUST, %rbp
    say_difference %rbp, %r14, "and the adjustment"
    counter %rbx
    mov $(8 << 40), %r14
    write_msr MSR_TSC_ADJUST, %r14
    read_msr MSR_TSC_ADJUST, %rax
    cmp %r14, %rax
    require e, "IA32_TSC_ADJUST does not hold what was written"
    counter %rbp
    say_difference %rbp, %rbx, "the counter after a write of IA32_TSC_ADJUST"
    # All ways to read it agree.
    counter %rbx
    read_msr MSR_TSC, %rbp
    cmp %rbx, %rbp
    require ae, "IA32_TSC is behind RDTSC"
    counter %rbx
    cmp %rbp, %rbx
    require ae, "RDTSC is behind IA32_TSC"
    # The VMM moves the counter, and not the adjustment.
    out %al, $PORT_YIELD
    counter %rbp
    say_difference %rbp, %rbx, "the counter after the VMM has moved it"
    read_msr MSR_TSC_ADJUST, %rax
    cmp %r14, %rax
    require e, "IA32_TSC_ADJUST has changed"
    finish PASSED

    .macro measure into                 # \into: how far the counter gets in a loop
    counter %rbx
    mov $200000, %ecx
1:  dec %ecx
    jnz 1b
    counter \into
    sub %rbx, \into
    .endm

    entry tsc_frequency
    start64
    measure %r14
    counter %rbp
    out %al, $PORT_YIELD                # the VMM makes it four times as fast
    counter %rbx
    cmp %rbp, %rbx
    require ae, "the counter has jumped backwards"
    measure %rbp
    xor %edx, %edx
    lea (%rbp,%rbp), %rax
    add %r14, %rax                      # to the nearest
    div %r14
    shr $1, %rax
    say64 "times as fast: "
    call hex8_64
    say64 "\n"
    # Both ways to read it agree, and a write counts.
    counter %rbx
    read_msr MSR_TSC, %rbp
    cmp %rbx, %rbp
    require ae, "IA32_TSC is behind RDTSC"
    counter %rbx
    cmp %rbp, %rbx
    require ae, "RDTSC is behind IA32_TSC"
    mov $(5 << 40), %rbp
    write_msr MSR_TSC, %rbp
    counter %rbx
    say_difference %rbx, $0, "the counter after a write of IA32_TSC"
    finish PASSED

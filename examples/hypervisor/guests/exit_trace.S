# A known sequence of exits, of which the VMM knows where each is: it looks whether the trace has just these.

    .macro traced name                  # the next instruction exits
    .globl traced_\name
traced_\name:
    .endm

    .code64
    entry exit_trace
    start64
    hypercall_choose
    sti
    out %al, $PORT_YIELD                # the VMM records from here on
    xor %eax, %eax
    xor %ecx, %ecx
    traced cpuid
    cpuid
    mov $0x1B, %ecx
    traced rdmsr
    rdmsr
    mov $0x5C, %eax
    traced out
    out %al, $0x80
    traced in
    in $0x80, %al
    mov $0x600D, %eax
    cmpb $0, hypercall_is_amd(%rip)
    jne 1f
    traced vmcall
    vmcall
    jmp 2f
    traced vmmcall
1:  vmmcall
2:  mov $0x30, %eax
    traced inject
    out %al, $PORT_INJECT
    attempt 1f
    mov $0x7777, %ecx
    traced fault
    rdmsr                               # the VMM refuses it: #GP
1:  movabs $(DEVICE + 8), %rsi
    mov $0x1234, %eax
    traced mmio_write
    mov %ax, (%rsi)
    traced mmio_read
    mov (%rsi), %edx
    traced yield
    out %al, $PORT_YIELD                # the VMM compares, and keeps fewer from here on
    xor %r12d, %r12d
3:  xor %eax, %eax
    traced loop
    cpuid
    inc %r12d
    cmp $10, %r12d
    jb 3b
    traced second_yield
    out %al, $PORT_YIELD                # and some more
    xor %r12d, %r12d
4:  mov %r12d, %ecx
    mov $7, %eax
    traced long_loop
    cpuid
    inc %r12d
    cmp $200, %r12d
    jb 4b
    out %al, $PORT_YIELD                # and none
    xor %eax, %eax
    cpuid
    out %al, $PORT_YIELD
    cli
    say64 "the trace is as long as it should be\n"
    finish PASSED

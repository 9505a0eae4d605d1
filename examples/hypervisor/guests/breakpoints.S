# Breakpoints of the guest's own on device memory and ports, and the single step, over instructions that the hypervisor
# executes for it; then those that the CPU finds.

    .set BREAK_HERE, SCRATCH + 0x100

    # Clears DR6; DR0 gets an address and DR7 enables it with these R/W and LEN bits.
    .macro watch address, bits
    mov \address, %rax
    mov %rax, %dr0
    mov $0xFFFF0FF0, %eax
    mov %rax, %dr6
    mov $(0x402 | (\bits) << 16), %eax
    movb $NO_FAULT, fault_vector(%rip)
    mov %rax, %dr7
    .endm

    # The exception, where it was, and DR6, which is cleared of it.
    .macro watched text
7783:
    lea 7783b(%rip), %r11
    call watch_verdict
    say64 " \text\n"
    .endm

    .macro start_debugging
    start64
    lea debug_handler(%rip), %rax
    mov %ax, IDT + 1 * 16               # everything is below 64 KiB
    mov %cr4, %rax
    or $8, %rax                         # DE
    mov %rax, %cr4
    .endm

    .code64
    entry breakpoints
    start_debugging

    say64 "DR6 and DR7 at first: "
    mov %dr6, %rax
    call hex64
    say64 " "
    mov %dr7, %rax
    call hex64
    say64 "\n"
    attempt 1f
    .byte 0x0F, 0x23, 0xE0              # mov %rax, %dr4: the assembler knows better
1:  say64 "DR4 with CR4.DE: "
    call outcome64
    attempt 1f
    mov $0x100000400, %rax
    mov %rax, %dr7
1:  say64 "bit 32 of DR7: "
    call outcome64

    # Data in a device.
    mov $(DEVICE + 8), %ebx
    watch %rbx, 0xD
    mov (%rbx), %ecx
    mov %ecx, (%rbx)
    watched "a write to the device"
    watch %rbx, 0xF
    mov (%rbx), %ecx
    watched "a read of the device"
    watch %rbx, 0xD
    addl $1, (%rbx)
    watched "an addition in the device"

    # Ports.
    mov $PORT_REGISTER, %edx
    watch %rdx, 2
    mov $PORT_REGISTER, %edx
    out %al, %dx
    watched "OUT"
    watch %rdx, 2
    in %dx, %al
    watched "IN"
    watch %rdx, 2
    mov $(PORT_REGISTER + 2), %edx
    out %ax, %dx                        # another port
    mov $SCRATCH, %esi
    mov $PORT_REGISTER, %edx
    outsb
    watched "OUTSB"

    # Both at once.
    watch %rdx, 2
    step_next
    out %al, %dx
    watched "OUT, stepped"
    xor %eax, %eax
    mov %rax, %dr7

    # Between the elements of a string instruction: three of them, so two exceptions at it and one behind.
    movl $0, debug_count(%rip)
    movb $1, keep_stepping(%rip)
    mov $SCRATCH, %esi
    mov $PORT_REGISTER, %edx
    mov $3, %ecx
    step_next
    rep outsb
    nop
    movb $0, keep_stepping(%rip)
    nop
    say64 "steps over REP OUTSB and two more: "
    mov debug_count(%rip), %eax
    call hex32_64
    say64 "\n"

    # DR7.GD: an access to a debug register is a fault, once.
    mov $0xFFFF0FF0, %eax
    mov %rax, %dr6
    mov $0x2400, %eax
    mov %rax, %dr7
    movb $NO_FAULT, fault_vector(%rip)
1:  mov %dr7, %rax
    lea 1b(%rip), %r11
    push %rax
    call watch_verdict
    say64 " DR7 with GD, which is then "
    pop %rax
    call hex64
    say64 "\n"

    finish PASSED

    # Notes the exception. Single-stepping ends, unless it is to go on; a fault is not met again.
debug_handler:
    push %rax
    movb $1, fault_vector(%rip)
    mov 8(%rsp), %rax
    mov %rax, fault_rip(%rip)
    incl debug_count(%rip)
    cmpb $0, keep_stepping(%rip)
    jne 1f
    andl $~0x100, 24(%rsp)              # RFLAGS.TF
1:  orl $0x10000, 24(%rsp)              # RFLAGS.RF
    pop %rax
    iretq

watch_verdict:                          # R11: where the exception should have come
    push %rax
    push %rdx
    mov %dr6, %rax
    mov %rax, %rdx
    mov $0xFFFF0FF0, %eax
    mov %rax, %dr6
    mov %rdx, %rax
    cmpb $1, fault_vector(%rip)
    jne 1f
    call hex32_64
    cmp %r11, fault_rip(%rip)
    jne 2f
    say64 " right at"
3:  pop %rdx
    pop %rax
    ret
1:  say64 "no debug exception for"
    jmp 3b
2:  say64 " at a wrong place for"
    jmp 3b

keep_stepping:
    .byte 0

    # What the CPU finds by itself. One that does not look for it under a hypervisor says so.
    .code64
    entry breakpoints_of_cpu
    start_debugging
    lea 1f(%rip), %rdx
    watch %rdx, 0
1:  nop
    cmpb $1, fault_vector(%rip)
    je 1f
    finish NOT_APPLICABLE
1:
    # Execution: a fault, before the instruction.
    lea 1f(%rip), %rdx
    watch %rdx, 0
1:  nop
    lea 1b(%rip), %r11
    call watch_verdict
    say64 " execution\n"
    lea 1f(%rip), %rdx
    xor %eax, %eax
    mov %rax, %rdi
    watch %rdx, 0
    xor %eax, %eax
1:  cpuid
    lea 1b(%rip), %r11
    call watch_verdict
    say64 " execution of CPUID\n"

    # Data: a trap, behind the instruction.
    mov $BREAK_HERE, %ebx
    watch %rbx, 0xD                     # a write of 4 bytes
    mov (%rbx), %al
    mov %al, 3(%rbx)
    watched "a write"
    watch %rbx, 0xF                     # a read or write of 4 bytes
    mov (%rbx), %al
    watched "a read"
    # MOV SS holds back the trap of its own read until the next instruction is executed.
    mov $BREAK_HERE, %ebx
    movw $DATA, (%rbx)
    watch %rbx, 0x7                     # a read or write of 2 bytes
    mov (%rbx), %ss
    nop
    watched "MOV SS and NOP"
    xor %eax, %eax
    cpuid
    cmp $0x756E6547, %ebx               # Intel: the exit does not forget it
    jne 1f
    mov $BREAK_HERE, %ebx
    watch %rbx, 0x7
    xor %eax, %eax
    mov (%rbx), %ss
    cpuid
    cmpb $1, fault_vector(%rip)
    require e, "no debug exception behind MOV SS and CPUID"
1:  xor %eax, %eax
    mov %rax, %dr7
    mov $0xFFFF0FF0, %eax
    mov %rax, %dr6
    # INT1 is no reason for DR6.
    movb $NO_FAULT, fault_vector(%rip)
    .byte 0xF1
    watched "INT1"

    finish PASSED

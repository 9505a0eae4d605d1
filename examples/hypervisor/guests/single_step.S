# RFLAGS.TF: the debug exception comes after the instruction, also when the hypervisor executed it.

    # Sets TF; the next instruction is the one after which #DB comes. Changes the stack below RSP.
    .macro step_next
    movb $NO_FAULT, fault_vector(%rip)
    pushfq
    orl $0x100, (%rsp)
    popfq
    .endm

    .macro stepped text
7779:
    lea 7779b(%rip), %r11
    call step_verdict
    say64 " \text\n"
    .endm

    .code64
    entry single_step
    start64
    step_next
    nop
    stepped "NOP"
    xor %eax, %eax
    step_next
    cpuid
    stepped "CPUID"
    mov $0x1B, %ecx
    step_next
    rdmsr
    stepped "RDMSR"
    mov $PORT_REGISTER, %edx
    step_next
    out %al, %dx
    stepped "OUT"
    step_next
    in %dx, %al
    stepped "IN"
    mov %cr0, %rax
    xor $8, %rax                        # TS: the one that the hypervisor looks at
    step_next
    mov %rax, %cr0
    stepped "MOV to CR0"
    step_next
    clts
    stepped "CLTS"
    mov $DEVICE, %ebx
    step_next
    mov (%rbx), %eax
    stepped "a read of the device"
    step_next
    mov %eax, (%rbx)
    stepped "a write to the device"

    # MOV SS holds the exception back for one instruction.
    mov %ss, %eax
    step_next
    mov %eax, %ss
    cpuid
    stepped "MOV SS and CPUID"
    say64 "debug exceptions: "
    mov debug_count(%rip), %eax
    call hex32_64
    say64 "\n"
    finish PASSED

step_verdict:                           # R11: where the exception should have come
    cmpb $1, fault_vector(%rip)
    jne 1f
    cmp %r11, fault_rip(%rip)
    jne 2f
    say64 "right behind"
    ret
1:  say64 "no debug exception after"
    ret
2:  say64 "at a wrong place after"
    ret

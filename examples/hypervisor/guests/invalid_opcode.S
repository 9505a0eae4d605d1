# Instructions that raise #UD, which is the guest's own business: UD2, and those of the hardware that hosts it.

    .macro invalid text, instruction:vararg
    say64 "\text: "
    attempt 7777f
    \instruction
7777:
    call outcome64
    .endm

    .code64
    entry invalid_opcode
    start64
    invalid "UD2", ud2
    say64 "it was at the right place: "
    attempt 1f
2:  ud2
1:  lea 2b(%rip), %rax
    xor %eax, %eax
    lea 2b(%rip), %rcx
    cmp fault_rip(%rip), %rcx
    sete %al
    call hex8_64
    say64 "\n"
    mov $SCRATCH, %ebx
    invalid "VMXON", vmxon (%rbx)
    invalid "VMCLEAR", vmclear (%rbx)
    invalid "VMREAD", vmread %rax, %rcx
    invalid "VMLAUNCH", vmlaunch
    mov $SCRATCH, %eax
    invalid "VMRUN", vmrun %rax
    invalid "VMLOAD", vmload %rax
    invalid "STGI", stgi
    invalid "CLGI", clgi
    say64 "a thousand of them: "
    mov $1000, %ebx
    xor %ebp, %ebp
1:  attempt 2f
    ud2
2:  cmpb $6, fault_vector(%rip)
    jne 3f
    inc %ebp
3:  dec %ebx
    jnz 1b
    mov %ebp, %eax
    call hex32_64
    say64 "\n"
    finish PASSED

# Hypercalls: number and six arguments, a value that comes back, and what stays.

    .code64
hypercall64:                            # VMCALL or VMMCALL, whichever this CPU has; changes nothing else
    cmpb $0, hypercall_is_amd(%rip)
    jne 1f
    vmcall
    ret
1:  vmmcall
    ret

    # CPUID's vendor decides. Changes RAX, RBX, RCX and RDX.
    .macro hypercall_choose
    xor %eax, %eax
    cpuid
    cmp $0x68747541, %ebx               # "Auth"enticAMD
    sete hypercall_is_amd(%rip)
    .endm

hypercall_is_amd:
    .byte 0

    .code64
    entry hypercall
    start64
    hypercall_choose
    mov $0x600D, %eax
    mov $1, %edi
    mov $20, %esi
    mov $300, %edx
    mov $4000, %ecx
    mov $50000, %r8d
    mov $0x123456789, %r9
    mov $0x5555, %ebx
    mov $0x7777, %r15d
    stc
    call hypercall64
    mov %rax, %r14
    setc %al
    movzx %al, %eax
    mov %eax, %r13d
    lea (%rdi,%rsi), %rax
    add %rdx, %rax
    add %rcx, %rax
    add %r8, %rax
    add %r9, %rax
    add %rbx, %rax
    add %r15, %rax
    say64 "the other registers add up to "
    call hex64
    say64 "\nthe answer is "
    mov %r14, %rax
    call hex64
    say64 "\ncarry: "
    mov %r13d, %eax
    call hex32_64
    say64 "\n"

    mov $1000, %ebx
1:  mov $0x600D, %eax
    call hypercall64
    dec %ebx
    jnz 1b
    say64 "and a thousand more\n"

    say64 "in the other vendor's words: "
    attempt 1f
    xorb $1, hypercall_is_amd(%rip)
    call hypercall64
    jmp 2f
1:  pop %rax                            # the return address
2:  call outcome64
    finish PASSED

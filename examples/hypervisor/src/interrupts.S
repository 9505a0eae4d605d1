# The gates of all vectors, 16 bytes each: push what differs, then save everything and call Rust.

    .text
    .balign 16
    .globl interrupt_gates
interrupt_gates:
    .set vector, 0
    .rept 256
    .balign 16
    # Where the CPU pushes no error code, a zero stands in its place.
    .if vector != 8 && (vector < 10 || vector > 14) && vector != 17 && vector != 21 && vector != 29 && vector != 30
    push $0
    .endif
    push $vector
    jmp interrupt_common
    .set vector, vector + 1
    .endr

    # A debug exception of the host, of which there is none but one: when a guest that single-steps exits on an instruction,
    # Bochs 2.7 (not a CPU) raises the guest's trap behind VMRUN. Nothing of the host is back at that point, neither
    # the task register with its stacks nor the vector registers; so this gate uses no other stack, and touches nothing.
    .balign 16
    .globl debug_gate
debug_gate:
    iretq

interrupt_common:
    push %rax
    push %rcx
    push %rdx
    push %rbx
    push %rbp
    push %rsi
    push %rdi
    push %r8
    push %r9
    push %r10
    push %r11
    push %r12
    push %r13
    push %r14
    push %r15
    cld
    mov %rsp, %rdi                      # the structure `Frame`
    mov %rsp, %rbx
    sub $512, %rsp
    and $-16, %rsp
    fxsave64 (%rsp)                     # Rust uses XMM registers on this target
    call interrupt_entry
    fxrstor64 (%rsp)
    mov %rbx, %rsp
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %r11
    pop %r10
    pop %r9
    pop %r8
    pop %rdi
    pop %rsi
    pop %rbp
    pop %rbx
    pop %rdx
    pop %rcx
    pop %rax
    add $16, %rsp                       # vector and error code
    iretq

# What the guests use in 64-bit mode. They start with page tables of the VMM's making: 4 GiB one to one, the first 2 MiB
# of them by 4 KiB pages.

    .code64
print64:                                # RSI: the string
    push %rax
1:  lodsb
    test %al, %al
    jz 2f
    out %al, $PORT_PRINT
    jmp 1b
2:  pop %rax
    ret

hex64:                                  # RAX: sixteen hexadecimal digits
    push %rcx
    mov $16, %ecx
    call hex_digits
    pop %rcx
    ret

hex32_64:                               # EAX: eight hexadecimal digits
    push %rcx
    push %rax
    shl $32, %rax
    mov $8, %ecx
    call hex_digits
    pop %rax
    pop %rcx
    ret

hex8_64:                                # AL: two hexadecimal digits
    push %rcx
    push %rax
    shl $56, %rax
    mov $2, %ecx
    call hex_digits
    pop %rax
    pop %rcx
    ret

hex_digits:                             # the upper ECX digits of RAX; RAX comes back rotated by them
    push %rbx
    push %rdx
1:  rol $4, %rax
    mov %eax, %ebx
    and $0xF, %ebx
    lea digits(%rip), %rdx
    push %rax
    mov (%rdx,%rbx), %al
    out %al, $PORT_PRINT
    pop %rax
    dec %ecx
    jnz 1b
    pop %rdx
    pop %rbx
    ret

    # Stack, segments and handlers of the guest's own, for one that starts in 64-bit mode.
    .macro start64
    cli
    cld
    mov $STACK, %esp
    call setup64
    .endm

setup64:
    push %rax
    push %rcx
    push %rdx
    push %rdi
    lgdt gdt_descriptor(%rip)
    mov $DATA, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss
    push $CODE64
    lea 1f(%rip), %rax
    push %rax
    lretq
1:  lea gates64(%rip), %rdx
    mov $IDT, %edi
    mov $GATES, %ecx
2:  mov %edx, %eax                      # everything is below 64 KiB
    or $(CODE64 << 16), %eax
    mov %eax, (%rdi)
    movl $0x8E00, 4(%rdi)
    movq $0, 8(%rdi)
    add $16, %edx
    add $16, %edi
    dec %ecx
    jnz 2b
    lidt idt64_descriptor(%rip)
    pop %rdi
    pop %rdx
    pop %rcx
    pop %rax
    ret

    .set GATES, 64
idt64_descriptor:
    .word GATES * 16 - 1
    .quad IDT

    # The first 64 vectors, 16 bytes each. Where the CPU pushes no error code, a zero stands in its place.
    .balign 16
gates64:
    .set vector, 0
    .rept GATES
    .balign 16
    .if vector != 8 && (vector < 10 || vector > 14) && vector != 17 && vector != 21 && vector != 29 && vector != 30
    push $0
    .endif
    push $vector
    jmp handle64
    .set vector, vector + 1
    .endr

    # A debug exception is noted, single-stepping ends, and the guest goes on. Any other exception is noted and the guest
    # goes on where `attempt` said, or, without that, ends. An interrupt is noted, and the guest goes on.
handle64:
    push %rax
    push %rsi
    mov 16(%rsp), %eax                  # the vector
    cmp $32, %eax
    jae 2f
    mov %al, fault_vector(%rip)
    mov 24(%rsp), %rsi
    mov %rsi, fault_error(%rip)
    mov 32(%rsp), %rsi
    mov %rsi, fault_rip(%rip)
    cmp $1, %eax
    jne 1f
    andl $~0x100, 48(%rsp)              # RFLAGS.TF
    incl debug_count(%rip)
    jmp 3f
1:  xor %esi, %esi
    xchg %rsi, resume(%rip)
    test %rsi, %rsi
    jz unexpected64
    mov %rsi, 32(%rsp)
    jmp 3f
2:  mov %al, interrupt_vector(%rip)
    mov interrupt_count(%rip), %esi
    and $15, %esi
    mov %al, interrupt_log + .Lguest(%rsi)
    incl interrupt_count(%rip)
    mov 32(%rsp), %rsi
    mov %rsi, interrupt_rip(%rip)
3:  pop %rsi
    pop %rax
    add $16, %rsp
    iretq

unexpected64:
    say64 "unexpected exception "
    mov fault_vector(%rip), %al
    call hex8_64
    say64 " at "
    mov fault_rip(%rip), %rax
    call hex64
    say64 " error "
    mov fault_error(%rip), %rax
    call hex64
    say64 "\n"
    finish FAILED

    .balign 8
resume:           .quad 0
fault_error:      .quad 0
fault_rip:        .quad 0
interrupt_rip:    .quad 0
interrupt_count:  .long 0
debug_count:      .long 0
fault_vector:     .byte NO_FAULT
interrupt_vector: .byte 0
interrupt_log:    .skip 16              # the vectors in the order of their arrival

    .set NO_FAULT, 0xFF

    # The next instructions may fault, and then the guest goes on at \label. Changes nothing but memory.
    .macro attempt label
    push %rax
    lea \label(%rip), %rax
    mov %rax, resume(%rip)
    movb $NO_FAULT, fault_vector(%rip)
    pop %rax
    .endm

outcome64:                              # says how the attempt went, and ends the line
    push %rax
    push %rsi
    movq $0, resume(%rip)
    mov fault_vector(%rip), %al
    cmp $NO_FAULT, %al
    je 1f
    cmp $6, %al
    je 2f
    cmp $13, %al
    je 3f
    cmp $14, %al
    je 4f
    say64 "exception "
    call hex8_64
    say64 "\n"
    jmp 9f
1:  say64 "no exception\n"
    jmp 9f
2:  say64 "#UD\n"
    jmp 9f
3:  say64 "#GP, error code "
    jmp 5f
4:  say64 "#PF, error code "
5:  mov fault_error(%rip), %eax
    call hex32_64
    say64 "\n"
9:  pop %rsi
    pop %rax
    ret

    # Ends the guest as failed, with a text, unless the flags say \condition.
    .macro require condition, text
    j\condition 7774f
    say64 "\text\n"
    finish FAILED
7774:
    .endm

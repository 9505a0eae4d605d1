# Memory as the VMM wants it touched: at each yield it sets ECX (what to do), RBX (where) and RDX (what with).

    .code64
    entry memory
    start64
    sti                                 # an emulator does not end a guest for the host's interrupts after its CLI
memory_next:
    out %al, $PORT_YIELD
    cmp $1, %ecx
    je memory_write
    cmp $2, %ecx
    je memory_call
    cmp $3, %ecx
    je memory_write_pages
    cmp $4, %ecx
    je memory_wait
    mov (%rbx), %rax                    # 0: read
    jmp memory_next
memory_write:
    mov %rdx, (%rbx)
    jmp memory_next
memory_call:
    call *%rbx
    jmp memory_next
memory_write_pages:                     # one write to each of RDX pages
    mov %rdx, (%rbx)
    add $0x1000, %rbx
    dec %rdx
    jnz memory_write_pages
    jmp memory_next
memory_wait:                            # until another value than RDX is there
    mov (%rbx), %rax
    cmp %rdx, %rax
    je memory_wait
    jmp memory_next

# Events on a stack that is not there: the exit comes in the middle of the delivery, the VMM maps the page, and the event
# arrives, once. What the guest raises itself, and what the VMM sends.

    # The next page of memory that nobody has touched becomes the stack.
    .macro new_stack
    mov %rsp, events_stack(%rip)
    addq $0x1000, events_next(%rip)
    mov events_next(%rip), %rsp
    .endm

    # An exception: its vector, its error code, and whether it was at \place.
    .macro arrived place, text
    mov events_stack(%rip), %rsp
    lea \place(%rip), %r11
    call events_exception
    say64 " \text\n"
    .endm

    # The same for an interrupt.
    .macro interrupted place, text
    mov events_stack(%rip), %rsp
    lea \place(%rip), %r11
    call events_interrupt
    say64 " \text\n"
    .endm

    .code64
    entry events
    start64
    attempt 2f
    new_stack
    int3
1:  nop
2:  arrived 1b, "INT3"
    movl $0, interrupt_count(%rip)
    new_stack
    int $0x30
1:  interrupted 1b, "INT 30h"
    attempt 2f
    new_stack
1:  ud2
2:  arrived 1b, "UD2"
    attempt 2f
    mov $0x7FF8, %eax                   # beyond the descriptor table
    new_stack
1:  mov %eax, %fs
2:  arrived 1b, "MOV FS"
    attempt 2f
    mov $1, %rbx
    shl $32, %rbx                       # behind what is mapped
    new_stack
1:  mov %ebx, (%rbx)
2:  arrived 1b, "a write to nothing"
    mov %cr2, %rax
    say64 "CR2: "
    call hex64
    say64 "\n"
    mov %rsp, events_stack(%rip)
    addq $0x1000, events_next(%rip)
    step_next
    mov events_next(%rip), %rsp         # the trap comes right behind it
1:  arrived 1b, "a single step"
    movl $0, interrupt_count(%rip)
    mov $0x31, %al
    out %al, $PORT_INJECT
    new_stack
    sti
    nop
1:  cli
    interrupted 1b, "an interrupt of the VMM's"

    # The VMM sends an NMI, #GP(1234h), #PF and #GP, INT 32h.
    attempt 2f
    new_stack
    out %al, $PORT_YIELD
1:  nop
2:  arrived 1b, "an NMI"
    attempt 2f
    new_stack
1:  out %al, $PORT_YIELD
2:  arrived 1b, "an exception of the VMM's"
    attempt 2f
    new_stack
1:  out %al, $PORT_YIELD
2:  arrived 1b, "two exceptions of the VMM's"
    movl $0, interrupt_count(%rip)
    new_stack
    out %al, $PORT_YIELD
1:  interrupted 1b, "a software interrupt of the VMM's"

    # An interrupt controller of the VMM's, which CR8 has no influence on.
    movl $0, interrupt_count(%rip)
    mov $15, %eax
    mov %rax, %cr8
    new_stack
    out %al, $PORT_YIELD
    nop
    sti
    nop
1:  cli
    interrupted 1b, "an interrupt in its window"
    xor %eax, %eax
    mov %rax, %cr8

    # HLT in the shadow of STI, with an interrupt waiting: it is woken, and not before it halts.
    movl $0, interrupt_count(%rip)
    mov $0x34, %al
    out %al, $PORT_INJECT
    new_stack
    sti
    hlt
1:  cli
    interrupted 1b, "HLT behind STI"

    # Without a gate for #GP: #NP in its delivery, and so a double fault. On the old stack, because one emulator forgets
    # that the second exception met a first one when the first is injected.
    andb $0x7F, IDT + 13 * 16 + 5
    mov $0x7FF8, %eax
    attempt 2f
    mov %rsp, events_stack(%rip)
1:  mov %eax, %fs
2:  arrived 1b, "no gate for #GP"
    finish PASSED

events_exception:
    movq $0, resume(%rip)
    mov fault_vector(%rip), %al
    call hex8_64
    say64 "("
    mov fault_error(%rip), %eax
    call hex32_64
    cmp %r11, fault_rip(%rip)
    je 1f
    say64 ") at a wrong place:"
    ret
1:  say64 ") right at"
    ret

events_interrupt:
    mov interrupt_count(%rip), %eax
    call hex32_64
    say64 " times "
    mov interrupt_vector(%rip), %al
    call hex8_64
    cmp %r11, interrupt_rip(%rip)
    je 1f
    say64 " at a wrong place:"
    ret
1:  say64 " right behind"
    ret

    .balign 8
events_stack: .quad 0
events_next:  .quad ON_DEMAND

# Protected mode: an error code is pushed.

    .code32
    entry events_protected
    start32
    gate32 13, events_protected_handler
    mov %esp, %ebx
1:  out %al, $PORT_YIELD                # the VMM raises #GP(1234h)
2:  say32 "not reached\n"
    finish FAILED
events_protected_handler:
    mov %ebx, %eax
    sub %esp, %eax
    say32 "bytes pushed: "
    call hex32
    say32 ", error code "
    mov (%esp), %eax
    call hex32
    cmpl $(1b + .Lguest), 4(%esp)
    jne 3f
    say32 ", at the instruction\n"
    finish PASSED
3:  say32 ", at a wrong place\n"
    finish FAILED

# Real mode: none is.

    .code16
    entry events_real
    start16
    movw $(events_real_handler + .Lguest), 13 * 4
    movw $0, 13 * 4 + 2
    movw $(events_real_into + .Lguest), 4 * 4
    movw $0, 4 * 4 + 2
    mov $0x7F, %al
    add $1, %al                         # an overflow
    into
    say16 "behind INTO\n"
    mov %sp, %bx
1:  out %al, $PORT_YIELD                # the VMM raises #GP(1234h)
    say16 "not reached\n"
    finish FAILED
events_real_into:
    say16 "INTO\n"
    iret
events_real_handler:
    movzwl %bx, %eax
    sub %sp, %ax
    mov %sp, %bp
    mov (%bp), %cx
    say16 "bytes pushed: "
    call hex16
    cmp $(1b + .Lguest), %cx
    jne 3f
    say16 ", at the instruction\n"
    finish PASSED
3:  say16 ", at a wrong place\n"
    finish FAILED

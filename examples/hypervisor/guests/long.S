# 64-bit mode, entered directly: 64-bit registers, exceptions, an interrupt gate, and paging with a fault that the guest
# handles by itself.

    .set PAGE_TABLE, 0x7000             # of the first 2 MiB, made by the VMM
    .set HIDDEN, SCRATCH + 0x3000

    .code64
    entry long
    start64
    say64 "hello from long mode\n"

    mov $0x0123456789ABCDEF, %rax
    mov $0x9E3779B97F4A7C15, %rbx
    mul %rbx
    mov %rdx, %r15
    say64 "a product of 128 bits: "
    mov %r15, %rax
    call hex64
    mov $0x0123456789ABCDEF, %rax
    mul %rbx
    call hex64
    say64 "\n"

    # All sixteen registers at once, through an exit.
    mov $0x1000000000000001, %rax
    mov %rax, %rbx
    mov %rax, %rbp
    mov %rax, %rdi
    mov %rax, %r8
    lea 1(%r8), %r9
    lea 2(%r8), %r10
    lea 3(%r8), %r11
    lea 4(%r8), %r12
    lea 5(%r8), %r13
    lea 6(%r8), %r14
    lea 7(%r8), %r15
    out %al, $PORT_YIELD
    add %rbx, %rax
    add %rbp, %rax
    add %rdi, %rax
    add %r8, %rax
    add %r9, %rax
    add %r10, %rax
    add %r11, %rax
    add %r12, %rax
    add %r13, %rax
    add %r14, %rax
    add %r15, %rax
    say64 "sum of the registers after an exit: "
    call hex64
    say64 "\n"

    say64 "interrupt 30h: "
    int $0x30
    mov interrupt_vector(%rip), %al
    call hex8_64
    say64 "\n"

    say64 "division by zero: "
    attempt 1f
    xor %ecx, %ecx
    div %ecx
1:  call outcome64

    say64 "a non-canonical address: "
    attempt 1f
    mov $0x8000000000000000, %rax
    mov (%rax), %al
1:  call outcome64

    # Take a page away, touch it, and give it back.
    movl $0x0DDBA11, HIDDEN
    mov PAGE_TABLE + 8 * (HIDDEN >> 12), %rbx
    movq $0, PAGE_TABLE + 8 * (HIDDEN >> 12)
    invlpg HIDDEN
    say64 "reading a page that is not there: "
    attempt 1f
    mov HIDDEN, %eax
1:  call outcome64
    say64 "at "
    mov %cr2, %rax
    call hex64
    mov %rbx, PAGE_TABLE + 8 * (HIDDEN >> 12)
    say64 "\nback again: "
    mov HIDDEN, %eax
    call hex32_64
    say64 "\n"
    finish PASSED

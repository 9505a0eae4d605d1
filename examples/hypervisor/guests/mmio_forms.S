# Instructions at a device other than MOV, in 32-bit and in 64-bit mode. The device has two pages here, with memory on both
# sides; what is read and written in which order and width, the VMM says at the end.

    .set FORMS_SECOND, DEVICE + 0x1000
    .set FORMS_BEHIND, DEVICE + 0x2000
    .set FORMS_TABLE, 0x7000            # of the first 2 MiB, made by the VMM
    .set FORMS_HIDDEN, SCRATCH + 0x3000

    .macro forms_show text
    say64 "\text"
    call hex64
    say64 "\n"
    .endm

    .macro forms_flags text             # CF, PF, AF, ZF, SF, OF
    pushfq
    pop %rax
    and $0x8D5, %eax
    forms_show "\text"
    .endm

    .code64
    entry mmio_forms
    start64
    mov $DEVICE, %ebx

    # Accesses that are not all in one page.
    mov $0x1122334455667788, %rax
    mov %rax, DEVICE - 4
    mov DEVICE - 4, %rax
    forms_show "memory and device:  "
    mov DEVICE, %eax
    forms_show "the device's half:  "
    mov DEVICE - 4, %eax
    forms_show "the memory's half:  "
    movl $0x01020304, FORMS_SECOND - 1
    mov FORMS_SECOND - 1, %eax
    forms_show "device and device:  "
    addw $0x1111, FORMS_SECOND - 1
    forms_flags "ADD to them, flags: "
    mov FORMS_SECOND - 1, %eax
    forms_show "sum:                "
    mov $0x99AABBCCDDEEFF00, %rax
    mov %rax, FORMS_BEHIND - 6
    mov FORMS_BEHIND - 6, %rax
    forms_show "device and memory:  "
    movzwl FORMS_BEHIND, %eax
    forms_show "the memory's part:  "

    # String instructions, both ways and both directions.
    mov $SCRATCH, %edi
    mov $0x40, %ecx
    xor %eax, %eax
1:  stosb
    inc %al
    dec %ecx
    jnz 1b
    mov $SCRATCH, %esi
    lea 0x10(%rbx), %edi
    mov $5, %ecx
    rep movsl
    mov %rdi, %rax
    forms_show "REP MOVSL, RDI:     "
    mov 0x1C(%rbx), %rax
    forms_show "its last bytes:     "
    lea 0x1E(%rbx), %esi
    mov $(SCRATCH + 0x11E), %edi
    mov $8, %ecx
    std
    rep movsw
    cld
    mov %rsi, %rax
    forms_show "REP MOVSW down, RSI:"
    mov SCRATCH + 0x110, %rax
    forms_show "its last bytes:     "
    lea 0x10(%rbx), %esi
    mov $(FORMS_SECOND - 8), %edi
    mov $2, %ecx
    rep movsq
    mov FORMS_SECOND, %rax
    forms_show "device to device:   "
    mov $0x5A, %eax
    lea 0x30(%rbx), %edi
    mov $3, %ecx
    rep stosb
    mov 0x30(%rbx), %eax
    forms_show "REP STOSB:          "
    mov $0x5A, %eax
    lea 0x30(%rbx), %edi
    mov $16, %ecx
    repe scasb
    mov %rcx, %rax
    forms_show "REPE SCASB, RCX:    "
    mov $SCRATCH, %esi
    lea 0x10(%rbx), %edi
    mov $64, %ecx
    repe cmpsb
    mov %rcx, %rax
    forms_show "REPE CMPSB, RCX:    "

    # Read, modify, write.
    movl $0x7FFFFFFF, 0x40(%rbx)
    lock addl $1, 0x40(%rbx)
    forms_flags "LOCK ADD, flags:    "
    mov $0x11, %eax
    lock xaddl %eax, 0x40(%rbx)
    forms_show "LOCK XADD, old:     "
    mov 0x40(%rbx), %eax
    forms_show "new:                "
    mov $0xCAFE, %ecx
    mov $1, %eax
    lock cmpxchgl %ecx, 0x40(%rbx)
    forms_show "CMPXCHG, other:     "
    lock cmpxchgl %ecx, 0x40(%rbx)
    mov 0x40(%rbx), %eax
    forms_show "CMPXCHG, same:      "
    movq $-2, %rax
    xchg %rax, 0x40(%rbx)
    forms_show "XCHG, old:          "
    lock incq 0x40(%rbx)
    lock negq 0x40(%rbx)
    forms_flags "LOCK NEG, flags:    "
    mov 0x40(%rbx), %rax
    forms_show "INC and NEG:        "
    push %rbx
    mov %rbx, %rdi
    mov $1, %eax
    xor %edx, %edx
    mov $0x600DF00D, %ebx
    mov $0x0BADCAFE, %ecx
    lock cmpxchg8b 0x40(%rdi)
    mov 0x40(%rdi), %rax
    forms_show "CMPXCHG8B:          "
    mov 0x40(%rdi), %rax
    mov 0x48(%rdi), %rdx
    mov $0x0123456789ABCDEF, %rbx
    mov $0xFEDCBA9876543210, %rcx
    lock cmpxchg16b 0x40(%rdi)
    mov 0x40(%rdi), %rax
    forms_show "CMPXCHG16B, low:    "
    mov 0x48(%rdi), %rax
    forms_show "high:               "
    xor %eax, %eax
    lock cmpxchg16b 0x40(%rdi)
    mov %rdx, %rax
    forms_show "another, RDX:       "
    pop %rbx
    movl $0x80000001, 0x40(%rbx)
    stc
    rcll $1, 0x40(%rbx)
    forms_flags "RCL, flags:         "
    mov $4, %cl
    shlw %cl, 0x40(%rbx)
    sarb $2, 0x43(%rbx)
    mov $0xABCD1234, %eax
    shldl $8, %eax, 0x44(%rbx)
    mov 0x40(%rbx), %rax
    forms_show "SHL, SAR, SHLD:     "
    movq $0, 0x50(%rbx)
    movq $0, 0x58(%rbx)
    mov $100, %eax
    lock btsl %eax, 0x50(%rbx)
    mov 0x58(%rbx), %rax
    forms_show "BTS of bit 100:     "
    movq $-1, %rax
    btsq %rax, 0x58(%rbx)
    btl $63, 0x54(%rbx)
    sbb %rax, %rax
    forms_show "BTS of bit -1:      "

    # The stack's side is memory.
    push 0x50(%rbx)
    pop %rax
    forms_show "PUSH:               "
    push $0x1234
    pop 0x50(%rbx)
    mov 0x50(%rbx), %rax
    forms_show "POP:                "

    # SSE.
    movups SCRATCH, %xmm0
    movdqa %xmm0, 0x60(%rbx)
    mov 0x68(%rbx), %rax
    forms_show "MOVDQA, high half:  "
    movups 0x61(%rbx), %xmm1
    movups %xmm1, SCRATCH + 0x200
    mov SCRATCH + 0x208, %rax
    forms_show "MOVUPS, high half:  "
    movups %xmm0, FORMS_BEHIND - 7
    movups FORMS_BEHIND - 7, %xmm9
    movq %xmm9, %rax
    forms_show "across pages, low:  "
    mov FORMS_BEHIND, %rax
    forms_show "what is memory:     "
    movd 0x64(%rbx), %xmm9
    movups %xmm9, SCRATCH + 0x200
    mov SCRATCH + 0x200, %rax
    forms_show "MOVD:               "
    mov SCRATCH + 0x208, %rax
    forms_show "cleared above:      "
    movq %xmm0, 0x70(%rbx)
    mov 0x70(%rbx), %rax
    forms_show "MOVQ:               "
    say64 "MOVDQA, not aligned: "
    attempt 1f
    movdqa 0x61(%rbx), %xmm0
1:  call outcome64

    # The other operand has a page fault, or is not mapped by the VMM yet.
    mov FORMS_TABLE + 8 * (FORMS_HIDDEN >> 12), %rbp
    movq $0, FORMS_TABLE + 8 * (FORMS_HIDDEN >> 12)
    invlpg FORMS_HIDDEN
    lea 0x60(%rbx), %rsi
    mov $(FORMS_HIDDEN - 4), %edi
    mov $4, %ecx
    say64 "REP MOVSL into a page that is not there: "
    lea 0x60(%rbx), %rsi
    attempt 1f
    rep movsl
1:  mov %rsi, %r12
    call outcome64
    mov %rcx, %rax
    forms_show "RCX:                "
    mov %r12, %rax
    forms_show "RSI:                "
    mov %cr2, %rax
    forms_show "CR2:                "
    mov %rbp, FORMS_TABLE + 8 * (FORMS_HIDDEN >> 12)
    mov %r12, %rsi
    rep movsl
    mov FORMS_HIDDEN + 4, %rax
    forms_show "and when it is:     "
    lea 0x60(%rbx), %esi
    mov $(ON_DEMAND + 0x2FF8), %edi
    mov $2, %ecx
    rep movsq
    mov ON_DEMAND + 0x2FFC, %rax
    forms_show "to pages on demand: "
    mov $(ON_DEMAND + 0x8FFC), %esi
    lea 0x60(%rbx), %edi
    movsq
    mov 0x60(%rbx), %rax
    forms_show "from such pages:    "
    mov %rsp, %rbp
    mov $(ON_DEMAND + 0x12004), %esp
    push 0x68(%rbx)
    pop %rax
    mov %rbp, %rsp
    forms_show "PUSH to such pages: "

    # Single steps.
    movl $0, debug_count(%rip)
    pushfq
    orl $0x100, (%rsp)
    popfq
    lock incl 0x40(%rbx)
1:  lea 1b(%rip), %rax
    sub fault_rip(%rip), %rax
    forms_show "a step ends behind: "
    lea 0x60(%rbx), %esi
    mov $SCRATCH, %edi
    mov $3, %ecx
    pushfq
    orl $0x100, (%rsp)
    popfq
1:  rep movsb
    lea 1b(%rip), %rax
    sub fault_rip(%rip), %rax
    forms_show "REP MOVSB, at it:   "
    mov %rdi, %rax
    forms_show "RDI at its end:     "
    mov debug_count(%rip), %eax
    forms_show "steps:              "
    finish PASSED

    .macro forms_show32 text
    say32 "\text"
    call hex32
    say32 "\n"
    .endm

    .code32
forms_step32:
    andl $~0x100, 8(%esp)               # EFLAGS.TF
    incl forms_steps + .Lguest
    iretl
    .balign 4
forms_steps: .long 0

    entry mmio_forms_protected
    start32
    gate32 1, forms_step32
    mov %cr4, %eax
    or $0x600, %eax                     # OSFXSR, OSXMMEXCPT
    mov %eax, %cr4
    mov $DEVICE, %ebx
    movl $0x11223344, -2(%ebx)
    mov -2(%ebx), %eax
    forms_show32 "memory and device:  "
    movl $0x55667788, FORMS_SECOND - 3
    mov FORMS_SECOND - 3, %eax
    forms_show32 "device and device:  "
    movl $0x99AABBCC, FORMS_BEHIND - 1
    mov FORMS_BEHIND - 1, %eax
    forms_show32 "device and memory:  "
    mov FORMS_BEHIND, %eax
    forms_show32 "the memory's part:  "
    movl $0x03020100, SCRATCH
    movl $0x07060504, SCRATCH + 4
    mov $SCRATCH, %esi
    lea 0x10(%ebx), %edi
    mov $2, %ecx
    rep movsl
    mov %edi, %eax
    forms_show32 "REP MOVSL, EDI:     "
    lea 0x17(%ebx), %esi
    mov $(SCRATCH + 0x17), %edi
    mov $8, %ecx
    std
    rep movsb
    cld
    mov %esi, %eax
    forms_show32 "REP MOVSB down, ESI:"
    mov SCRATCH + 0x14, %eax
    forms_show32 "its first bytes:    "
    lock addl $0x11111111, 0x10(%ebx)
    mov $0x22222222, %eax
    lock xaddl %eax, 0x10(%ebx)
    forms_show32 "LOCK ADD, XADD:     "
    mov 0x10(%ebx), %eax
    mov $0xCAFE, %ecx
    lock cmpxchgl %ecx, 0x10(%ebx)
    mov 0x10(%ebx), %eax
    forms_show32 "LOCK CMPXCHG:       "
    mov %ebx, %edi
    mov 0x10(%edi), %eax
    mov 0x14(%edi), %edx
    mov $0x0BADCAFE, %ebx
    mov $0x600DF00D, %ecx
    lock cmpxchg8b 0x10(%edi)
    mov 0x10(%edi), %eax
    forms_show32 "CMPXCHG8B, low:     "
    mov 0x14(%edi), %eax
    forms_show32 "high:               "
    mov %edi, %ebx
    movups 0x10(%ebx), %xmm0
    movups %xmm0, 0x21(%ebx)
    movl 0x25(%ebx), %eax
    forms_show32 "MOVUPS:             "
    movl $0, 0x20(%ebx)
    movl $0, 0x24(%ebx)
    mov $37, %eax
    bts %eax, 0x20(%ebx)
    mov 0x24(%ebx), %eax
    forms_show32 "BTS of bit 37:      "
    mov $-27, %eax
    btr %eax, 0x28(%ebx)
    sbb %eax, %eax
    forms_show32 "BTR of bit -27:     "
    movl $0x80000001, 0x24(%ebx)
    roll $4, 0x24(%ebx)
    pushl 0x24(%ebx)
    popl %eax
    forms_show32 "ROL, PUSH:          "
    pushl $0x01020304
    popl 0x28(%ebx)
    pushw 0x28(%ebx)
    popw 0x2A(%ebx)
    mov 0x28(%ebx), %eax
    forms_show32 "POP:                "
    mov $ON_DEMAND + 0x20FFE, %edi
    lea 0x28(%ebx), %esi
    movsl
    mov ON_DEMAND + 0x20FFE, %eax
    forms_show32 "to pages on demand: "
    pushfl
    orl $0x100, (%esp)
    popfl
    incl 0x28(%ebx)
    mov forms_steps + .Lguest, %eax
    forms_show32 "steps:              "
    finish PASSED

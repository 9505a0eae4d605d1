# No guest can make a VM entry fail; the VMM does it by setting bad state, and afterwards the guest goes on.

    .code64
    entry entry_failure
    start64
    mov $0x123456789, %rbx
    say64 "before\n"
    out %al, $PORT_YIELD                # the VMM spoils the state, sees the entry fail, and repairs it
    say64 "after, RBX "
    mov %rbx, %rax
    call hex64
    say64 "\n"
    finish PASSED

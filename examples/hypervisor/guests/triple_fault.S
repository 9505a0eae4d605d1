# An exception with no handler for it, nor for what follows.

    .code64
    entry triple_fault
    start64
    say64 "without a handler: "
    lidt triple_fault_descriptor(%rip)
    ud2
    say64 "never here\n"
    finish FAILED

triple_fault_descriptor:
    .word 0
    .quad 0

# A guest whose state the VMM looks at, and spoils, between two steps; it notices nothing.

    .code64
    entry doctor
    start64
1:  clc
    out %al, $PORT_YIELD
    stc
    out %al, $PORT_YIELD
    jmp 1b

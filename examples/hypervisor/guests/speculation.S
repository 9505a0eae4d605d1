# The controls of speculation that a guest has: IA32_SPEC_CTRL holds its value, commands take theirs.

    .set MSR_SPEC_CTRL, 0x48
    .set MSR_PRED_CMD, 0x49

    .code64
    entry speculation
    start64
    mov $7, %eax
    xor %ecx, %ecx
    cpuid
    bt $26, %edx                        # IBRS and IBPB
    jc 1f
    finish NOT_APPLICABLE
1:  mov $0, %r14d
    msr_read MSR_SPEC_CTRL, "IA32_SPEC_CTRL"
    mov $1, %r14d                       # IBRS
    msr_write MSR_SPEC_CTRL, "IA32_SPEC_CTRL"
    msr_read MSR_SPEC_CTRL, "IA32_SPEC_CTRL"
    out %al, $PORT_YIELD                # the VMM looks at its own
    msr_read MSR_SPEC_CTRL, "IA32_SPEC_CTRL after an exit"
    mov $1 << 40, %r14
    msr_write MSR_SPEC_CTRL, "IA32_SPEC_CTRL, a reserved bit"
    msr_read MSR_PRED_CMD, "IA32_PRED_CMD, write-only"
    mov $1, %r14d                       # IBPB
    msr_write MSR_PRED_CMD, "IA32_PRED_CMD"
    mov $2, %r14d
    msr_write MSR_PRED_CMD, "IA32_PRED_CMD, a reserved bit"
    xor %r14d, %r14d
    msr_write MSR_SPEC_CTRL, "IA32_SPEC_CTRL"
    out %al, $PORT_YIELD
    finish PASSED

# What is measured: the instruction, and the loop around it. R or SI counts; before and after, the guest yields, which is
# where the host reads its time-stamp counter. ESI is set by the host.

    .macro bench64 name
    .code64
    entry bench_\name
    mov $STACK, %esp
    out %al, $PORT_YIELD
    .endm

    .macro bench_end
    dec %esi
    jnz 1b
    out %al, $PORT_DONE
    .endm

    bench64 cpuid
1:  xor %eax, %eax
    cpuid
    bench_end

    bench64 rdmsr
    mov $0x1B, %ecx                     # IA32_APIC_BASE
1:  rdmsr
    bench_end

    bench64 out
    mov $PORT_REGISTER, %edx
1:  out %al, %dx
    bench_end

    bench64 in
    mov $PORT_REGISTER, %edx
1:  in %dx, %al
    bench_end

    bench64 hlt
1:  hlt
    bench_end

    bench64 vmcall
1:  vmcall
    bench_end

    bench64 vmmcall
1:  vmmcall
    bench_end

    bench64 mmio_long
    mov $DEVICE, %ebx
1:  mov (%rbx), %eax
    bench_end

    bench64 nested_fault
    mov $ON_DEMAND, %ebx
1:  mov (%rbx), %eax
    add $0x1000, %ebx
    bench_end

    .code16
    entry bench_mmio_real
    mov $(DEVICE >> 4), %ax
    mov %ax, %ds
    out %al, $PORT_YIELD
    xor %bx, %bx
1:  mov (%bx), %eax
    dec %esi
    jnz 1b
    out %al, $PORT_DONE

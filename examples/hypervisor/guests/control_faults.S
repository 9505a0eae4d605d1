# Every reserved bit of the control registers and of EFER, and what 32-bit systems with PAE paging may write.

    .set PAE_TABLE,     0x1000          # four entries
    .set PAE_DIRECTORY, 0x2000          # 1 GiB one to one, by 2 MiB pages

    # How many of the bits \from to \to of a control register raise #GP when they are changed alone.
    .macro faults_of_bits register, from, to, text
    mov $\from, %ebx
    xor %r14d, %r14d
7782: mov %\register, %rax
    btc %rbx, %rax
    attempt 7783f
    mov %rax, %\register
7783: call control_faults_count
    inc %ebx
    cmp $\to, %ebx
    jbe 7782b
    say64 "\text: "
    mov %r14d, %eax
    call hex8_64
    say64 "\n"
    .endm

    .code64
    entry control_faults
    start64
    faults_of_bits cr0, 32, 63, "bits 63:32 of CR0 that raise #GP"
    faults_of_bits cr0, 6, 15, "bits 15:6 of CR0, which are ignored"
    faults_of_bits cr4, 23, 63, "bits 63:23 of CR4 that raise #GP"

    # EFER: all but SCE, LMA, NXE and what AMD has in 12 to 15.
    xor %r14d, %r14d
    xor %ebx, %ebx
1:  mov $0xFC01, %eax
    bt %ebx, %eax
    jc 3f
    mov $0xC0000080, %ecx
    rdmsr
    btc %ebx, %eax
    attempt 2f
    wrmsr
2:  call control_faults_count
3:  inc %ebx
    cmp $32, %ebx
    jb 1b
    xor %ebx, %ebx
1:  mov $0xC0000080, %ecx
    rdmsr
    btc %ebx, %edx
    attempt 2f
    wrmsr
2:  call control_faults_count
    inc %ebx
    cmp $32, %ebx
    jb 1b
    say64 "bits of EFER that raise #GP: "
    mov %r14d, %eax
    call hex8_64
    say64 "\n"
    # LMA is the CPU's.
    mov $0xC0000080, %ecx
    rdmsr
    mov %eax, %ebx
    btr $10, %eax
    attempt 1f
    wrmsr
1:  rdmsr
    cmp %eax, %ebx
    require e, "EFER.LMA was written"

    # CR3: bits that no address has, as Intel's manual has it. (QEMU leaves an SVM guest with "invalid state" there.)
    xor %eax, %eax
    cpuid
    cmp $0x756E6547, %ebx               # "Genu"
    jne 3f
    mov $0x80000008, %eax
    cpuid
    movzbl %al, %ebx
1:  mov %cr3, %rax
    bts %rbx, %rax
    attempt 2f
    mov %rax, %cr3
2:  cmpb $13, fault_vector(%rip)
    require e, "a reserved bit of CR3 does not raise #GP"
    inc %ebx
    cmp $64, %ebx
    jb 1b
3:  finish PASSED

control_faults_count:
    cmpb $13, fault_vector(%rip)
    jne 1f
    inc %r14d
1:  movq $0, resume(%rip)
    ret

    .macro attempt32 label
    movl $(\label + .Lguest), control_faults_resume + .Lguest
    movl $NO_FAULT, control_faults_vector + .Lguest
    .endm

    .macro said32 text
    say32 "\text: "
    call control_faults_said32
    .endm

    # \text, unless this is Intel's CPU and it raised something else than \vector: AMD's looks at PDPTEs when it walks.
    .macro intel32 vector, text
    testl $1, control_faults_intel + .Lguest
    jz 7785f
    cmpl $\vector, control_faults_vector + .Lguest
    je 7785f
    say32 "\text\n"
    call control_faults_said32
    finish FAILED
7785:
    .endm

    .code32
    entry control_faults_pae
    start32
    gate32 13, control_faults_general32
    xor %eax, %eax
    cpuid
    cmp $0x756E6547, %ebx
    jne 1f
    incl control_faults_intel + .Lguest
1:
    # Without paging.
    mov %cr4, %eax
    bts $17, %eax
    attempt32 1f
    mov %eax, %cr4
1:  said32 "CR4.PCIDE without long mode"
    mov %cr0, %eax
    and $~1, %eax
    or $0x80000000, %eax
    attempt32 1f
    mov %eax, %cr0
1:  said32 "CR0.PG without PE"

    # PAE paging.
    mov $PAE_DIRECTORY, %edi
    mov $0x83, %eax
1:  mov %eax, (%edi)
    movl $0, 4(%edi)
    add $0x200000, %eax
    add $8, %edi
    cmp $(PAE_DIRECTORY + 0x1000), %edi
    jne 1b
    mov $PAE_TABLE, %edi
    xor %eax, %eax
    mov $8, %ecx
    rep stosl
    movl $(PAE_DIRECTORY + 1), PAE_TABLE
    mov %cr4, %eax
    or $0x20, %eax
    mov %eax, %cr4
    mov $PAE_TABLE, %eax
    mov %eax, %cr3
    mov %cr0, %eax
    bts $31, %eax
    attempt32 1f
    mov %eax, %cr0
1:  said32 "PAE paging"
    mov $0xC0000080, %ecx
    rdmsr
    bts $8, %eax
    attempt32 1f
    wrmsr
1:  said32 "EFER.LME with paging"
    mov %cr4, %eax
    bts $17, %eax
    attempt32 1f
    mov %eax, %cr4
1:  said32 "CR4.PCIDE with PAE paging"

    # An entry that is not there may hold anything; one that is there has reserved bits.
    movl $0xFFFFFFFE, PAE_TABLE + 16
    attempt32 1f
    mov $PAE_TABLE, %eax
    mov %eax, %cr3
1:  said32 "a PDPTE that is not present"
    movl $(PAE_DIRECTORY + 3), PAE_TABLE + 16
    attempt32 1f
    mov $PAE_TABLE, %eax
    mov %eax, %cr3
1:  intel32 13, "MOV to CR3 with bit 1 of a PDPTE"
    movl $(PAE_DIRECTORY + 1), PAE_TABLE + 16
    movl $0x80000000, PAE_TABLE + 20
    attempt32 1f
    mov $PAE_TABLE, %eax
    mov %eax, %cr3
1:  intel32 13, "MOV to CR3 with bit 63 of a PDPTE"
    # What loads them anew, and what does not.
    mov %cr4, %eax
    btc $7, %eax                        # PGE
    attempt32 1f
    mov %eax, %cr4
1:  intel32 13, "CR4.PGE with a reserved bit in a PDPTE"
    mov %cr0, %eax
    btc $30, %eax                       # CD
    attempt32 1f
    mov %eax, %cr0
1:  intel32 13, "CR0.CD with a reserved bit in a PDPTE"
    # (Not CR0.TS, which does not exit: Bochs loads them for every bit of CR0.)
    attempt32 1f
    clts
1:  said32 "CLTS with a reserved bit in a PDPTE"
    mov %cr0, %eax
    btc $5, %eax                        # NE
    attempt32 1f
    mov %eax, %cr0
1:  said32 "CR0.NE"
    mov %cr4, %eax
    btc $2, %eax                        # TSD
    attempt32 1f
    mov %eax, %cr4
1:  said32 "CR4.TSD"
    finish PASSED

control_faults_general32:
    movl $13, control_faults_vector + .Lguest
    add $4, %esp                        # the error code
    push %eax
    mov control_faults_resume + .Lguest, %eax
    mov %eax, 4(%esp)
    pop %eax
    iret

control_faults_said32:
    cmpl $13, control_faults_vector + .Lguest
    je 1f
    say32 "no exception\n"
    ret
1:  say32 "#GP\n"
    ret

    .balign 4
control_faults_resume: .long 0
control_faults_vector: .long 0
control_faults_intel:  .long 0

# Record and replay in real mode: see replay.S.

    .code16
    entry replay_real
    start16
    movw $(replay_real_interrupt + .Lguest), 0x30 * 4
    movw $0, 0x30 * 4 + 2
    mov $0x2000, %ax
    mov %ax, %fs
    mov $0x2100, %di                    # 22100h, where the others note too
    movw $0, replay_real_count + .Lguest
    xor %ebx, %ebx
    mov $8, %cx
1:  rdtsc
    add %eax, %ebx
    mov $PORT_STREAM, %dx
    in %dx, %eax
    rol $5, %ebx
    add %eax, %ebx
    loop 1b
    mov %ebx, %fs:(%di)
    add $4, %di
    say16 "time and ports\n"
    sti
2:  inc %ebx
    cmpw $8, replay_real_count + .Lguest
    jb 2b
    say16 "a loop\n"
    mov $3, %cx
3:  hlt
    loop 3b
    cli
    mov %ebx, %fs:(%di)
    say16 "halts\n"
    finish PASSED

replay_real_interrupt:
    push %bp
    mov %sp, %bp
    push %eax
    mov 2(%bp), %ax
    mov %ax, %fs:(%di)
    mov 6(%bp), %ax
    mov %ax, %fs:2(%di)
    mov %ebx, %fs:4(%di)
    add $8, %di
    incw replay_real_count + .Lguest
    pop %eax
    pop %bp
    iret

    .balign 2
replay_real_count:
    .word 0

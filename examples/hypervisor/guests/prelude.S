# The guests: one blob, copied to guest-physical address 8000h of every VM, with an entry for each scenario.
#
# A label is an address in the image; `label + .Lguest` is where the guest sees it. Below 64 KiB everything can be reached
# from real mode with all segments 0, so what runs there comes first.
#
# | guest-physical | what |
# |---|---|
# | 0      | the vectors of real mode |
# | 1000h  | page tables: of the VMM's making for guests that start in long mode, else of the guest's own |
# | 8000h  | this blob; the stack grows down from there in real mode |
# | 1F000h | the stack of the other modes, downwards |
# | 20000h | the guest's interrupt descriptor table |
# | 21000h | scratch pages |
# | A0000h | the device (memory-mapped) |
# | 200000h | nothing, until the VMM maps it on demand |

    .section .guests, "a"
    .balign 4096
    .globl guests_start
guests_start:
    .set .Lguest, 0x8000 - guests_start

    .set REAL_STACK,  0x8000
    .set STACK,       0x1F000
    .set IDT,         0x20000
    .set SCRATCH,     0x21000
    .set DEVICE,      0xA0000
    .set ON_DEMAND,   0x200000

    # The devices. See src/vm/devices.rs.
    .set PORT_PRINT,  0xE9              # a byte of the guest's output
    .set PORT_DONE,   0xF4              # the guest is done; 0 passed, 1 not applicable on this CPU, else failed
    .set PORT_YIELD,  0xF5              # the VMM does what the scenario wants, then the guest goes on
    .set PORT_INJECT, 0xF6              # the VMM injects this vector
    .set PORT_REGISTER, 0x500           # keeps what is written, per width: 8 bits here, 16 at +2, 32 at +4
    .set PORT_STREAM, 0x510             # reads count up, writes are summed

    .set PASSED, 0
    .set NOT_APPLICABLE, 1
    .set FAILED, 2

    # Ends the guest with a verdict. In every mode.
    .macro finish verdict
    mov $\verdict, %al
    out %al, $PORT_DONE
7770: hlt
    jmp 7770b
    .endm

    # Prints a string, without a new line of its own: in real mode, in 32-bit mode, in 64-bit mode. Changes [ER]SI.
    .macro say16 text
    mov $(7771f + .Lguest), %si
    call print16
    jmp 7772f
7771: .asciz "\text"
7772:
    .endm

    .macro say32 text
    mov $(7771f + .Lguest), %esi
    call print32
    jmp 7772f
7771: .asciz "\text"
7772:
    .endm

    .macro say64 text
    lea 7771f(%rip), %rsi
    call print64
    jmp 7772f
7771: .asciz "\text"
7772:
    .endm

    # A guest's entry.
    .macro entry name
    .globl guest_\name
guest_\name:
    .endm

/* A header as Xen has it, in small. */
#ifndef __ASM_X86_HVM_SVM_VMCB_H__
enum GenericIntercept2bits
{
    GENERAL2_INTERCEPT_VMRUN   = 1 << 0,
    GENERAL2_INTERCEPT_RDPRU   = 1u << 14,
};
enum VMEXIT_EXITCODE
{
    VMEXIT_CR0_READ    =   0, /* 0x0 */
    VMEXIT_NPF         = 1024,
    VMEXIT_INVALID     =  -1
};
typedef union
{
    u64 bytes;
    struct
    {
        u64 tpr:          8;
        u64 irq:          1;
        u64 :             7;
        u64 prio:         4;
    } fields;
} vintr_t;
typedef union
{
    struct {
        bool intercepts:1;
        bool :1;
        bool asid:1;
    };
    uint32_t raw;
} vmcbcleanbits_t;
struct vmcb_struct {
    u32 res[24];
    vintr_t _vintr;             /* offset 0x60 */
    union {
        struct {
            uint64_t exitinfo1; /* offset 0x68 */
            uint64_t exitinfo2;
        };
        struct {
            uint16_t sel;
            bool     iret:1;
        } task;
    };
    vmcbcleanbits_t cleanbits;  /* offset 0x78 */
    u64 res10a[112];            /* offset 0x80 */
    struct segment_register es; /* offset 0x400 */
    u64 rax;
};

#ifndef __SVM_H
#define __SVM_H
#include <uapi/asm/svm.h>

enum intercept_words { INTERCEPT_CR = 0, INTERCEPT_DR, INTERCEPT_EXCEPTION, INTERCEPT_WORD3, MAX_INTERCEPT };

enum {
	INTERCEPT_CR0_READ = 0,
	INTERCEPT_CR0_WRITE = 16,
	INTERCEPT_EXCEPTION_OFFSET = 64,
	INTERCEPT_INTR = 96,
	INTERCEPT_NMI,
	TRAP_EFER_WRITE = 128 + 15,
};

struct __attribute__ ((__packed__)) vmcb_control_area {
	u32 intercepts[MAX_INTERCEPT];
	u32 reserved_1[15 - MAX_INTERCEPT];
	u16 pause_filter_thresh;
	u16 pause_filter_count, more;
	u64 iopm_base_pa;	/* not aligned, since it is packed */
	union {
		struct of_another_header unknown;
		u8 reserved_sw[32];
	};
	u8 insn_bytes[15];
	void *last;
};

struct vmcb_seg {
	u16 selector;
	u16 attrib;
	u32 limit;
	u64 base;
} __packed;

struct vmcb_save_area {
	struct vmcb_seg es;
	struct vmcb_seg gdtr;
	u8 cpl;
	unsigned long aligned;
};

#define V_IRQ_SHIFT 8
#define V_IRQ_MASK (1 << V_IRQ_SHIFT)
#define V_INTR_PRIO_MASK (0x0f << 16)
#define SVM_EVTINJ_TYPE_SHIFT 8
#define SVM_EVTINJ_TYPE_MASK (7 << SVM_EVTINJ_TYPE_SHIFT)
#define SVM_EVTINJ_VALID (1 << 31)
#endif

/* A header as Linux has it, in small. */
#ifndef VMX_H
#define VMX_H

#include <linux/types.h>
#include <uapi/asm/vmx.h>
#include <asm/vmxfeatures.h>

#define VMCS_CONTROL_BIT(x)	BIT(VMX_FEATURE_##x & 0x1f)

#define PIN_BASED_NMI_EXITING			VMCS_CONTROL_BIT(NMI_EXITING)
#define CPU_BASED_HLT_EXITING                   VMCS_CONTROL_BIT(HLT_EXITING)
#define CPU_BASED_ACTIVATE_SECONDARY_CONTROLS   VMCS_CONTROL_BIT(SEC_CONTROLS)
#define CPU_BASED_ALWAYSON_WITHOUT_TRUE_MSR	0x0401e172
#define CPU_BASED_UNKNOWN			VMCS_CONTROL_BIT(NOWHERE)
#define SECONDARY_EXEC_ENABLE_EPT               VMCS_CONTROL_BIT(EPT)
#define TERTIARY_EXEC_IPI_VIRT			VMCS_CONTROL_BIT(IPI_VIRT)
#define VM_EXIT_ACK_INTR_ON_EXIT                0x00008000
#define VM_ENTRY_IA32E_MODE                     0x00000200
#define EXIT_REASON_UNDEFINED			0xdead

#if 0
#define VM_ENTRY_NOT_THIS			0x00000001
#else
#define VM_ENTRY_SMM				0x00000400
#endif

static inline u32 size(u64 vmx_basic)
{
	enum kind { ODD, EVEN } kind = vmx_basic & 1;
	return (vmx_basic & GENMASK_ULL(44, 32)) >> 32;
}

/* Don't count on apostrophes. */
enum vmcs_field {
	VIRTUAL_PROCESSOR_ID            = 0x00000000,
	TSC_OFFSET                      = 0x00002010,
	TSC_OFFSET_HIGH                 = 0x00002011,
#define GUEST_SEG_SELECTOR(sel) (GUEST_ES_SELECTOR + (sel) * 2)
	GUEST_ES_SELECTOR               = 0x00000800,
	GUEST_CS_SELECTOR               = GUEST_ES_SELECTOR + 2,
	LOST_HIGH                       = 0x00002fff,
};

enum vm_instruction_error_number {
	VMXERR_VMCALL_IN_VMX_ROOT_OPERATION = 1,
	VMXERR_VMCLEAR_INVALID_ADDRESS,
	VMXERR_VMCLEAR_VMXON_POINTER,
};

#define VMX_BASIC_INOUT				BIT_ULL(54)
#define VMX_MISC_CR3				GENMASK_ULL(24, 16)
#define VMX_EPT_READABLE_MASK			0x1ull
#endif

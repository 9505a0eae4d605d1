// A header as Bochs has it, in small.
#ifndef _BX_VMX_CONTROLS_INTEL_H_
class Controls {
private:
   Bit32u ctrls;
public:
#define VMX_PIN_BASED_VMEXEC_CTRL_NMI_EXITING (1 << 3)
#define VMX_VM_EXEC_CTRL1_HLT_VMEXIT (1 << 7)
#define VMX_VM_EXEC_CTRL2_EPT_ENABLE (1 <<  1)
#define VMX_VMEXIT_CTRL2_SHADOW_STACK_BUSY_CTRL (1 << 2)
   bool query_any(Bit32u mask) const { return (ctrls & mask) != 0; }
};
enum VMX_vmexit_reason {
   VMX_VMEXIT_HLT = 12,
   VMX_VMEXIT_RESERVED35 = 35,
   VMX_VMEXIT_LAST_REASON
};
#define VMCS_16BIT_GUEST_ES_SELECTOR 0x00000800
#define VMCS_64BIT_CONTROL_TSC_OFFSET 0x00002010
#define VMCS_64BIT_CONTROL_TSC_OFFSET_HI 0x00002011
#define VMCS_HOST_RIP 0x00006C16
#define VMCS_FIELD(encoding) ((encoding) & 0x3ff)
#define VMCS_DATA_OFFSET (0x0010)
const Bit32u VMX_VMENTRY_CTRL1_SMM_ENTER = (1 << 10);
enum SVM_intercept_codes { SVM_VMEXIT_EXCEPTION = 64, SVM_VMEXIT_INTR = 96 };
#define SVM_VMEXIT_INVALID (-1)
enum { SVM_INTERCEPT0_NMI = 1, SVM_INTERCEPT1_VMRUN = 32 };
#define SVM_CONTROL64_EXITCODE (0x070)
#define SVM_GUEST_RIP (0x578)
#endif

/* Numbers of features: 32 times a word plus a bit. */
#ifndef _ASM_X86_VMXFEATURES_H
#define _ASM_X86_VMXFEATURES_H
#define VMX_FEATURE_NMI_EXITING		( 0*32+  3) /* of the pin-based controls */
#define VMX_FEATURE_INVVPID		( 0*32+ 16) /* of no word of controls */
#define VMX_FEATURE_EPTP_SWITCHING	( 0*32+ 28)
#define VMX_FEATURE_HLT_EXITING		( 1*32+  7)
#define VMX_FEATURE_SEC_CONTROLS	( 1*32+ 31)
#define VMX_FEATURE_EPT			( 2*32+  1)
#define VMX_FEATURE_IPI_VIRT		( 3*32+  4)
#endif

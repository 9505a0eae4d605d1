#ifndef _UAPIVMX_H
#define _UAPIVMX_H
#define EXIT_REASON_EXCEPTION_NMI       0
#define EXIT_REASON_HLT                 12
#define VMX_EXIT_REASONS \
	{ EXIT_REASON_EXCEPTION_NMI,         "EXCEPTION_NMI" }, \
	{ EXIT_REASON_HLT,                   "HLT" }
#endif

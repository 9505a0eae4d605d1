//! Which features of the host a guest sees: those that need nothing of the hypervisor, and those that the library
//! virtualizes. What is not listed here is hidden, also what future CPUs bring.

use super::CpuidConfig;
use crate::spec::x86::{
    cpuid::{Cpuid7Sub1Eax, Cpuid80000007Edx, Cpuid80000008Ebx, Cpuid80000021Eax},
    registers::{
        Cpuid1Ecx, Cpuid1Edx, Cpuid7Ebx, Cpuid7Ecx, Cpuid7Edx, Cpuid80000001Ecx, Cpuid80000001Edx, Cr4, Efer, Xcr0,
    },
};

/// Removes `features` from a word unless `offered`.
macro_rules! needs {
    ($word:ident, $offered:expr => $features:expr) => {
        if !$offered {
            $word.remove($features);
        }
    };
}

/// The features of the host that a guest with this configuration sees, leaf by leaf.
pub(super) struct Features<'a> {
    pub config: &'a CpuidConfig,
    /// The components of XCR0 that the guest may enable.
    pub xcr0: Xcr0,
}

/// What all of AVX-512 builds on.
const AVX_512: Xcr0 = Xcr0::AVX.with(Xcr0::OPMASK).with(Xcr0::ZMM_HI256).with(Xcr0::HI16_ZMM);

impl Features<'_> {
    fn cr4(&self, bits: Cr4) -> bool {
        self.config.cr4.contains(bits)
    }

    fn avx(&self) -> bool {
        self.xcr0.contains(Xcr0::AVX)
    }

    fn avx_512(&self) -> bool {
        self.xcr0.contains(AVX_512)
    }

    pub fn leaf_1_ecx(&self, host: u32) -> u32 {
        let mut shown = Cpuid1Ecx::SSE3
            | Cpuid1Ecx::PCLMULQDQ
            | Cpuid1Ecx::SSSE3
            | Cpuid1Ecx::FMA
            | Cpuid1Ecx::CMPXCHG16B
            | Cpuid1Ecx::PCID
            | Cpuid1Ecx::SSE4_1
            | Cpuid1Ecx::SSE4_2
            | Cpuid1Ecx::MOVBE
            | Cpuid1Ecx::POPCNT
            | Cpuid1Ecx::AESNI
            | Cpuid1Ecx::XSAVE
            | Cpuid1Ecx::AVX
            | Cpuid1Ecx::F16C
            | Cpuid1Ecx::RDRAND;
        needs!(shown, self.cr4(Cr4::PCIDE) => Cpuid1Ecx::PCID);
        needs!(shown, self.cr4(Cr4::OSXSAVE) && !self.xcr0.is_empty() => Cpuid1Ecx::XSAVE);
        needs!(shown, self.avx() => Cpuid1Ecx::AVX | Cpuid1Ecx::FMA | Cpuid1Ecx::F16C);
        let mut shown = shown & Cpuid1Ecx::from_bits(host);
        // Emulated, whatever the host has.
        shown.set(Cpuid1Ecx::X2APIC, self.config.x2apic);
        shown.set(Cpuid1Ecx::TSC_DEADLINE, self.config.tsc_deadline);
        shown.insert(Cpuid1Ecx::HYPERVISOR);
        shown.bits()
    }

    pub fn leaf_1_edx(&self, host: u32) -> u32 {
        let mut shown = Cpuid1Edx::FPU
            | Cpuid1Edx::VME
            | Cpuid1Edx::DE
            | Cpuid1Edx::PSE
            | Cpuid1Edx::TSC
            | Cpuid1Edx::MSR
            | Cpuid1Edx::PAE
            | Cpuid1Edx::MCE
            | Cpuid1Edx::CX8
            | Cpuid1Edx::APIC
            | Cpuid1Edx::SEP
            | Cpuid1Edx::PGE
            | Cpuid1Edx::MCA
            | Cpuid1Edx::CMOV
            | Cpuid1Edx::PAT
            | Cpuid1Edx::PSE36
            | Cpuid1Edx::CLFSH
            | Cpuid1Edx::MMX
            | Cpuid1Edx::FXSR
            | Cpuid1Edx::SSE
            | Cpuid1Edx::SSE2
            | Cpuid1Edx::SS;
        needs!(shown, self.cr4(Cr4::VME | Cr4::PVI) => Cpuid1Edx::VME);
        needs!(shown, self.cr4(Cr4::DE) => Cpuid1Edx::DE);
        needs!(shown, self.cr4(Cr4::PSE) => Cpuid1Edx::PSE | Cpuid1Edx::PSE36);
        needs!(shown, self.cr4(Cr4::PAE) => Cpuid1Edx::PAE);
        needs!(shown, self.cr4(Cr4::MCE) => Cpuid1Edx::MCE | Cpuid1Edx::MCA);
        needs!(shown, self.cr4(Cr4::PGE) => Cpuid1Edx::PGE);
        let mut shown = shown & Cpuid1Edx::from_bits(host);
        shown.set(Cpuid1Edx::HTT, self.config.processors > 1);
        shown.bits()
    }

    pub fn leaf_7_ebx(&self, host: u32) -> u32 {
        let avx_512 = Cpuid7Ebx::AVX512F
            | Cpuid7Ebx::AVX512DQ
            | Cpuid7Ebx::AVX512_IFMA
            | Cpuid7Ebx::AVX512PF
            | Cpuid7Ebx::AVX512ER
            | Cpuid7Ebx::AVX512CD
            | Cpuid7Ebx::AVX512BW
            | Cpuid7Ebx::AVX512VL;
        let mut shown = avx_512
            | Cpuid7Ebx::FSGSBASE
            | Cpuid7Ebx::BMI1
            | Cpuid7Ebx::AVX2
            | Cpuid7Ebx::FDP_EXCPTN_ONLY
            | Cpuid7Ebx::SMEP
            | Cpuid7Ebx::BMI2
            | Cpuid7Ebx::ERMS
            | Cpuid7Ebx::INVPCID
            | Cpuid7Ebx::DEPRECATES_FPU_CS_DS
            | Cpuid7Ebx::RDSEED
            | Cpuid7Ebx::ADX
            | Cpuid7Ebx::SMAP
            | Cpuid7Ebx::CLFLUSHOPT
            | Cpuid7Ebx::CLWB
            | Cpuid7Ebx::SHA;
        needs!(shown, self.cr4(Cr4::FSGSBASE) => Cpuid7Ebx::FSGSBASE);
        needs!(shown, self.cr4(Cr4::SMEP) => Cpuid7Ebx::SMEP);
        needs!(shown, self.cr4(Cr4::SMAP) => Cpuid7Ebx::SMAP);
        needs!(shown, self.config.invpcid => Cpuid7Ebx::INVPCID);
        needs!(shown, self.avx() => Cpuid7Ebx::AVX2);
        needs!(shown, self.avx_512() => avx_512);
        // The library answers this register itself.
        host & shown.bits() | Cpuid7Ebx::TSC_ADJUST.bits()
    }

    pub fn leaf_7_ecx(&self, host: u32) -> u32 {
        let avx_512 = Cpuid7Ecx::AVX512_VBMI
            | Cpuid7Ecx::AVX512_VBMI2
            | Cpuid7Ecx::AVX512_VNNI
            | Cpuid7Ecx::AVX512_BITALG
            | Cpuid7Ecx::AVX512_VPOPCNTDQ;
        let avx = Cpuid7Ecx::VAES | Cpuid7Ecx::VPCLMULQDQ;
        let mut shown = avx_512
            | avx
            | Cpuid7Ecx::PREFETCHWT1
            | Cpuid7Ecx::UMIP
            | Cpuid7Ecx::PKU
            | Cpuid7Ecx::GFNI
            | Cpuid7Ecx::LA57
            | Cpuid7Ecx::RDPID
            | Cpuid7Ecx::CLDEMOTE
            | Cpuid7Ecx::MOVDIRI
            | Cpuid7Ecx::MOVDIR64B;
        needs!(shown, self.cr4(Cr4::UMIP) => Cpuid7Ecx::UMIP);
        needs!(shown, self.cr4(Cr4::PKE) && self.xcr0.contains(Xcr0::PKRU) => Cpuid7Ecx::PKU);
        needs!(shown, self.cr4(Cr4::LA57) => Cpuid7Ecx::LA57);
        needs!(shown, self.config.rdtscp => Cpuid7Ecx::RDPID);
        needs!(shown, self.avx() => avx);
        needs!(shown, self.avx_512() => avx_512);
        host & shown.bits()
    }

    pub fn leaf_7_edx(&self, host: u32) -> u32 {
        let avx_512 = Cpuid7Edx::AVX512_4VNNIW
            | Cpuid7Edx::AVX512_4FMAPS
            | Cpuid7Edx::AVX512_VP2INTERSECT
            | Cpuid7Edx::AVX512_FP16;
        let mut shown = avx_512
            | Cpuid7Edx::FAST_SHORT_REP_MOV
            | Cpuid7Edx::MD_CLEAR
            | Cpuid7Edx::SERIALIZE
            | Cpuid7Edx::IBRS_IBPB
            | Cpuid7Edx::STIBP
            | Cpuid7Edx::L1D_FLUSH
            | Cpuid7Edx::ARCH_CAPABILITIES
            | Cpuid7Edx::SSBD;
        needs!(shown, self.avx_512() => avx_512);
        host & shown.bits()
    }

    pub fn leaf_7_1_eax(&self, host: u32) -> u32 {
        let avx = Cpuid7Sub1Eax::AVX_VNNI | Cpuid7Sub1Eax::AVX_IFMA;
        let mut shown =
            avx | Cpuid7Sub1Eax::AVX512_BF16 | Cpuid7Sub1Eax::FZRM | Cpuid7Sub1Eax::FSRS | Cpuid7Sub1Eax::FSRC;
        needs!(shown, self.avx() => avx);
        needs!(shown, self.avx_512() => Cpuid7Sub1Eax::AVX512_BF16);
        host & shown.bits()
    }

    pub fn leaf_8000_0001_ecx(&self, host: u32) -> u32 {
        let avx = Cpuid80000001Ecx::XOP | Cpuid80000001Ecx::FMA4;
        let mut shown = avx
            | Cpuid80000001Ecx::LAHF_SAHF
            | Cpuid80000001Ecx::ABM
            | Cpuid80000001Ecx::SSE4A
            | Cpuid80000001Ecx::MISALIGN_SSE
            | Cpuid80000001Ecx::PREFETCH_3DNOW
            | Cpuid80000001Ecx::TBM
            | Cpuid80000001Ecx::TOPOLOGY_EXTENSIONS;
        needs!(shown, self.avx() => avx);
        let mut shown = shown & Cpuid80000001Ecx::from_bits(host);
        // AMD's word for: the logical processors of the package are cores, not threads.
        let cores = self.config.processors > 1 && Cpuid80000001Ecx::from_bits(host).contains(Cpuid80000001Ecx::SVM);
        shown.set(Cpuid80000001Ecx::CMP_LEGACY, cores);
        shown.bits()
    }

    pub fn leaf_8000_0001_edx(&self, host: u32) -> u32 {
        let mut shown = Cpuid80000001Edx::FPU
            | Cpuid80000001Edx::VME
            | Cpuid80000001Edx::DE
            | Cpuid80000001Edx::PSE
            | Cpuid80000001Edx::TSC
            | Cpuid80000001Edx::MSR
            | Cpuid80000001Edx::PAE
            | Cpuid80000001Edx::MCE
            | Cpuid80000001Edx::CX8
            | Cpuid80000001Edx::APIC
            | Cpuid80000001Edx::SYSCALL
            | Cpuid80000001Edx::PGE
            | Cpuid80000001Edx::MCA
            | Cpuid80000001Edx::CMOV
            | Cpuid80000001Edx::PAT
            | Cpuid80000001Edx::PSE36
            | Cpuid80000001Edx::NX
            | Cpuid80000001Edx::MMXEXT
            | Cpuid80000001Edx::MMX
            | Cpuid80000001Edx::FXSR
            | Cpuid80000001Edx::PAGE_1GB
            | Cpuid80000001Edx::RDTSCP
            | Cpuid80000001Edx::LM
            | Cpuid80000001Edx::EXT_3DNOW
            | Cpuid80000001Edx::AMD_3DNOW;
        let efer = self.config.efer;
        needs!(shown, self.cr4(Cr4::VME | Cr4::PVI) => Cpuid80000001Edx::VME);
        needs!(shown, self.cr4(Cr4::DE) => Cpuid80000001Edx::DE);
        needs!(shown, self.cr4(Cr4::PSE) => Cpuid80000001Edx::PSE | Cpuid80000001Edx::PSE36);
        needs!(shown, self.cr4(Cr4::PAE) => Cpuid80000001Edx::PAE);
        needs!(shown, self.cr4(Cr4::MCE) => Cpuid80000001Edx::MCE | Cpuid80000001Edx::MCA);
        needs!(shown, self.cr4(Cr4::PGE) => Cpuid80000001Edx::PGE);
        needs!(shown, efer.contains(Efer::SCE) => Cpuid80000001Edx::SYSCALL);
        needs!(shown, efer.contains(Efer::LME) => Cpuid80000001Edx::LM | Cpuid80000001Edx::PAGE_1GB);
        needs!(shown, efer.contains(Efer::NXE) => Cpuid80000001Edx::NX);
        needs!(shown, self.config.rdtscp => Cpuid80000001Edx::RDTSCP);
        host & shown.bits()
    }
}

pub(super) fn leaf_8000_0007_edx(host: u32) -> u32 {
    host & Cpuid80000007Edx::TSC_INVARIANT.bits()
}

pub(super) fn leaf_8000_0008_ebx(host: u32) -> u32 {
    let shown = Cpuid80000008Ebx::CLZERO
        | Cpuid80000008Ebx::RSTR_FP_ERR_PTRS
        | Cpuid80000008Ebx::SSBD_NOT_REQUIRED
        | Cpuid80000008Ebx::IBPB
        | Cpuid80000008Ebx::IBRS
        | Cpuid80000008Ebx::STIBP
        | Cpuid80000008Ebx::SSBD;
    host & shown.bits()
}

pub(super) fn leaf_8000_0021_eax(host: u32) -> u32 {
    let shown = Cpuid80000021Eax::NO_NESTED_DATA_BP
        | Cpuid80000021Eax::LFENCE_ALWAYS_SERIALIZING
        | Cpuid80000021Eax::NULL_SELECT_CLEARS_BASE;
    host & shown.bits()
}

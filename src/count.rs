//! Counts of the instructions that cost hundreds of cycles on silicon and one in an emulator.
//!
//! Built in only with `--cfg x86_vcpu_count`; otherwise every function here is empty and vanishes.

/// How often each instruction was executed since the counts were last taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the instructions' names")]
pub struct Counts {
    pub vmread: u64,
    pub vmwrite: u64,
    pub rdmsr: u64,
    pub wrmsr: u64,
    pub xsetbv: u64,
    pub cpuid: u64,
}

#[cfg(x86_vcpu_count)]
mod counters {
    use core::sync::atomic::{AtomicU64, Ordering};

    static COUNTERS: [AtomicU64; 6] = [const { AtomicU64::new(0) }; 6];

    pub(super) fn add(index: usize) {
        COUNTERS[index].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn take() -> super::Counts {
        let [vmread, vmwrite, rdmsr, wrmsr, xsetbv, cpuid] =
            core::array::from_fn(|index| COUNTERS[index].swap(0, Ordering::Relaxed));
        super::Counts { vmread, vmwrite, rdmsr, wrmsr, xsetbv, cpuid }
    }
}

macro_rules! counter {
    ($($(#[$doc:meta])* $name:ident = $index:literal;)*) => {$(
        $(#[$doc])*
        #[inline(always)]
        #[allow(dead_code, reason = "which of them are used depends on the features")]
        pub(crate) fn $name() {
            #[cfg(x86_vcpu_count)]
            counters::add($index);
        }
    )*};
}

counter! {
    /// One VMREAD.
    vmread = 0;
    /// One VMWRITE.
    vmwrite = 1;
    /// One RDMSR.
    rdmsr = 2;
    /// One WRMSR.
    wrmsr = 3;
    /// One XSETBV.
    xsetbv = 4;
    /// One CPUID.
    cpuid = 5;
}

/// Takes the counts of all CPUs, and starts again at zero. All zero in a build without `--cfg x86_vcpu_count`.
pub fn take() -> Counts {
    #[cfg(x86_vcpu_count)]
    return counters::take();
    #[cfg(not(x86_vcpu_count))]
    Counts::default()
}

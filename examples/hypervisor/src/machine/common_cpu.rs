//! A CPU that all machines have: what a guest is shown that is to go on on another model, or another vendor's.
//!
//! It is a plain x86-64 with SSE4.2 and no more: no XSAVE, hence no AVX, and nothing of what only one vendor has. The vendor is nobody's, so
//! that a system uses no registers of a model. A guest that does what it was not told of (AVX, RDTSCP …) may be able to on one
//! machine and not on another.

use alloc::format;
use alloc::string::String;

use x86_vcpu::spec::x86::cpuid::CpuidLeaf;
use x86_vcpu::spec::x86::registers::{Cpuid1Ebx, Cpuid1Ecx, Cpuid1Edx, Cpuid80000001Ecx, Cpuid80000001Edx, Xcr0};
use x86_vcpu::{CpuidConfig, CpuidEntry, CpuidPolicy};

/// The vendor, in EBX, EDX, ECX.
const VENDOR: [&[u8; 4]; 3] = [b"x86_", b"vcpu", b"Rust"];
const BRAND: &[u8; 48] = b"x86_vcpu common CPU\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
/// Family 6, model 15.
const SIGNATURE: u32 = 0x6F0;
/// The bits of physical and linear addresses: 36 are what every CPU with long mode has.
const ADDRESS_SIZES: u32 = 48 << 8 | 36;
/// What CLFLUSH flushes, in units of 8 bytes.
const LINE: u8 = 8;

const ECX: Cpuid1Ecx = Cpuid1Ecx::SSE3
    .with(Cpuid1Ecx::SSSE3)
    .with(Cpuid1Ecx::CMPXCHG16B)
    .with(Cpuid1Ecx::SSE4_1)
    .with(Cpuid1Ecx::SSE4_2)
    .with(Cpuid1Ecx::POPCNT);
const EDX: Cpuid1Edx = Cpuid1Edx::FPU
    .with(Cpuid1Edx::DE)
    .with(Cpuid1Edx::PSE)
    .with(Cpuid1Edx::TSC)
    .with(Cpuid1Edx::MSR)
    .with(Cpuid1Edx::PAE)
    .with(Cpuid1Edx::MCE)
    .with(Cpuid1Edx::CX8)
    .with(Cpuid1Edx::APIC)
    .with(Cpuid1Edx::SEP)
    .with(Cpuid1Edx::PGE)
    .with(Cpuid1Edx::MCA)
    .with(Cpuid1Edx::CMOV)
    .with(Cpuid1Edx::PAT)
    .with(Cpuid1Edx::CLFSH)
    .with(Cpuid1Edx::MMX)
    .with(Cpuid1Edx::FXSR)
    .with(Cpuid1Edx::SSE)
    .with(Cpuid1Edx::SSE2);
const EXTENDED_ECX: Cpuid80000001Ecx = Cpuid80000001Ecx::LAHF_SAHF;
const EXTENDED_EDX: Cpuid80000001Edx = Cpuid80000001Edx::SYSCALL.with(Cpuid80000001Edx::NX).with(Cpuid80000001Edx::LM);

/// What CPUID answers a vCPU, one of `processors`; an error when this machine, of which the guest would see `here`, lacks something.
pub fn policy(processors: u16, apic_id: u32, here: &CpuidPolicy) -> Result<CpuidPolicy, String> {
    let mut config = CpuidConfig::new(apic_id, Xcr0::empty());
    config.processors = processors;
    let policy = CpuidPolicy::from_host(&config, |leaf, _| answer(CpuidLeaf(leaf)));
    for leaf in [CpuidLeaf::FEATURES, CpuidLeaf::EXTENDED_FEATURES] {
        let (wanted, there) = (answer(leaf), here.lookup(leaf.0, 0));
        for (name, wanted, there) in [("ECX", wanted.ecx, there.ecx), ("EDX", wanted.edx, there.edx)] {
            let missing = wanted & !there;
            if missing != 0 {
                return Err(format!(
                    "this CPU lacks something of the common one: {missing:#x} of CPUID {:#x}.{name}",
                    leaf.0
                ));
            }
        }
    }
    Ok(policy)
}

fn answer(leaf: CpuidLeaf) -> CpuidEntry {
    let word = |bytes: &[u8; 4]| u32::from_le_bytes(*bytes);
    let brand = |index: u32| {
        let register = |number: u32| {
            let start = (16 * index + 4 * number) as usize;
            BRAND.get(start..).and_then(<[u8]>::first_chunk).map_or(0, word)
        };
        CpuidEntry { eax: register(0), ebx: register(1), ecx: register(2), edx: register(3) }
    };
    match leaf {
        CpuidLeaf::VENDOR => CpuidEntry {
            eax: CpuidLeaf::STRUCTURED_FEATURES.0,
            ebx: word(VENDOR[0]),
            edx: word(VENDOR[1]),
            ecx: word(VENDOR[2]),
        },
        CpuidLeaf::FEATURES => CpuidEntry {
            eax: SIGNATURE,
            ebx: Cpuid1Ebx::empty().with_clflush_line_size(LINE).bits(),
            ecx: ECX.bits(),
            edx: EDX.bits(),
        },
        CpuidLeaf::EXTENDED_MAXIMUM => CpuidEntry { eax: CpuidLeaf::ADDRESS_SIZES.0, ..CpuidEntry::ZERO },
        CpuidLeaf::EXTENDED_FEATURES => {
            CpuidEntry { ecx: EXTENDED_ECX.bits(), edx: EXTENDED_EDX.bits(), ..CpuidEntry::ZERO }
        }
        CpuidLeaf::BRAND_1 => brand(0),
        CpuidLeaf::BRAND_2 => brand(1),
        CpuidLeaf::BRAND_3 => brand(2),
        CpuidLeaf::ADDRESS_SIZES => CpuidEntry { eax: ADDRESS_SIZES, ..CpuidEntry::ZERO },
        _ => CpuidEntry::ZERO,
    }
}

use std::{collections::BTreeSet, format};

use super::*;
use crate::random::Random;
use crate::spec::x86::{
    cpuid::{Cpuid4Eax, TopologyLevelType},
    registers::{Cpuid1Edx, Cpuid7Ebx, Cpuid80000001Ecx},
};

/// A made-up CPU that has every feature, with the XSAVE components of a real one.
fn everything(vendor: [&[u8; 4]; 3]) -> impl FnMut(u32, u32) -> CpuidEntry {
    let [ebx, edx, ecx] = vendor.map(|word| u32::from_le_bytes(*word));
    move |leaf, subleaf| match (leaf, subleaf) {
        (0, _) => CpuidEntry { eax: 0x20, ebx, ecx, edx },
        (0x8000_0000, _) => CpuidEntry { eax: 0x8000_0028, ebx, ecx, edx },
        (4 | 0x8000_001d, 0..4) => {
            CpuidEntry { eax: 0xfc00_0001 | [1, 1, 2, 3][subleaf as usize] << 5 | 0xfff << 14, ebx: 7, ecx: 63, edx: 0 }
        }
        (4 | 0x8000_001d, _) => CpuidEntry::ZERO,
        (0xd, 0) => CpuidEntry { eax: 0x602e7, ebx: 0x2b00, ecx: 0x2b00, edx: 0 },
        (0xd, 1) => CpuidEntry { eax: 0x1f, ebx: 0x2b00, ecx: 0x1900, edx: 0 },
        (0xd, 2) => CpuidEntry { eax: 256, ebx: 576, ecx: 0, edx: 0 },
        (0xd, 5) => CpuidEntry { eax: 64, ebx: 1088, ecx: 0, edx: 0 },
        (0xd, 6) => CpuidEntry { eax: 512, ebx: 1152, ecx: 0, edx: 0 },
        (0xd, 7) => CpuidEntry { eax: 1024, ebx: 1664, ecx: 0, edx: 0 },
        (0xd, 8) => CpuidEntry { eax: 128, ebx: 0, ecx: 1, edx: 0 },
        (0xd, 9) => CpuidEntry { eax: 8, ebx: 2688, ecx: 0, edx: 0 },
        (0xd, 17) => CpuidEntry { eax: 64, ebx: 2752, ecx: 2, edx: 0 },
        (0xd, 18) => CpuidEntry { eax: 8192, ebx: 2816, ecx: 6, edx: 0 },
        (0xd, _) => CpuidEntry::ZERO,
        (0..=0x20 | 0x8000_0000..=0x8000_0028, _) => {
            CpuidEntry { eax: u32::MAX, ebx: u32::MAX, ecx: u32::MAX, edx: u32::MAX }
        }
        _ => CpuidEntry { eax: 0xdead, ebx: 0xdead, ecx: 0xdead, edx: 0xdead },
    }
}

const INTEL: [&[u8; 4]; 3] = [b"Genu", b"ineI", b"ntel"];
const AMD: [&[u8; 4]; 3] = [b"Auth", b"enti", b"cAMD"];
const ALL: Xcr0 = Xcr0::from_bits(0x602e7);

fn policy(vendor: [&[u8; 4]; 3], config: &CpuidConfig) -> CpuidPolicy {
    let mut policy = CpuidPolicy::empty();
    policy.fill(config, &mut everything(vendor)).expect("everything fits");
    policy
}

#[test]
fn hides_what_is_not_virtualized() {
    let policy = policy(INTEL, &CpuidConfig::new(0, ALL));
    let one = policy.lookup(1, 0);
    for (hidden, name) in [
        (Cpuid1Ecx::VMX, "VMX"),
        (Cpuid1Ecx::MONITOR, "MONITOR"),
        (Cpuid1Ecx::X2APIC, "x2APIC"),
        (Cpuid1Ecx::TSC_DEADLINE, "TSC deadline"),
        (Cpuid1Ecx::SMX, "SMX"),
        (Cpuid1Ecx::PDCM, "PDCM"),
        (Cpuid1Ecx::OSXSAVE, "OSXSAVE"),
    ] {
        assert_eq!(one.ecx & hidden.bits(), 0, "{name}");
    }
    assert_ne!(one.ecx & Cpuid1Ecx::HYPERVISOR.bits(), 0);
    assert_ne!(one.ecx & Cpuid1Ecx::AVX.bits(), 0);
    assert_eq!(one.edx & (Cpuid1Edx::HTT | Cpuid1Edx::DS | Cpuid1Edx::ACPI).bits(), 0);
    assert_eq!(policy.lookup(7, 0).ebx & (Cpuid7Ebx::SGX | Cpuid7Ebx::INTEL_PT | Cpuid7Ebx::RTM).bits(), 0);
    assert_eq!(policy.lookup(0x8000_0001, 0).ecx & Cpuid80000001Ecx::SVM.bits(), 0);
    for leaf in [3, 5, 9, 0xa, 0xf, 0x10, 0x12, 0x14, 0x19, 0x1a, 0x1b, 0x1c, 0x8000_000a, 0x8000_001b, 0x8000_001f] {
        assert_eq!(policy.lookup(leaf, 0), CpuidEntry::ZERO, "{leaf:#x}");
    }
    let hypervisor = policy.lookup(0x4000_0000, 0);
    let name = [hypervisor.ebx, hypervisor.ecx, hypervisor.edx].map(u32::to_le_bytes).concat();
    assert_eq!(name, b"x86_vcpuRust");
    assert_eq!(hypervisor.eax, 0x4000_0000);
}

#[test]
fn shows_what_was_asked_for() {
    let config = CpuidConfig { x2apic: true, tsc_deadline: true, ..CpuidConfig::new(0, ALL) };
    let ecx = Cpuid1Ecx::from_bits(policy(AMD, &config).lookup(1, 0).ecx);
    assert!(ecx.contains(Cpuid1Ecx::X2APIC | Cpuid1Ecx::TSC_DEADLINE));
    // Features need their bit in CR4 and their state in XCR0.
    let config =
        CpuidConfig { cr4: Cr4::empty(), efer: crate::spec::x86::registers::Efer::empty(), ..CpuidConfig::new(0, ALL) };
    let bare = policy(INTEL, &config);
    assert_eq!(bare.lookup(1, 0).ecx & (Cpuid1Ecx::XSAVE | Cpuid1Ecx::PCID).bits(), 0);
    assert_eq!(bare.lookup(7, 0).ebx & (Cpuid7Ebx::SMEP | Cpuid7Ebx::SMAP | Cpuid7Ebx::FSGSBASE).bits(), 0);
    let no_avx = policy(INTEL, &CpuidConfig::new(0, Xcr0::X87 | Xcr0::SSE));
    assert_eq!(no_avx.lookup(1, 0).ecx & Cpuid1Ecx::AVX.bits(), 0);
    assert_eq!(no_avx.lookup(7, 0).ebx & (Cpuid7Ebx::AVX2 | Cpuid7Ebx::AVX512F).bits(), 0);
    let no_xsave = policy(INTEL, &CpuidConfig::new(0, Xcr0::empty()));
    assert_eq!(no_xsave.lookup(1, 0).ecx & Cpuid1Ecx::XSAVE.bits(), 0);
    assert_eq!(no_xsave.lookup(0xd, 0), CpuidEntry::ZERO);
}

#[test]
fn follows_cr4_and_xcr0() {
    let mut policy = policy(INTEL, &CpuidConfig::new(0, ALL));
    assert_eq!(policy.lookup(0xd, 0).ebx, 576);
    policy.update(Cr4::OSXSAVE | Cr4::PKE | Cr4::SMEP, Xcr0::X87 | Xcr0::SSE | Xcr0::AVX | Xcr0::PKRU);
    assert_ne!(policy.lookup(1, 0).ecx & Cpuid1Ecx::OSXSAVE.bits(), 0);
    assert_ne!(policy.lookup(7, 0).ecx & Cpuid7Ecx::OSPKE.bits(), 0);
    assert_eq!(policy.lookup(0xd, 0).ebx, 2696);
    assert_eq!(policy.lookup(0xd, 1).ebx, 576 + 256 + 8);
    policy.update(Cr4::empty(), Xcr0::X87);
    assert_eq!(policy.lookup(1, 0).ecx & Cpuid1Ecx::OSXSAVE.bits(), 0);
    assert_eq!(policy.lookup(7, 0).ecx & Cpuid7Ecx::OSPKE.bits(), 0);
    assert_eq!(policy.lookup(0xd, 0).ebx, 576);
}

#[test]
fn extended_state_is_what_fits() {
    let policy = policy(INTEL, &CpuidConfig::new(0, ALL));
    let zero = policy.lookup(0xd, 0);
    // Tile data ends behind 4096, and tile configuration goes with it.
    assert_eq!(zero.eax, 0x2e7);
    assert_eq!(zero.ecx, 2696);
    assert_eq!(policy.lookup(0xd, 1).eax, 0b0111);
    assert_eq!(policy.lookup(0xd, 18), CpuidEntry::ZERO);
    assert_eq!(policy.lookup(0xd, 8), CpuidEntry::ZERO);
    assert_eq!(policy.lookup(0xd, 9).eax, 8);
    assert_eq!(policy.lookup(7, 0).edx & crate::spec::x86::registers::Cpuid7Edx::AMX_TILE.bits(), 0);
}

#[test]
fn topology() {
    let policy = policy(AMD, &CpuidConfig { processors: 6, ..CpuidConfig::new(0x1_0005, ALL) });
    assert_eq!(policy.lookup(1, 0).ebx >> 16, 0x0508);
    assert_ne!(policy.lookup(1, 0).edx & Cpuid1Edx::HTT.bits(), 0);
    assert_eq!(
        policy.lookup(0xb, 0),
        CpuidEntry { eax: 0, ebx: 1, ecx: u32::from(TopologyLevelType::SMT.0) << 8, edx: 0x1_0005 }
    );
    assert_eq!(
        policy.lookup(0xb, 1),
        CpuidEntry { eax: 3, ebx: 6, ecx: 1 | u32::from(TopologyLevelType::CORE.0) << 8, edx: 0x1_0005 }
    );
    assert_eq!(policy.lookup(0xb, 7), CpuidEntry { eax: 0, ebx: 0, ecx: 7, edx: 0x1_0005 });
    assert_eq!(policy.lookup(0x8000_001e, 9).eax, 0x1_0005);
    assert_eq!(policy.lookup(0x8000_001e, 0).ebx, 5);
    assert_eq!(policy.lookup(0x8000_0008, 0).ecx, 5 | 3 << 12);
    for (subleaf, sharing) in [(0, 0), (2, 0), (3, 7)] {
        let cache = Cpuid4Eax::from_bits(policy.lookup(4, subleaf).eax);
        assert_eq!((cache.max_sharing_ids_minus_1(), cache.max_core_ids_minus_1()), (sharing, 7));
    }
    assert_eq!(policy.lookup(4, 4), CpuidEntry::ZERO);
    // An absurd number does no harm.
    self::policy(INTEL, &CpuidConfig { processors: u16::MAX, ..CpuidConfig::new(u32::MAX, ALL) });
    self::policy(INTEL, &CpuidConfig { processors: 0, ..CpuidConfig::new(u32::MAX, ALL) });
}

/// Leaf 15H and 16H of a guest on a host whose leaf 15H is this one.
fn clocks(host: CpuidEntry, change: impl FnOnce(&mut CpuidPolicy)) -> [CpuidEntry; 2] {
    let mut policy = CpuidPolicy::empty();
    let mut all = everything(INTEL);
    policy
        .fill(&CpuidConfig::new(0, ALL), &mut |leaf, sub| if leaf == 0x15 { host } else { all(leaf, sub) })
        .expect("fits");
    change(&mut policy);
    [0x15, 0x16].map(|leaf| policy.lookup(leaf, 0))
}

#[test]
fn frequencies_are_those_of_the_guest() {
    let known = |eax, ebx, ecx| CpuidEntry { eax, ebx, ecx, edx: 0 };
    // 38.4 MHz * 168 / 2.
    let host = known(2, 168, 38_400_000);
    assert_eq!(clocks(host, |_| ()), [known(1, 1, 3_225_600_000), known(3226, 0, 0)]);
    assert_eq!(clocks(host, |policy| policy.set_apic_timer_ratio(64)), [known(1, 64, 50_400_000), known(3226, 0, 0)]);
    assert_eq!(clocks(host, CpuidPolicy::forget_frequencies), [CpuidEntry::ZERO; 2]);
    // Not told, told in nonsense, or more than the register holds.
    for host in [CpuidEntry::ZERO, known(2, 168, 0), known(0, 168, 24_000_000), known(1, u32::MAX, u32::MAX)] {
        assert_eq!(clocks(host, |policy| policy.set_apic_timer_ratio(0))[0], CpuidEntry::ZERO, "{host:?}");
    }
    assert_eq!(clocks(known(1, 2, 2_500_000_000), |_| ()), [CpuidEntry::ZERO, known(5000, 0, 0)]);
}

#[test]
fn leaves_that_do_not_exist() {
    let intel = policy(INTEL, &CpuidConfig::new(0, ALL));
    let highest = intel.lookup(0, 0).eax;
    assert_eq!(highest, 0x1f);
    for leaf in [0x20, 0x3f, 0x40, 0x3fff_ffff, 0x8000_0022, 0x9000_0000, 0xc000_0000, u32::MAX] {
        assert_eq!(intel.lookup(leaf, 1), intel.lookup(highest, 1), "{leaf:#x}");
    }
    let amd = policy(AMD, &CpuidConfig::new(0, ALL));
    for leaf in [0x20, 0x3f, 0x40, 0x3fff_ffff, 0x8000_0022, 0x9000_0000, 0xc000_0000, u32::MAX] {
        assert_eq!(amd.lookup(leaf, 1), CpuidEntry::ZERO, "{leaf:#x}");
    }
    for policy in [intel, amd] {
        assert_eq!(policy.lookup(0x4000_0001, 0), CpuidEntry::ZERO);
        assert_eq!(policy.lookup(0x4000_0010, 0), CpuidEntry::ZERO);
    }
    let nothing = CpuidPolicy::empty();
    for leaf in 0..=u8::MAX {
        assert_eq!(nothing.lookup(u32::from(leaf) << 24 | u32::from(leaf), 3), CpuidEntry::ZERO);
    }
}

#[test]
fn can_be_edited() {
    let mut policy = policy(INTEL, &CpuidConfig::new(3, ALL));
    let before: BTreeSet<(u32, u32)> = (0..256).flat_map(|leaf| (0..20).map(move |sub| (leaf, sub))).collect();
    let look = |policy: &CpuidPolicy| {
        before.iter().map(|(leaf, sub)| policy.lookup(*leaf, *sub)).collect::<std::vec::Vec<_>>()
    };
    let was = look(&policy);
    let entry = CpuidEntry { eax: 1, ebx: 2, ecx: 3, edx: 4 };
    policy.set(0x4000_0001, 0, entry).unwrap();
    policy.set(7, 4, entry).unwrap();
    assert_eq!(policy.lookup(0x4000_0001, 5), entry);
    assert_eq!(policy.lookup(7, 4), entry);
    assert_eq!(policy.lookup(7, 3), CpuidEntry::ZERO);
    policy.set(7, 4, CpuidEntry::ZERO).unwrap();
    assert_eq!(look(&policy), was, "nothing else moved");
    assert_eq!(policy.set(0x40, 0, entry), Err(Error::InvalidInput("the CPUID leaf is outside the table")));
    assert!(policy.set(7, 64, entry).is_err());
    // Full: an error, and what was there stays.
    let mut result = Ok(());
    for subleaf in 0..64 {
        for leaf in [4, 0xb, 0xd, 0x1f] {
            result = result.and_then(|()| policy.set(leaf, subleaf, CpuidEntry::ZERO));
        }
    }
    assert_eq!(result, Err(Error::NoMemory));
    assert_eq!(policy.lookup(0x4000_0001, 0), entry);
    assert!(format!("{policy:?}").contains("0x40000001.0"));
}

#[test]
fn this_host() {
    let policy = CpuidPolicy::for_guest(1, Xcr0::X87 | Xcr0::SSE | Xcr0::AVX);
    assert_eq!(policy.lookup(1, 0).ebx >> 24, 1);
    assert_ne!(policy.lookup(0, 0).ebx, 0);
}

/// Whatever a host reports, a guest sees no feature that neither the host has nor the library emulates, and none that is not
/// in the lists of `features`.
#[test]
fn shows_features_of_the_host_and_of_the_lists_alone() {
    const LEAVES: [(u32, u32); 7] =
        [(1, 0), (7, 0), (7, 1), (0x8000_0001, 0), (0x8000_0007, 0), (0x8000_0008, 0), (0x8000_0021, 0)];
    let words = |entry: CpuidEntry| [entry.eax, entry.ebx, entry.ecx, entry.edx];
    // What is shown on a CPU that has everything is in the lists; what is shown on one that has nothing is emulated.
    let answers = |leaf: u32, subleaf: u32, host: CpuidEntry| {
        let mut policy = CpuidPolicy::empty();
        let mut all = everything(INTEL);
        let found = |asked: u32, sub: u32| if (asked, sub) == (leaf, subleaf) { host } else { all(asked, sub) };
        policy.fill(&CpuidConfig::new(0, ALL), &mut { found }).expect("fits");
        words(policy.lookup(leaf, subleaf))
    };
    let mut numbers = Random(0x9e37_79b9_7f4a_7c15);
    let mut next = move || numbers.next() as u32;
    for (leaf, subleaf) in LEAVES {
        let ones = CpuidEntry { eax: u32::MAX, ebx: u32::MAX, ecx: u32::MAX, edx: u32::MAX };
        let (listed, emulated) = (answers(leaf, subleaf, ones), answers(leaf, subleaf, CpuidEntry::ZERO));
        for _ in 0..200 {
            let host = CpuidEntry { eax: next() | 1, ebx: next(), ecx: next(), edx: next() };
            let shown = answers(leaf, subleaf, host);
            // EAX of leaves 1, 7 and 8000_0001H, and EBX of leaf 1, are numbers.
            let features: &[usize] = match leaf {
                1 => &[2, 3],
                7 if subleaf == 0 => &[1, 2, 3],
                7 | 0x8000_0021 => &[0, 1, 2, 3],
                0x8000_0001 => &[2, 3],
                0x8000_0007 => &[0, 1, 2, 3],
                _ => &[1],
            };
            for register in features {
                let (shown, host) = (shown[*register], words(host)[*register]);
                let allowed = host & listed[*register] | emulated[*register];
                assert_eq!(shown & !allowed, 0, "{leaf:#x}.{subleaf}, register {register}: {host:#x}");
            }
        }
    }
}

//! The default policy: what a guest sees when the VMM does not say otherwise.

use super::{
    CpuidEntry, CpuidPolicy,
    features::{self, Features},
    xstate,
};
use crate::{
    Result,
    spec::x86::{
        cpuid::{
            Cpuid4Eax, Cpuid6Eax, Cpuid80000008Ecx, CpuidBEax, CpuidBEbx, CpuidBEcx, CpuidLeaf, TopologyLevelType,
        },
        registers::{Cpuid1Ebx, Cr4, Efer, Xcr0},
    },
};

/// What decides about the default policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CpuidConfig {
    /// The APIC id of the vCPU.
    pub apic_id: u32,
    /// How many vCPUs share the package, each a core of its own. Their APIC ids are numbered from a multiple of the next
    /// power of two.
    pub processors: u16,
    /// The components of the extended state that the guest may enable; empty hides XSAVE.
    pub xcr0: Xcr0,
    /// The bits of CR4 that the guest may set: features whose bit is missing are hidden.
    pub cr4: Cr4,
    /// The bits of EFER that the guest may set: likewise.
    pub efer: Efer,
    /// The guest's local APIC has x2APIC mode.
    pub x2apic: bool,
    /// The guest's local APIC timer has the TSC-deadline mode.
    pub tsc_deadline: bool,
    /// The guest may execute RDTSCP and RDPID, and has IA32_TSC_AUX.
    pub rdtscp: bool,
    /// The guest may execute INVPCID.
    pub invpcid: bool,
}

impl CpuidConfig {
    /// One vCPU in a package of its own, without what the VMM has to emulate.
    pub const fn new(apic_id: u32, xcr0: Xcr0) -> Self {
        Self {
            apic_id,
            processors: 1,
            xcr0,
            cr4: Cr4::from_bits(u64::MAX),
            efer: Efer::from_bits(u64::MAX),
            x2apic: false,
            tsc_deadline: false,
            rdtscp: false,
            invpcid: false,
        }
    }
}

/// "x86_vcpuRust" in EBX, ECX and EDX of the first hypervisor leaf.
const SIGNATURE: [&[u8; 4]; 3] = [b"x86_", b"vcpu", b"Rust"];

/// The extended state of a vCPU lives in one frame.
const XSAVE_ROOM: u32 = 4096;
/// Leaf 4 and leaf 8000_001DH describe a cache each until one of type "none"; no CPU has more.
const CACHES: u32 = 8;
/// The highest basic and extended leaves that a policy may have.
const HIGHEST_BASIC: u32 = CpuidLeaf::TOPOLOGY_V2.0;
const HIGHEST_EXTENDED: u32 = CpuidLeaf::EXTENDED_FEATURES_2.0;

impl CpuidPolicy {
    /// The default policy for one vCPU, on this host.
    pub fn for_guest(apic_id: u32, xcr0: Xcr0) -> Self {
        Self::new(&CpuidConfig::new(apic_id, xcr0))
    }

    /// The default policy for a configuration, on this host.
    pub fn new(config: &CpuidConfig) -> Self {
        Self::from_host(config, |leaf, subleaf| {
            let found = raw_cpuid::native_cpuid::cpuid_count(leaf, subleaf);
            CpuidEntry { eax: found.eax, ebx: found.ebx, ecx: found.ecx, edx: found.edx }
        })
    }

    /// The default policy for a configuration, where `host` answers as the host's CPUID.
    pub fn from_host(config: &CpuidConfig, mut host: impl FnMut(u32, u32) -> CpuidEntry) -> Self {
        let mut policy = Self::empty();
        // Fails only when the table is too small, which no host can make it: a test fills it with everything.
        let _ = policy.fill(config, &mut host);
        policy
    }

    pub(super) fn fill(&mut self, config: &CpuidConfig, host: &mut impl FnMut(u32, u32) -> CpuidEntry) -> Result {
        let vendor = host(CpuidLeaf::VENDOR.0, 0);
        let highest_basic = vendor.eax.min(HIGHEST_BASIC);
        let is_amd = [vendor.ebx, vendor.edx, vendor.ecx] == words([b"Auth", b"enti", b"cAMD"])
            || [vendor.ebx, vendor.edx, vendor.ecx] == words([b"Hygo", b"nGen", b"uine"]);
        self.repeats_highest = !is_amd;
        let mut seen = |leaf: CpuidLeaf, subleaf: u32, highest: u32| {
            if leaf.0 > highest { CpuidEntry::ZERO } else { host(leaf.0, subleaf) }
        };

        // Leaf DH first: it says which features have their registers.
        let xcr0 = if config.xcr0.is_empty() || highest_basic < CpuidLeaf::EXTENDED_STATE.0 {
            Xcr0::empty()
        } else {
            let mut answer = |leaf, subleaf| seen(CpuidLeaf(leaf), subleaf, highest_basic);
            xstate::fill(self, &mut answer, config.xcr0, XSAVE_ROOM)?
        };
        let features = Features { config, xcr0 };
        self.fill_basic(config, &features, highest_basic, &mut seen)?;
        let highest_extended = seen(CpuidLeaf::EXTENDED_MAXIMUM, 0, u32::MAX).eax;
        if (CpuidLeaf::EXTENDED_FEATURES.0..=u32::MAX >> 1 | CpuidLeaf::EXTENDED_MAXIMUM.0).contains(&highest_extended)
        {
            self.fill_extended(config, &features, highest_extended.min(HIGHEST_EXTENDED), is_amd, &mut seen)?;
        }

        let [ebx, ecx, edx] = words(SIGNATURE);
        self.set(CpuidLeaf::HYPERVISOR.0, 0, CpuidEntry { eax: CpuidLeaf::HYPERVISOR.0, ebx, ecx, edx })?;
        let highest = self.highest(0, highest_basic);
        self.set(CpuidLeaf::VENDOR.0, 0, CpuidEntry { eax: highest, ..vendor })?;
        self.set_apic_id(config.apic_id);
        Ok(())
    }

    fn fill_basic(
        &mut self,
        config: &CpuidConfig,
        features: &Features<'_>,
        highest: u32,
        seen: &mut impl FnMut(CpuidLeaf, u32, u32) -> CpuidEntry,
    ) -> Result {
        let mut host = |leaf, subleaf| seen(leaf, subleaf, highest);

        let one = host(CpuidLeaf::FEATURES, 0);
        let ids = Cpuid1Ebx::from_bits(one.ebx)
            .with_max_logical_processor_ids(ids(config).min(u8::MAX.into()) as u8)
            .with_initial_apic_id(0);
        let entry = CpuidEntry {
            eax: one.eax,
            ebx: ids.bits(),
            ecx: features.leaf_1_ecx(one.ecx),
            edx: features.leaf_1_edx(one.edx),
        };
        self.set(CpuidLeaf::FEATURES.0, 0, entry)?;

        self.set_unless_zero(CpuidLeaf::CACHE_DESCRIPTORS, 0, host(CpuidLeaf::CACHE_DESCRIPTORS, 0))?;
        let clock = Clock::of(host(CpuidLeaf::TIME_STAMP_COUNTER, 0));
        self.set_unless_zero(CpuidLeaf::TIME_STAMP_COUNTER, 0, clock.time_stamp_counter(1))?;
        self.set_unless_zero(CpuidLeaf::FREQUENCY, 0, clock.frequency())?;
        self.fill_caches(config, CpuidLeaf::CACHE_PARAMETERS, &mut host)?;
        if host(CpuidLeaf::POWER_MANAGEMENT, 0).eax != 0 {
            // The timer of an emulated APIC runs always.
            let entry = CpuidEntry { eax: Cpuid6Eax::ARAT.bits(), ..CpuidEntry::ZERO };
            self.set(CpuidLeaf::POWER_MANAGEMENT.0, 0, entry)?;
        }

        let seven = host(CpuidLeaf::STRUCTURED_FEATURES, 0);
        let entry = CpuidEntry {
            eax: seven.eax.min(1),
            ebx: features.leaf_7_ebx(seven.ebx),
            ecx: features.leaf_7_ecx(seven.ecx),
            edx: features.leaf_7_edx(seven.edx),
        };
        self.set_unless_zero(CpuidLeaf::STRUCTURED_FEATURES, 0, entry)?;
        if entry.eax != 0 {
            let eax = features.leaf_7_1_eax(host(CpuidLeaf::STRUCTURED_FEATURES, 1).eax);
            self.set(CpuidLeaf::STRUCTURED_FEATURES.0, 1, CpuidEntry { eax, ..CpuidEntry::ZERO })?;
        }

        for leaf in [CpuidLeaf::TOPOLOGY, CpuidLeaf::TOPOLOGY_V2] {
            if host(leaf, 0) != CpuidEntry::ZERO {
                let level = |number: u8, kind: TopologyLevelType, shift: u32, processors: u16| CpuidEntry {
                    eax: CpuidBEax::empty().with_shift(shift as u8).bits(),
                    ebx: CpuidBEbx::empty().with_logical_processors(processors).bits(),
                    ecx: CpuidBEcx::empty().with_level_number(number).with_level_type(kind).bits(),
                    edx: 0,
                };
                self.set(leaf.0, 0, level(0, TopologyLevelType::SMT, 0, 1))?;
                self.set(leaf.0, 1, level(1, TopologyLevelType::CORE, id_bits(config), config.processors.max(1)))?;
            }
        }
        Ok(())
    }

    fn fill_extended(
        &mut self,
        config: &CpuidConfig,
        features: &Features<'_>,
        highest: u32,
        is_amd: bool,
        seen: &mut impl FnMut(CpuidLeaf, u32, u32) -> CpuidEntry,
    ) -> Result {
        let mut host = |leaf, subleaf| seen(leaf, subleaf, highest);

        let one = host(CpuidLeaf::EXTENDED_FEATURES, 0);
        let entry = CpuidEntry {
            eax: one.eax,
            ebx: one.ebx,
            ecx: features.leaf_8000_0001_ecx(one.ecx),
            edx: features.leaf_8000_0001_edx(one.edx),
        };
        self.set(CpuidLeaf::EXTENDED_FEATURES.0, 0, entry)?;
        for leaf in [
            CpuidLeaf::BRAND_1,
            CpuidLeaf::BRAND_2,
            CpuidLeaf::BRAND_3,
            CpuidLeaf::L1_CACHE,
            CpuidLeaf::L2_CACHE,
            CpuidLeaf::TLB_1G,
            CpuidLeaf::INSTRUCTION_OPTIMIZATIONS,
        ] {
            self.set_unless_zero(leaf, 0, host(leaf, 0))?;
        }
        let edx = features::leaf_8000_0007_edx(host(CpuidLeaf::ADVANCED_POWER, 0).edx);
        self.set_unless_zero(CpuidLeaf::ADVANCED_POWER, 0, CpuidEntry { edx, ..CpuidEntry::ZERO })?;

        let sizes = host(CpuidLeaf::ADDRESS_SIZES, 0);
        let cores = Cpuid80000008Ecx::empty()
            .with_nc((config.processors.saturating_sub(1)).min(u8::MAX.into()) as u8)
            .with_apic_id_size(id_bits(config) as u8);
        let entry = CpuidEntry {
            eax: sizes.eax,
            ebx: features::leaf_8000_0008_ebx(sizes.ebx),
            ecx: if is_amd { cores.bits() } else { 0 },
            edx: 0,
        };
        self.set_unless_zero(CpuidLeaf::ADDRESS_SIZES, 0, entry)?;

        self.fill_caches(config, CpuidLeaf::CACHE_TOPOLOGY, &mut host)?;
        if host(CpuidLeaf::PROCESSOR_TOPOLOGY, 0) != CpuidEntry::ZERO {
            // One node, whose number is 0; a core is known by its APIC id within the package.
            let core = config.apic_id & ((1 << id_bits(config)) - 1) & 0xff;
            self.set(CpuidLeaf::PROCESSOR_TOPOLOGY.0, 0, CpuidEntry { ebx: core, ..CpuidEntry::ZERO })?;
        }
        let eax = features::leaf_8000_0021_eax(host(CpuidLeaf::EXTENDED_FEATURES_2, 0).eax);
        self.set_unless_zero(CpuidLeaf::EXTENDED_FEATURES_2, 0, CpuidEntry { eax, ..CpuidEntry::ZERO })?;

        let maximum = host(CpuidLeaf::EXTENDED_MAXIMUM, 0);
        let highest = self.highest(CpuidLeaf::EXTENDED_MAXIMUM.0, highest);
        self.set(CpuidLeaf::EXTENDED_MAXIMUM.0, 0, CpuidEntry { eax: highest, ..maximum })
    }

    /// The caches, with who shares them: the first two levels are a core's own, the others the package's.
    fn fill_caches(
        &mut self,
        config: &CpuidConfig,
        leaf: CpuidLeaf,
        host: &mut impl FnMut(CpuidLeaf, u32) -> CpuidEntry,
    ) -> Result {
        let last_id = ids(config) - 1;
        for subleaf in 0..CACHES {
            let entry = host(leaf, subleaf);
            let cache = Cpuid4Eax::from_bits(entry.eax);
            if cache.cache_type() == 0 {
                break;
            }
            let sharing = if cache.cache_level() < 3 { 0 } else { last_id };
            let mut eax = cache.with_max_sharing_ids_minus_1(sharing);
            if leaf == CpuidLeaf::CACHE_PARAMETERS {
                eax = eax.with_max_core_ids_minus_1(last_id.min(u8::MAX.into()) as u8);
            }
            self.set(leaf.0, subleaf, CpuidEntry { eax: eax.bits(), ..entry })?;
        }
        Ok(())
    }

    /// The guest's local APIC timer counts the time-stamp counter of the host divided by `ratio`.
    pub(crate) fn set_apic_timer_ratio(&mut self, ratio: u32) {
        if let Some(entry) = self.get_mut(CpuidLeaf::TIME_STAMP_COUNTER.0, 0) {
            *entry = Clock::of(*entry).time_stamp_counter(ratio);
        }
    }

    /// The guest's time-stamp counter runs at another frequency than the host's, which these leaves tell no more.
    pub(crate) fn forget_frequencies(&mut self) {
        for leaf in [CpuidLeaf::TIME_STAMP_COUNTER, CpuidLeaf::FREQUENCY] {
            if let Some(entry) = self.get_mut(leaf.0, 0) {
                *entry = CpuidEntry::ZERO;
            }
        }
    }

    fn set_unless_zero(&mut self, leaf: CpuidLeaf, subleaf: u32, entry: CpuidEntry) -> Result {
        if entry == CpuidEntry::ZERO { Ok(()) } else { self.set(leaf.0, subleaf, entry) }
    }

    /// The highest leaf of a range that the table has, but not above `limit`.
    fn highest(&self, range: u32, limit: u32) -> u32 {
        (range..=limit).rev().find(|leaf| self.get(*leaf, 0).is_some()).unwrap_or(range)
    }
}

/// How fast a time-stamp counter runs, in Hz; 0 where CPUID does not say.
///
/// Leaf 15H names the "core crystal clock", which a local APIC's timer counts, and the counter as a multiple of it. The guest's
/// timer counts the host's counter divided by a number, so that quotient is the guest's crystal, whatever the host's is.
#[derive(Clone, Copy)]
struct Clock(u64);

impl Clock {
    /// What leaf 15H says. The crystal in Hz may be missing: then it is in the manual, by model.
    fn of(leaf: CpuidEntry) -> Self {
        let CpuidEntry { eax: denominator, ebx: numerator, ecx: crystal, .. } = leaf;
        let product = u64::from(crystal).checked_mul(numerator.into()).unwrap_or(0);
        Self(product.checked_div(denominator.into()).unwrap_or(0))
    }

    /// Leaf 15H where the crystal is this counter divided by `ratio`. It must fit into 32 bits.
    fn time_stamp_counter(self, ratio: u32) -> CpuidEntry {
        let crystal = self.0.checked_div(ratio.into()).and_then(|crystal| u32::try_from(crystal).ok());
        match crystal {
            Some(ecx @ 1..) => CpuidEntry { eax: 1, ebx: ratio, ecx, edx: 0 },
            _ => CpuidEntry::ZERO,
        }
    }

    /// Leaf 16H: the base frequency in MHz. The highest is not told, nor the bus's, which a guest has not.
    fn frequency(self) -> CpuidEntry {
        let eax = self.0.saturating_add(HALF_MHZ) / (2 * HALF_MHZ);
        CpuidEntry { eax: u16::try_from(eax).unwrap_or(0).into(), ..CpuidEntry::ZERO }
    }
}

/// Half a megahertz, in Hz.
const HALF_MHZ: u64 = 500_000;

/// How many APIC ids a package takes: a power of two.
fn ids(config: &CpuidConfig) -> u16 {
    config.processors.clamp(1, 1 << 15).next_power_of_two()
}

/// How many bits of an APIC id number the vCPUs of a package.
fn id_bits(config: &CpuidConfig) -> u32 {
    ids(config).trailing_zeros()
}

fn words(bytes: [&[u8; 4]; 3]) -> [u32; 3] {
    bytes.map(|word| u32::from_le_bytes(*word))
}

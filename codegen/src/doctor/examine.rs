//! What the rules say of a dump.

use std::collections::BTreeSet;

use crate::expression::{Rule, State, Verdict, judge};
use crate::model::{Severity, Spec, Vendor};

use super::{Capabilities, Dump};

/// A rule that is broken.
#[derive(Clone, Debug)]
pub struct Finding<'s> {
    /// The rule.
    pub rule: &'s Rule,
    /// The value of the field at fault.
    pub value: Option<u64>,
    /// What the rule shows.
    pub shown: Option<u64>,
    /// Which entry of an MSR area.
    pub entry: Option<u32>,
}

/// A rule that could not be judged.
#[derive(Clone, Debug)]
pub struct Unjudged<'s> {
    /// The rule.
    pub rule: &'s Rule,
    /// The first thing that it would have to know.
    pub lacks: String,
}

/// What the rules say.
#[derive(Clone, Debug, Default)]
pub struct Diagnosis<'s> {
    /// Rules without which the entry fails.
    pub violations: Vec<Finding<'s>>,
    /// Values that the processor takes otherwise than they are, or of which the manual leaves open what comes of them.
    pub remarks: Vec<Finding<'s>>,
    /// Rules that could not be judged.
    pub unjudged: Vec<Unjudged<'s>>,
    /// How many rules are kept, or say nothing of such a state.
    pub kept: usize,
    /// Fields that the dump does not have and nearly every rule needs, with the value that they are taken for.
    pub assumed: Vec<(&'static str, u64)>,
}

/// Without it nobody knows whether the save area of a VMCB means anything: with encrypted registers it does not. A VMCB of
/// such a guest shows nothing else, so that it would be seen.
const ASSUMED: [(&str, u64); 1] = [("control.NESTED_CONTROL", 0)];

/// The area of which a dump may have the entries.
const MSR_ADDRESS: &str = "VM_ENTRY_MSR_LOAD_ADDRESS";
const MSR_COUNT: &str = "VM_ENTRY_MSR_LOAD_COUNT";

impl Diagnosis<'_> {
    /// What the rules that could not be judged lack, each once.
    pub fn lacks(&self) -> BTreeSet<&str> {
        self.unjudged.iter().map(|one| one.lacks.as_str()).collect()
    }
}

/// Judges a dump whose vendor is known; `capabilities` are what is known of the CPU besides.
pub fn examine<'s>(spec: &'s Spec, dump: &Dump, capabilities: &Capabilities) -> Diagnosis<'s> {
    let mut known = dump.capabilities.clone();
    known.extend(capabilities);
    let assumed =
        ASSUMED.into_iter().filter(|(name, _)| dump.vendor == Some(Vendor::Amd) && dump.value(name).is_none());
    let mut diagnosis = Diagnosis { assumed: assumed.collect(), ..Diagnosis::default() };
    let patient = Patient { dump, assumed: diagnosis.assumed.clone(), capabilities: &known };
    let Some(vendor @ (Vendor::Intel | Vendor::Amd)) = dump.vendor else { return diagnosis };
    for judgement in judge(spec.rules(vendor), &patient) {
        let rule = judgement.rule;
        match judgement.verdict {
            Verdict::Silent | Verdict::Kept => diagnosis.kept += 1,
            Verdict::Unknown(lacks) => diagnosis.unjudged.push(Unjudged { rule, lacks }),
            Verdict::Broken { value, shown, entry } => {
                let finding = Finding { rule, value, shown, entry };
                match rule.severity {
                    Severity::Failure => diagnosis.violations.push(finding),
                    Severity::Ignored | Severity::Undefined => diagnosis.remarks.push(finding),
                }
            }
        }
    }
    diagnosis
}

/// A dump, as the rules see it.
struct Patient<'a> {
    dump: &'a Dump,
    assumed: Vec<(&'static str, u64)>,
    capabilities: &'a Capabilities,
}

impl State for Patient<'_> {
    fn field(&self, name: &str) -> Option<u64> {
        let assumed = || self.assumed.iter().find(|(assumed, _)| *assumed == name).map(|(_, value)| *value);
        // Who prints the area need not print how long it is.
        let count = || self.dump.msrs.keys().last().filter(|_| name == MSR_COUNT).map(|last| last + 1);
        self.dump.value(name).or_else(count).or_else(assumed)
    }

    fn area_entry(&self, address: &str, index: u64) -> Option<[u64; 3]> {
        let entry = self.dump.msrs.get(&index).filter(|_| address == MSR_ADDRESS)?;
        Some([entry.register & u64::from(u32::MAX), entry.register >> 32, entry.value])
    }

    fn msr(&self, address: u32) -> Option<u64> {
        self.capabilities.msrs.get(&address).copied()
    }

    fn cpuid(&self, leaf: u32, subleaf: u32) -> Option<[u32; 4]> {
        let known = &self.capabilities.cpuid;
        if let Some(registers) = known.get(&(leaf, subleaf)) {
            return Some(*registers);
        }
        // A leaf above the highest one has no features.
        let range = leaf & 0x8000_0000;
        let highest = known.get(&(range, 0))?[0];
        (highest & 0x8000_0000 == range && leaf > highest).then_some([0; 4])
    }
}

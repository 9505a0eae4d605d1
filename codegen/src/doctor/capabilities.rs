//! What is known of the CPU: `msr.IA32_VMX_BASIC = 0x…`, `cpuid.1.0 = 0x… 0x… 0x… 0x…`.

use std::collections::BTreeMap;

use crate::model::Spec;

use super::pairs::{Number, Pair, pairs};
use super::{Note, line};

/// MSRs and CPUID leaves of a CPU.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// By their address.
    pub msrs: BTreeMap<u32, u64>,
    /// EAX, EBX, ECX and EDX by leaf and subleaf.
    pub cpuid: BTreeMap<(u32, u32), [u32; 4]>,
}

impl Capabilities {
    /// Reads a file of such lines; others are notes.
    pub fn read(spec: &Spec, text: &str) -> (Capabilities, Vec<Note>) {
        let (mut all, mut unknown) = (Capabilities::default(), Vec::new());
        for (index, text) in text.lines().enumerate() {
            let text = line::stripped(text).text;
            let own = text.is_empty() || text.starts_with(['#', ';']) || text.starts_with("x86_vcpu dump");
            let mut pairs = pairs(text);
            let read = pairs.len() == 1 && pairs.pop().is_some_and(|pair| all.take(spec, &pair).is_some());
            // The lines of a dump may stand between them.
            if !own && !read {
                unknown.push(Note { line: index + 1, text: text.to_owned() });
            }
        }
        (all, unknown)
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.msrs.is_empty() && self.cpuid.is_empty()
    }

    /// Adds what others know; what is here already stays.
    pub fn extend(&mut self, other: &Capabilities) {
        for (address, value) in &other.msrs {
            self.msrs.entry(*address).or_insert(*value);
        }
        for (leaf, registers) in &other.cpuid {
            self.cpuid.entry(*leaf).or_insert(*registers);
        }
    }

    /// Takes a pair, if it is one of these; says why not, if it should be.
    pub(super) fn take(&mut self, spec: &Spec, pair: &Pair) -> Option<Result<(), String>> {
        let name = pair.key.trim();
        if let Some(name) = prefixed(name, "msr.") {
            return Some(self.msr(spec, name, &pair.values));
        }
        prefixed(name, "cpuid.").map(|place| self.leaf(place, &pair.values))
    }

    fn msr(&mut self, spec: &Spec, name: &str, values: &[Number]) -> Result<(), String> {
        let [value] = values else { return Err("an MSR has one value".to_owned()) };
        let value = value.plain().ok_or_else(|| format!("{} is no number of 64 bits", value.0))?;
        let same = |other: &str| other.eq_ignore_ascii_case(name);
        let row = spec.msrs.iter().find(|row| {
            same(row.head.name()) || same(&row.head.manual_name) || row.head.aliases.iter().any(|one| same(&one.value))
        });
        let address = row.map(|row| row.address.value).or_else(|| Number(name).plain());
        let address = address.and_then(|address| u32::try_from(address).ok());
        let address = address.ok_or_else(|| format!("the tables have no MSR {name}"))?;
        self.msrs.insert(address, value);
        Ok(())
    }

    fn leaf(&mut self, place: &str, values: &[Number]) -> Result<(), String> {
        let mut numbers = place.split('.').map(|number| Number(number).hexadecimal().map(u32::try_from));
        let mut number = || numbers.next().unwrap_or(Some(Ok(0)));
        let (Some(Ok(leaf)), Some(Ok(subleaf))) = (number(), number()) else {
            return Err(format!("{place} is no leaf of CPUID: cpuid.LEAF.SUBLEAF, in hexadecimal"));
        };
        let registers: Vec<u32> =
            values.iter().filter_map(|number| u32::try_from(number.hexadecimal()?).ok()).collect();
        let registers = <[u32; 4]>::try_from(registers);
        let registers = registers.map_err(|_| "a leaf of CPUID has four registers of 32 bits".to_owned())?;
        self.cpuid.insert((leaf, subleaf), registers);
        Ok(())
    }
}

fn prefixed<'t>(text: &'t str, prefix: &str) -> Option<&'t str> {
    let start = text.get(..prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then(|| &text[prefix.len()..])
}

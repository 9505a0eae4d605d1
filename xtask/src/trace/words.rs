//! Exits in words, by the tables in `spec/`: the names that the library uses too.

use anyhow::{Result, anyhow};
use x86_vcpu_codegen::Spec;
use x86_vcpu_codegen::model::{self, Information, Layout};

use super::file::{Exit, Vendor};
use crate::repo::Repo;

/// The tables.
pub struct Words {
    spec: Spec,
    vendor: Vendor,
}

impl Words {
    pub fn load(repo: &Repo, vendor: Vendor) -> Result<Words> {
        let spec = Spec::load(repo.root.join("spec")).map_err(|errors| anyhow!("the tables: {errors:?}"))?;
        Ok(Words { spec, vendor })
    }

    fn row(&self, exit: &Exit) -> Option<&model::Exit> {
        let (vendor, code) = match self.vendor {
            // The basic exit reason, without its flags.
            Vendor::Vmx => (model::Vendor::Intel, exit.code & 0xffff),
            Vendor::Svm => (model::Vendor::Amd, exit.code),
        };
        self.spec.exits_of(vendor).find(|row| row.number.value as u64 == code)
    }

    /// The exit's name.
    pub fn name(&self, exit: &Exit) -> String {
        self.row(exit).map_or_else(|| format!("exit {:#x}", exit.code), |row| row.head.name().to_owned())
    }

    /// What else is known of it; empty when nothing is.
    pub fn details(&self, exit: &Exit) -> String {
        let mut parts = Vec::new();
        let (ty, second) = match self.row(exit).map(|row| &row.information) {
            Some(Information::Vmx(vmx)) => {
                let second = if vmx.guest_physical_address.is_some() {
                    Some(format!("guest-physical {:#x}", exit.info[1]))
                } else {
                    let valid = vmx.interruption_information.is_some();
                    valid.then(|| self.word("ExitInterruptionInformation", exit.info[1] & 0xffff_ffff))
                };
                (vmx.qualification.as_ref(), second)
            }
            Some(Information::Svm(svm)) if exit.code == NPF => {
                (svm.exit_info1.as_ref(), Some(format!("guest-physical {:#x}", exit.info[1])))
            }
            Some(Information::Svm(svm)) => (svm.exit_info1.as_ref(), None),
            None => (None, None),
        };
        if let Some(ty) = ty.filter(|_| exit.info[0] != 0) {
            parts.push(self.word(&ty.value, exit.info[0]));
        }
        parts.extend(second);
        match self.name(exit).as_str() {
            "CPUID" => parts.push(format!("EAX {:#x}, ECX {:#x}", exit.eax, exit.ecx)),
            "RDMSR" | "WRMSR" | "MSR" | "XSETBV" => parts.push(format!("ECX {:#x}", exit.ecx)),
            "VMCALL" | "VMMCALL" => parts.push(format!("EAX {:#x}", exit.eax)),
            _ => {}
        }
        parts.join(", ")
    }

    /// The event that was injected.
    pub fn event(&self, (kind, vector): (u64, u64)) -> String {
        let types = self.spec.enums.iter().find(|row| row.head.name() == "InterruptionType");
        let value = types.and_then(|row| row.values.iter().find(|value| value.number.value == kind));
        format!("{} {vector:#x}", value.map_or("event", |value| value.head.name()))
    }

    fn word(&self, ty: &str, value: u64) -> String {
        self.spec.layout(ty).map_or_else(|| format!("{value:#x}"), |layout| in_words(layout, value))
    }
}

/// The exit code of a nested page fault.
const NPF: u64 = 0x400;

/// As the library prints a word: `Name(FLAG | RANGE: 0x1 | 0x8000)`.
fn in_words(layout: &Layout, value: u64) -> String {
    let named = |flags: bool| {
        layout
            .fields
            .iter()
            .filter(move |field| field.reserved.is_none() && value & field.bits.mask() != 0 && field.is_flag() == flags)
    };
    let mut parts: Vec<String> = named(true).map(|field| field.head.name().to_owned()).collect();
    parts.extend(
        named(false)
            .map(|field| format!("{}: {:#x}", field.head.name(), (value & field.bits.mask()) >> field.bits.low)),
    );
    let known = named(true).chain(named(false)).fold(0, |known, field| known | field.bits.mask());
    if value & !known != 0 || parts.is_empty() {
        parts.push(format!("{:#x}", value & !known));
    }
    format!("{}({})", layout.head.name(), parts.join(" | "))
}

#[cfg(test)]
mod tests {
    use super::super::file::{Trace, tests::TRACE};
    use super::*;

    #[test]
    fn exits_are_called_as_in_the_library() {
        let words = Words::load(&Repo::find().expect("a repository"), Vendor::Vmx).expect("tables");
        let trace = Trace::parse(TRACE).expect("a trace");
        let texts: Vec<_> =
            trace.exits.iter().map(|exit| format!("{} {}", words.name(exit), words.details(exit))).collect();
        assert_eq!(texts[0], "CPUID EAX 0x1, ECX 0x2");
        assert_eq!(texts[2], "HLT ");
        assert_eq!(
            texts[4],
            "EPT_VIOLATION EptViolationQualification(WRITE | LINEAR_ADDRESS_VALID), guest-physical 0xfee00300"
        );
        assert_eq!(words.event((0, 0x30)), "EXTERNAL_INTERRUPT 0x30");
        assert_eq!(words.name(&Exit { code: 0xfff0, ..Exit::default() }), "exit 0xfff0");
        let words = Words::load(&Repo::find().expect("a repository"), Vendor::Svm).expect("tables");
        let fault = Exit { code: NPF, info: [2, 0x1000], ..Exit::default() };
        assert_eq!(
            (words.name(&fault).as_str(), words.details(&fault).as_str()),
            ("NPF", "NpfInfo(RW), guest-physical 0x1000")
        );
        assert_eq!(words.name(&Exit { code: u64::MAX, ..Exit::default() }), "INVALID");
    }
}

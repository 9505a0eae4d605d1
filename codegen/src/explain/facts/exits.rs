//! Exits of both vendors.

use crate::model::{Exit, Information, Spec, Valid, Vendor};

use super::super::number::{both, code};
use super::{Facts, cpuid};

/// Of an exit.
pub(super) fn exit(facts: &mut Facts, spec: &Spec, row: &Exit) {
    let number = row.number.value;
    match (&row.information, u64::try_from(number)) {
        (Information::Vmx(_), Ok(number)) => facts.add("number", both(number)),
        _ if number < 0 => facts.add("number", format!("{number} ({:#x})", number.cast_unsigned())),
        _ => facts.add("number", format!("{} ({number})", code(number))),
    }
    let valid = |valid: Valid, what: &str| match valid {
        Valid::Always => what.to_owned(),
        Valid::Conditional => format!("{what}, where a bit or the note says so"),
    };
    match &row.information {
        Information::Vmx(information) => {
            let mut any = false;
            let mut add = |label, text: Option<String>| {
                any |= text.is_some();
                facts.add_if(label, text);
            };
            add("qualification", information.qualification.as_ref().map(|ty| ty.value.clone()));
            add("instruction information", information.instruction_information.as_ref().map(|ty| ty.value.clone()));
            for (label, wanted) in [("always valid", Valid::Always), ("valid at times", Valid::Conditional)] {
                let fields = information
                    .flags()
                    .into_iter()
                    .filter(|(_, _, valid)| valid.as_ref().is_some_and(|valid| valid.value == wanted));
                let names: Vec<_> = fields.map(|(key, _, _)| key.replace('_', " ")).collect();
                add(label, (!names.is_empty()).then(|| names.join(", ")));
            }
            if !any {
                facts.add("valid", "no information field beyond the exit reason");
            }
        }
        Information::Svm(information) => {
            let missing = "undefined".to_owned();
            let info = |ty: &Option<crate::model::Spanned<String>>| {
                ty.as_ref().map_or_else(|| missing.clone(), |ty| ty.value.clone())
            };
            facts.add("EXITINFO1", info(&information.exit_info1));
            facts.add("EXITINFO2", info(&information.exit_info2));
            facts.add_if(
                "only where",
                information.info_if.as_ref().map(|bit| format!("CPUID reports {bit}{}", cpuid(spec, bit))),
            );
            facts.add_if(
                "nRIP",
                information.next_rip.as_ref().map(|v| valid(v.value, "the next instruction, on CPUs that save it")),
            );
            facts.add_if(
                "bytes",
                information
                    .instruction_bytes
                    .as_ref()
                    .map(|v| valid(v.value, "the guest's instruction bytes, on CPUs with decode assists")),
            );
        }
    }
    let vendor = spec.vendor(row.module).name();
    facts.add("payload", format!("x86_vcpu::spec::{vendor}::payloads::{}", row.payload_name()));
}

/// The exit that an intercept causes: its code is 32 times the number of the word plus that of the bit.
pub(in crate::explain) fn exit_of_intercept(spec: &Spec, word: u64, bit: u32) -> Option<&Exit> {
    let number = i64::try_from(word * 32 + u64::from(bit)).ok()?;
    spec.exits_of(Vendor::Amd).find(|exit| exit.number.value == number)
}

//! The entry doctor: reads the dump of a VMCS or VMCB, and says which rules of VM entry it breaks.
//!
//! [`read()`] finds the dumps in a log: those of `x86_vcpu`, of Linux's KVM and of Xen, and lines with names and values.
//! [`examine`] judges one by the rules of `entry_checks.toml`, and [`report()`] puts the result into words.

mod capabilities;
mod dump;
mod examine;
mod fields;
mod line;
mod names;
mod pairs;
mod read;
mod report;
mod spellings;

pub use capabilities::Capabilities;
pub use dump::{Dump, LoadedMsr, Log, Note, Source, Value};
pub use examine::{Diagnosis, Finding, Unjudged, examine};
pub use read::read;
pub use report::{Options, json, report};

#[cfg(test)]
mod tests {
    use super::fields::Fields;
    use super::spellings;
    use crate::model::Spec;

    #[test]
    fn every_field_that_programs_print_is_in_the_tables() {
        let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../spec");
        if !dir.exists() {
            return;
        }
        let spec = Spec::load(&dir).unwrap_or_else(|errors| panic!("{errors}"));
        let fields = Fields::of(&spec);
        for field in spellings::all().into_iter().filter(|field| *field != spellings::NOTHING) {
            assert!(fields.get(field).is_some(), "{field}");
        }
    }
}

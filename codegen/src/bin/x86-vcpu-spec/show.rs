//! `show`

use x86_vcpu_codegen::Spec;
use x86_vcpu_codegen::explain::{Explainer, Kind};

use crate::failure::Failure;
use crate::output;

/// In `--help`.
pub const EXAMPLES: &str = "\
Examples:
  x86-vcpu-spec show GUEST_RIP            a VMCS field
  x86-vcpu-spec show ept pointer          spelled as the manual does
  x86-vcpu-spec show 0x681e               what has this number: 0x681e, 681EH or 26654
  x86-vcpu-spec show 48 --kind exit       one table only
  x86-vcpu-spec show secondary.ENABLE_EPT what exists where a control may be 1
  x86-vcpu-spec show Cr0.PE               a bit of a word
  x86-vcpu-spec show save.RIP             a member of the VMCB

Upper and lower case, `-`, `_` and spaces make no difference. Exits with 1 if nothing matches.";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Our name, the manual's or an alias, with what it is a part of in front or without; or a number.
    #[arg(value_name = "NAME|NUMBER", required = true, allow_negative_numbers = true)]
    query: Vec<String>,
    /// Only this table.
    #[arg(long, value_enum)]
    kind: Option<Kind>,
    /// Without the generated Rust.
    #[arg(long)]
    no_rust: bool,
}

/// Prints everything known of an entry.
pub fn run(spec: &Spec, arguments: &Arguments) -> Result<(), Failure> {
    let page = Explainer::new(spec).show(&arguments.query.join(" "), arguments.kind, !arguments.no_rust)?;
    Ok(output::page(&page)?)
}

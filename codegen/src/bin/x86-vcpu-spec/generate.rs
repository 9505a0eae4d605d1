//! `generate`

use std::io;
use std::path::PathBuf;

use x86_vcpu_codegen::{Spec, emit};

/// In `--help`.
pub const EXAMPLES: &str = "\
Example:
  x86-vcpu-spec generate --out generated   then read generated/intel/vmcs.rs";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Where to write the files.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// Writes what the build script writes.
pub fn run(spec: &Spec, arguments: &Arguments) -> io::Result<()> {
    emit(spec).write(&arguments.out)
}

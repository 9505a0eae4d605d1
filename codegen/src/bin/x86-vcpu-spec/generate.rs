//! `generate`

use std::io;
use std::path::PathBuf;

use x86_vcpu_codegen::{Spec, emit};

#[derive(clap::Args)]
pub struct Arguments {
    /// Where to write the files.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// Writes what the build script writes.
pub fn run(spec: &Spec, arguments: &Arguments) -> io::Result<()> {
    emit(spec).write(&arguments.out)
}

//! `x86-vcpu-spec`: checks the hardware tables of `x86_vcpu`, shows what they become, and exports them.

mod check;
mod diff;
mod export;
mod generate;
mod output;
mod snippets;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use x86_vcpu_codegen::{Diagnostics, Spec, lint};

/// The hardware tables of x86_vcpu.
#[derive(Parser)]
#[command(name = "x86-vcpu-spec", version)]
struct Arguments {
    /// The directory of the tables.
    #[arg(long, global = true, default_value = "spec", value_name = "DIR")]
    spec: PathBuf,
    /// Show the lines that a mistake is about.
    #[arg(long, global = true)]
    pretty: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Say what is wrong with the tables; exit with 1 if anything is.
    Check,
    /// Write the Rust that the tables become.
    Generate(generate::Arguments),
    /// Print every table.
    Export(export::Arguments),
    /// Say what differs between two versions of the tables, and what that means for the API.
    Diff(diff::Arguments),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Command::Diff(of) = &arguments.command {
        return diff::run(of, &arguments.spec, arguments.pretty);
    }
    let checked = checked(&arguments.spec);
    let result = match (arguments.command, checked) {
        (Command::Check, checked) => return check::run(checked, arguments.pretty),
        (_, Err(errors)) => {
            eprint!("{}", snippets::render(&errors, arguments.pretty));
            return ExitCode::FAILURE;
        }
        (Command::Generate(arguments), Ok(spec)) => generate::run(&spec, &arguments),
        (Command::Export(arguments), Ok(spec)) => export::run(&spec, &arguments),
        (Command::Diff(_), Ok(_)) => Ok(()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The tables, or what is wrong with them.
fn checked(dir: &Path) -> Result<Spec, Diagnostics> {
    let spec = Spec::load(dir)?;
    let list = lint(&spec);
    if list.is_empty() { Ok(spec) } else { Err(Diagnostics::new(spec.sources, list)) }
}

//! `x86-vcpu-spec`: checks the hardware tables of `x86_vcpu`, shows what they become, and exports them.

mod atlas;
mod audit;
mod check;
mod compile;
mod completions;
mod decode;
mod diff;
mod doctor;
mod export;
mod failure;
mod generate;
mod output;
mod show;
mod snippets;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use failure::Failure;
use x86_vcpu_codegen::{Diagnostics, Spec, lint};

/// The hardware tables of x86_vcpu: check them, look things up in them, see what they become.
#[derive(Parser)]
#[command(name = "x86-vcpu-spec", version, after_help = failure::CODES)]
struct Arguments {
    /// The directory of the tables. By default `spec`, here or in the nearest directory above.
    #[arg(long, global = true, value_name = "DIR")]
    spec: Option<PathBuf>,
    /// Show the lines that a mistake is about.
    #[arg(long, global = true)]
    pretty: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Say what is wrong with the tables; exit with 1 if anything is.
    Check(check::Arguments),
    /// Print everything known of a name or a number, and its generated Rust.
    Show(show::Arguments),
    /// Say what the bits of a value mean.
    Decode(decode::Arguments),
    /// Write the Rust that the tables become.
    Generate(generate::Arguments),
    /// Print every table.
    Export(export::Arguments),
    /// Write the tables as a site to be read in a browser, from a disk or a server.
    Atlas(atlas::Arguments),
    /// Say what differs between two versions of the tables, and what that means for the API.
    Diff(diff::Arguments),
    /// Say what manuals and other documents have otherwise, and what they confirm.
    Audit(audit::Arguments),
    /// Say which rules of VM entry the dump of a VMCS or VMCB breaks, and how to mend it.
    Doctor(doctor::Arguments),
    /// Print a script that lets a shell complete the command line.
    Completions(completions::Arguments),
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(code) => code,
        Err(failure) => failure.report(),
    }
}

fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let dir = arguments.spec.unwrap_or_else(default_dir);
    let spec = || loaded(&dir, arguments.pretty);
    match arguments.command {
        Command::Check(own) => check::run(checked(&dir), &own, &dir, arguments.pretty),
        Command::Show(own) => show::run(&spec()?, &own),
        Command::Decode(own) => decode::run(&spec()?, own),
        Command::Generate(own) => Ok(generate::run(&spec()?, &own)?),
        Command::Export(own) => Ok(export::run(&spec()?, &own)?),
        Command::Atlas(own) => Ok(atlas::run(&spec()?, &own, &dir)?),
        Command::Diff(own) => return Ok(diff::run(&own, &dir, arguments.pretty)),
        Command::Audit(own) => return Ok(audit::run(&own, &dir, arguments.pretty)),
        Command::Doctor(own) => return Ok(doctor::run(&own, &dir, arguments.pretty)),
        Command::Completions(own) => completions::run::<Arguments>(&own),
    }?;
    Ok(ExitCode::SUCCESS)
}

/// `spec`, or that of the nearest directory above which has one.
fn default_dir() -> PathBuf {
    let here = PathBuf::from("spec");
    if here.join("manuals.toml").exists() {
        return here;
    }
    let above = std::env::current_dir().ok();
    let found = above.iter().flat_map(|dir| dir.ancestors()).map(|dir| dir.join("spec"));
    found.into_iter().find(|dir| dir.join("manuals.toml").exists()).unwrap_or(here)
}

/// The tables, for a command that needs them to be without mistakes.
fn loaded(dir: &Path, pretty: bool) -> Result<Spec, Failure> {
    if let Err(error) = std::fs::read_dir(dir) {
        let message =
            format!("cannot read the tables in {}: {error}; --spec DIR names another directory", dir.display());
        return Err(Failure::Io(std::io::Error::new(error.kind(), message)));
    }
    checked(dir).map_err(|errors| {
        anstream::eprint!("{}", snippets::render(&errors, pretty));
        Failure::Mistakes
    })
}

/// The tables, or what is wrong with them.
fn checked(dir: &Path) -> Result<Spec, Diagnostics> {
    let spec = Spec::load(dir)?;
    let list = lint(&spec);
    if list.is_empty() { Ok(spec) } else { Err(Diagnostics::new(spec.sources, list)) }
}

//! `audit`

use std::io::{self, IsTerminal, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::ValueEnum;
use x86_vcpu_codegen::audit::source::Source;
use x86_vcpu_codegen::audit::{self, Auditor, Comparison, Report};
use x86_vcpu_codegen::{Diagnostics, Spec, lint};

use crate::{output, snippets};

/// Exit status when something is contradicted or missing.
const WRONG: u8 = 1;

/// Exit status when a document, or the tables, cannot be read.
const UNREADABLE: u8 = 2;

#[derive(clap::Args)]
pub struct Arguments {
    /// Compare the tables with documents.
    #[arg(long, value_name = "SOURCE", num_args = 1.., required = true)]
    against: Vec<PathBuf>,
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Show each row that is confirmed, or missing with a reason.
    #[arg(long, short)]
    verbose: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    Text,
    Json,
    Markdown,
    Sarif,
}

impl From<Format> for audit::Format {
    fn from(format: Format) -> Self {
        match format {
            Format::Text => audit::Format::Text,
            Format::Json => audit::Format::Json,
            Format::Markdown => audit::Format::Markdown,
            Format::Sarif => audit::Format::Sarif,
        }
    }
}

/// Reads, compares and prints.
pub fn run(arguments: &Arguments, dir: &Path, pretty: bool) -> ExitCode {
    let spec = match load(dir, pretty) {
        Ok(spec) => spec,
        Err(text) => {
            anstream::eprint!("{text}");
            return ExitCode::from(UNREADABLE);
        }
    };
    let auditor = Auditor::new(&spec);
    let (mut comparisons, mut unread) = (Vec::new(), Vec::new());
    for path in &arguments.against {
        match open(path) {
            Ok(source) => comparisons.push(auditor.compare(&source)),
            Err(error) => unread.push(error),
        }
    }
    let report = Report { comparisons: &comparisons, unread: &unread, verbose: arguments.verbose };
    if let Err(error) = output::print(&report.print(arguments.format.into())) {
        eprintln!("error: {error}");
        return ExitCode::from(UNREADABLE);
    }
    if !unread.is_empty() {
        ExitCode::from(UNREADABLE)
    } else if comparisons.iter().any(Comparison::fails) {
        ExitCode::from(WRONG)
    } else {
        ExitCode::SUCCESS
    }
}

/// The tables. What lints have against them does not stop an audit, which may say why.
fn load(dir: &Path, pretty: bool) -> Result<Spec, String> {
    let mut spec = Spec::load(dir).map_err(|errors| snippets::render(&errors, pretty))?;
    let mistakes = lint(&spec);
    if !mistakes.is_empty() {
        let errors = Diagnostics::new(spec.sources, mistakes);
        anstream::eprintln!("{}audited nevertheless", snippets::render(&errors, pretty));
        spec.sources = errors.sources;
    }
    Ok(spec)
}

/// Reads a document, and says on a terminal how far that is.
fn open(path: &Path) -> Result<Source, audit::read::ReadError> {
    let terminal = io::stderr().is_terminal();
    let mut last = None;
    let mut progress = |what: &str, done: usize, all: usize| {
        let percent = (done * 100).checked_div(all).unwrap_or(0).min(100);
        let now = Some((what.to_owned(), percent));
        if terminal && last != now {
            // A terminal that is gone needs no progress.
            let _ = write!(io::stderr(), "\r\x1b[K{}: {what} {percent} %", path.display());
            last = now;
        }
    };
    let source = audit::open(path, &mut progress);
    if last.is_some() {
        let _ = write!(io::stderr(), "\r\x1b[K");
    }
    source
}

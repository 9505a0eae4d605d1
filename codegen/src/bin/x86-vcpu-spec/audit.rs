//! `audit`

use std::fs;
use std::io::{self, IsTerminal, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::ValueEnum;
use x86_vcpu_codegen::audit::source::Source;
use x86_vcpu_codegen::audit::status::{Class, Status};
use x86_vcpu_codegen::audit::{self, Auditor, Between, Comparison, Report, citations};
use x86_vcpu_codegen::{Diagnostics, Spec, lint};

use crate::{output, snippets};

/// Exit status when something is contradicted or missing.
const WRONG: u8 = 1;

/// Exit status when a document, or the tables, cannot be read.
const UNREADABLE: u8 = 2;

const AFTER_HELP: &str = "\
--against reads each document (manuals, C headers, Rust crates, exports: it is recognised by its content), compares each
of its tables with the tables, and says per row: confirmed; confirmed under another name; contradicted; missing here;
missing there (of tables that mean to be complete, split into excused, retired and cited from elsewhere). A row says
`excuse = [{ doc, reason }]` when it differs from a document and is right all the same.

--update-citations writes into each row which documents have it as it is here, `confirmed = [{ doc, title, page, date }]`,
and takes away what a document no longer has. A document that manuals.toml does not list confirms nothing.

Exit status: 0 when nothing is contradicted or missing without an excuse; 1 otherwise; 2 when a document, or the tables,
cannot be read: all other documents are still reported.

Examples:
  x86-vcpu-spec audit --against 332831-sdm-vol-3d.pdf
  x86-vcpu-spec audit --against *.pdf --format sarif > audit.sarif
  x86-vcpu-spec audit --against *.pdf --update-citations
  x86-vcpu-spec audit --status --list none
  x86-vcpu-spec audit --between old.pdf new.pdf";

#[derive(clap::Args)]
#[command(after_help = AFTER_HELP)]
#[command(group(clap::ArgGroup::new("what").required(true).args(["against", "between", "status"])))]
pub struct Arguments {
    /// Compare the tables with documents.
    #[arg(long, value_name = "SOURCE", num_args = 1..)]
    against: Vec<PathBuf>,
    /// Compare two editions of a document with each other.
    #[arg(long, value_names = ["OLD", "NEW"], num_args = 2)]
    between: Vec<PathBuf>,
    /// Say by what the rows are confirmed, from the tables alone.
    #[arg(long)]
    status: bool,
    /// List the rows that are confirmed by: a manual, two other documents, one, or none.
    #[arg(long, value_enum, value_name = "BY", requires = "status")]
    list: Vec<By>,
    /// Write into the tables what confirms them.
    #[arg(long, requires = "against")]
    update_citations: bool,
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Show each row that is confirmed, or missing with a reason.
    #[arg(long, short)]
    verbose: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum By {
    Manual,
    Two,
    One,
    None,
}

impl From<By> for Class {
    fn from(by: By) -> Self {
        match by {
            By::Manual => Class::Manual,
            By::Two => Class::Two,
            By::One => Class::One,
            By::None => Class::None,
        }
    }
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
    let result = if let [old, new] = &arguments.between[..] {
        between(old, new, arguments)
    } else {
        load(dir, pretty).and_then(|spec| match arguments.status {
            true => status(&spec, arguments),
            false => against(&spec, arguments),
        })
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(text) => {
            anstream::eprint!("{text}");
            ExitCode::from(UNREADABLE)
        }
    }
}

fn against(spec: &Spec, arguments: &Arguments) -> Result<u8, String> {
    let auditor = Auditor::new(spec);
    let (mut comparisons, mut unread) = (Vec::new(), Vec::new());
    for path in &arguments.against {
        match open(path) {
            Ok(source) => comparisons.push(auditor.compare(&source)),
            Err(error) => unread.push(error),
        }
    }
    let report = Report { comparisons: &comparisons, unread: &unread, verbose: arguments.verbose };
    print(Some(report.print(arguments.format.into())))?;
    let updated = if arguments.update_citations { update(spec, &comparisons) } else { Ok(()) };
    // A document that was not read is said in the report, of whatever format.
    updated?;
    Ok(match unread.is_empty() {
        false => UNREADABLE,
        true if comparisons.iter().any(Comparison::fails) => WRONG,
        true => 0,
    })
}

/// Writes what confirms the rows.
fn update(spec: &Spec, comparisons: &[Comparison]) -> Result<(), String> {
    let update = citations::update(spec, comparisons, &today()).map_err(|error| format!("error: {error}\n"))?;
    for file in &update.files {
        fs::write(&file.path, &file.text).map_err(|error| format!("error: {}: {error}\n", file.path))?;
    }
    let (written, removed, files) = (update.written, update.removed, update.files.len());
    eprintln!("{written} confirmations written, {removed} taken away, in {files} files");
    Ok(())
}

fn status(spec: &Spec, arguments: &Arguments) -> Result<u8, String> {
    let list: Vec<Class> = arguments.list.iter().map(|by| Class::from(*by)).collect();
    print(Status::new(spec).print(arguments.format.into(), &list)).map(|()| 0)
}

fn between(old: &Path, new: &Path, arguments: &Arguments) -> Result<u8, String> {
    let read = |path| open(path).map_err(|error| format!("error: {error}\n"));
    let (old, new) = (read(old), read(new));
    // Both, so that both errors are seen in one run.
    let (old, new) = match (old, new) {
        (Err(old), Err(new)) => return Err(old + &new),
        (old, new) => (old?, new?),
    };
    print(Between::new(&old, &new).print(arguments.format.into())).map(|()| 0)
}

fn print(text: Option<String>) -> Result<(), String> {
    let text = text.ok_or("error: SARIF is for findings: with --against\n")?;
    output::print(&text).map_err(|error| format!("error: {error}\n"))
}

/// The day, in Greenwich: `2026-11-22`.
fn today() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut days = since.as_secs() / 86_400;
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let mut year = 1970;
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let february = 28 + u64::from(leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    format!("{year}-{month:02}-{:02}", days + 1)
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

//! `cargo xtask trace`: a guest's exits that `run --guest … --trace FILE` has saved, as tables, for flame graphs, and for trace
//! viewers.

mod chrome;
mod file;
mod folded;
mod summary;
mod symbols;
mod table;
mod words;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};

use crate::repo::Repo;
use file::Trace;
use symbols::Symbols;
use words::Words;

/// The arguments.
#[derive(Args)]
pub struct Arguments {
    /// What `run --trace` has saved
    file: PathBuf,
    /// How it is shown
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// With `table`: how many of the last exits
    #[arg(long, value_name = "N", default_value_t = 32)]
    last: usize,
    /// Names of the guest's functions: its ELF file, or a System.map
    #[arg(long, value_name = "FILE")]
    symbols: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    /// The last exits, one in a line
    Table,
    /// By exit reason and by page of the guest's RIP
    Summary,
    /// Stacks with the host's instructions, for flame graphs
    Folded,
    /// Trace Event JSON, for Perfetto and other trace viewers
    Chrome,
}

/// How the lines begin that the image prints.
const HEADER: &str = "TRACE ";
const LINES: [&str; 2] = ["T ", "P "];

/// Whether a line of the image's log is one of a trace.
pub fn is_line(line: &str) -> bool {
    line.starts_with(HEADER) || LINES.iter().any(|start| line.starts_with(start))
}

/// Takes the trace out of the image's log, and gives the number of exits.
pub fn save(log: &str, to: &Path) -> Result<usize> {
    let lines: Vec<&str> = log.lines().filter(|line| is_line(line)).collect();
    ensure!(!lines.is_empty(), "the image's log has no trace");
    let text = lines
        .iter()
        .map(|line| line.strip_prefix(HEADER).unwrap_or(line))
        .fold(String::new(), |text, line| text + line + "\n");
    fs::write(to, text).with_context(|| format!("cannot write {}", to.display()))?;
    Ok(lines.iter().filter(|line| line.starts_with("T ")).count())
}

/// Shows one.
pub fn main(repo: &Repo, arguments: &Arguments) -> Result<()> {
    let text =
        fs::read_to_string(&arguments.file).with_context(|| format!("cannot read {}", arguments.file.display()))?;
    let trace = Trace::parse(&text).with_context(|| format!("in {}", arguments.file.display()))?;
    let words = Words::load(repo, trace.vendor)?;
    let symbols = arguments.symbols.as_deref().map_or_else(|| Ok(Symbols::default()), Symbols::read)?;
    let shown = match arguments.format {
        Format::Table => table::of(&trace, &words, &symbols, arguments.last),
        Format::Summary => summary::of(&trace, &words),
        Format::Folded => folded::of(&trace, &words, &symbols),
        Format::Chrome => serde_json::to_string(&chrome::of(&trace, &words, &symbols))? + "\n",
    };
    // A pipe that is closed wants no more.
    let _ = std::io::stdout().write_all(shown.as_bytes());
    Ok(())
}

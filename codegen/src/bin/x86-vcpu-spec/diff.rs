//! `diff`

mod git;
mod side;

use std::path::Path;
use std::process::ExitCode;

use clap::ValueEnum;
use x86_vcpu_codegen::diff::{Comparison, Report};

use crate::output;
use side::Side;

/// Exit status when something differs and the caller wants to know, and when the API breaks and may not.
const DIFFERENT: u8 = 1;

/// Exit status when a side cannot be read.
const UNREADABLE: u8 = 2;

const AFTER_HELP: &str = "\
Each side is a directory of tables, or a git revision: `REV` (a commit, a branch, a tag, HEAD~3), which means the
directory `spec` of it, or `REV:PATH`. A directory that is there comes first. Without NEW, it is the directory that
--spec names.

For each table: rows that were added, removed, renamed (the same number, or one lists the other as an alias),
renumbered (the same name), changed (type, width, access, condition, payload), reserved bits, and how many notes and
citations differ (--verbose shows them). Then what that means for the API, found by comparing the public items of the
code that the two become: major (code that compiled may no longer), minor (the API grows), patch (values or
documentation), none (the same code); and the version that Cargo's rules ask for, from the Cargo.toml beside the tables.

Exit status: 0 when the comparison was made; 1 with --exit-code when anything differs, and with --deny breaking when
the API breaks or cannot be compared; 2 when a side cannot be read. Tables with mistakes are compared as far as they
load, with a warning.

Examples:
  x86-vcpu-spec diff HEAD~3                        the tables as they are now with those of three commits ago
  x86-vcpu-spec diff v0.1.0 HEAD --format markdown for a changelog
  x86-vcpu-spec diff main --deny breaking          fails when a branch breaks the API
  x86-vcpu-spec diff v0.1.0:spec ../tables --verbose";

#[derive(clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Arguments {
    /// A directory or a git revision.
    old: String,
    /// A directory or a git revision [default: the directory of --spec].
    new: Option<String>,
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Exit with 1 when anything differs.
    #[arg(long)]
    exit_code: bool,
    /// Exit with 1 when the API breaks.
    #[arg(long, value_enum, value_name = "WHAT")]
    deny: Option<Deny>,
    /// Show every note and citation that differs.
    #[arg(long, short)]
    verbose: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    Text,
    Json,
    Markdown,
}

#[derive(Clone, Copy, ValueEnum)]
enum Deny {
    Breaking,
}

/// Compares and prints.
pub fn run(arguments: &Arguments, spec: &Path, pretty: bool) -> ExitCode {
    let old = Side::of(&arguments.old);
    let new = arguments.new.as_deref().map_or_else(|| Side::directory(spec), Side::of);
    let verbose = arguments.verbose;
    let sides = old.and_then(|old| Ok((old.load(pretty, verbose)?, new?.load(pretty, verbose)?)));
    let (old, new) = match sides {
        Ok(sides) => sides,
        Err(why) => {
            anstream::eprint!("{why}");
            return ExitCode::from(UNREADABLE);
        }
    };
    let mut comparison = Comparison::new(&old.spec, &new.spec);
    comparison.api = comparison.api.map_err(|why| new.named(&old.named(&why)));
    let report = Report {
        comparison: &comparison,
        old: old.name,
        new: new.name,
        old_version: old.version,
        new_version: new.version,
        verbose,
    };
    let format = match arguments.format {
        Format::Text => x86_vcpu_codegen::diff::Format::Text,
        Format::Json => x86_vcpu_codegen::diff::Format::Json,
        Format::Markdown => x86_vcpu_codegen::diff::Format::Markdown,
    };
    if let Err(error) = output::print(&report.print(format)) {
        eprintln!("error: {error}");
        return ExitCode::from(UNREADABLE);
    }
    let breaks = arguments.deny.is_some() && comparison.may_break();
    if breaks {
        eprintln!("error: the API breaks, or cannot be compared");
    }
    match breaks || (arguments.exit_code && !comparison.is_empty()) {
        true => ExitCode::from(DIFFERENT),
        false => ExitCode::SUCCESS,
    }
}

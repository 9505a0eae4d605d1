//! `check`

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use x86_vcpu_codegen::model::Span;
use x86_vcpu_codegen::{Diagnostics, Spec};

use crate::failure::Failure;
use crate::{compile, output, snippets};

/// In `--help`.
pub const EXAMPLES: &str = "\
Examples:
  x86-vcpu-spec check                    what is wrong with the tables in ./spec
  x86-vcpu-spec check --spec ../spec     with those of another directory
  x86-vcpu-spec check --format json      for a program
  x86-vcpu-spec check --compile          and whether the library compiles with what they become

Exits with 0 if nothing is wrong and with 1 if anything is, even that the directory cannot be read.";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// How mistakes are printed.
    #[arg(long, value_enum, default_value_t = Format::Auto)]
    format: Format,
    /// Check the library with the generated code, for every set of its features. Needs its sources and Cargo.
    #[arg(long)]
    compile: bool,
    /// The library's Cargo.toml. By default that of a directory above.
    #[arg(long, value_name = "PATH", requires = "compile")]
    manifest_path: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// `pretty` on a terminal, else `plain`.
    Auto,
    /// `path:line:col: error: …`
    Plain,
    /// With the lines that a mistake is about.
    Pretty,
    /// An array with an object per mistake.
    Json,
}

/// Prints the mistakes, or how many files were looked at if there is none.
pub fn run(checked: Result<Spec, Diagnostics>, arguments: &Arguments, dir: &Path, pretty: bool) -> Result<(), Failure> {
    let format = if pretty && arguments.format == Format::Auto { Format::Pretty } else { arguments.format };
    let spec = match checked {
        Err(errors) => {
            output::styled(&rendered(&errors, format))?;
            return Err(Failure::Mistakes);
        }
        Ok(spec) => spec,
    };
    output::print(&match format {
        Format::Json => "[]\n".to_owned(),
        _ => format!("{} files, no mistakes\n", spec.modules.len() + 1),
    })?;
    if arguments.compile { compile::run(dir, arguments.manifest_path.as_deref()) } else { Ok(()) }
}

fn rendered(errors: &Diagnostics, format: Format) -> String {
    match format {
        Format::Json => json(errors),
        Format::Auto => snippets::render(errors, output::is_terminal()),
        format => snippets::render(errors, format == Format::Pretty),
    }
}

fn json(errors: &Diagnostics) -> String {
    let place = |span: Span, message: &str| {
        let (line, column) = errors.sources.line_column(span);
        json!({ "path": errors.sources.path(span.file), "line": line, "column": column, "message": message })
    };
    let mistake = |error: &x86_vcpu_codegen::Diagnostic| {
        let mut object = place(error.span, &error.message);
        object["related"] = error.related.iter().map(|(span, text)| place(*span, text)).collect();
        object["help"] = json!(error.help);
        object
    };
    // Values of these kinds always have a JSON form.
    let all: Vec<Value> = errors.list.iter().map(mistake).collect();
    serde_json::to_string_pretty(&all).expect("string keys") + "\n"
}

//! `export`

use std::io;

use x86_vcpu_codegen::Spec;
use x86_vcpu_codegen::export::tables;

use crate::output;

#[derive(clap::Args)]
pub struct Arguments {
    /// JSON is one object of arrays; CSV one table, or all with the table's name in the first column.
    #[arg(long, value_enum, default_value_t = Format::Json)]
    format: Format,
    /// Only this table.
    #[arg(long, value_name = "NAME")]
    table: Option<String>,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Format {
    Json,
    Csv,
}

/// Prints the tables.
pub fn run(spec: &Spec, arguments: &Arguments) -> io::Result<()> {
    let mut tables = tables(spec);
    if let Some(name) = &arguments.table {
        let names: Vec<_> = tables.iter().map(|table| table.name).collect();
        tables.retain(|table| table.name == name);
        if tables.is_empty() {
            return Err(io::Error::other(format!("there is no table `{name}`; there are {}", names.join(", "))));
        }
    }
    match arguments.format {
        Format::Json => output::print(&x86_vcpu_codegen::export::json(&tables)),
        Format::Csv => output::print(&x86_vcpu_codegen::export::csv(&tables, arguments.table.is_none())?),
    }
}

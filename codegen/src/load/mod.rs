//! TOML to the model. What is missing, misspelled or of the wrong kind is found here; what a value means, in the lints.

mod amd;
mod checks;
mod depth;
mod exits;
mod files;
mod intel;
mod map;
mod msr_policy;
mod nearest;
mod refs;
mod row;
mod text;
mod types;

use std::path::Path;

use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::model::{ModuleId, Spec, Vendor};
use files::{Files, Home};
#[cfg(feature = "cli")]
pub(crate) use nearest::edits;
pub(crate) use nearest::nearest;
pub(crate) use row::is_snake_case;
use row::{Context, Row, read_file};

/// Loads every row of one table.
macro_rules! table {
    ($root:ident, $key:literal => $into:expr, $load:expr) => {
        for mut row in $root.rows($key) {
            $into.extend($load(&mut row));
            row.finish();
        }
    };
}

impl Spec {
    /// Reads all tables under `dir`. An error holds every mistake that stands in the way of a complete model,
    /// and those in the rows that could be read.
    pub fn load(dir: impl AsRef<Path>) -> Result<Spec, Diagnostics> {
        let mut files = Files::read(dir.as_ref());
        let mut spec = Spec { sources: files.sources, modules: files.modules, ..Spec::default() };
        for (file, home) in files.homes {
            let text = spec.sources.text(file).to_owned();
            read_file(file, &text, &mut files.errors, |context, root| match home {
                Home::Manuals => table!(root, "manual" => spec.manuals, types::manual),
                Home::Map => {
                    table!(root, "exit_map" => spec.exit_map, map::exit);
                    table!(root, "state_map" => spec.state_map, map::state);
                }
                Home::MsrPolicy => table!(root, "msr_policy" => spec.msr_policy, msr_policy::policy),
                Home::Module(id) => module(&mut spec, id, context, root),
            });
        }
        if files.errors.is_empty() {
            return Ok(spec);
        }
        files.errors.extend(crate::lint::rows(&spec));
        Err(Diagnostics::new(spec.sources, files.errors))
    }
}

/// Reads the tables that this file may have.
fn module(spec: &mut Spec, id: ModuleId, context: &Context, root: &mut Row) {
    let (vendor, name) = (spec.modules[id.0].vendor, spec.modules[id.0].name.clone());
    match (vendor, name.as_str()) {
        (Vendor::Intel, "vmcs") => table!(root, "field" => spec.fields, |row: &mut _| intel::field(row, id)),
        (Vendor::Intel, "controls") => table!(root, "control" => spec.controls, |row: &mut _| intel::control(row, id)),
        (Vendor::Intel, "exits") => {
            table!(root, "exit" => spec.exits, |row: &mut _| exits::vmx_exit(row, id));
            table!(root, "instruction_error" => spec.instruction_errors, |row: &mut _| intel::instruction_error(row, id));
        }
        (Vendor::Amd, "exits") => table!(root, "exit" => spec.exits, |row: &mut _| exits::svm_exit(row, id)),
        (Vendor::Amd, "vmcb") => {
            table!(root, "clean" => spec.clean, |row: &mut _| amd::clean(row, id));
            table!(root, "member" => spec.members, |row: &mut _| amd::member(row, id, false));
        }
        (Vendor::Amd, "vmsa") => table!(root, "member" => spec.members, |row: &mut _| amd::member(row, id, true)),
        (Vendor::Amd, "intercepts") => {
            table!(root, "word" => spec.words, |row: &mut _| amd::word(row, id));
            table!(root, "intercept" => spec.intercepts, |row: &mut _| amd::intercept(row, id));
        }
        (Vendor::Intel | Vendor::Amd, "entry_checks") => {
            table!(root, "define" => spec.defines, |row: &mut _| checks::define(row, id));
            table!(root, "check" => spec.entry_checks, |row: &mut _| checks::check(row, id));
        }
        (_, "msrs") | (Vendor::X86, _) => table!(root, "msr" => spec.msrs, |row: &mut _| types::msr(row, id)),
        _ => {}
    }
    if let (Vendor::Intel | Vendor::Amd, "msrs") = (vendor, name.as_str()) {
        table!(root, "msr_bitmap" => spec.msr_bitmaps, |row: &mut _| msr_policy::bitmap(row, id));
    }
    table!(root, "layout" => spec.layouts, |row: &mut _| types::layout(row, id));
    table!(root, "enum" => spec.enums, |row: &mut _| types::enumeration(row, id));
    for (key, span) in root.unread() {
        if let Some(file) = files::home_of(&key) {
            let error = Diagnostic::new(span, format!("`[[{key}]]` does not belong into this file"));
            context.push(error.help(format!("it belongs into {file}")));
        }
    }
}

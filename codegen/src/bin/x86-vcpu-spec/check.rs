//! `check`

use std::process::ExitCode;

use x86_vcpu_codegen::{Diagnostics, Spec};

use crate::{output, snippets};

/// Prints the mistakes, and how many tables and rows were looked at if there is none.
pub fn run(checked: Result<Spec, Diagnostics>, pretty: bool) -> ExitCode {
    let (text, code) = match checked {
        Ok(spec) => (format!("{} files, no mistakes\n", spec.modules.len() + 1), ExitCode::SUCCESS),
        Err(errors) => (snippets::render(&errors, pretty), ExitCode::FAILURE),
    };
    match output::print(&text) {
        Ok(()) => code,
        Err(_) => ExitCode::FAILURE,
    }
}

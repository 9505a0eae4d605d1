//! The diagnosis in words.

mod json;
mod text;

use crate::model::Spec;

use super::{Capabilities, Diagnosis, Dump, Log, examine};

pub use json::json;
pub use text::report;

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    /// The name of the file.
    pub file: &'a str,
    /// One dump of several, counted from 1.
    pub nth: Option<usize>,
    /// What is known of the CPU besides what dumps say.
    pub capabilities: &'a Capabilities,
    /// List what could not be judged, and every value.
    pub verbose: bool,
}

/// The dumps that are asked for, with their numbers.
fn chosen<'s, 'l>(
    spec: &'s Spec,
    log: &'l Log,
    options: &Options,
) -> impl Iterator<Item = (usize, &'l Dump, Diagnosis<'s>)> {
    let mut capabilities = options.capabilities.clone();
    capabilities.extend(&log.capabilities);
    let (nth, numbered) = (options.nth, log.dumps.iter().enumerate());
    numbered
        .map(|(index, dump)| (index + 1, dump))
        .filter(move |(number, _)| nth.is_none_or(|nth| nth == *number))
        .map(move |(number, dump)| (number, dump, examine(spec, dump, &capabilities)))
}

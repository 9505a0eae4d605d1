//! The last exits, one in a line, as the library prints them.

use std::fmt::Write as _;

use super::file::{Exit, Trace};
use super::symbols::Symbols;
use super::words::Words;

/// The last `most` of all vCPUs, in the order of time.
pub fn of(trace: &Trace, words: &Words, symbols: &Symbols, most: usize) -> String {
    let mut exits: Vec<&Exit> = trace.exits.iter().collect();
    exits.sort_by_key(|exit| exit.exited);
    let mut text = String::new();
    for exit in &exits[exits.len().saturating_sub(most)..] {
        let details = words.details(exit);
        let comma = if details.is_empty() { "" } else { ", " };
        let (at, name) = (symbols.name(exit.rip), words.name(exit));
        let _ =
            write!(text, "vCPU {} #{} {name} at {at}{comma}{details}; guest {}", exit.vcpu, exit.number, exit.guest());
        if let Some(host) = exit.host {
            let _ = write!(text, ", host {host}");
        }
        let _ = write!(text, "; {}", exit.answer());
        if let Some(value) = exit.value {
            let _ = write!(text, ", value {value:#x}");
        }
        if let Some(event) = exit.injected {
            let _ = write!(text, "; injects {}", words.event(event));
        }
        text.push('\n');
    }
    text
}

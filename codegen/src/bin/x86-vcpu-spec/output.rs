//! Printing, to a reader that may go away.

use std::io::{self, IsTerminal, Write};

use x86_vcpu_codegen::explain::Page;

/// Lines that are longer than this are hard to read on any terminal.
const WIDEST: usize = 120;

/// Prints `text` as it is. A closed pipe is no error: `| head` has read enough.
pub fn print(text: &str) -> io::Result<()> {
    written(io::stdout().lock(), text)
}

/// Prints `text`, its colours only where they are wanted: on a terminal, and not with `NO_COLOR` or `CLICOLOR=0`.
pub fn styled(text: &str) -> io::Result<()> {
    written(anstream::stdout().lock(), text)
}

/// Prints a page.
pub fn page(page: &Page) -> io::Result<()> {
    let columns = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    styled(&page.render(columns.unwrap_or(WIDEST).clamp(60, WIDEST)))
}

/// Whether somebody reads along.
pub fn is_terminal() -> bool {
    io::stdout().is_terminal()
}

fn written(mut out: impl Write, text: &str) -> io::Result<()> {
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

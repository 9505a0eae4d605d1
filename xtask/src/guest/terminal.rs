//! Our own terminal as the guest's: every key goes to the guest as it is. Afterwards it is as it was.

use std::io::{self, stdin};

use rustix::termios::{self, OptionalActions, Termios};

/// A terminal that is put back when this is dropped.
pub struct Raw {
    before: Termios,
}

/// Whether our input is a terminal.
pub fn is_ours() -> bool {
    termios::isatty(stdin())
}

impl Raw {
    /// Nothing when our input is no terminal.
    pub fn enter() -> io::Result<Option<Raw>> {
        if !is_ours() {
            return Ok(None);
        }
        let before = termios::tcgetattr(stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        // Guests that end their lines with a line feed alone are common.
        raw.output_modes = before.output_modes;
        termios::tcsetattr(stdin(), OptionalActions::Now, &raw)?;
        Ok(Some(Raw { before }))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // What was typed and not read is thrown away: the shell would take it for commands.
        let _ = termios::tcsetattr(stdin(), OptionalActions::Flush, &self.before);
    }
}

//! What goes wrong in a command, and the exit code that says so.

use std::io;
use std::process::ExitCode;

use x86_vcpu_codegen::explain::Unknown;

/// Why a command could not do its work.
pub enum Failure {
    /// The tables have nothing of the kind.
    Unknown(Unknown),
    /// Mistakes that have been printed.
    Mistakes,
    /// The command line asks for something that makes no sense.
    Usage(String),
    /// Something cannot be read or written.
    Io(io::Error),
}

impl From<Unknown> for Failure {
    fn from(unknown: Unknown) -> Self {
        Failure::Unknown(unknown)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Failure::Io(error)
    }
}

/// What `--help` says of exit codes.
pub const CODES: &str = "\
Exit codes:
  0  fine
  1  the tables have mistakes, or do not have what was asked for
  2  wrong usage, or something that cannot be read or written

In a checkout `cargo spec` runs this command. Colours are printed on terminals only, and not with NO_COLOR or CLICOLOR=0.";

impl Failure {
    /// Says what is wrong.
    pub fn report(self) -> ExitCode {
        match self {
            Failure::Unknown(unknown) => anstream::eprintln!("error: {unknown}"),
            Failure::Mistakes => {}
            Failure::Usage(message) => {
                anstream::eprintln!("error: {message}");
                return ExitCode::from(2);
            }
            Failure::Io(error) => {
                anstream::eprintln!("error: {error}");
                // What the system has no word for is a name that no table has.
                return ExitCode::from(if error.kind() == io::ErrorKind::Other { 1 } else { 2 });
            }
        }
        ExitCode::FAILURE
    }
}

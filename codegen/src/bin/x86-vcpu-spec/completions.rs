//! `completions`

use clap::CommandFactory;
use clap_complete::Shell;

use crate::failure::Failure;
use crate::output;

/// In `--help`.
pub const EXAMPLES: &str = "\
Where to put them:
  bash  x86-vcpu-spec completions bash > ~/.local/share/bash-completion/completions/x86-vcpu-spec
  zsh   x86-vcpu-spec completions zsh > DIR/_x86-vcpu-spec, with a DIR of $fpath
  fish  x86-vcpu-spec completions fish > ~/.config/fish/completions/x86-vcpu-spec.fish

They complete `x86-vcpu-spec`, as `cargo install` puts it into the path; `cargo spec` is completed by no shell.";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Which shell.
    shell: Shell,
}

/// Prints the script.
pub fn run<C: CommandFactory>(arguments: &Arguments) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut C::command(), "x86-vcpu-spec", &mut script);
    Ok(output::print(&String::from_utf8_lossy(&script))?)
}

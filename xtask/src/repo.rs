//! Where things are.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

/// The repository and the directory that holds what is built from it.
pub struct Repo {
    pub root: PathBuf,
    /// Where cargo builds; `CARGO_TARGET_DIR` when that is set.
    pub target: PathBuf,
}

impl Repo {
    /// The repository that this program was started from.
    pub fn find() -> Result<Repo> {
        let manifest = env::var("CARGO_MANIFEST_DIR").unwrap_or_else(|_| env!("CARGO_MANIFEST_DIR").into());
        let root = Path::new(&manifest).parent().context("xtask has no parent directory")?;
        let root = root.canonicalize().with_context(|| format!("cannot find {}", root.display()))?;
        let target = match env::var_os("CARGO_TARGET_DIR") {
            Some(target) => env::current_dir()?.join(target),
            None => root.join("target"),
        };
        Ok(Repo { root, target })
    }

    /// A directory for what xtask itself writes.
    pub fn scratch(&self, name: &str) -> Result<PathBuf> {
        let path = self.target.join("xtask").join(name);
        std::fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(path)
    }

    /// A cargo command that starts in `directory`, without what the cargo that runs us has put into the environment.
    pub fn cargo(&self, directory: &str) -> Command {
        let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.current_dir(self.root.join(directory));
        for (name, _) in env::vars() {
            if is_set_by_cargo(&name) {
                command.env_remove(name);
            }
        }
        command.env("CARGO_TARGET_DIR", &self.target);
        command
    }
}

/// Cargo tells a program that it runs about its package: true for these variables. `RUSTC_BOOTSTRAP` comes from this
/// repository's `.cargo/config.toml`, so that a build which must do without it does.
fn is_set_by_cargo(name: &str) -> bool {
    name.starts_with("CARGO_PKG_")
        || name.starts_with("CARGO_BIN_")
        || matches!(
            name,
            "CARGO" | "CARGO_MANIFEST_DIR" | "CARGO_MANIFEST_PATH" | "LD_LIBRARY_PATH" | "OUT_DIR" | "RUSTC_BOOTSTRAP"
        )
}

#[cfg(test)]
mod tests {
    use super::is_set_by_cargo;

    #[test]
    fn the_users_own_variables_stay() {
        assert!(is_set_by_cargo("CARGO_PKG_NAME"));
        assert!(is_set_by_cargo("RUSTC_BOOTSTRAP"));
        assert!(!is_set_by_cargo("CARGO_HOME"));
        assert!(!is_set_by_cargo("RUSTFLAGS"));
    }
}

//! Which file a row comes from.

use super::FileId;

/// Whose table it is: the directory of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Vendor {
    /// `intel/`
    Intel,
    /// `amd/`
    Amd,
    /// `x86/`: what both have.
    X86,
}

impl Vendor {
    /// All of them, in the order of [`Ord`].
    pub const ALL: [Vendor; 3] = [Vendor::Intel, Vendor::Amd, Vendor::X86];

    /// The name of the directory, of the Rust module and of the column in exported tables.
    pub fn name(self) -> &'static str {
        match self {
            Vendor::Intel => "intel",
            Vendor::Amd => "amd",
            Vendor::X86 => "x86",
        }
    }
}

/// A [`Module`] of [`super::Spec::modules`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ModuleId(pub usize);

/// A file of tables, and the Rust module that it becomes.
#[derive(Clone, Debug)]
pub struct Module {
    /// The directory.
    pub vendor: Vendor,
    /// The name of the file without `.toml`.
    pub name: String,
    /// The file.
    pub file: FileId,
}

//! What a document says, before it is compared with anything.

use std::fmt;

use crate::model::{Area, ControlWord};

/// A document that was read.
#[derive(Clone, Debug)]
pub struct Source {
    /// The path, as it was given.
    pub path: String,
    /// What it is, as it says itself: "Intel SDM volume 3D, revision 077".
    pub title: String,
    /// What its word is worth.
    pub standing: Standing,
    /// What identifies it among the documents of `manuals.toml`.
    pub identity: Identity,
    /// Its tables.
    pub tables: Vec<Table>,
    /// What looked like a row and could not be read.
    pub unreadable: Vec<Unreadable>,
}

/// What the word of a document is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// Of the maker of the processor: it confirms.
    Manual,
    /// Of somebody else who has the same facts: two of them confirm.
    Other,
    /// Made from these very tables, or from notes on a manual: it confirms nothing.
    Derived,
}

/// What a document calls itself, to find it among those that citations name. Whatever is known.
#[derive(Clone, Debug, Default)]
pub struct Identity {
    /// The sum of the file.
    pub sha256: Option<String>,
    /// The publisher's number: "332831" or "24593".
    pub order: Option<String>,
    /// "077", "3.44", or a package's version.
    pub revision: Option<String>,
    /// "2022-04"
    pub date: Option<String>,
    /// The `id` of a document when the reader knows it: `linux`, `bochs`.
    pub id: Option<String>,
}

/// A table.
#[derive(Clone, Debug)]
pub struct Table {
    /// What its rows are.
    pub kind: Kind,
    /// Its title without its number: "Encodings for 64-Bit Control Fields"; of a header the prefix of the macros.
    pub title: String,
    /// Whether it means to list all that there is. Else nothing is said of what it does not have.
    pub complete: bool,
    /// Its rows.
    pub rows: Vec<Row>,
}

/// What the rows of a table are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// VMCS fields; the number is the encoding.
    VmcsFields,
    /// Bits of a word of VMX controls.
    Controls(ControlWord),
    /// Basic exit reasons of VMX.
    VmxExits,
    /// VM-instruction errors.
    InstructionErrors,
    /// Model-specific registers; the number is the address.
    Msrs,
    /// Bits of a word that the spec has as a `[[layout]]` or an `[[enum]]`. The table is found by its title, or by the name of
    /// the MSR that it describes.
    Bits {
        /// The MSR, when the title names one: "IA32_VMX_BASIC".
        msr: Option<String>,
    },
    /// Members of an area of the VMCB or of the VMSA; the number is the offset.
    Members(Area),
    /// Intercepts; the number is 32 times the word plus the bit.
    Intercepts,
    /// Exit codes of SVM.
    SvmExits,
}

/// A row.
#[derive(Clone, Debug, Default)]
pub struct Row {
    /// The name as it is printed, footnote marks and line ends apart.
    pub name: String,
    /// Other names that stand beside it.
    pub aliases: Vec<String>,
    /// What identifies it in its table; codes of SVM are negative as in the spec. Nothing in a table of bits, where `bits` does.
    pub number: Option<i64>,
    /// The last number, of a row that stands for many: `40h-5Fh`.
    pub last: Option<i64>,
    /// `[high, low]`, in tables of bits and of members with bits; a control has one bit.
    pub bits: Option<[u32; 2]>,
    /// The width of a VMCS field in bits; `None` when the row does not say. Natural width is 0.
    pub width: Option<u32>,
    /// The group of a VMCS field, or its access type, as the encoding's title has them: "control", "exit_info", "guest", "host".
    pub group: Option<String>,
    /// The encoding of the upper half of a 64-bit VMCS field.
    pub high: Option<i64>,
    /// Bytes, of a member.
    pub size: Option<u64>,
    /// Whether the row says "reserved" or the like.
    pub reserved: bool,
    /// The condition of a footnote: "This field exists only on processors that …".
    pub condition: Option<String>,
    /// Whether a control belongs to the default1 class, where the document says so.
    pub default1: Option<bool>,
    /// Where it stands.
    pub place: Place,
}

/// A place in a document.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The page of the file, from 1.
    pub page: Option<u32>,
    /// The page as it is printed: "B-2".
    pub printed: Option<String>,
    /// The line of the file, from 1.
    pub line: Option<u32>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.printed, self.page, self.line) {
            (Some(printed), Some(page), _) => write!(f, "page {printed} ({page} of the file)"),
            (Some(printed), None, _) => write!(f, "page {printed}"),
            (None, Some(page), _) => write!(f, "page {page}"),
            (None, None, Some(line)) => write!(f, "line {line}"),
            (None, None, None) => f.write_str("somewhere"),
        }
    }
}

/// What looked like a row and could not be read.
#[derive(Clone, Debug)]
pub struct Unreadable {
    /// Where.
    pub place: Place,
    /// The text.
    pub text: String,
    /// What is wrong with it.
    pub why: String,
}

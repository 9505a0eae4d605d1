//! Expressions whose names are resolved: what is evaluated, and what becomes Rust.

use crate::model::{ControlWord, CpuidRegister};

/// A value of the state that is to be entered.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// `GUEST_RIP`, `save.RIP`.
    pub name: String,
    /// The encoding of a VMCS field; the offset in the VMCB.
    pub number: u32,
    /// Its size.
    pub bytes: u32,
}

/// A word that CPUID reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Register {
    /// EAX.
    pub leaf: u32,
    /// ECX.
    pub subleaf: u32,
    /// Where the word is.
    pub register: CpuidRegister,
}

/// What of an entry of an MSR area.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryPart {
    /// The MSR.
    Index,
    /// What is reserved.
    Reserved,
    /// Its value.
    Value,
}

/// Of two numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binary {
    /// `|`
    Or,
    /// `^`
    Xor,
    /// `&`
    And,
    /// `<<`; 0 from 64 on.
    Left,
    /// `>>`; 0 from 64 on.
    Right,
    /// `+`, wrapping.
    Add,
    /// `-`, wrapping.
    Subtract,
    /// `==`
    Equal,
    /// `!=`
    Unequal,
    /// `<`
    Less,
    /// `<=`
    AtMost,
    /// `>`
    More,
    /// `>=`
    AtLeast,
}

impl Binary {
    /// Whether the value is a condition.
    pub fn compares(self) -> bool {
        use Binary::*;
        matches!(self, Equal | Unequal | Less | AtMost | More | AtLeast)
    }
}

/// An expression; a condition is 0 or 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expr {
    /// A number.
    Number(u64),
    /// `true`, `false`.
    Bool(bool),
    /// A field.
    Read(Place),
    /// A word of controls; 0 as long as its activating control is 0.
    Word(ControlWord),
    /// The value of an MSR of the CPU.
    Msr(u32),
    /// A word that CPUID reports.
    Cpuid(Register),
    /// The MSR with the allowed settings of a word: the TRUE one where there is one.
    Capability(ControlWord),
    /// Physical memory, so many bytes.
    Memory(Box<Expr>, u32),
    /// The address of the VMCS that is to be entered.
    CurrentVmcs,
    /// Of the entry that is looked at.
    Entry(EntryPart),
    /// A definition, by its index in [`Rules::definitions`](super::Rules::definitions).
    Define(usize),
    /// A bit, as a condition.
    Bit(Box<Expr>, u32),
    /// Some bits, shifted down: the highest and the lowest.
    Bits(Box<Expr>, u32, u32),
    /// `!`
    Not(Box<Expr>),
    /// `~`
    Complement(Box<Expr>),
    /// Of two numbers.
    Binary(Binary, Box<Expr>, Box<Expr>),
    /// `&&`: the right one only counts if the left one holds.
    All(Box<Expr>, Box<Expr>),
    /// `||`: the right one only counts if the left one does not hold.
    Any(Box<Expr>, Box<Expr>),
    /// Whether two conditions are the same.
    Same(Box<Expr>, Box<Expr>),
    /// One of these ranges.
    In(Box<Expr>, Vec<(u64, u64)>),
    /// `canonical(x, w)`
    Canonical(Box<Expr>, Box<Expr>),
    /// `physical(x)`; the number is that of bits, and unknown when it is 0.
    Physical(Box<Expr>, Box<Expr>),
    /// Bits that are all 0, and bits that are all 1.
    Masked(Box<Expr>, u64, u64),
    /// `allowed(word)`
    Allowed(ControlWord),
}

/// How the word's capability MSR is found.
#[derive(Clone, Debug)]
pub struct Capability {
    /// Which word.
    pub word: ControlWord,
    /// The field.
    pub place: Place,
    /// 64 bits: the MSR has the allowed ones alone.
    pub wide: bool,
    /// The MSR.
    pub msr: u32,
    /// The TRUE one; and where a bit says that it is there: an MSR and the number of the bit.
    pub better: Option<(u32, u32, u32)>,
    /// The activating bit: its word and its number.
    pub activated_by: Option<(ControlWord, u32)>,
}

impl Expr {
    /// The parts.
    pub fn parts(&self) -> Vec<&Expr> {
        use Expr::*;
        match self {
            Number(_) | Bool(_) | Read(_) | Word(_) | Msr(_) | Cpuid(_) | Capability(_) | CurrentVmcs | Entry(_)
            | Define(_) | Allowed(_) => Vec::new(),
            Memory(x, _) | Bit(x, _) | Bits(x, ..) | Not(x) | Complement(x) | In(x, _) | Masked(x, ..) => vec![x],
            Binary(_, a, b) | All(a, b) | Any(a, b) | Same(a, b) | Canonical(a, b) | Physical(a, b) => vec![a, b],
        }
    }
}

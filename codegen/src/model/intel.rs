//! Intel's tables: the VMCS, control words, conditions, VM-instruction errors.

use std::fmt;

use super::{BitRange, Head, ModuleId, Span, Spanned};

/// `[[field]]`: a VMCS field.
#[derive(Clone, Debug)]
pub struct Field {
    /// The file.
    pub module: ModuleId,
    /// What every row has.
    pub head: Head,
    /// What VMREAD and VMWRITE take.
    pub encoding: Spanned<u64>,
    /// How wide.
    pub width: Spanned<Width>,
    /// Which part of the VMCS.
    pub group: Spanned<Group>,
    /// Whether VMWRITE may change it.
    pub access: Spanned<Access>,
    /// The type of its value, when it is no plain integer.
    pub ty: Option<Spanned<String>>,
    /// The controls without which the CPU has no such field.
    pub exists_if: Option<Spanned<Condition>>,
    /// Since when it is no more, and why it is still listed.
    pub retired: Option<String>,
}

macro_rules! keywords {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $name { $($(#[$vdoc])* $variant,)* }

        impl $name {
            /// All of them, with the words that the tables use.
            pub const ALL: &'static [($name, &'static str)] = &[$(($name::$variant, $text),)*];

            /// The word that the tables use.
            pub fn name(self) -> &'static str {
                match self { $($name::$variant => $text,)* }
            }
        }
    };
}
pub(super) use keywords;

keywords! {
    /// The width of a VMCS field.
    Width {
        /// 16 bits.
        W16 = "16",
        /// 64 bits, in either mode.
        W64 = "64",
        /// 32 bits.
        W32 = "32",
        /// The width of a register: 64 bits on every CPU that has 64-bit mode.
        Natural = "natural",
    }
}

impl Width {
    /// Bits 14:13 of an encoding.
    pub fn code(self) -> u64 {
        match self {
            Width::W16 => 0,
            Width::W64 => 1,
            Width::W32 => 2,
            Width::Natural => 3,
        }
    }

    /// How many bits a value has.
    pub fn bits(self) -> u32 {
        match self {
            Width::W16 => 16,
            Width::W32 => 32,
            Width::W64 | Width::Natural => 64,
        }
    }
}

keywords! {
    /// The part of the VMCS that a field belongs to.
    Group {
        /// Control fields.
        Control = "control",
        /// VM-exit information fields.
        ExitInfo = "exit_info",
        /// Guest state.
        Guest = "guest",
        /// Host state.
        Host = "host",
    }
}

impl Group {
    /// Bits 11:10 of an encoding.
    pub fn code(self) -> u64 {
        match self {
            Group::Control => 0,
            Group::ExitInfo => 1,
            Group::Guest => 2,
            Group::Host => 3,
        }
    }
}

keywords! {
    /// Whether VMWRITE may change a field.
    Access {
        /// It may.
        ReadWrite = "read_write",
        /// A read-only VM-exit information field.
        ExitInfo = "exit_info",
    }
}

keywords! {
    /// A word of controls.
    ControlWord {
        /// Pin-based VM-execution controls.
        Pin = "pin",
        /// Primary processor-based VM-execution controls.
        Primary = "primary",
        /// Secondary processor-based VM-execution controls.
        Secondary = "secondary",
        /// Tertiary processor-based VM-execution controls.
        Tertiary = "tertiary",
        /// Primary VM-exit controls.
        Exit = "exit",
        /// Secondary VM-exit controls.
        Exit2 = "exit2",
        /// VM-entry controls.
        Entry = "entry",
        /// VM-function controls.
        Vmfunc = "vmfunc",
    }
}

/// `[[control]]`: a word of controls.
#[derive(Clone, Debug)]
pub struct Control {
    /// The file.
    pub module: ModuleId,
    /// What every row has; the name is that of the Rust type.
    pub head: Head,
    /// Which word.
    pub id: Spanned<ControlWord>,
    /// 32 or 64.
    pub width: u32,
    /// The VMCS field that holds it.
    pub field: Spanned<String>,
    /// The MSR that says which settings are allowed.
    pub capability: Spanned<String>,
    /// The TRUE variant of that MSR.
    pub true_capability: Option<Spanned<String>>,
    /// The bit without which the processor takes the word for 0.
    pub activated_by: Option<BitRef>,
    /// `[[control.bit]]`
    pub bits: Vec<ControlBit>,
}

/// `[[control.bit]]`
#[derive(Clone, Debug)]
pub struct ControlBit {
    /// What every row has.
    pub head: Head,
    /// Which bit; of a reserved row which bits.
    pub bits: BitRange,
    /// Whether it belongs to the default1 class.
    pub default1: bool,
    /// The value that reserved bits must have.
    pub reserved: Option<u64>,
    /// Since when it is no more, and why it is still listed.
    pub retired: Option<String>,
    /// What VM entry wants to be 1 when this bit is 1.
    pub requires: Vec<BitRef>,
    /// What VM entry wants to be 0 when this bit is 1.
    pub excludes: Vec<BitRef>,
}

/// `[[instruction_error]]`
#[derive(Clone, Debug)]
pub struct InstructionError {
    /// The file.
    pub module: ModuleId,
    /// What every row has.
    pub head: Head,
    /// What the VM-instruction error field holds.
    pub number: Spanned<u64>,
}

/// `exists_if`: one of these holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Any of them will do.
    pub any: Vec<Term>,
}

/// What a condition asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Term {
    /// A control bit that may be 1.
    Control(BitRef),
    /// A bit that CPUID reports.
    Cpuid(LayoutBit),
}

impl Term {
    /// Where it stands.
    pub fn span(&self) -> Span {
        match self {
            Term::Control(bit) => bit.span,
            Term::Cpuid(bit) => bit.span,
        }
    }
}

/// `LAYOUT.BIT`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayoutBit {
    /// The name of the `[[layout]]`.
    pub layout: String,
    /// The name of the bit.
    pub bit: String,
    /// Where it stands.
    pub span: Span,
}

/// `secondary.ENABLE_EPT`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BitRef {
    /// The word.
    pub word: ControlWord,
    /// The name of the bit.
    pub bit: String,
    /// Where it stands.
    pub span: Span,
}

impl Condition {
    /// The name of the Rust type, such as `EnableEpt`. Names of the exit and entry controls repeat, hence their prefix.
    pub fn type_name(&self) -> String {
        let mut name = String::new();
        for term in &self.any {
            if !name.is_empty() {
                name.push_str("Or");
            }
            match term {
                Term::Control(bit) => {
                    name.push_str(match bit.word {
                        ControlWord::Exit => "Exit",
                        ControlWord::Exit2 => "Exit2",
                        ControlWord::Entry => "Entry",
                        _ => "",
                    });
                    name.push_str(&camel(&bit.bit));
                }
                Term::Cpuid(bit) => name.push_str(&format!("Cpuid{}", camel(&bit.bit))),
            }
        }
        name
    }
}

/// `ENABLE_EPT` to `EnableEpt`.
pub(crate) fn camel(name: &str) -> String {
    name.split('_').filter(|part| !part.is_empty()).fold(String::new(), |mut out, part| {
        let mut chars = part.chars();
        out.extend(chars.next());
        out.push_str(&chars.as_str().to_ascii_lowercase());
        out
    })
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, term) in self.any.iter().enumerate() {
            let separator = if i == 0 { "" } else { " | " };
            match term {
                Term::Control(bit) => write!(f, "{separator}{bit}")?,
                Term::Cpuid(bit) => write!(f, "{separator}cpuid.{bit}")?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for BitRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.word.name(), self.bit)
    }
}

impl fmt::Display for LayoutBit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.layout, self.bit)
    }
}

//! What every part of a state can do: be listed, compared, written and read. A part says once which fields it has.

use core::fmt::{self, Display};

use super::FormatError;
use crate::{
    DescriptorTable, Event, GuestRegisters, Segment, SystemRegisters,
    spec::{Layout, Word8, Word16, Word32, Word64, intel::structures::InterruptionType},
};

/// Where a value stands in a state: the names on the way to it.
pub(super) struct Path<'a> {
    pub(super) above: Option<&'a Path<'a>>,
    pub(super) name: Name,
}

/// A step of the way.
#[derive(Clone, Copy)]
pub(super) enum Name {
    Field(&'static str),
    Element(usize),
}

impl Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(above) = self.above {
            above.fmt(f)?;
        }
        match self.name {
            Name::Field(name) if self.above.is_none() => f.write_str(name),
            Name::Field(name) => write!(f, ".{name}"),
            Name::Element(index) => write!(f, "[{index}]"),
        }
    }
}

/// A value of a [`State`](super::State) for people: the number, and its bits in words where they have names.
#[derive(Clone, Copy)]
pub struct Value<'a>(pub(super) &'a dyn Display);

impl Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where the binary form goes: memory, a count of bytes, or a checksum.
pub(super) trait Sink {
    fn bytes(&mut self, bytes: &[u8]);
}

/// Where it comes from.
pub(super) struct Input<'a> {
    left: &'a [u8],
}

impl<'a> Input<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { left: bytes }
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], FormatError> {
        let (first, rest) = self.left.split_first_chunk().ok_or(FormatError::Truncated)?;
        self.left = rest;
        Ok(*first)
    }
}

/// What is called for each value of a list.
pub(super) type Listed<'f> = dyn FnMut(&Path<'_>, Value<'_>) + 'f;
/// What is called for each value that differs.
pub(super) type Differs<'f> = dyn FnMut(&Path<'_>, Value<'_>, Value<'_>) + 'f;

/// A part of a state.
pub(super) trait Item: Sized {
    /// Calls `f` for each value in it.
    fn list(&self, path: &Path<'_>, f: &mut Listed<'_>);
    /// Calls `f` for each value that `other` has another of.
    fn differ(&self, other: &Self, path: &Path<'_>, f: &mut Differs<'_>);
    /// The binary form.
    fn put(&self, out: &mut dyn Sink);
    /// The value of a binary form.
    fn take(input: &mut Input<'_>) -> Result<Self, FormatError>;
}

/// A number, in hexadecimal from ten on.
struct Number(u128);

impl Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 < 10 { write!(f, "{}", self.0) } else { write!(f, "{:#x}", self.0) }
    }
}

/// A word, with its bits in words.
struct Bits<W>(W, u64);

impl<W: fmt::Debug> Display for Bits<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x} {:?}", self.1, self.0)
    }
}

/// What `Debug` says of a value.
pub(super) struct Words<T>(pub(super) T);

impl<T: fmt::Debug> Display for Words<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a type without parts has of [`Item`] but its binary form: it is compared and shown as a whole.
macro_rules! leaf {
    () => {
        fn list(&self, path: &Path<'_>, f: &mut Listed<'_>) {
            f(path, Value(&Words(self)));
        }

        fn differ(&self, other: &Self, path: &Path<'_>, f: &mut Differs<'_>) {
            if self != other {
                f(path, Value(&Words(self)), Value(&Words(other)));
            }
        }
    };
}
pub(super) use leaf;

macro_rules! numbers {
    ($($int:ident)*) => { $(
        impl Item for $int {
            fn list(&self, path: &Path<'_>, f: &mut Listed<'_>) {
                f(path, Value(&Number((*self).into())));
            }

            fn differ(&self, other: &Self, path: &Path<'_>, f: &mut Differs<'_>) {
                if self != other {
                    f(path, Value(&Number((*self).into())), Value(&Number((*other).into())));
                }
            }

            fn put(&self, out: &mut dyn Sink) {
                out.bytes(&self.to_le_bytes());
            }

            fn take(input: &mut Input<'_>) -> Result<Self, FormatError> {
                input.array().map(Self::from_le_bytes)
            }
        }
    )* };
}
numbers!(u8 u16 u32 u64 u128);

macro_rules! words {
    ($($word:ident)*) => { $(
        impl<L: Layout> Item for $word<L> {
            fn list(&self, path: &Path<'_>, f: &mut Listed<'_>) {
                f(path, Value(&Bits(*self, self.bits().into())));
            }

            fn differ(&self, other: &Self, path: &Path<'_>, f: &mut Differs<'_>) {
                if self != other {
                    let bits = |word: &Self| Bits(*word, word.bits().into());
                    f(path, Value(&bits(self)), Value(&bits(other)));
                }
            }

            fn put(&self, out: &mut dyn Sink) {
                self.bits().put(out);
            }

            fn take(input: &mut Input<'_>) -> Result<Self, FormatError> {
                Item::take(input).map(Self::from_bits)
            }
        }
    )* };
}
words!(Word8 Word16 Word32 Word64);

impl Item for bool {
    fn list(&self, path: &Path<'_>, f: &mut Listed<'_>) {
        f(path, Value(self));
    }

    fn differ(&self, other: &Self, path: &Path<'_>, f: &mut Differs<'_>) {
        if self != other {
            f(path, Value(self), Value(other));
        }
    }

    fn put(&self, out: &mut dyn Sink) {
        u8::from(*self).put(out);
    }

    fn take(input: &mut Input<'_>) -> Result<Self, FormatError> {
        match u8::take(input)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(FormatError::Damaged("neither yes nor no")),
        }
    }
}

/// Elements that are as after a reset are not listed.
impl<T: Item + Copy + Default + PartialEq, const N: usize> Item for [T; N] {
    fn list(&self, path: &Path<'_>, f: &mut Listed<'_>) {
        for (index, element) in self.iter().enumerate() {
            if *element != T::default() {
                element.list(&Path { above: Some(path), name: Name::Element(index) }, f);
            }
        }
    }

    fn differ(&self, other: &Self, path: &Path<'_>, f: &mut Differs<'_>) {
        for (index, (mine, theirs)) in self.iter().zip(other).enumerate() {
            mine.differ(theirs, &Path { above: Some(path), name: Name::Element(index) }, f);
        }
    }

    fn put(&self, out: &mut dyn Sink) {
        self.iter().for_each(|element| element.put(out));
    }

    fn take(input: &mut Input<'_>) -> Result<Self, FormatError> {
        let mut all = [T::default(); N];
        for element in &mut all {
            *element = T::take(input)?;
        }
        Ok(all)
    }
}

impl<T: Item> Item for Option<T> {
    fn list(&self, path: &Path<'_>, f: &mut Listed<'_>) {
        match self {
            Some(value) => value.list(path, f),
            None => f(path, Value(&"none")),
        }
    }

    fn differ(&self, other: &Self, path: &Path<'_>, f: &mut Differs<'_>) {
        match (self, other) {
            (Some(mine), Some(theirs)) => mine.differ(theirs, path, f),
            (None, None) => {}
            (Some(_), None) => f(path, Value(&"present"), Value(&"none")),
            (None, Some(_)) => f(path, Value(&"none"), Value(&"present")),
        }
    }

    fn put(&self, out: &mut dyn Sink) {
        self.is_some().put(out);
        if let Some(value) = self {
            value.put(out);
        }
    }

    fn take(input: &mut Input<'_>) -> Result<Self, FormatError> {
        bool::take(input)?.then(|| T::take(input)).transpose()
    }
}

/// Says which fields a part has; the binary form has them in this order.
macro_rules! item {
    ($name:ident { $($field:ident),* $(,)? }) => {
        impl Item for $name {
            fn list(&self, path: &Path<'_>, f: &mut Listed<'_>) {
                $( self.$field.list(&Path { above: Some(path), name: Name::Field(stringify!($field)) }, f); )*
            }

            fn differ(&self, other: &Self, path: &Path<'_>, f: &mut Differs<'_>) {
                $( self.$field.differ(&other.$field, &Path { above: Some(path), name: Name::Field(stringify!($field)) }, f); )*
            }

            fn put(&self, out: &mut dyn Sink) {
                $( self.$field.put(out); )*
            }

            fn take(input: &mut Input<'_>) -> Result<Self, FormatError> {
                Ok(Self { $( $field: Item::take(input)?, )* })
            }
        }
    };
}
pub(super) use item;

item!(GuestRegisters { rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15 });
item!(Segment { selector, base, limit, rights });
item!(DescriptorTable { base, limit });
item!(SystemRegisters { es, cs, ss, ds, fs, gs, ldtr, tr, gdtr, idtr, cr0, cr2, cr3, cr4, efer, rflags, rip, rsp });
item!(Event { vector, kind, error_code, instruction_length });

impl Item for InterruptionType {
    leaf!();

    fn put(&self, out: &mut dyn Sink) {
        self.0.put(out);
    }

    fn take(input: &mut Input<'_>) -> Result<Self, FormatError> {
        Item::take(input).map(Self)
    }
}

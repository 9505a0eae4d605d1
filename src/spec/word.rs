//! What every word with bits can do.
//!
//! A word such as `Cr0` is [`Word64`] of a type that stands for its bits, so that all of this is compiled once, not once
//! per word. What differs is generated: the constants, the accessors of ranges, and the tables of [`Layout`].

use core::fmt;
use core::hash::{Hash, Hasher};
use core::marker::PhantomData;
use core::ops::{BitAnd, BitAndAssign, BitOr, BitOrAssign, Not};

use bitflags::{Flag, Flags};

use super::{FieldValue, Meaning};

/// What the bits of a word mean.
pub trait Layout: 'static {
    /// Their names.
    const NAMES: Names;
}

/// The names of a word and of its bits.
#[derive(Clone, Copy, Debug)]
pub struct Names {
    /// The name of the word.
    pub word: &'static str,
    /// The single bits, with their masks.
    pub flags: &'static [(&'static str, u64)],
    /// The ranges of bits, with their highest and their lowest bit.
    pub ranges: &'static [(&'static str, u32, u32)],
}

/// The flags of a word as [`Flags`] wants them, and empty ones up to as many as there can be.
struct Table<W>(PhantomData<W>);

macro_rules! words {
    ($($(#[$doc:meta])* $word:ident($int:ident))*) => { $(
        $(#[$doc])*
        #[repr(transparent)]
        pub struct $word<L>(pub(super) $int, pub(super) PhantomData<L>);

        impl<L> $word<L> {
            /// The word with these bits.
            #[inline(always)]
            pub const fn from_bits(bits: $int) -> Self {
                Self(bits, PhantomData)
            }

            /// All bits, those without a name too.
            #[inline(always)]
            pub const fn bits(self) -> $int {
                self.0
            }

            /// The word without a bit set.
            #[inline(always)]
            pub const fn empty() -> Self {
                Self::from_bits(0)
            }

            /// Whether no bit is set.
            #[inline(always)]
            pub const fn is_empty(self) -> bool {
                self.0 == 0
            }

            /// Whether every bit of `other` is set.
            #[inline(always)]
            pub const fn contains(self, other: Self) -> bool {
                self.0 & other.0 == other.0
            }

            /// Whether some bit of `other` is set.
            #[inline(always)]
            pub const fn intersects(self, other: Self) -> bool {
                self.0 & other.0 != 0
            }

            /// This word with the bits of `other` set.
            #[inline(always)]
            #[must_use]
            pub const fn with(self, other: Self) -> Self {
                Self::from_bits(self.0 | other.0)
            }

            /// This word with the bits of `other` cleared.
            #[inline(always)]
            #[must_use]
            pub const fn without(self, other: Self) -> Self {
                Self::from_bits(self.0 & !other.0)
            }

            /// Sets the bits of `other`.
            #[inline(always)]
            pub const fn insert(&mut self, other: Self) {
                self.0 |= other.0;
            }

            /// Clears the bits of `other`.
            #[inline(always)]
            pub const fn remove(&mut self, other: Self) {
                self.0 &= !other.0;
            }

            /// Sets or clears the bits of `other`.
            #[inline(always)]
            pub const fn set(&mut self, other: Self, value: bool) {
                if value { self.insert(other) } else { self.remove(other) }
            }

            /// The bits in `mask`, moved down to bit 0.
            #[inline(always)]
            #[allow(dead_code, reason = "a spec may have no range in words of this width")]
            pub(super) const fn bit_range(self, mask: $int, low: u32) -> $int {
                (self.0 & mask) >> low
            }

            /// This word with `value` in the bits of `mask`, which start at bit `low`.
            #[inline(always)]
            #[allow(dead_code, reason = "a spec may have no range in words of this width")]
            pub(super) const fn with_bit_range(self, mask: $int, low: u32, value: $int) -> Self {
                Self::from_bits((self.0 & !mask) | ((value << low) & mask))
            }
        }

        #[allow(dead_code, reason = "a spec may have no fields of this width")]
        impl<L: Layout> $word<L> {
            pub(crate) const MEANING: Meaning = Meaning::Bits(&L::NAMES);
        }

        // By hand: derived ones would ask the same of `L`.
        impl<L> Clone for $word<L> {
            #[inline(always)]
            fn clone(&self) -> Self {
                *self
            }
        }

        impl<L> Copy for $word<L> {}

        impl<L> PartialEq for $word<L> {
            #[inline(always)]
            fn eq(&self, other: &Self) -> bool {
                self.0 == other.0
            }
        }

        impl<L> Eq for $word<L> {}

        impl<L> Hash for $word<L> {
            fn hash<H: Hasher>(&self, state: &mut H) {
                self.0.hash(state);
            }
        }

        impl<L> Default for $word<L> {
            #[inline(always)]
            fn default() -> Self {
                Self::empty()
            }
        }

        impl<L> BitOr for $word<L> {
            type Output = Self;
            #[inline(always)]
            fn bitor(self, other: Self) -> Self {
                self.with(other)
            }
        }

        impl<L> BitAnd for $word<L> {
            type Output = Self;
            #[inline(always)]
            fn bitand(self, other: Self) -> Self {
                Self::from_bits(self.0 & other.0)
            }
        }

        impl<L> Not for $word<L> {
            type Output = Self;
            #[inline(always)]
            fn not(self) -> Self {
                Self::from_bits(!self.0)
            }
        }

        impl<L> BitOrAssign for $word<L> {
            #[inline(always)]
            fn bitor_assign(&mut self, other: Self) {
                self.insert(other);
            }
        }

        impl<L> BitAndAssign for $word<L> {
            #[inline(always)]
            fn bitand_assign(&mut self, other: Self) {
                self.0 &= other.0;
            }
        }

        impl<L: Layout> fmt::Debug for $word<L> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                debug(f, &L::NAMES, self.0.into())
            }
        }

        impl<L: Layout> Table<$word<L>> {
            const ALL: [Flag<$word<L>>; $int::BITS as usize] = {
                let mut table = [const { Flag::new("", $word::empty()) }; _];
                let mut i = 0;
                while i < L::NAMES.flags.len() {
                    let (name, mask) = L::NAMES.flags[i];
                    table[i] = Flag::new(name, $word::from_bits(mask as $int));
                    i += 1;
                }
                table
            };
        }

        impl<L: Layout> Flags for $word<L> {
            const FLAGS: &'static [Flag<Self>] = Table::<Self>::ALL.split_at(L::NAMES.flags.len()).0;
            type Bits = $int;

            #[inline(always)]
            fn bits(&self) -> $int {
                self.0
            }

            #[inline(always)]
            fn from_bits_retain(bits: $int) -> Self {
                Self::from_bits(bits)
            }
        }

        #[cfg(feature = "serde")]
        impl<L> serde::Serialize for $word<L> {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.0.serialize(serializer)
            }
        }

        #[cfg(feature = "serde")]
        impl<'de, L> serde::Deserialize<'de> for $word<L> {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $int::deserialize(deserializer).map(Self::from_bits)
            }
        }

        impl<L> FieldValue for $word<L> {
            const BITS: u32 = $int::BITS;

            #[inline(always)]
            fn from_raw(raw: u64) -> Self {
                Self::from_bits(raw as $int)
            }

            #[inline(always)]
            fn into_raw(self) -> u64 {
                self.0.into()
            }
        }
    )* };
}

words! {
    /// A word of 8 bits. Its layout `L` says which.
    Word8(u8)
    /// A word of 16 bits. Its layout `L` says which.
    Word16(u16)
    /// A word of 32 bits. Its layout `L` says which.
    Word32(u32)
    /// A word of 64 bits. Its layout `L` says which.
    Word64(u64)
}

/// `Cr0(PE | PG)`, `Rflags(IF | IOPL: 3 | 0x2)`: the names of set flags, ranges that are not 0, and the bits that are
/// left over.
fn debug(f: &mut fmt::Formatter<'_>, names: &Names, bits: u64) -> fmt::Result {
    let (mut left, mut separator) = (bits, "");
    write!(f, "{}(", names.word)?;
    for (name, mask) in names.flags.iter().filter(|(_, mask)| bits & mask != 0) {
        write!(f, "{separator}{name}")?;
        (left, separator) = (left & !mask, " | ");
    }
    for (name, high, low) in names.ranges {
        // Shifts that cannot overflow, whatever a table says.
        let mask = u64::MAX.wrapping_shr(63_u32.wrapping_sub(*high)) & u64::MAX.wrapping_shl(*low);
        if bits & mask != 0 {
            write!(f, "{separator}{name}: {:#x}", (bits & mask).wrapping_shr(*low))?;
            (left, separator) = (left & !mask, " | ");
        }
    }
    match (left, separator) {
        (0, "") => f.write_str("0)"),
        (0, _) => f.write_str(")"),
        _ => write!(f, "{separator}{left:#x})"),
    }
}

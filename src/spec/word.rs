//! What every generated word with bits can do.

use core::fmt;

/// Implements the common part of a word: `word! { Name(u32) { FLAG 0x1, } { RANGE 7 4, } }`, a range with its highest and
/// lowest bit. The constants and the accessors of ranges are generated.
macro_rules! word {
    ($name:ident($int:ident) { $($flag:ident $mask:literal,)* } { $($range:ident $high:literal $low:literal,)* }) => {
        impl $name {
            /// The word with these bits.
            #[inline(always)]
            pub const fn from_bits(bits: $int) -> Self {
                Self(bits)
            }

            /// All bits, those without a name too.
            #[inline(always)]
            pub const fn bits(self) -> $int {
                self.0
            }

            /// The word without a bit set.
            #[inline(always)]
            pub const fn empty() -> Self {
                Self(0)
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
                Self(self.0 | other.0)
            }

            /// This word with the bits of `other` cleared.
            #[inline(always)]
            #[must_use]
            pub const fn without(self, other: Self) -> Self {
                Self(self.0 & !other.0)
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
        }

        impl core::ops::BitOr for $name {
            type Output = Self;
            #[inline(always)]
            fn bitor(self, other: Self) -> Self {
                Self(self.0 | other.0)
            }
        }

        impl core::ops::BitAnd for $name {
            type Output = Self;
            #[inline(always)]
            fn bitand(self, other: Self) -> Self {
                Self(self.0 & other.0)
            }
        }

        impl core::ops::Not for $name {
            type Output = Self;
            #[inline(always)]
            fn not(self) -> Self {
                Self(!self.0)
            }
        }

        impl core::ops::BitOrAssign for $name {
            #[inline(always)]
            fn bitor_assign(&mut self, other: Self) {
                self.0 |= other.0;
            }
        }

        impl core::ops::BitAndAssign for $name {
            #[inline(always)]
            fn bitand_assign(&mut self, other: Self) {
                self.0 &= other.0;
            }
        }

        impl core::fmt::Debug for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                let flags: &[(&str, u64)] = &[$((stringify!($flag), $mask)),*];
                let ranges: &[(&str, u32, u32)] = &[$((stringify!($range), $high, $low)),*];
                crate::spec::word::debug(f, stringify!($name), self.0 as u64, flags, ranges)
            }
        }

        impl bitflags::Flags for $name {
            const FLAGS: &'static [bitflags::Flag<Self>] =
                &[$(bitflags::Flag::new(stringify!($flag), Self($mask))),*];
            type Bits = $int;

            #[inline(always)]
            fn bits(&self) -> $int {
                self.0
            }

            #[inline(always)]
            fn from_bits_retain(bits: $int) -> Self {
                Self(bits)
            }
        }

        #[cfg(feature = "serde")]
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.0.serialize(serializer)
            }
        }

        #[cfg(feature = "serde")]
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $int::deserialize(deserializer).map(Self)
            }
        }

        impl crate::spec::FieldValue for $name {
            const BITS: u32 = $int::BITS;

            #[inline(always)]
            fn from_raw(raw: u64) -> Self {
                Self(raw as $int)
            }

            #[inline(always)]
            fn into_raw(self) -> u64 {
                self.0 as u64
            }
        }
    };
}
pub(crate) use word;

/// `Cr0(PE | PG)`, `Rflags(IF | IOPL: 3 | 0x2)`: the names of set flags, ranges that are not 0, and the bits that are
/// left over.
pub(crate) fn debug(
    f: &mut fmt::Formatter<'_>,
    ty: &str,
    bits: u64,
    flags: &[(&str, u64)],
    ranges: &[(&str, u32, u32)],
) -> fmt::Result {
    let (mut left, mut separator) = (bits, "");
    write!(f, "{ty}(")?;
    for (name, mask) in flags.iter().filter(|(_, mask)| bits & mask != 0) {
        write!(f, "{separator}{name}")?;
        (left, separator) = (left & !mask, " | ");
    }
    for (name, high, low) in ranges {
        let mask = (u64::MAX >> (63 - high)) & (u64::MAX << low);
        if bits & mask != 0 {
            write!(f, "{separator}{name}: {:#x}", (bits & mask) >> low)?;
            (left, separator) = (left & !mask, " | ");
        }
    }
    match (left, separator) {
        (0, "") => f.write_str("0)"),
        (0, _) => f.write_str(")"),
        _ => write!(f, "{separator}{left:#x})"),
    }
}

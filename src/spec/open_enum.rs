//! What every generated enumeration can do.

use core::fmt;

/// Implements the common part of an open enumeration: `open_enum! { Name(u8) { VALUE 0x1, } }`.
macro_rules! open_enum {
    ($name:ident($int:ident) { $($value:ident $number:literal,)* }) => {
        impl $name {
            /// The name of this value, if a table lists it.
            pub const fn name(self) -> Option<&'static str> {
                let name = match self.0 {
                    $($number => stringify!($value),)*
                    // Where a table lists every value there is nothing else.
                    #[allow(unreachable_patterns)]
                    _ => return None,
                };
                Some(name)
            }
        }

        #[allow(dead_code, reason = "only the values of fields are dumped")]
        impl $name {
            pub(crate) const MEANING: crate::spec::Meaning = crate::spec::Meaning::Value(|raw| Self(raw as $int).name());
        }

        impl core::fmt::Debug for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                crate::spec::open_enum::debug(f, stringify!($name), self.name(), self.0 as u64)
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
pub(crate) use open_enum;

/// `CPUID`, or `ExitReason(0x63)` for a value without a name.
pub(crate) fn debug(f: &mut fmt::Formatter<'_>, ty: &str, name: Option<&str>, number: u64) -> fmt::Result {
    match name {
        Some(name) => f.write_str(name),
        None => write!(f, "{ty}({number:#x})"),
    }
}

//! A state for people: its values, and where two states differ.

use core::fmt;

use super::{
    State,
    item::{Item, Name, Path, Value},
};

/// A value that two states have different ones of.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Difference<'a> {
    /// The value of the state that was asked.
    pub mine: Value<'a>,
    /// That of the other.
    pub theirs: Value<'a>,
}

impl State {
    /// Calls `f` with the name of each value that `other` has another of, and with the two values: the lines of a comparison.
    pub fn differences(&self, other: &Self, mut f: impl FnMut(&dyn fmt::Display, Difference<'_>)) {
        let f = &mut |path: &Path<'_>, mine: Value<'_>, theirs: Value<'_>| f(path, Difference { mine, theirs });
        macro_rules! differ {
            ($($part:ident)*) => { $(
                self.$part.differ(&other.$part, &Path { above: None, name: Name::Field(stringify!($part)) }, f);
            )* };
        }
        differ!(registers system cr8 pdptes debug msrs emulated extended events time local_apic);
    }

    /// Calls `f` with the name and the value of each register and everything else in it. Elements of vectors that are 0 are
    /// left out.
    pub fn values(&self, mut f: impl FnMut(&dyn fmt::Display, Value<'_>)) {
        let f = &mut |path: &Path<'_>, value: Value<'_>| f(path, value);
        macro_rules! list {
            ($($part:ident)*) => { $(
                self.$part.list(&Path { above: None, name: Name::Field(stringify!($part)) }, f);
            )* };
        }
        list!(registers system cr8 pdptes debug msrs emulated extended events time local_apic);
    }
}

/// A line for each value: `system.cr0 = 0x80000011 Cr0(PE | ET | PG)`.
impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut result = Ok(());
        self.values(|name, value| {
            if result.is_ok() {
                result = writeln!(f, "{name} = {value}");
            }
        });
        result
    }
}

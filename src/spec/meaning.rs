//! What the bits of a value mean, in words.

use core::fmt;

use super::Names;

/// What the bits of a value mean.
#[derive(Clone, Copy, Debug)]
pub enum Meaning {
    /// Nothing by themselves: it is an address, a limit, a count.
    Number,
    /// Each has a name.
    Bits(&'static Names),
    /// The value has a name, if a table lists it.
    Value(fn(u64) -> Option<&'static str>),
}

impl Meaning {
    /// Writes it in parentheses: ` (PE, ET, PG)`, ` (CPL: 3, 0x8000)`, ` (HLT)`. Nothing where there is nothing to say.
    pub fn write(self, value: u64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Meaning::Number => Ok(()),
            Meaning::Value(name) => name(value).map_or(Ok(()), |name| write!(f, " ({name})")),
            Meaning::Bits(names) => {
                let mut list = List::new(f);
                for (name, mask) in names.flags.iter().filter(|(_, mask)| value & mask != 0) {
                    list.item(format_args!("{name}"))?;
                    list.done |= mask;
                }
                for range in names.ranges {
                    let (part, mask) = part(value, range);
                    if part != 0 {
                        list.item(format_args!("{}: {part:#x}", range.0))?;
                    }
                    list.done |= mask;
                }
                let rest = value & !list.done;
                if rest != 0 {
                    list.item(format_args!("{rest:#x}"))?;
                }
                list.end()
            }
        }
    }

    /// Writes what changed, in parentheses: ` (+CF, -ZF, IOPL: 0x0 -> 0x3)`.
    pub fn write_change(self, old: u64, new: u64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Meaning::Number => Ok(()),
            Meaning::Value(name) => match (name(old), name(new)) {
                (None, None) => Ok(()),
                (old, new) => write!(f, " ({} -> {})", old.unwrap_or("?"), new.unwrap_or("?")),
            },
            Meaning::Bits(names) => {
                let mut list = List::new(f);
                for (name, mask) in names.flags.iter().filter(|(_, mask)| (old ^ new) & mask != 0) {
                    list.item(format_args!("{}{name}", if new & mask != 0 { '+' } else { '-' }))?;
                }
                for range in names.ranges {
                    let ((old, _), (new, _)) = (part(old, range), part(new, range));
                    if old != new {
                        list.item(format_args!("{}: {old:#x} -> {new:#x}", range.0))?;
                    }
                }
                list.end()
            }
        }
    }
}

/// The bits of a range, moved down, and where they are.
fn part(value: u64, &(_, high, low): &(&str, u32, u32)) -> (u64, u64) {
    let mask = u64::MAX.wrapping_shr(63_u32.wrapping_sub(high)) & u64::MAX.wrapping_shl(low);
    ((value & mask).wrapping_shr(low), mask)
}

/// Items in parentheses.
struct List<'f, 'b> {
    f: &'f mut fmt::Formatter<'b>,
    before: &'static str,
    /// The bits that were written.
    done: u64,
}

impl<'f, 'b> List<'f, 'b> {
    fn new(f: &'f mut fmt::Formatter<'b>) -> Self {
        List { f, before: " (", done: 0 }
    }

    fn item(&mut self, text: fmt::Arguments<'_>) -> fmt::Result {
        self.f.write_str(self.before)?;
        self.before = ", ";
        self.f.write_fmt(text)
    }

    fn end(self) -> fmt::Result {
        if self.before == ", " { self.f.write_str(")") } else { Ok(()) }
    }
}

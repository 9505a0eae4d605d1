//! Values as bytes, little-endian, and back. Whoever reads trusts nothing: a value that is none is `None`.

use alloc::vec::Vec;

/// What a snapshot can hold.
pub trait Saved: Sized {
    /// Appends the value.
    fn put(&self, to: &mut Vec<u8>);

    /// Takes a value off the front.
    fn take(from: &mut &[u8]) -> Option<Self>;
}

/// A value as bytes.
pub fn bytes_of(value: &impl Saved) -> Vec<u8> {
    let mut bytes = Vec::new();
    value.put(&mut bytes);
    bytes
}

/// A value that all of the bytes make.
pub fn whole<T: Saved>(mut bytes: &[u8]) -> Option<T> {
    T::take(&mut bytes).filter(|_| bytes.is_empty())
}

macro_rules! numbers {
    ($($number:ty),*) => {$(
        impl Saved for $number {
            fn put(&self, to: &mut Vec<u8>) {
                to.extend_from_slice(&self.to_le_bytes());
            }

            fn take(from: &mut &[u8]) -> Option<Self> {
                let (bytes, rest) = from.split_first_chunk()?;
                *from = rest;
                Some(Self::from_le_bytes(*bytes))
            }
        }
    )*};
}
numbers!(u8, u16, u32, u64);

impl Saved for bool {
    fn put(&self, to: &mut Vec<u8>) {
        to.push((*self).into());
    }

    fn take(from: &mut &[u8]) -> Option<Self> {
        match u8::take(from)? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }
}

impl<T: Saved> Saved for Option<T> {
    fn put(&self, to: &mut Vec<u8>) {
        self.is_some().put(to);
        self.iter().for_each(|value| value.put(to));
    }

    fn take(from: &mut &[u8]) -> Option<Self> {
        if bool::take(from)? { T::take(from).map(Some) } else { Some(None) }
    }
}

impl<T: Saved, const N: usize> Saved for [T; N] {
    fn put(&self, to: &mut Vec<u8>) {
        self.iter().for_each(|value| value.put(to));
    }

    fn take(from: &mut &[u8]) -> Option<Self> {
        let mut values = Vec::with_capacity(N);
        for _ in 0..N {
            values.push(T::take(from)?);
        }
        values.try_into().ok()
    }
}

/// The number of values, and the values.
impl<T: Saved> Saved for Vec<T> {
    fn put(&self, to: &mut Vec<u8>) {
        (self.len() as u32).put(to);
        self.iter().for_each(|value| value.put(to));
    }

    fn take(from: &mut &[u8]) -> Option<Self> {
        let count = u32::take(from)?;
        let mut values = Vec::new();
        for _ in 0..count {
            values.push(T::take(from)?);
        }
        Some(values)
    }
}

/// A structure is its fields, in this order. With `if`, what does not hold is no value.
macro_rules! saved {
    ($name:ident { $($field:ident),* $(,)? } $(if $value:ident => $holds:expr)?) => {
        impl super::snapshot::codec::Saved for $name {
            fn put(&self, to: &mut alloc::vec::Vec<u8>) {
                $(super::snapshot::codec::Saved::put(&self.$field, to);)*
            }

            fn take(from: &mut &[u8]) -> Option<Self> {
                let value = Self { $($field: super::snapshot::codec::Saved::take(from)?,)* };
                $(
                    let $value = &value;
                    if !$holds {
                        return None;
                    }
                )?
                Some(value)
            }
        }
    };
}
pub(crate) use saved;

//! Virtual-processor identifiers: one for each living vCPU, so that the CPU keeps its translations across exits.
//!
//! SDM volume 3, "Virtual Processor Identifiers (VPIDs)". Translations under a VPID are forgotten only when a vCPU is bound
//! to a CPU for the first time or after it ran elsewhere; the VPID of a vCPU that is gone may be given out again, which
//! that rule covers.

use core::sync::atomic::{AtomicU64, Ordering};

use crate::{Error, Result};

const WORDS: usize = 64;

/// A bit for each VPID in use. VPID 0 is the host's.
static IN_USE: [AtomicU64; WORDS] = {
    let mut words = [const { AtomicU64::new(0) }; WORDS];
    words[0] = AtomicU64::new(1);
    words
};

/// A VPID that is given back when it is dropped.
#[derive(Debug)]
pub(super) struct Vpid(u16);

impl Vpid {
    /// Takes a free one.
    ///
    /// # Errors
    /// [`Error::OutOfTags`] when 4095 vCPUs live.
    pub(super) fn allocate() -> Result<Self> {
        for (index, word) in IN_USE.iter().enumerate() {
            let mut used = word.load(Ordering::Relaxed);
            while used != u64::MAX {
                let bit = used.trailing_ones();
                match word.compare_exchange_weak(used, used | 1 << bit, Ordering::Relaxed, Ordering::Relaxed) {
                    Ok(_) => return Ok(Self((index as u16) << 6 | bit as u16)),
                    Err(now) => used = now,
                }
            }
        }
        Err(Error::OutOfTags)
    }

    /// Its number, never 0.
    pub(super) fn number(&self) -> u16 {
        self.0
    }
}

impl Drop for Vpid {
    fn drop(&mut self) {
        let word = &IN_USE[usize::from(self.0 >> 6) % WORDS];
        word.fetch_and(!(1 << (self.0 & 63)), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::{collections::BTreeSet, vec::Vec};

    use super::*;

    #[test]
    fn all_are_different_and_come_back() {
        let mut held: Vec<Vpid> = core::iter::from_fn(|| Vpid::allocate().ok()).collect();
        let numbers: BTreeSet<u16> = held.iter().map(Vpid::number).collect();
        assert_eq!(numbers.len(), WORDS * 64 - 1);
        assert!(!numbers.contains(&0));
        assert!(matches!(Vpid::allocate(), Err(Error::OutOfTags)));
        let freed = held.swap_remove(77).number();
        assert_eq!(Vpid::allocate().map(|vpid| vpid.number()), Ok(freed));
    }
}

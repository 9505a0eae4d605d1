//! Virtual-processor identifiers: one for each living vCPU, so that the CPU keeps its translations across exits.
//!
//! SDM volume 3, "Virtual Processor Identifiers (VPIDs)". Translations under a VPID are forgotten only when a vCPU is bound
//! to a CPU for the first time or after it ran elsewhere; the VPID of a vCPU that is gone may be given out again, which
//! that rule covers.

use core::sync::atomic::{AtomicU64, Ordering};

use crate::{Error, Result};

const WORDS: usize = 64;

/// A bit for each VPID in use.
struct Pool([AtomicU64; WORDS]);

static IN_USE: Pool = Pool::new();

impl Pool {
    const fn new() -> Self {
        let mut words = [const { AtomicU64::new(0) }; WORDS];
        // VPID 0 is the host's.
        words[0] = AtomicU64::new(1);
        Self(words)
    }

    fn take(&self) -> Option<u16> {
        for (index, word) in self.0.iter().enumerate() {
            let mut used = word.load(Ordering::Relaxed);
            while used != u64::MAX {
                let bit = used.trailing_ones();
                match word.compare_exchange_weak(used, used | 1 << bit, Ordering::Relaxed, Ordering::Relaxed) {
                    Ok(_) => return Some((index as u16) << 6 | bit as u16),
                    Err(now) => used = now,
                }
            }
        }
        None
    }

    fn give_back(&self, number: u16) {
        self.0[usize::from(number >> 6) % WORDS].fetch_and(!(1 << (number & 63)), Ordering::Relaxed);
    }
}

/// A VPID that is given back when it is dropped.
#[derive(Debug)]
pub(super) struct Vpid(u16);

impl Vpid {
    /// Takes a free one.
    ///
    /// # Errors
    /// [`Error::OutOfTags`] when 4095 vCPUs live.
    pub(super) fn allocate() -> Result<Self> {
        IN_USE.take().map(Self).ok_or(Error::OutOfTags)
    }

    /// Its number, never 0.
    pub(super) fn number(&self) -> u16 {
        self.0
    }
}

impl Drop for Vpid {
    fn drop(&mut self) {
        IN_USE.give_back(self.0);
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn all_are_different_and_come_back() {
        let pool = Pool::new();
        let taken: BTreeSet<u16> = core::iter::from_fn(|| pool.take()).collect();
        assert_eq!(taken.len(), WORDS * 64 - 1);
        assert!(!taken.contains(&0));
        pool.give_back(77);
        assert_eq!((pool.take(), pool.take()), (Some(77), None));
    }
}

//! Numbers that are the same in every run with the same seed, and the values that fields get.

/// SplitMix64.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ z >> 31
    }

    /// Below `limit`, which is not 0.
    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    /// True once in `n`.
    pub fn once_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// One of them.
    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    /// A value that has a chance to be refused for a subtle reason: near the valid one, small, an address, or anything.
    pub fn value(&mut self, bits: u32, valid: u64) -> u64 {
        let any = self.next();
        let value = match self.below(6) {
            0 => any,
            1 => any & self.next() & self.next(),
            2 => valid ^ 1 << (any % u64::from(bits)) ^ 1 << ((any >> 32) % u64::from(bits)),
            3 => any % 4096,
            4 => any & 0x0000_000F_FFFF_F000,
            _ => ((any as i64) >> 16) as u64,
        };
        value & ones(bits)
    }
}

/// The low `bits` bits.
pub fn ones(bits: u32) -> u64 {
    u64::MAX >> (64 - bits)
}

/// Both ends, and the valid value with each single bit flipped.
pub fn boundaries(bits: u32, valid: u64) -> impl Iterator<Item = u64> {
    [0, ones(bits)].into_iter().chain((0..bits).map(move |bit| valid ^ 1 << bit))
}

//! Numbers that look random and are the same on every machine: a counter that is mixed (`SplitMix64`,
//! Steele, Lea and Flood, OOPSLA 2014).

/// A stream of numbers.
#[derive(Debug, Clone)]
pub(crate) struct Rng {
    counter: u64,
}

impl Rng {
    /// The stream of that seed.
    pub(crate) const fn new(seed: u64) -> Self {
        Self { counter: seed }
    }

    /// The next number.
    pub(crate) const fn next(&mut self) -> u64 {
        self.counter = self.counter.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.counter;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`; 0 when that is 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        // The high half of the product: no division, and a bias below bound / 2^64.
        let wide = u128::from(self.next()) * (bound as u128);
        usize::try_from(wide >> 64).unwrap_or(0)
    }
}

//! Chance: the same numbers for the same seed, on every machine and for ever.

/// A stream of numbers (`SplitMix64`: small, and every seed is a good one).
#[derive(Debug, Clone)]
pub struct Chance(u64);

impl Chance {
    /// The stream of this seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed ^ 0x5149_6d75_6c61_7465)
    }

    /// The next number.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A stream of its own, so that a new draw in one room leaves the choices of others alone.
    #[must_use]
    pub const fn child(&mut self) -> Self {
        Self(self.next())
    }

    /// A number from 0 to `end`, which is not among them; 0 when `end` is.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next().checked_rem(end).unwrap_or_default()
    }

    /// A number from `first` to `last`, both included.
    pub fn between(&mut self, first: u64, last: u64) -> u64 {
        first + self.below(last.saturating_sub(first) + 1)
    }

    /// True once in so many times.
    pub fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    /// Any of these; there must be one.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        let count = u64::try_from(from.len()).unwrap_or(u64::MAX);
        let index = usize::try_from(self.below(count)).unwrap_or_default();
        from.get(index).expect("something to pick from")
    }

    /// How long something takes, in milliseconds: mostly `usual`, now and then up to `worst`.
    pub fn delay(&mut self, usual: u64, worst: u64) -> u64 {
        if self.one_in(20) { self.between(usual, worst) } else { self.between(1, usual) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_numbers_for_ever() {
        let mut chance = Chance::new(42);
        let numbers: Vec<u64> = (0..4).map(|_| chance.below(1_000)).collect();
        assert_eq!(numbers, [585, 142, 829, 112]);
    }
}

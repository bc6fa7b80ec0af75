//! How much may be tried, counted in steps: about as much work each, on every machine the same number.

/// Steps that are left. A step is some nanoseconds of work: one word of a table, one try of one item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Budget {
    given: u64,
    left: u64,
}

impl Budget {
    /// So many steps.
    pub const fn steps(count: u64) -> Self {
        Self { given: count, left: count }
    }

    /// Takes steps; answers whether any are left.
    pub const fn spend(&mut self, steps: u64) -> bool {
        self.left = self.left.saturating_sub(steps);
        self.left > 0
    }

    /// Whether none are left.
    pub const fn is_over(&self) -> bool {
        self.left == 0
    }

    /// How many were taken.
    pub const fn used(&self) -> u64 {
        self.given - self.left
    }

    /// How many are left.
    pub const fn left(&self) -> u64 {
        self.left
    }

    /// A part of what is left, to be given back with [`Budget::settle`].
    #[must_use]
    pub fn part(&self, steps: u64) -> Self {
        Self::steps(steps.min(self.left))
    }

    /// Takes what a part used.
    pub fn settle(&mut self, part: &Self) {
        self.spend(part.used());
    }
}

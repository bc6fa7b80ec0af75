//! Every filling of a bin that leaves no room: where a packing into that many bins can waste nothing, no other
//! pattern is of use to it.

use crate::{budget::Budget, fewest::columns::Cover, fewest::program::Column};

/// More patterns than these cost more than they help.
const MAX_PATTERNS: usize = 20_000;

/// Branches that are looked at for them.
const MAX_BRANCHES: u64 = 2_000_000;

/// All full patterns; `None` when there are too many.
pub(super) fn patterns(cover: &Cover, budget: &mut Budget) -> Option<Vec<Column>> {
    let mut walk = Walk { cover, taken: Vec::new(), found: Vec::new(), branches: 0 };
    let whole = walk.descend(0, cover.capacity);
    budget.spend(walk.branches / 4);
    whole.then_some(walk.found)
}

struct Walk<'c> {
    cover: &'c Cover,
    taken: Column,
    found: Vec<Column>,
    branches: u64,
}

impl Walk<'_> {
    /// Fills what is left with sizes from `row` on. Answers whether all was looked at.
    fn descend(&mut self, row: usize, left: u64) -> bool {
        if left == 0 {
            self.found.push(self.taken.clone());
            return self.found.len() < MAX_PATTERNS;
        }
        let sizes = &self.cover.sizes;
        let first = row + sizes[row..].partition_point(|size| *size > left);
        for row in first..sizes.len() {
            self.branches += 1;
            if self.branches >= MAX_BRANCHES {
                return false;
            }
            let (size, demand) = (self.cover.sizes[row], self.cover.demand[row]);
            for count in (1..=demand.min(left / size)).rev() {
                self.taken.push((row, count));
                let whole = self.descend(row + 1, left - count * size);
                self.taken.pop();
                if !whole {
                    return false;
                }
            }
        }
        true
    }
}

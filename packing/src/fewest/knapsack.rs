//! The most valuable filling of one bin: depth first by value per size, by table when that takes long.

/// Nodes of the tree before the table is tried.
const MAX_NODES: u32 = 4_000;

/// Cells of a table that is not too large.
const MAX_CELLS: u64 = 40_000_000;

/// Fillings that are kept besides the best.
const MAX_KEPT: usize = 4;

/// What may be taken.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kind {
    /// Which row of the program it is.
    pub(super) row: usize,
    pub(super) size: u64,
    pub(super) most: u64,
    pub(super) value: u64,
}

/// `(row, how many)`.
pub(super) type Pattern = Vec<(usize, u64)>;

/// The best fillings found, the best last.
#[derive(Debug)]
pub(super) struct Filled {
    /// No filling has more.
    pub(super) most: u64,
    pub(super) patterns: Vec<Pattern>,
    pub(super) steps: u64,
}

/// Fills a bin with the most value. `worth` is what a filling must exceed to be kept.
pub(super) fn fill(kinds: &[Kind], capacity: u64, worth: u64, exactly: bool) -> Filled {
    let mut kinds: Vec<Kind> =
        kinds.iter().copied().filter(|kind| kind.value > 0 && kind.most > 0).collect();
    kinds.sort_unstable_by(|one, other| {
        let left = u128::from(other.value) * u128::from(one.size);
        let right = u128::from(one.value) * u128::from(other.size);
        left.cmp(&right).then(other.size.cmp(&one.size))
    });
    let mut tree = Tree {
        kinds: &kinds,
        best: worth,
        taken: vec![0; kinds.len()],
        found: Vec::new(),
        nodes: 0,
        limit: if exactly { MAX_NODES } else { MAX_NODES / 20 },
    };
    tree.descend(0, capacity, 0);
    let nodes = u64::from(tree.nodes);
    if tree.nodes < tree.limit {
        let most = if tree.found.is_empty() { worth } else { tree.best };
        return Filled { most, patterns: tree.into_patterns(), steps: nodes };
    }
    let copies: u64 = kinds.iter().map(|kind| kind.most.min(capacity / kind.size)).sum();
    let cells = copies * (capacity + 1);
    if exactly && cells <= MAX_CELLS {
        let (most, pattern) = by_table(&kinds, capacity);
        let mut patterns = tree.into_patterns();
        if most > worth {
            patterns.push(pattern);
        }
        return Filled { most: most.max(worth), patterns, steps: nodes + cells / 4 };
    }
    // No table: what is proven is what a part of the next kind would add.
    let most = relaxed(&kinds, capacity).max(tree.best);
    Filled { most, patterns: tree.into_patterns(), steps: nodes }
}

/// The value when kinds can be taken in parts.
fn relaxed(kinds: &[Kind], capacity: u64) -> u64 {
    let (mut left, mut value) = (capacity, 0);
    for kind in kinds {
        let whole = kind.most.min(left / kind.size);
        value += whole * kind.value;
        left -= whole * kind.size;
        if whole < kind.most {
            let part = u128::from(left) * u128::from(kind.value) / u128::from(kind.size);
            return value + u64::try_from(part).unwrap_or(u64::MAX) + 1;
        }
    }
    value
}

struct Tree<'k> {
    kinds: &'k [Kind],
    best: u64,
    taken: Vec<u64>,
    found: Vec<Pattern>,
    nodes: u32,
    limit: u32,
}

impl Tree<'_> {
    fn descend(&mut self, index: usize, left: u64, value: u64) {
        if value > self.best {
            self.best = value;
            let taken = self.taken.iter().zip(self.kinds).filter(|(count, _)| **count > 0);
            self.found.push(taken.map(|(count, kind)| (kind.row, *count)).collect());
        }
        let mut index = index;
        while index < self.kinds.len() && self.kinds[index].size > left {
            index += 1;
        }
        let Some(kind) = self.kinds.get(index).copied() else { return };
        self.nodes += 1;
        if self.nodes >= self.limit {
            return;
        }
        let bound = u128::from(left) * u128::from(kind.value);
        if bound <= u128::from(self.best - value) * u128::from(kind.size) {
            return;
        }
        let most = kind.most.min(left / kind.size);
        for count in (0..=most).rev() {
            self.taken[index] = count;
            self.descend(index + 1, left - count * kind.size, value + count * kind.value);
            if self.nodes >= self.limit {
                break;
            }
        }
        self.taken[index] = 0;
    }

    fn into_patterns(mut self) -> Vec<Pattern> {
        let surplus = self.found.len().saturating_sub(MAX_KEPT);
        self.found.drain(..surplus);
        self.found
    }
}

fn by_table(kinds: &[Kind], capacity: u64) -> (u64, Pattern) {
    let width = usize::try_from(capacity).unwrap_or(0) + 1;
    let mut best = vec![0_u64; width];
    // For each kind, how many of it the best of each capacity takes.
    let mut table: Vec<Vec<u16>> = Vec::with_capacity(kinds.len());
    for kind in kinds {
        let size = usize::try_from(kind.size).unwrap_or(usize::MAX);
        let mut copies = vec![0_u16; width];
        for _ in 0..kind.most.min(capacity / kind.size) {
            let mut better = false;
            for at in (size..width).rev() {
                let more = best[at - size] + kind.value;
                if more > best[at] {
                    best[at] = more;
                    copies[at] = copies[at - size] + 1;
                    better = true;
                }
            }
            if !better {
                break;
            }
        }
        table.push(copies);
    }
    let mut pattern = Vec::new();
    let mut at = width - 1;
    for (kind, taken) in kinds.iter().zip(&table).rev() {
        if taken[at] > 0 {
            pattern.push((kind.row, u64::from(taken[at])));
            at -= usize::from(taken[at]) * usize::try_from(kind.size).unwrap_or(0);
        }
    }
    (best[width - 1], pattern)
}

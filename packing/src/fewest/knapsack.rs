//! The most valuable filling of one bin: depth first by value per size; where that takes long, guided by a
//! table of what is left to gain.

/// Nodes of the tree before the table is made.
const MAX_NODES: u32 = 200;

/// Nodes of the tree with the table.
const MAX_GUIDED: u32 = 20_000;

/// Columns of the table; what is wider is counted in larger units.
const MAX_COLUMNS: u64 = 4_096;

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
        limit: MAX_NODES,
    };
    tree.descend(0, (capacity, 0), None);
    let mut steps = u64::from(tree.nodes);
    let mut most = tree.best;
    if tree.nodes >= tree.limit && exactly {
        let rest = Rest::of(&kinds, capacity);
        (tree.nodes, tree.limit) = (0, MAX_GUIDED);
        // The first walk may have ended in the middle of a filling.
        tree.taken.fill(0);
        tree.descend(0, (capacity, 0), Some(&rest));
        steps += rest.cells / 4 + u64::from(tree.nodes);
        most = if tree.nodes < tree.limit { tree.best } else { rest.most(0, capacity) };
    } else if tree.nodes >= tree.limit {
        // What is proven is what a part of the next kind would add.
        most = relaxed(&kinds, capacity);
    }
    Filled { most: most.max(tree.best), patterns: tree.into_patterns(), steps }
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

/// What the kinds from each on are worth at most in each space. Sizes are whole units, rounded down, so it
/// may be more than there is, and never less.
struct Rest {
    unit: u64,
    columns: usize,
    values: Vec<u64>,
    /// How many values were looked at to make it.
    cells: u64,
}

impl Rest {
    fn of(kinds: &[Kind], capacity: u64) -> Self {
        let unit = capacity / MAX_COLUMNS + 1;
        let columns = usize::try_from(capacity / unit).unwrap_or(0) + 1;
        let mut rest =
            Self { unit, columns, values: vec![0; (kinds.len() + 1) * columns], cells: 0 };
        for (index, kind) in kinds.iter().enumerate().rev() {
            let (upper, below) = rest.values.split_at_mut((index + 1) * columns);
            let (own, below) = (&mut upper[index * columns..], &below[..columns]);
            own.copy_from_slice(below);
            let size = usize::try_from(kind.size / unit).unwrap_or(usize::MAX);
            for count in 1..=kind.most.min(capacity / kind.size) {
                let taken = size.saturating_mul(usize::try_from(count).unwrap_or(usize::MAX));
                let worth = count * kind.value;
                for (own, below) in own.iter_mut().skip(taken).zip(below) {
                    *own = (*own).max(below + worth);
                }
                rest.cells += columns as u64;
            }
        }
        rest
    }

    fn most(&self, index: usize, left: u64) -> u64 {
        let column = usize::try_from(left / self.unit).unwrap_or(usize::MAX);
        self.values[index * self.columns + column.min(self.columns - 1)]
    }
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
    /// Takes of the kinds from `index` on, into a bin with so much left that is worth so much.
    fn descend(&mut self, index: usize, (left, value): (u64, u64), rest: Option<&Rest>) {
        if value > self.best {
            self.best = value;
            let taken = self.taken.iter().zip(self.kinds).filter(|(count, _)| **count > 0);
            self.found.push(taken.map(|(count, kind)| (kind.row, *count)).collect());
        }
        for (index, kind) in self.kinds.iter().copied().enumerate().skip(index) {
            if kind.size > left {
                continue;
            }
            self.nodes += 1;
            let more = u128::from(self.best - value);
            let is_vain = match rest {
                Some(rest) => u128::from(rest.most(index, left)) <= more,
                None => u128::from(left) * u128::from(kind.value) <= more * u128::from(kind.size),
            };
            if is_vain || self.nodes >= self.limit {
                return;
            }
            for count in (1..=kind.most.min(left / kind.size)).rev() {
                self.taken[index] = count;
                let after = (left - count * kind.size, value + count * kind.value);
                self.descend(index + 1, after, rest);
                if self.nodes >= self.limit {
                    return;
                }
            }
            self.taken[index] = 0;
        }
    }

    fn into_patterns(mut self) -> Vec<Pattern> {
        let surplus = self.found.len().saturating_sub(MAX_KEPT);
        self.found.drain(..surplus);
        self.found
    }
}

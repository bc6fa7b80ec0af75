//! What is to be packed: bins, items, and the rules between them.

use std::fmt;

/// A capacity that never binds.
pub const UNLIMITED: u64 = 1 << 60;

/// The most any amount may be. The demands of all items together stay below 2^63.
pub const MAX_AMOUNT: u64 = UNLIMITED;

/// The resource that is packed first of all: memory.
pub const LEADING: usize = 0;

/// A set of bins, as a bitmap.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct BinSet {
    words: Vec<u64>,
}

impl BinSet {
    /// No bin.
    pub fn none() -> Self {
        Self::default()
    }

    /// The first `count` bins.
    pub fn all(count: usize) -> Self {
        (0..count).collect()
    }

    /// Adds a bin.
    pub fn insert(&mut self, bin: usize) {
        let word = bin / 64;
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        self.words[word] |= 1 << (bin % 64);
    }

    /// Whether the bin is in it.
    pub fn contains(&self, bin: usize) -> bool {
        self.words.get(bin / 64).is_some_and(|word| word >> (bin % 64) & 1 == 1)
    }

    /// How many bins are in it.
    pub fn len(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Whether none is in it.
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }

    /// Whether every bin of it is in the other.
    pub fn is_within(&self, other: &Self) -> bool {
        self.words
            .iter()
            .enumerate()
            .all(|(index, word)| word & !other.words.get(index).copied().unwrap_or(0) == 0)
    }

    /// The bins that are in one of the two.
    #[must_use]
    pub fn or(&self, other: &Self) -> Self {
        let (long, short) =
            if self.words.len() >= other.words.len() { (self, other) } else { (other, self) };
        let mut words = long.words.clone();
        for (word, more) in words.iter_mut().zip(&short.words) {
            *word |= more;
        }
        Self { words }
    }

    /// The bins, in order.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.words.iter().enumerate().flat_map(|(index, word)| {
            (0..64).filter(move |bit| word >> bit & 1 == 1).map(move |bit| index * 64 + bit)
        })
    }
}

impl FromIterator<usize> for BinSet {
    fn from_iter<I: IntoIterator<Item = usize>>(bins: I) -> Self {
        let mut set = Self::none();
        for bin in bins {
            set.insert(bin);
        }
        set
    }
}

/// Something with room. What is in it and is no item of the problem is already subtracted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Bin {
    /// How much of each resource; [`UNLIMITED`] when it does not bind.
    pub capacity: Vec<u64>,
    /// Exclusive keys that are taken by what is no item of the problem.
    pub keys: Vec<u32>,
    /// How many members of which groups are in it without being items of the problem.
    pub members: Vec<(usize, u32)>,
}

/// Something that goes into one bin, whole.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Item {
    /// How much of each resource.
    pub demand: Vec<u64>,
    /// Index into [`Problem::sets`]: where it may be.
    pub allowed: usize,
    /// Indices into [`Problem::groups`]; one named twice counts twice.
    pub groups: Vec<usize>,
    /// What it needs for itself alone in its bin: a host port, for example.
    pub keys: Vec<u32>,
    /// Higher goes first; nothing is worth more than one item of a higher priority.
    pub priority: u32,
    /// Where it is now.
    pub current: Option<usize>,
    /// It stays where it is: only with [`Item::current`].
    pub pinned: bool,
    /// While it moves, the new one may start before the old one stops.
    pub twice: bool,
}

/// How members of a group are spread over the parts of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spread {
    /// Index into [`Problem::partitions`]. Bins of no part take no member.
    pub partition: usize,
    /// By how many members the fullest part may exceed the emptiest.
    pub skew: u32,
}

/// Items with rules between them: replicas of one service.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Group {
    /// How many members a bin may have.
    pub most_per_bin: Option<u32>,
    /// Over what they are spread.
    pub spread: Option<Spread>,
    /// `(other, most)`: a bin with a member of this group has at most so many of the other.
    pub conflicts: Vec<(usize, u32)>,
    /// Members would rather be in different bins: a wish, no rule.
    pub apart: bool,
}

/// Bins, items and rules.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Problem {
    /// How many resources there are: the length of every capacity and every demand. The first one
    /// leads: most of it shall be placed.
    pub resources: usize,
    /// Where items go.
    pub bins: Vec<Bin>,
    /// What goes there.
    pub items: Vec<Item>,
    /// Rules between items.
    pub groups: Vec<Group>,
    /// Sets of bins that items are restricted to.
    pub sets: Vec<BinSet>,
    /// For each partition, the part each bin belongs to. Parts are counted from 0.
    pub partitions: Vec<Vec<Option<usize>>>,
}

/// Where each item is; `None` for one that is nowhere.
pub type Placement = Vec<Option<usize>>;

/// A problem whose numbers do not fit together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Malformed {
    /// An amount list of another length than there are resources, or an amount above [`MAX_AMOUNT`].
    Amounts(&'static str, usize),
    /// An index that leads nowhere.
    Index(&'static str, usize),
    /// A pinned item that is nowhere.
    PinnedNowhere(usize),
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Amounts(what, index) => write!(f, "{what} {index}: its amounts do not fit"),
            Self::Index(what, index) => write!(f, "{what} {index}: an index leads nowhere"),
            Self::PinnedNowhere(item) => write!(f, "item {item} is pinned and nowhere"),
        }
    }
}

impl std::error::Error for Malformed {}

impl Problem {
    /// Whether the numbers fit together. All functions of this crate need that.
    ///
    /// # Errors
    /// The first thing that does not fit.
    pub fn well_formed(&self) -> Result<(), Malformed> {
        let fit = |amounts: &[u64]| {
            amounts.len() == self.resources && amounts.iter().all(|amount| *amount <= MAX_AMOUNT)
        };
        for (index, bin) in self.bins.iter().enumerate() {
            if !fit(&bin.capacity) {
                return Err(Malformed::Amounts("bin", index));
            }
            if bin.members.iter().any(|(group, _)| *group >= self.groups.len()) {
                return Err(Malformed::Index("bin", index));
            }
        }
        for (index, item) in self.items.iter().enumerate() {
            if !fit(&item.demand) {
                return Err(Malformed::Amounts("item", index));
            }
            let known = item.allowed < self.sets.len()
                && item.groups.iter().all(|group| *group < self.groups.len())
                && item.current.is_none_or(|bin| bin < self.bins.len());
            if !known {
                return Err(Malformed::Index("item", index));
            }
            if item.pinned && item.current.is_none() {
                return Err(Malformed::PinnedNowhere(index));
            }
        }
        let all = |resource: usize| -> u128 {
            self.items.iter().map(|item| u128::from(item.demand[resource].max(1))).sum()
        };
        if (0..self.resources).any(|resource| all(resource) >= 1 << 63) {
            return Err(Malformed::Amounts("item", self.items.len()));
        }
        for (index, group) in self.groups.iter().enumerate() {
            let known = group.conflicts.iter().all(|(other, _)| *other < self.groups.len())
                && group.spread.is_none_or(|spread| spread.partition < self.partitions.len());
            if !known {
                return Err(Malformed::Index("group", index));
            }
        }
        let short = |partition: &&Vec<Option<usize>>| partition.len() != self.bins.len();
        // Every part up to the last has a bin: one without could take no member and would be the emptiest.
        let gap = |partition: &Vec<Option<usize>>| {
            let last = partition.iter().flatten().max().copied();
            last.is_some_and(|last| (0..last).any(|part| !partition.contains(&Some(part))))
        };
        let bad = |partition: &Vec<Option<usize>>| short(&partition) || gap(partition);
        match self.partitions.iter().position(bad) {
            Some(index) => Err(Malformed::Index("partition", index)),
            None => Ok(()),
        }
    }

    /// Where everything is now.
    pub fn current(&self) -> Placement {
        self.items.iter().map(|item| item.current).collect()
    }
}

//! Generic resources: whatever a machine has a number of, by a name people gave it. Only amounts are
//! kept: which of several devices a task gets, and whether it uses what it reserved, nobody looks after.

use std::{collections::BTreeMap, fmt};

use thiserror::Error;

use crate::{Bytes, GenericName};

/// Kinds of generic resources a machine offers or a service asks for, at most: each costs every replica
/// of the log its place, and nobody tells more apart.
pub const KINDS_MAX: usize = 32;
/// The largest amount of one: 8 PiB, the largest size a stack file takes; sums of as many as there may be
/// tasks stay far from overflow.
pub const AMOUNT_MAX: u64 = 1 << 53;
/// Amounts from here on are shown as sizes: nobody has a million devices, and a disk is larger.
const SHOWN_AS_SIZE: u64 = 1 << 20;

/// Amounts of generic resources by kind. An amount of nothing is not kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generic(BTreeMap<GenericName, u64>);

/// Why amounts are not taken.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BadGeneric {
    /// More than [`AMOUNT_MAX`], or none.
    #[error("{amount} is no amount of {kind}: it is from 1 to {AMOUNT_MAX}")]
    Amount {
        /// Of which kind.
        kind: GenericName,
        /// What was given.
        amount: u64,
    },
    /// More than [`KINDS_MAX`].
    #[error("{0} kinds of generic resources, the limit is {KINDS_MAX}")]
    Kinds(usize),
}

impl Generic {
    /// Nothing.
    pub const NONE: Self = Self(BTreeMap::new());

    /// These amounts.
    ///
    /// # Errors
    ///
    /// An amount that is none, or beyond [`AMOUNT_MAX`]; more than [`KINDS_MAX`] kinds.
    pub fn new(amounts: BTreeMap<GenericName, u64>) -> Result<Self, BadGeneric> {
        if let Some((kind, amount)) =
            amounts.iter().find(|(_, amount)| !(1..=AMOUNT_MAX).contains(*amount))
        {
            return Err(BadGeneric::Amount { kind: kind.clone(), amount: *amount });
        }
        if amounts.len() > KINDS_MAX {
            return Err(BadGeneric::Kinds(amounts.len()));
        }
        Ok(Self(amounts))
    }

    /// How much of that kind there is.
    pub fn get(&self, kind: &GenericName) -> u64 {
        self.0.get(kind).copied().unwrap_or(0)
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The kinds with their amounts, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&GenericName, u64)> {
        self.0.iter().map(|(kind, amount)| (kind, *amount))
    }

    /// As a map.
    pub const fn amounts(&self) -> &BTreeMap<GenericName, u64> {
        &self.0
    }

    /// So much more of that kind; saturates.
    pub fn add(&mut self, kind: &GenericName, amount: u64) {
        match self.0.get_mut(kind) {
            Some(held) => *held = held.saturating_add(amount),
            None if amount > 0 => drop(self.0.insert(kind.clone(), amount)),
            None => {}
        }
    }

    /// Both together; saturates.
    #[must_use]
    pub fn plus(mut self, other: &Self) -> Self {
        other.iter().for_each(|(kind, amount)| self.add(kind, amount));
        self
    }

    /// What is left without the other; never below zero.
    #[must_use]
    pub fn minus(mut self, other: &Self) -> Self {
        self.0.retain(|kind, amount| {
            *amount = amount.saturating_sub(other.get(kind));
            *amount > 0
        });
        self
    }

    /// Of each kind what the one has that has more of it.
    #[must_use]
    pub fn larger(mut self, other: &Self) -> Self {
        for (kind, amount) in other.iter() {
            match self.0.get_mut(kind) {
                Some(held) => *held = amount.max(*held),
                None => drop(self.0.insert(kind.clone(), amount)),
            }
        }
        self
    }
}

/// An amount as it is shown: a size where it is as large as one.
#[derive(Debug, Clone, Copy)]
pub struct Amount(pub u64);

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 < SHOWN_AS_SIZE {
            write!(f, "{}", self.0)
        } else {
            write!(f, "{}", Bytes(self.0))
        }
    }
}

/// Amounts as part of a sentence: `2 gpu and 200.0 GiB disk`.
pub fn sentence<K: fmt::Display>(amounts: impl IntoIterator<Item = (K, u64)>) -> String {
    let amounts = amounts.into_iter().map(|(kind, amount)| format!("{} {kind}", Amount(amount)));
    amounts.collect::<Vec<_>>().join(" and ")
}

/// As part of a sentence.
impl fmt::Display for Generic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&sentence(self.iter()))
    }
}

impl<'a> FromIterator<(&'a GenericName, u64)> for Generic {
    fn from_iter<I: IntoIterator<Item = (&'a GenericName, u64)>>(amounts: I) -> Self {
        let mut all = Self::NONE;
        amounts.into_iter().for_each(|(kind, amount)| all.add(kind, amount));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amounts(given: &[(&str, u64)]) -> Generic {
        let mut all = Generic::NONE;
        for (kind, amount) in given {
            all.add(&GenericName::new(kind).unwrap(), *amount);
        }
        all
    }

    #[test]
    fn amounts_are_counted_by_kind_and_nothing_is_not_kept() {
        let (two, three) =
            (amounts(&[("gpu", 2), ("ssd", 1)]), amounts(&[("gpu", 3), ("disk", 200 << 30)]));
        let sum = amounts(&[("disk", 200 << 30), ("gpu", 5), ("ssd", 1)]);
        assert_eq!(two.clone().plus(&three), sum);
        assert_eq!(sum.clone().minus(&three), two);
        assert_eq!(two.clone().minus(&sum), Generic::NONE);
        assert_eq!(
            two.clone().larger(&three),
            amounts(&[("disk", 200 << 30), ("gpu", 3), ("ssd", 1)])
        );
        assert!(amounts(&[("gpu", 0)]).is_empty());
        assert_eq!(amounts(&[("gpu", u64::MAX), ("gpu", 1)]), amounts(&[("gpu", u64::MAX)]));
    }

    #[test]
    fn an_amount_as_large_as_a_size_is_shown_as_one() {
        assert_eq!(
            amounts(&[("gpu", 2), ("disk", 200 << 30)]).to_string(),
            "200.0 GiB disk and 2 gpu"
        );
        assert_eq!(amounts(&[("port", (1 << 20) - 1)]).to_string(), "1048575 port");
        assert_eq!(Generic::NONE.to_string(), "");
    }

    #[test]
    fn what_is_beyond_a_limit_is_no_amount() {
        let one = |amount| Generic::new([(GenericName::new("gpu").unwrap(), amount)].into());
        assert!(one(0).is_err());
        assert!(one(AMOUNT_MAX).is_ok());
        assert!(one(AMOUNT_MAX + 1).is_err());
        let many = |count: usize| {
            let kinds = (0..count).map(|n| (GenericName::new(format!("k{n}")).unwrap(), 1));
            Generic::new(kinds.collect())
        };
        assert!(many(KINDS_MAX).is_ok());
        assert_eq!(many(KINDS_MAX + 1), Err(BadGeneric::Kinds(KINDS_MAX + 1)));
    }
}

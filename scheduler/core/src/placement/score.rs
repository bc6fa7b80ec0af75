//! Preferences among the nodes a task fits on.

use std::collections::BTreeMap;

use model::{Bytes, NodeId, Resources};
use packing::Measure;

use crate::placement::{Ask, Fleet, NodeView, scales::Scales};

/// How good a node is for a task: lower is better, compared from the first field to the last, and
/// never equal for two nodes. Integers only, so that every replica of the core computes the same.
///
/// The cost is the shape score of `siso-packing` ([`Measure`]): what is left free shall have the
/// proportions of what is usually asked for, tightly, and away from nodes that others depend on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Score {
    /// 1 when tasks that share a new volume with it, and so must follow it, would not all fit.
    pub leaves_out: u32,
    /// Replicas of its service at the same value of each label to spread over.
    pub spread: Vec<u32>,
    /// Replicas of its service on the node.
    pub replicas: u32,
    /// [`scarce`](Self::scarce), [`uneven`](Self::uneven) and how much stays free, together; in
    /// 65,536ths of the usual task.
    pub cost: i64,
    /// How much others depend on the node and may go nowhere else.
    pub scarce: i64,
    /// How much more unequal what is free becomes: memory behind a full CPU serves nobody.
    pub uneven: i64,
    /// Memory that would be left: the fullest node wins, so that the largest hole stays open.
    pub left: Bytes,
    /// Breaks the last tie the same way everywhere.
    pub node: NodeId,
}

/// Numbers of the cost are told in hundredths of the usual task.
const fn told(cost: i64) -> i64 {
    cost.saturating_mul(100) >> packing::ONE.trailing_zeros()
}

impl Score {
    /// The score as scripts see it.
    pub fn numbers(&self) -> Vec<i64> {
        let spread = self.spread.iter().map(|count| i64::from(*count));
        let wide = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        [i64::from(self.leaves_out)]
            .into_iter()
            .chain(spread)
            .chain([i64::from(self.replicas), told(self.scarce), told(self.uneven)])
            .chain([wide(self.left.0), wide(self.node.raw())])
            .collect()
    }

    /// [`left`](Self::left) of a score's numbers.
    pub fn left_of(numbers: &[i64]) -> Option<Bytes> {
        let criteria = Criterion::of_numbers(numbers.len())?;
        let mut told = criteria.into_iter().zip(numbers);
        let (_, left) = told.find(|(criterion, _)| *criterion == Criterion::Left)?;
        u64::try_from(*left).ok().map(Bytes)
    }

    /// What speaks for `self` against `other`, which is worse.
    pub fn advantage(&self, other: &Self) -> &'static str {
        let (scarce, uneven) =
            (other.scarce.saturating_sub(self.scarce), other.uneven.saturating_sub(self.uneven));
        let tight =
            other.cost.saturating_sub(self.cost).saturating_sub(scarce).saturating_sub(uneven);
        if self.leaves_out != other.leaves_out {
            "services that share its volume fit there too"
        } else if self.spread != other.spread {
            "replicas are spread over its labels"
        } else if self.replicas != other.replicas {
            "fewer replicas of the service are there"
        } else if self.cost == other.cost && self.left == other.left {
            "it comes first"
        } else if scarce > 0 && scarce >= uneven.max(tight) {
            "nodes that others depend on are kept free"
        } else if uneven > 0 && uneven >= tight {
            "memory and CPU are used more evenly there"
        } else {
            "it is fuller: the largest hole stays open"
        }
    }
}

/// What a part of a score counts, the most important first; [`Scarce`](Self::Scarce),
/// [`Uneven`](Self::Uneven) and [`Left`](Self::Left) are weighed together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Criterion {
    /// [`Score::leaves_out`]
    LeavesOut,
    /// One label of [`Score::spread`]
    Spread,
    /// [`Score::replicas`]
    Replicas,
    /// [`Score::scarce`]
    Scarce,
    /// [`Score::uneven`]
    Uneven,
    /// [`Score::left`]
    Left,
    /// [`Score::node`]
    Node,
}

impl Criterion {
    /// What [`Score::numbers`] counts, when it gives so many; `None` for a score of another make.
    pub fn of_numbers(count: usize) -> Option<Vec<Self>> {
        let after = [Self::Replicas, Self::Scarce, Self::Uneven, Self::Left, Self::Node];
        let labels = count.checked_sub(after.len())?.checked_sub(1)?;
        let spread = std::iter::repeat_n(Self::Spread, labels);
        Some([Self::LeavesOut].into_iter().chain(spread).chain(after).collect())
    }
}

/// What of the scores of one task does not depend on the node.
#[derive(Debug)]
pub(super) struct Context<'f> {
    class: usize,
    /// What the tasks that must follow it need, itself included.
    with_companions: Resources,
    demand: Vec<i64>,
    free: Vec<i64>,
    /// Other replicas of its service that are there to stay.
    replicas: BTreeMap<NodeId, u32>,
    /// For each label to spread over, how many of them there are by its value.
    spread: Vec<(&'f str, BTreeMap<Option<&'f str>, u32>)>,
}

impl<'f> Context<'f> {
    pub(super) fn of<'a>(
        fleet: &Fleet<'a>,
        scales: &Scales<'a>,
        ask: &Ask<'f>,
        (class, with_companions): (usize, Resources),
    ) -> Self
    where
        'a: 'f,
    {
        let mut demand = Vec::new();
        scales.scaled(ask.reserved(), &mut demand);
        let replicas: BTreeMap<NodeId, u32> = fleet.replicas_beside(ask).collect();
        let spread = ask.spec.placement.spread.iter().map(|label| {
            let mut by_value = BTreeMap::new();
            for (node, count) in &replicas {
                let Some(room) = fleet.rooms().get(node) else { continue };
                let value: Option<&'a str> = room.node.labels.get(label).map(String::as_str);
                let sum: &mut u32 = by_value.entry(value).or_default();
                *sum = sum.saturating_add(*count);
            }
            (label.as_str(), by_value)
        });
        let spread = spread.collect();
        Self { class, with_companions, demand, free: Vec::new(), replicas, spread }
    }

    /// For nodes with no replicas of its service, of a task that nothing must follow and that is not spread.
    pub(super) fn alone(scales: &Scales<'_>, ask: &Ask<'_>, class: usize) -> Self {
        let mut demand = Vec::new();
        scales.scaled(ask.reserved(), &mut demand);
        let (replicas, spread) = (BTreeMap::new(), Vec::new());
        Self { class, with_companions: ask.reserved(), demand, free: Vec::new(), replicas, spread }
    }

    /// Another replica of its service is on that node now.
    pub(super) fn joined(&mut self, node: NodeId) {
        let there = self.replicas.entry(node).or_default();
        *there = there.saturating_add(1);
    }

    /// The score of a node it fits on, which has that index in the fleet.
    pub(super) fn score(
        &mut self,
        scales: &Scales<'_>,
        ask: &Ask<'_>,
        view: &NodeView<'_, '_>,
        index: usize,
    ) -> Score {
        let node = view.room.node;
        let here = |(label, by_value): &(&str, BTreeMap<Option<&str>, u32>)| {
            let value = node.labels.get(*label).map(String::as_str);
            by_value.get(&value).copied().unwrap_or(0)
        };
        let spread = self.spread.iter().map(here).collect();
        let replicas = self.replicas.get(&node.id).copied().unwrap_or(0);
        let free = view.room.free_for(ask.task);
        Score { spread, replicas, ..self.of_free(scales, ask, free, (index, node.id)) }
    }

    /// The score of a node with so much free for it, but for what replicas count.
    pub(super) fn of_free(
        &mut self,
        scales: &Scales<'_>,
        ask: &Ask<'_>,
        free: Resources,
        (index, node): (usize, NodeId),
    ) -> Score {
        scales.scaled(free, &mut self.free);
        let (uneven, tight) = Measure::shape_parts(&self.free, &self.demand);
        let scarce = scales.scarce(self.class, index);
        Score {
            leaves_out: u32::from(free.after(self.with_companions).is_err()),
            spread: Vec::new(),
            replicas: 0,
            cost: scarce.saturating_add(uneven).saturating_add(tight),
            scarce,
            uneven,
            left: free.minus(ask.reserved()).memory,
            node,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_known_by_what_it_counts() {
        for labels in 0..3 {
            let score = Score {
                leaves_out: 0,
                spread: vec![7; labels],
                replicas: 1,
                cost: 5 * packing::ONE,
                scarce: 2 * packing::ONE,
                uneven: 3 * packing::ONE,
                left: Bytes::gib(4),
                node: NodeId::new(5),
            };
            let numbers = score.numbers();
            let criteria = Criterion::of_numbers(numbers.len()).unwrap();
            let told: Vec<_> = criteria.into_iter().zip(numbers).collect();
            assert_eq!(told.iter().filter(|part| **part == (Criterion::Spread, 7)).count(), labels);
            for part in [
                (Criterion::Replicas, 1),
                (Criterion::Scarce, 200),
                (Criterion::Uneven, 300),
                (Criterion::Left, 4 << 30),
                (Criterion::Node, 5),
            ] {
                assert!(told.contains(&part), "{told:?}");
            }
        }
        assert_eq!(Criterion::of_numbers(5), None);
    }
}

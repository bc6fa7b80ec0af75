//! Preferences among the nodes a task fits on.

use model::{Bytes, NodeId};

use crate::placement::{Ask, NodeView};

/// How good a node is for a task: lower is better, compared from the first field to the last, and
/// never equal for two nodes. Integers only, so that every replica of the core computes the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Score {
    /// 1 when tasks that share a new volume with it, and so must follow it, would not all fit.
    pub leaves_out: u32,
    /// Replicas of its service at the same value of each label to spread over.
    pub spread: Vec<u32>,
    /// Replicas of its service on the node.
    pub replicas: u32,
    /// Labels of the node that other services need and this one does not.
    pub scarce: u32,
    /// How unequally memory and CPU would be left, in tenths; 0 unless it asks for CPU.
    pub stranded: u32,
    /// Memory that would be left: the fullest node wins, so that the largest hole stays open.
    pub left: Bytes,
    /// Breaks the last tie the same way everywhere.
    pub node: NodeId,
}

impl Score {
    /// The score as scripts see it.
    pub fn numbers(&self) -> Vec<i64> {
        let spread = self.spread.iter().map(|count| i64::from(*count));
        let wide = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        [i64::from(self.leaves_out)]
            .into_iter()
            .chain(spread)
            .chain([self.replicas, self.scarce, self.stranded].map(i64::from))
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
        if self.leaves_out != other.leaves_out {
            "services that share its volume fit there too"
        } else if self.spread != other.spread {
            "replicas are spread over its labels"
        } else if self.replicas != other.replicas {
            "fewer replicas of the service are there"
        } else if self.scarce != other.scarce {
            "nodes with labels others need are kept free"
        } else if self.stranded != other.stranded {
            "memory and CPU are used more evenly there"
        } else if self.left != other.left {
            "it is fuller: the largest hole stays open"
        } else {
            "it comes first"
        }
    }
}

/// What a part of a score counts, the most important first.
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
    /// [`Score::stranded`]
    Stranded,
    /// [`Score::left`]
    Left,
    /// [`Score::node`]
    Node,
}

impl Criterion {
    /// What [`Score::numbers`] counts, when it gives so many; `None` for a score of another make.
    pub fn of_numbers(count: usize) -> Option<Vec<Self>> {
        let after = [Self::Replicas, Self::Scarce, Self::Stranded, Self::Left, Self::Node];
        let labels = count.checked_sub(after.len())?.checked_sub(1)?;
        let spread = std::iter::repeat_n(Self::Spread, labels);
        Some([Self::LeavesOut].into_iter().chain(spread).chain(after).collect())
    }
}

/// What of a score does not depend on the node.
#[derive(Debug, Clone, Copy)]
pub(super) struct Context<'c> {
    /// Labels that some service wants.
    pub(super) wanted_labels: &'c std::collections::BTreeSet<String>,
    /// What the tasks that must follow it need, itself included.
    pub(super) with_companions: model::Resources,
}

pub(super) fn score(ask: &Ask<'_>, view: &NodeView<'_, '_>, context: Context<'_>) -> Score {
    let free = view.room.free_for(ask.task);
    let left = free.minus(ask.reserved());
    Score {
        leaves_out: u32::from(free.after(context.with_companions).is_err()),
        spread: spread(ask, view),
        replicas: count(ask, view.room),
        scarce: scarce(ask, view, context),
        stranded: stranded(ask, view, left),
        left: left.memory,
        node: view.room.node.id,
    }
}

/// Other replicas of the service on a node that are there to stay.
fn count(ask: &Ask<'_>, room: &crate::placement::Room<'_>) -> u32 {
    let others = room.tasks.values().filter(|(other, desired)| {
        !desired.is_leaving() && other.same_service(ask) && other.slot != ask.slot
    });
    u32::try_from(others.count()).unwrap_or(u32::MAX)
}

fn spread(ask: &Ask<'_>, view: &NodeView<'_, '_>) -> Vec<u32> {
    let labels = ask.spec.placement.spread.iter();
    labels
        .map(|label| {
            let here = view.room.node.labels.get(label);
            let alike = view.fleet.rooms().values();
            let alike = alike.filter(|room| room.node.labels.get(label) == here);
            alike.map(|room| count(ask, room)).fold(0, u32::saturating_add)
        })
        .collect()
}

fn scarce(ask: &Ask<'_>, view: &NodeView<'_, '_>, context: Context<'_>) -> u32 {
    let needs = |label: &String| {
        ask.spec.placement.constraints.iter().any(|wanted| match &wanted.key {
            model::spec::ConstraintKey::Label(own) => own == label,
            model::spec::ConstraintKey::Id
            | model::spec::ConstraintKey::Hostname
            | model::spec::ConstraintKey::Arch
            | model::spec::ConstraintKey::Os => false,
        })
    };
    let labels = view.room.node.labels.keys();
    let unneeded = labels.filter(|label| context.wanted_labels.contains(*label) && !needs(label));
    u32::try_from(unneeded.count()).unwrap_or(u32::MAX)
}

fn stranded(ask: &Ask<'_>, view: &NodeView<'_, '_>, left: model::Resources) -> u32 {
    if ask.reserved().cpu.0 == 0 {
        return 0;
    }
    let whole = view.room.node.inventory.allocatable();
    let tenths = |part: u64, whole: u64| {
        let scaled = u128::from(part).saturating_mul(10);
        let share = scaled.checked_div(u128::from(whole)).unwrap_or(0);
        u32::try_from(share).unwrap_or(u32::MAX)
    };
    tenths(left.memory.0, whole.memory.0).abs_diff(tenths(left.cpu.0, whole.cpu.0))
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
                scarce: 2,
                stranded: 3,
                left: Bytes::gib(4),
                node: NodeId::new(5),
            };
            let numbers = score.numbers();
            let criteria = Criterion::of_numbers(numbers.len()).unwrap();
            let told: Vec<_> = criteria.into_iter().zip(numbers).collect();
            assert_eq!(told.iter().filter(|part| **part == (Criterion::Spread, 7)).count(), labels);
            for part in [(Criterion::Replicas, 1), (Criterion::Left, 4 << 30), (Criterion::Node, 5)]
            {
                assert!(told.contains(&part), "{told:?}");
            }
        }
        assert_eq!(Criterion::of_numbers(5), None);
    }
}

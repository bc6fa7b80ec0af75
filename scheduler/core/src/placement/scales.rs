//! What placement measures with, looked at once for many tasks: which nodes will do at all, how large the
//! usual task is, and which nodes others depend on.

use std::collections::{BTreeMap, BTreeSet};

use model::{
    Allows, Generic, GenericName, MilliCpu, NodeId, Resources, allow::Lack, spec::Constraint,
};
use packing::{BINDING_SLACK, Bin, BinSet, Item, Measure, Problem, Scarcity};

use crate::placement::{Ask, Fleet, NodeView, filter, verdict::Counts};

/// Demands are compared in steps of 1 MiB, so that the sum of all of them stays exact.
const STEP: u32 = 20;

/// All that a node's own rules ask about a task: those with the same answer alike. Of generic resources what
/// some node does not offer as much of.
type Key<'a> = (&'a [Constraint], Vec<Lack>, Vec<(GenericName, u64)>, &'a BTreeSet<String>);

/// Tasks to which a node by itself is the same.
#[derive(Debug, Clone)]
pub(super) struct Class {
    /// For each node of the fleet in its order: how far from fitting it is by itself, when it is not.
    pub(super) refused: Vec<Option<(u8, u64)>>,
    /// How many those are, by what is in the way.
    pub(super) counts: Counts,
    /// The nodes that will do.
    pub(super) nodes: BinSet,
}

/// See the module. Of one fleet: nodes that come later are not known to it.
#[derive(Debug, Clone)]
pub(crate) struct Scales<'a> {
    classes: Vec<Class>,
    by_key: BTreeMap<Key<'a>, usize>,
    nodes: BTreeMap<NodeId, usize>,
    /// What every node offers of generic resources.
    everywhere: Generic,
    measure: Measure,
    scarcity: Scarcity,
}

/// Of each kind the least that a node offers.
fn offered_everywhere(fleet: &Fleet<'_>) -> Generic {
    let mut offers = fleet.rooms().values().map(|room| &room.node.inventory.generic);
    let Some(first) = offers.next() else { return Generic::NONE };
    let least =
        |(kind, amount)| (kind, offers.clone().map(|other| other.get(kind)).fold(amount, u64::min));
    first.iter().map(least).collect()
}

/// The amounts a score weighs, the leading one first.
pub(super) const fn amounts(of: Resources) -> [u64; 2] {
    [of.memory.0, of.cpu.0]
}

fn mean(sum: [u128; 2], count: u64) -> [u64; 2] {
    sum.map(|amount| {
        let mean = amount.checked_div(u128::from(count)).unwrap_or(0);
        u64::try_from(mean).unwrap_or(u64::MAX)
    })
}

fn add(sum: &mut [u128; 2], of: Resources) {
    for (sum, amount) in sum.iter_mut().zip(amounts(of)) {
        *sum = sum.saturating_add(u128::from(amount));
    }
}

impl<'a> Scales<'a> {
    /// Of what is on the nodes and what asks for a place.
    pub(crate) fn of(fleet: &Fleet<'a>, asks: &[Ask<'a>]) -> Self {
        let mut scales = Self {
            classes: Vec::new(),
            by_key: BTreeMap::new(),
            nodes: fleet.rooms().keys().copied().zip(0..).collect(),
            everywhere: offered_everywhere(fleet),
            measure: Measure::default(),
            scarcity: Scarcity::default(),
        };
        let placed = fleet.rooms().values().flat_map(|room| room.tasks.values());
        let mut wanted: Vec<u64> = Vec::new();
        let (mut demand, mut count) = ([0; 2], 0_u64);
        let mut before: Option<(&Ask<'a>, usize)> = None;
        for ask in placed.map(|(ask, _)| ask).chain(asks) {
            let known = before.filter(|(one, _)| std::ptr::eq(one.spec, ask.spec));
            let class = known.filter(|(one, _)| one.same_service(ask)).map(|(_, class)| class);
            let class = class.unwrap_or_else(|| scales.class_or_new(fleet, ask));
            before = Some((ask, class));
            wanted.resize(scales.classes.len(), 0);
            if let Some(wanted) = wanted.get_mut(class) {
                *wanted = wanted.saturating_add(ask.reserved().memory.0 >> STEP);
            }
            add(&mut demand, ask.reserved());
            count = count.saturating_add(1);
        }
        let mut capacity = [0; 2];
        for room in fleet.rooms().values() {
            add(&mut capacity, room.offers());
        }
        let nodes = u64::try_from(fleet.rooms().len()).unwrap_or(u64::MAX);
        scales.measure = Measure::new(&mean(demand, count), &mean(capacity, nodes), BINDING_SLACK);
        scales.scarcity = scarcity(fleet, &scales.classes, &wanted);
        scales
    }

    fn key(&self, fleet: &Fleet<'a>, ask: &Ask<'a>) -> Key<'a> {
        let constraints = ask.spec.placement.constraints.as_slice();
        let permissions = Allows::default().lacks(ask.spec);
        let generic = ask.spec.generic_on(&Generic::NONE);
        let rare = generic.iter().filter(|(kind, amount)| *amount > self.everywhere.get(kind));
        let rare = rare.map(|(kind, amount)| (kind.clone(), amount)).collect();
        (constraints, permissions, rare, fleet.lacks(ask))
    }

    fn class_or_new(&mut self, fleet: &Fleet<'a>, ask: &Ask<'a>) -> usize {
        let next = self.classes.len();
        let key = self.key(fleet, ask);
        let class = *self.by_key.entry(key).or_insert(next);
        if class == next {
            self.classes.push(Class::of(fleet, ask));
        }
        class
    }

    /// All of them.
    pub(super) fn classes(&self) -> &[Class] {
        &self.classes
    }

    /// What nodes by themselves are to that task, and which class that is. `None` when nobody like it
    /// was among those these scales were made of.
    pub(super) fn class(&self, fleet: &Fleet<'a>, ask: &Ask<'a>) -> Option<(usize, &Class)> {
        let class = *self.by_key.get(&self.key(fleet, ask))?;
        Some((class, self.classes.get(class)?))
    }

    /// The constraints that leave exactly these nodes.
    pub(super) fn constraints_of(&self, nodes: &BinSet) -> Option<&'a [Constraint]> {
        let mut alike = self.by_key.iter().filter(|(_, class)| {
            self.classes.get(**class).is_some_and(|class| class.nodes == *nodes)
        });
        alike.next().map(|((constraints, ..), _)| *constraints)
    }

    /// The index of a node in the order of the fleet.
    pub(super) fn index(&self, node: NodeId) -> Option<usize> {
        self.nodes.get(&node).copied()
    }

    /// Amounts in sizes of the usual task.
    pub(super) fn scaled(&self, of: Resources, into: &mut Vec<i64>) {
        let signed = amounts(of).map(|amount| i64::try_from(amount).unwrap_or(i64::MAX));
        self.measure.scaled(&signed, into);
    }

    /// What it costs others when a task of that class takes the node of that index.
    pub(super) fn scarce(&self, class: usize, index: usize) -> i64 {
        self.scarcity.cost(class, index)
    }
}

fn scarcity(fleet: &Fleet<'_>, classes: &[Class], wanted: &[u64]) -> Scarcity {
    let cpu = MilliCpu::ZERO;
    let bins = fleet.rooms().values().map(|room| {
        let [memory, _] = amounts(Resources { cpu, ..room.offers() });
        Bin { capacity: vec![memory >> STEP], ..Bin::default() }
    });
    let items = wanted.iter().enumerate().map(|(allowed, memory)| Item {
        demand: vec![*memory],
        allowed,
        ..Item::default()
    });
    let problem = Problem {
        resources: 1,
        bins: bins.collect(),
        items: items.collect(),
        sets: classes.iter().map(|class| class.nodes.clone()).collect(),
        ..Problem::default()
    };
    // A node that is alone in what it has is kept free as well: what asks for it may not be known yet.
    Scarcity::of_sets_from(&problem, 1)
}

impl Class {
    pub(super) fn of(fleet: &Fleet<'_>, ask: &Ask<'_>) -> Self {
        let mut counts = Counts::default();
        let judged = fleet.rooms().values().map(|room| {
            let view = NodeView { room, fleet };
            let broken = filter::OF_NODES.iter().find_map(|filter| filter(ask, &view).err());
            broken.map(|why| {
                counts.add(&why);
                super::verdict::distance(&why)
            })
        });
        let refused: Vec<_> = judged.collect();
        let will_do = refused.iter().enumerate().filter(|(_, why)| why.is_none());
        Self { nodes: will_do.map(|(index, _)| index).collect(), refused, counts }
    }
}

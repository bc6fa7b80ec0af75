//! What asks for places, and the nodes with what stays there, as a problem of [`packing`].

use std::collections::{BTreeMap, BTreeSet};

use model::{
    Generic, GenericName, NodeId, TaskId,
    spec::{Port, Protocol},
};
use packing::{Bin, BinSet, Group, Item, MAX_AMOUNT, Problem};

use crate::{
    cluster::limits,
    placement::{
        Ask, Fleet,
        filter::everywhere,
        scales::{Scales, amounts},
    },
};

/// Demands are cut off here, so that the sum of all of them is small enough: 16 TiB. What is larger fits
/// nowhere, which `fits` sees.
const MAX_DEMAND: u64 = 1 << 44;

/// What an item of the problem is made of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Piece<'o, 'a> {
    /// What asks.
    pub(super) ask: &'o Ask<'a>,
    /// Where it is now; `None` when it is nowhere yet.
    pub(super) current: Option<NodeId>,
    /// Whether its successor may start while it still runs.
    pub(super) twice: bool,
}

/// A problem and what its numbers stand for.
#[derive(Debug)]
pub(super) struct Posed<'o, 'a> {
    pub(super) problem: Problem,
    /// The node of each bin.
    pub(super) nodes: Vec<NodeId>,
    /// The tasks of each item: those that share a volume without a home go together.
    pub(super) items: Vec<Vec<&'o Ask<'a>>>,
    ports: Ports<'a>,
    /// Whether the number of tasks of a node counts as a resource: the third.
    counts_tasks: bool,
    /// The generic resources that are asked for: the last ones.
    kinds: Vec<GenericName>,
    /// A service of each group.
    pub(super) services: Vec<&'o Ask<'a>>,
}

/// Of these pieces on that fleet, where none of them is: what is there stays.
pub(super) fn pose<'o, 'a>(
    fleet: &Fleet<'a>,
    scales: &Scales<'a>,
    pieces: &[Piece<'o, 'a>],
) -> Posed<'o, 'a> {
    let mut posed = Posed {
        problem: Problem::default(),
        nodes: fleet.rooms().keys().copied().collect(),
        items: Vec::new(),
        ports: Ports::of(pieces),
        counts_tasks: false,
        kinds: kinds(pieces),
        services: Vec::new(),
    };
    posed.counts_tasks = fleet.rooms().values().any(|room| {
        let all = room.tasks.len().saturating_add(pieces.len());
        all > usize::try_from(limits::MAX_TASKS_PER_NODE).unwrap_or(usize::MAX)
    });
    posed.bins(fleet);
    let mut sets: BTreeMap<BinSet, usize> = BTreeMap::new();
    let mut groups = BTreeMap::new();
    for together in sharing_new_volumes(fleet, pieces) {
        let allowed = together
            .iter()
            .map(|piece| places(fleet, scales, piece.ask))
            .reduce(|all, own| all.iter().filter(|bin| own.contains(*bin)).collect())
            .unwrap_or_default();
        let next = sets.len();
        let allowed = *sets.entry(allowed).or_insert(next);
        let mut item = Item { allowed, twice: true, ..Item::default() };
        let mut demand = vec![0_u64; posed.problem.resources];
        for piece in &together {
            let one = posed.counts_tasks.then_some(1);
            // All of a kind is one at least; how much that is on which node, `fits` sees.
            let generic = piece.ask.spec.generic_on(&Generic::NONE);
            let generic = posed.kinds.iter().map(|kind| generic.get(kind));
            let needs = amounts(piece.ask.reserved()).into_iter().chain(one).chain(generic);
            for (sum, amount) in demand.iter_mut().zip(needs) {
                *sum = sum.saturating_add(amount).min(MAX_DEMAND);
            }
            item.keys.extend(posed.ports.keys_of(&piece.ask.spec.ports));
            item.groups.extend(posed.group(fleet, piece.ask, &mut groups));
            item.priority = item.priority.max(priority(piece.ask));
            item.twice &= piece.twice;
            item.current = piece.current.and_then(|node| scales.index(node));
        }
        item.keys.sort_unstable();
        item.keys.dedup();
        item.demand = demand;
        posed.items.push(together.iter().map(|piece| piece.ask).collect());
        posed.problem.items.push(item);
    }
    let mut by_index: Vec<(usize, BinSet)> =
        sets.into_iter().map(|(set, index)| (index, set)).collect();
    by_index.sort_unstable();
    posed.problem.sets = by_index.into_iter().map(|(_, set)| set).collect();
    posed
}

/// Nothing is worth more than a task that takes the place of an earlier one, then `x-siso.priority`
/// counts.
pub(super) fn priority(ask: &Ask<'_>) -> u32 {
    let replaces = u32::from(ask.replaces);
    replaces.saturating_mul(256).saturating_add(u32::from(ask.spec.priority))
}

/// The nodes that will do by what they are and by where its volumes live.
fn places<'a>(fleet: &Fleet<'a>, scales: &Scales<'a>, ask: &Ask<'a>) -> BinSet {
    let Some((_, class)) = scales.class(fleet, ask) else { return BinSet::none() };
    let homes: BTreeSet<NodeId> =
        ask.volumes.values().filter_map(|volume| fleet.home(&volume.engine_name)).collect();
    if homes.is_empty() {
        return class.nodes.clone();
    }
    let home = homes.first().filter(|_| homes.len() == 1).and_then(|home| scales.index(*home));
    home.into_iter().filter(|home| class.nodes.contains(*home)).collect()
}

/// The first of those that one goes with.
fn lead(with: &[usize], mut index: usize) -> usize {
    while let Some(next) = with.get(index).copied().filter(|next| *next != index) {
        index = next;
    }
    index
}

/// The pieces, those together that share a volume which has no home yet.
fn sharing_new_volumes<'p, 'o, 'a>(
    fleet: &Fleet<'a>,
    pieces: &'p [Piece<'o, 'a>],
) -> Vec<Vec<&'p Piece<'o, 'a>>> {
    let mut first: BTreeMap<&str, usize> = BTreeMap::new();
    // Of each piece one that it goes with, an earlier one or itself.
    let mut with: Vec<usize> = (0..pieces.len()).collect();
    for (index, piece) in pieces.iter().enumerate() {
        for volume in piece.ask.volumes.values() {
            let name = volume.engine_name.as_str();
            if fleet.home(name).is_some() {
                continue;
            }
            let other = *first.entry(name).or_insert(index);
            let (one, other) = (lead(&with, index), lead(&with, other));
            if let Some(later) = with.get_mut(one.max(other)) {
                *later = one.min(other);
            }
        }
    }
    let mut together: BTreeMap<usize, Vec<&Piece<'o, 'a>>> = BTreeMap::new();
    for (index, piece) in pieces.iter().enumerate() {
        together.entry(lead(&with, index)).or_default().push(piece);
    }
    together.into_values().collect()
}

impl<'o, 'a> Posed<'o, 'a> {
    fn bins(&mut self, fleet: &Fleet<'a>) {
        // Nobody asks by this id: what is kept back for somebody is free for nobody.
        let nobody = TaskId::new(u64::MAX);
        let first = 2_usize.saturating_add(usize::from(self.counts_tasks));
        self.problem.resources = first.saturating_add(self.kinds.len());
        for room in fleet.rooms().values() {
            let there = u32::try_from(room.tasks.len()).unwrap_or(u32::MAX);
            let tasks = limits::MAX_TASKS_PER_NODE.saturating_sub(there);
            let tasks = self.counts_tasks.then_some(u64::from(tasks));
            let generic = self.kinds.iter().map(|kind| room.generic_free_for(nobody, kind));
            let capacity = amounts(room.free_for(nobody)).into_iter().chain(tasks).chain(generic);
            let capacity = capacity.map(|amount| amount.min(MAX_AMOUNT)).collect();
            let mut keys: Vec<u32> = room
                .tasks
                .values()
                .flat_map(|(ask, _)| self.ports.taken_by(&ask.spec.ports))
                .collect();
            keys.sort_unstable();
            keys.dedup();
            self.problem.bins.push(Bin { capacity, keys, members: Vec::new() });
        }
    }

    /// The group of a service whose replicas are to keep apart.
    fn group(
        &mut self,
        fleet: &Fleet<'a>,
        ask: &'o Ask<'a>,
        groups: &mut BTreeMap<(&'a model::StackName, &'a model::ServiceName), usize>,
    ) -> Option<usize> {
        let most_per_bin = ask.spec.placement.max_replicas_per_node;
        if ask.spec.replicas < 2 && most_per_bin.is_none() {
            return None;
        }
        let next = groups.len();
        let group = *groups.entry((ask.stack, ask.service)).or_insert(next);
        if group == next {
            self.problem.groups.push(Group { most_per_bin, apart: true, ..Group::default() });
            self.services.push(ask);
            let there: BTreeMap<NodeId, u32> = fleet.replicas_beside(ask).collect();
            if !there.is_empty() {
                for (bin, node) in self.problem.bins.iter_mut().zip(&self.nodes) {
                    bin.members.extend(there.get(node).map(|count| (group, *count)));
                }
            }
        }
        Some(group)
    }

    /// The generic resource that a resource of the problem stands for.
    pub(super) fn kind(&self, resource: usize) -> Option<&GenericName> {
        let first = 2_usize.saturating_add(usize::from(self.counts_tasks));
        self.kinds.get(resource.checked_sub(first)?)
    }

    /// The port that an exclusive key stands for.
    pub(super) fn port(&self, key: u32) -> Option<u16> {
        self.ports.keys.iter().find(|(_, own)| **own == key).map(|((port, ..), _)| *port)
    }
}

/// The generic resources that any of these ask for.
fn kinds(pieces: &[Piece<'_, '_>]) -> Vec<GenericName> {
    let asked = pieces.iter().filter(|piece| piece.ask.spec.wants_generic());
    let asked = asked.map(|piece| piece.ask.spec.generic_on(&Generic::NONE));
    let all = asked.fold(Generic::NONE, |all, asked| all.larger(&asked));
    all.iter().map(|(kind, _)| kind.clone()).collect()
}

/// Published ports as exclusive keys: one for each address that is named, and one for all others. Who
/// listens everywhere takes them all.
#[derive(Debug, Default)]
struct Ports<'a> {
    keys: BTreeMap<(u16, Protocol, Option<&'a str>), u32>,
}

impl<'a> Ports<'a> {
    /// Those that these pieces publish.
    fn of(pieces: &[Piece<'_, 'a>]) -> Self {
        let mut ports = Self::default();
        for port in pieces.iter().flat_map(|piece| &piece.ask.spec.ports) {
            let Some(published) = port.published else { continue };
            let named = port.host_ip.as_deref().filter(|_| !everywhere(port));
            for address in [None, named] {
                let next = u32::try_from(ports.keys.len()).unwrap_or(u32::MAX);
                ports.keys.entry((published, port.protocol, address)).or_insert(next);
            }
        }
        ports
    }

    fn keys_of(&self, ports: &[Port]) -> Vec<u32> {
        let published = ports.iter().filter_map(|port| Some((port, port.published?)));
        published.flat_map(|(port, published)| self.keys_of_one(port, published)).collect()
    }

    fn keys_of_one(&self, port: &Port, published: u16) -> Vec<u32> {
        if !everywhere(port) {
            let address = port.host_ip.as_deref();
            return self
                .keys
                .get(&(published, port.protocol, address))
                .copied()
                .into_iter()
                .collect();
        }
        // `None` comes before every address.
        let from = (published, port.protocol, None);
        let same = self.keys.range(from..);
        same.take_while(|((number, protocol, _), _)| {
            (*number, *protocol) == (published, port.protocol)
        })
        .map(|(_, key)| *key)
        .collect()
    }

    /// What those of a task that stays take: an address nobody else names is one of the others.
    fn taken_by(&self, ports: &[Port]) -> Vec<u32> {
        let published = ports.iter().filter_map(|port| Some((port, port.published?)));
        published
            .flat_map(|(port, published)| {
                let mut keys = self.keys_of_one(port, published);
                if keys.is_empty() {
                    keys.extend(self.keys.get(&(published, port.protocol, None)));
                }
                keys
            })
            .collect()
    }
}

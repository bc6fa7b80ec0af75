//! Nodes that are the same to a plain task, found together: a cell is asked once for all that lie in it.
//!
//! **Invariant:** what is found in cells is what asking every node would find; `tests/cells.rs` compares. A
//! task is plain when nothing of a node counts for it but what the node is and how much is free there. Nodes
//! with replicas of its service lie in cells as well and are passed over: they are worse than any other.

use std::collections::{BTreeMap, BTreeSet};

use model::{Bytes, MilliCpu, NodeId, Resources, TaskId};

use crate::{
    cluster::limits,
    placement::{
        Ask, Fleet, Score,
        filter::OF_ROOMS,
        fleet::{Replicas, Room, others_on},
        rank::{Miss, Ranking},
        scales::{Class, Scales},
        score::Context,
        verdict::distance,
    },
};

/// Nodes from which on cells are made: fewer are asked one by one in less time.
const LEAST_NODES: usize = 100;
/// Cells up to which they are asked for every one of tasks that are alike as well.
const FEW: usize = 200;
/// Classes of tasks up to which cells are made: each may cut every cell in two.
const MOST_CLASSES: usize = 100;
/// No task has this id: what is free for it is free for everybody.
const NOBODY: TaskId = TaskId::new(0);

/// Whether nothing of a node counts for the task but what it is, what is free there, and where other replicas
/// of its service are.
fn is_plain(ask: &Ask<'_>) -> bool {
    let spec = ask.spec;
    !ask.replaces
        && ask.volumes.is_empty()
        && spec.placement.spread.is_empty()
        && !spec.wants_generic()
        && spec.ports.iter().all(|port| port.published.is_none())
}

/// What the nodes of a cell have in common, but for the replicas on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Cell {
    /// Nodes of one kind are by themselves the same to every task.
    kind: usize,
    free: (Bytes, MilliCpu),
    /// Whether as many tasks are there as a node may have.
    is_full: bool,
}

impl Cell {
    fn of(kind: usize, room: &Room<'_>) -> Self {
        let free = room.free_for(NOBODY);
        let most = usize::try_from(limits::MAX_TASKS_PER_NODE).unwrap_or(usize::MAX);
        Self { kind, free: (free.memory, free.cpu), is_full: room.tasks.len() >= most }
    }
}

/// See the module. Nodes are known by their place in the order of the fleet.
#[derive(Debug)]
pub(super) struct Cells {
    nodes: Vec<NodeId>,
    kinds: Vec<usize>,
    /// For each kind a node of it.
    of_kind: Vec<usize>,
    /// Where each node lies; none of those where something is kept back for single tasks.
    lies_in: Vec<Option<Cell>>,
    by: BTreeMap<Cell, BTreeSet<usize>>,
    /// Nodes that lie in none.
    odd: BTreeSet<usize>,
}

/// The first of what is offered, in order, each with the cell it stands for.
struct First<'c, T> {
    most: usize,
    held: Vec<(T, &'c BTreeSet<usize>)>,
}

impl<'c, T: Ord> First<'c, T> {
    const fn new(most: usize) -> Self {
        Self { most, held: Vec::new() }
    }

    /// Whether it would be among them.
    fn would_keep(&self, one: &T) -> bool {
        self.held.len() < self.most || self.held.last().is_some_and(|(last, _)| one < last)
    }

    fn offer(&mut self, one: T, cell: &'c BTreeSet<usize>) {
        let at = self.held.partition_point(|(held, _)| *held < one);
        if at < self.most {
            self.held.insert(at, (one, cell));
            self.held.truncate(self.most);
        }
    }
}

/// A task that asks.
struct Asking<'q, 'a> {
    fleet: &'q Fleet<'a>,
    scales: &'q Scales<'a>,
    ask: &'q Ask<'a>,
    class: (usize, &'q Class),
    replicas: Option<&'q Replicas>,
    cells: &'q Cells,
    fits: First<'q, Score>,
    misses: First<'q, Miss>,
}

impl Cells {
    /// The nodes of a fleet. `None` where asking them one by one is as good.
    pub(super) fn of(fleet: &Fleet<'_>, scales: &Scales<'_>) -> Option<Self> {
        let rooms = fleet.rooms();
        let classes = scales.classes();
        if rooms.len() < LEAST_NODES || classes.len() > MOST_CLASSES {
            return None;
        }
        let mut kinds = vec![0; rooms.len()];
        for (number, class) in classes.iter().enumerate() {
            let mut known = BTreeMap::new();
            for (index, (kind, refused)) in kinds.iter_mut().zip(&class.refused).enumerate() {
                let next = known.len();
                let answer = (*kind, *refused, scales.scarce(number, index));
                *kind = *known.entry(answer).or_insert(next);
            }
        }
        let by_kind: BTreeMap<usize, usize> = kinds.iter().copied().zip(0..).collect();
        let mut cells = Self {
            nodes: rooms.keys().copied().collect(),
            kinds,
            of_kind: by_kind.into_values().collect(),
            lies_in: vec![None; rooms.len()],
            by: BTreeMap::new(),
            odd: (0..rooms.len()).collect(),
        };
        for (index, room) in rooms.values().enumerate() {
            cells.lay(index, room);
        }
        Some(cells)
    }

    /// Whether to ask them takes less than to ask every node, or, when others that are alike follow, than to
    /// ask every node once for all of these.
    pub(super) fn serve_better<'a>(
        &self,
        fleet: &Fleet<'a>,
        ask: &Ask<'a>,
        others_follow: bool,
    ) -> bool {
        let half = self.nodes.len() / 2;
        let most = if others_follow { half.min(FEW) } else { half };
        let cells = self.by.len().saturating_add(self.odd.len());
        // Of a single replica there are no others to look up.
        let alone = ask.spec.replicas <= 1;
        let apart = || if alone { 0 } else { fleet.replicas_of(ask).map_or(0, Replicas::len) };
        is_plain(ask) && cells <= most && cells.saturating_add(apart()) <= most
    }

    /// The cells of a kind in which so much memory is free, the fuller first.
    fn with_free(
        &self,
        kind: usize,
        (least, most): (Bytes, Bytes),
    ) -> impl Iterator<Item = (&Cell, &BTreeSet<usize>)> {
        let from = Cell { kind, free: (least, MilliCpu::ZERO), is_full: false };
        let to = Cell { kind, free: (most, MilliCpu(u64::MAX)), is_full: true };
        self.by.range(from..=to)
    }

    fn lay(&mut self, index: usize, room: &Room<'_>) {
        let kind = self.kinds.get(index).copied();
        let cell = kind.filter(|_| room.earmarked.is_empty()).map(|kind| Cell::of(kind, room));
        let Some(lies_in) = self.lies_in.get_mut(index).filter(|held| **held != cell) else {
            return;
        };
        if let Some(before) = std::mem::replace(lies_in, cell)
            && let Some(nodes) = self.by.get_mut(&before)
        {
            nodes.remove(&index);
            if nodes.is_empty() {
                self.by.remove(&before);
            }
        }
        match cell {
            Some(cell) => {
                self.odd.remove(&index);
                self.by.entry(cell).or_default().insert(index);
            }
            None => {
                self.odd.insert(index);
            }
        }
    }

    /// Something else is on that node now.
    pub(super) fn changed(&mut self, fleet: &Fleet<'_>, scales: &Scales<'_>, node: NodeId) {
        if let (Some(index), Some(room)) = (scales.index(node), fleet.rooms().get(&node)) {
            self.lay(index, room);
        }
    }

    /// The ranking of a task; how many nodes it does not fit on is not counted. `None` when every node has to
    /// be asked.
    pub(super) fn ranking<'a>(
        &self,
        fleet: &Fleet<'a>,
        scales: &Scales<'a>,
        ask: &Ask<'a>,
        most: usize,
    ) -> Option<Ranking> {
        if !is_plain(ask) {
            return None;
        }
        let asking = Asking {
            fleet,
            scales,
            ask,
            class: scales.class(fleet, ask)?,
            replicas: fleet.replicas_of(ask),
            cells: self,
            fits: First::new(most),
            misses: First::new(most),
        };
        Some(asking.ranking(most))
    }
}

impl<'q, 'a> Asking<'q, 'a> {
    fn ranking(mut self, most: usize) -> Ranking {
        let mut context = Context::alone(self.scales, self.ask, self.class.0);
        let needed = self.ask.reserved().memory;
        for kind in 0..self.cells.of_kind.len() {
            if self.refused(kind).is_none() {
                for (cell, nodes) in self.cells.with_free(kind, (needed, Bytes(u64::MAX))) {
                    self.ask_cell(&mut context, cell, nodes);
                }
            }
        }
        let ranking = self.expanded(most);
        if ranking.best.len() >= most && self.cells.odd.is_empty() {
            return ranking;
        }
        for kind in 0..self.cells.of_kind.len() {
            match (self.refused(kind), needed.0.checked_sub(1)) {
                (Some(distance), _) => {
                    for (_, cell) in self.cells.with_free(kind, (Bytes::ZERO, Bytes(u64::MAX))) {
                        let first = self.without_replicas(cell).next();
                        if let Some((_, node)) = first {
                            self.misses.offer((distance, node), cell);
                        }
                    }
                }
                (None, Some(less)) => {
                    for (cell, nodes) in self.cells.with_free(kind, (Bytes::ZERO, Bytes(less))) {
                        self.ask_cell(&mut context, cell, nodes);
                    }
                }
                (None, None) => {}
            }
        }
        let mut ranking = self.expanded(most);
        self.ask_apart(&mut ranking);
        ranking.keep_first(most, None);
        ranking
    }

    /// How far from fitting the nodes of a kind are by themselves, when they do not fit.
    fn refused(&self, kind: usize) -> Option<(u8, u64)> {
        let node = self.cells.of_kind.get(kind)?;
        self.class.1.refused.get(*node).copied().flatten()
    }

    /// The nodes of a cell with no other replicas of the service, in order.
    fn without_replicas(&self, cell: &'q BTreeSet<usize>) -> impl Iterator<Item = (usize, NodeId)> {
        let named = |index: &usize| self.cells.nodes.get(*index).map(|node| (*index, *node));
        let (replicas, slot) = (self.replicas, self.ask.slot);
        let nodes = cell.iter().filter_map(named);
        nodes.filter(move |(_, node)| replicas.is_none_or(|all| others_on(all, *node, slot) == 0))
    }

    fn ask_cell(&mut self, context: &mut Context<'a>, cell: &Cell, nodes: &'q BTreeSet<usize>) {
        let Some((index, node)) = self.without_replicas(nodes).next() else { return };
        let free = Resources { memory: cell.free.0, cpu: cell.free.1 };
        let score = context.of_free(self.scales, self.ask, free, (index, node));
        // Whether it fits is of no interest when enough that fit are better, nor how far it is from fitting.
        if !self.fits.would_keep(&score) {
            return;
        }
        let Some(view) = self.fleet.view(node) else { return };
        match OF_ROOMS.iter().try_for_each(|filter| filter(self.ask, &view)) {
            Ok(()) => self.fits.offer(score, nodes),
            Err(why) => self.misses.offer((distance(&why), node), nodes),
        }
    }

    /// What was found, with every node of a cell instead of its first one.
    fn expanded(&self, most: usize) -> Ranking {
        let mut ranking = Ranking::default();
        for (score, cell) in &self.fits.held {
            let nodes = self.without_replicas(cell).take(most);
            ranking.best.extend(nodes.map(|(_, node)| Score { node, ..score.clone() }));
        }
        for ((distance, _), cell) in &self.misses.held {
            let nodes = self.without_replicas(cell).take(most);
            ranking.misses.extend(nodes.map(|(_, node)| (*distance, node)));
        }
        ranking.keep_first(most, None);
        ranking
    }

    /// Asks the nodes with replicas of the service and those that lie in no cell, one by one.
    fn ask_apart(&self, ranking: &mut Ranking) {
        let reserved = self.ask.reserved();
        let mut context = Context::of(self.fleet, self.scales, self.ask, (self.class.0, reserved));
        let mut apart = self.cells.odd.clone();
        let replicas = self.replicas.into_iter().flatten();
        let others = replicas.filter(|(_, slot, _)| *slot != self.ask.slot);
        apart.extend(others.filter_map(|(node, ..)| self.scales.index(*node)));
        for index in apart {
            let view = self.cells.nodes.get(index).and_then(|node| self.fleet.view(*node));
            let Some(view) = view else { continue };
            let refused = self.class.1.refused.get(index).copied().flatten();
            ranking.ask((self.scales, &mut context), self.ask, &view, (index, refused));
        }
    }
}

//! What becomes of tasks whose node goes: when it counts as down, and how often a service moves.

use std::collections::BTreeMap;

use model::{Liveness, NodeId, ServiceName, StackName, Task, TaskId, Timestamp};
use scheduler_core::{Change, Command, Entry, Plan};

use crate::world::World;

/// Without a heartbeat for so long a node is down, in milliseconds.
const DOWN_AFTER: u64 = 8_000;
/// How much later than it happened a leader may see that a node came or went, in milliseconds.
const SEES_WITHIN: u64 = 5_000;
/// A service moves once in this time because of nodes that come and go, in milliseconds.
const HOLD_DOWN: u64 = 300_000;

/// A task that is made anew because its node is down.
#[derive(Debug)]
pub(crate) struct Move {
    task: TaskId,
    service: (StackName, ServiceName),
    node: NodeId,
    /// When it was planned, by true time: what leaves in several parts of one plan leaves together, however long
    /// the log held any of them up.
    at: u64,
    /// The stamp of its entry.
    stamp: Timestamp,
    flaps: bool,
    /// When its node had come back before it went.
    returned: u64,
}

/// Where and when what went.
#[derive(Debug, Default)]
pub(crate) struct Moves {
    /// When each node went, and when it had come back before.
    nodes: BTreeMap<NodeId, (u64, Option<u64>)>,
    /// When a task of each service was last made anew because its node was down.
    pub(crate) services: BTreeMap<(StackName, ServiceName), Vec<u64>>,
    /// When each plan was made, by the stamp of each of its entries.
    proposed: BTreeMap<Timestamp, u64>,
}

impl World {
    /// When an entry is proposed.
    pub(crate) fn watch_plan(&mut self, entry: &Entry) {
        if matches!(entry.command, Command::Plan { .. }) {
            let planned = self.log.leading.as_ref().map_or(self.now, |leading| leading.planned);
            self.moves.proposed.insert(entry.at, planned);
        }
    }

    /// Before an entry is taken: the moves that are in it.
    pub(crate) fn watch_moves(&mut self, entry: &Entry) -> Vec<Move> {
        let at = self.now;
        // One that was taken out and put back begins anew.
        let cluster = &self.log.reference;
        self.moves.services.retain(|(stack, service), _| cluster.service(stack, service).is_some());
        match &entry.command {
            Command::SetLiveness { node, liveness } => {
                let before = self.log.reference.node(*node).map(|held| held.liveness);
                let held = self.moves.nodes.entry(*node).or_default();
                match (before, liveness) {
                    (Some(Liveness::Down), Liveness::Ready | Liveness::Unreachable) => {
                        held.1 = Some(at);
                    }
                    (Some(Liveness::Ready | Liveness::Unreachable), Liveness::Down) => held.0 = at,
                    _ => {}
                }
            }
            // One that is too old is refused as a whole.
            Command::Plan { basis, changes } if *basis >= self.log.planned() => {
                return changes
                    .iter()
                    .filter_map(|change| self.watch_move(entry.at, change))
                    .collect();
            }
            _ => {}
        }
        Vec::new()
    }

    fn watch_move(&self, stamp: Timestamp, change: &Change) -> Option<Move> {
        let Change::CreateTask { task, stack, service, slot, .. } = change else { return None };
        let cluster = &self.log.reference;
        let is_down = |held: &Task| {
            let node = held.node.and_then(|node| cluster.node(node));
            node.is_some_and(|node| node.liveness == Liveness::Down)
        };
        let of_slot: Vec<&Task> = cluster
            .tasks_of(stack)
            .filter(|held| (&held.service, held.slot) == (service, *slot))
            .filter(|held| !held.desired.is_leaving() && held.holds_resources())
            .collect();
        // What is made anew is the newest; one before it may still be waited for on a node of its own.
        let newest = of_slot.iter().copied().max_by_key(|held| held.epoch);
        // Where an older one is well, the newest was only to take its place, and leaves nothing.
        let well = of_slot.iter().any(|held| !is_down(held));
        let lost = newest.filter(|held| is_down(held) && !well);
        let (lost, node) = lost.and_then(|held| Some((held, held.node?)))?;
        // What a person changed, or wants away from there, is replaced wherever it was.
        let drained = cluster.node(node).is_some_and(|node| node.drain.is_some());
        let changed = drained
            || cluster.service(stack, service).is_none_or(|wanted| {
                let least = wanted.slots.get(slot).map(|slot| slot.least);
                wanted.spec_revision != lost.spec_revision
                    || least.is_some_and(|it| lost.epoch < it)
            });
        let (down, returned) = self.moves.nodes.get(&node).copied().unwrap_or_default();
        // The leader measures from when it saw either.
        let flaps = returned
            .is_some_and(|returned| down.saturating_sub(returned) + SEES_WITHIN < HOLD_DOWN);
        let service = (stack.clone(), service.clone());
        let at = self.moves.proposed.get(&stamp).copied().unwrap_or(self.now);
        let returned = returned.unwrap_or(0);
        (!changed).then_some(Move { task: *task, service, node, at, stamp, flaps, returned })
    }

    /// After the entry was taken: those of its moves that were not refused.
    pub(crate) fn check_moves(&mut self, moves: Vec<Move>) {
        // What was before a leader led it knows from the stamps alone.
        let led_since = self.log.leading.as_ref().map_or(u64::MAX, |leading| leading.since);
        let known_since = if self.steps_clock { led_since } else { 0 };
        for Move { task, service, node, at, stamp, flaps, returned } in moves {
            if self.log.reference.task(task).is_none_or(|made| made.created_at != stamp) {
                continue;
            }
            let past = self.moves.services.entry(service.clone()).or_default();
            let before = past.last().copied();
            if before != Some(at) {
                past.push(at);
            }
            let recent = before.filter(|before| at > *before && at - before < HOLD_DOWN);
            let recent = recent.filter(|before| *before.min(&returned) >= known_since);
            if let Some(before) = recent.filter(|_| flaps) {
                let (ago, what) = (at - before, format!("{}/{}", service.0, service.1));
                self.broken(format!("{what} leaves {node}, which flaps, {ago} ms after it moved"));
            }
        }
    }

    /// A node counts as down only when its leader has heard nothing of it for long enough.
    pub(super) fn check_downs(&mut self, plan: &Plan) {
        let Some(leading) = &self.log.leading else { return };
        let heard = |node: &NodeId| leading.heard.get(node).copied().unwrap_or(leading.since);
        let early = plan.liveness.iter().find(|(node, liveness)| {
            *liveness == Liveness::Down && self.now.saturating_sub(heard(node)) < DOWN_AFTER
        });
        if let Some((node, _)) = early {
            let silent = self.now - heard(node);
            let text = format!("{node} counts as down after {silent} ms without a heartbeat");
            self.broken(text);
        }
    }
}

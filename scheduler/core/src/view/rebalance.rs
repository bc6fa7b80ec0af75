//! `rebalance`: by which few moves the cluster would be packed better. Every move is made on a copy, as it
//! would be made in the cluster, and what comes of it is played to its end before the next.

use std::collections::BTreeSet;

use model::{
    Node, NodeId, ServiceName, StackName, Task, TaskId, TaskState, Timestamp,
    view::{DrainStay, RebalanceMove, RebalanceView},
};

use crate::{
    cluster::{Cluster, Command, Entry, Rejection},
    orchestrate,
    placement::{self, Ask, Fleet, Goal, Way},
    rebalance::{hold, movable},
    view::{
        drain::drain_stays,
        explain::{Asking, replica_placement},
        preview::{self, alone_because},
    },
};

/// Steps of one search: half a second of work.
const SEARCH_STEPS: u64 = 100_000_000;
/// Searches of one answer: each begins where the moves before it lead.
const MAX_ROUNDS: usize = 8;
/// Moves of one answer. Whoever makes so many looks again before going on.
const MAX_MOVES: usize = 64;
/// How long a move takes in the imagined cluster, in milliseconds.
const A_MOVE: u64 = 60_000;

/// The fewest moves that lead there; nothing is changed. Of a cluster in which they were made there are none.
pub fn rebalance(
    cluster: &Cluster,
    goal: Goal,
    now: Timestamp,
) -> Result<RebalanceView, Rejection> {
    rebalance_within(cluster, goal, now, SEARCH_STEPS)
}

/// The same, with at most so many steps in one search.
pub(super) fn rebalance_within(
    cluster: &Cluster,
    goal: Goal,
    now: Timestamp,
    steps: u64,
) -> Result<RebalanceView, Rejection> {
    if let Goal::Empty(node) | Goal::Room { on: Some(node), .. } = goal {
        cluster.node(node).ok_or(Rejection::UnknownNode(node))?;
    }
    let mut imagined = Imagined {
        cluster,
        draft: cluster.draft(),
        at: now,
        moves: Vec::new(),
        warnings: Vec::new(),
    };
    let mut fewest = true;
    let mut way = find(&imagined.draft, goal, steps);
    for round in 0..MAX_ROUNDS {
        if way.shifts.is_empty() {
            break;
        }
        fewest &= round == 0 && way.fewest;
        let made = imagined.moves.len();
        if let Err(why) = imagined.make(&way) {
            // What waited may have taken the place: the moves made so far lead somewhere else.
            let stuck = imagined.moves.len() == made || imagined.moves.len() >= MAX_MOVES;
            if stuck {
                imagined.warnings.push(why);
                break;
            }
        }
        way = find(&imagined.draft, goal, steps);
    }
    if !way.shifts.is_empty() {
        fewest = false;
    }
    if way.in_a_ring {
        imagined.warnings.push(
            "further moves would have to wait for each other, for want of room on any other node: they \
             are left out"
                .to_owned(),
        );
    }
    Ok(imagined.view(goal, &way, fewest))
}

/// What may move, and where to.
fn find(cluster: &Cluster, goal: Goal, steps: u64) -> Way {
    let fleet = Fleet::of(cluster);
    let movable = movable(cluster);
    let waiting: Vec<Ask<'_>> = cluster.pending().map(Ask::of).collect();
    placement::moves(&fleet, &movable, &waiting, goal, steps)
}

/// Tasks of a cluster for which moves are sought beside another question: more would keep it waiting.
const MAX_BESIDE: usize = 2_000;
/// Steps of that search: some milliseconds of work.
const STEPS_BESIDE: u64 = 1_000_000;
/// Moves that are named; more are counted.
const MAX_NAMED: usize = 3;

/// The moves that give what waits a place, each of which was tried.
#[derive(Debug)]
pub(super) struct Rescue {
    /// The tasks that move, with where to.
    shifts: Vec<(TaskId, NodeId)>,
    left: BTreeSet<TaskId>,
}

impl Rescue {
    /// In a cluster that is not too large to look.
    pub(super) fn of(cluster: &Cluster) -> Self {
        let none = Self { shifts: Vec::new(), left: BTreeSet::new() };
        if cluster.tasks().len() > MAX_BESIDE || cluster.pending().next().is_none() {
            return none;
        }
        let way = find(cluster, Goal::Waiting, STEPS_BESIDE);
        let helped = cluster.pending().map(|task| task.id).filter(|task| !way.left.contains(task));
        let helped: Vec<TaskId> = helped.collect();
        if way.in_a_ring || !hold(cluster, &way.shifts, &helped) {
            return none;
        }
        let shifts = way.shifts.iter().map(|shift| (shift.task, shift.to)).collect();
        Self { shifts, left: way.left.into_iter().collect() }
    }

    /// In words, for one that gets a place by them.
    pub(super) fn tell(&self, cluster: &Cluster, task: TaskId) -> Option<String> {
        if self.shifts.is_empty() || self.left.contains(&task) {
            return None;
        }
        let named = self.shifts.iter().take(MAX_NAMED).filter_map(|(task, to)| {
            let task = cluster.task(*task)?;
            let (stack, service, slot) = (&task.stack, &task.service, task.slot);
            Some(format!("{stack}/{service}.{slot} to {}", cluster.node_name(*to)))
        });
        let named: Vec<String> = named.collect();
        let more = self.shifts.len().saturating_sub(MAX_NAMED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        Some(format!("move {}{more}: sisoctl rebalance --apply", named.join(", then ")))
    }
}

/// The copy on which moves are made.
struct Imagined<'c> {
    cluster: &'c Cluster,
    draft: Cluster,
    at: Timestamp,
    moves: Vec<RebalanceMove>,
    warnings: Vec<String>,
}

/// A replica.
type Replica = (StackName, ServiceName, u32);

impl Imagined<'_> {
    /// Makes the moves one after the other, up to the first that cannot be made: why it cannot.
    fn make(&mut self, way: &Way) -> Result<(), String> {
        let named = way.shifts.iter().filter_map(|shift| {
            let task = self.draft.task(shift.task)?;
            Some(((task.stack.clone(), task.service.clone(), task.slot), shift.to))
        });
        let named: Vec<(Replica, NodeId)> = named.collect();
        for (replica, to) in named {
            if self.moves.len() >= MAX_MOVES {
                return Err(format!(
                    "only the first {MAX_MOVES} moves are told: look again after them"
                ));
            }
            self.move_one(&replica, to)?;
        }
        Ok(())
    }

    fn move_one(&mut self, replica: &Replica, to: NodeId) -> Result<(), String> {
        let (stack, service, slot) = replica;
        let name = format!("{stack}/{service}.{slot}");
        let gone = || format!("{name} is gone");
        let old = serving(&self.draft, replica).ok_or_else(gone)?;
        let (task, from) = (old.id, old.node.ok_or_else(gone)?);
        let alone = !orchestrate::starts_first(&old.spec);
        if alone {
            self.warnings.push(format!(
                "{name} is down for a moment while it moves: it {}",
                alone_because(&old.spec)
            ));
        }
        let known = serving(self.cluster, replica).map_or(task, |task| task.id);
        let told = RebalanceMove {
            stack: stack.to_string(),
            service: service.to_string(),
            replica: *slot,
            task: known.to_string(),
            from: self.draft.node_name(from),
            to: self.draft.node_name(to),
            memory: old.spec.resources.reserved.memory,
            how: if alone { "stop-first" } else { "start-first" }.to_owned(),
        };
        let command = Command::MoveTask { task, to };
        let entry = Entry { at: self.at, request: None, command };
        self.draft.apply(&entry).result.map_err(|why| why.to_string())?;
        let steps = preview::steps(self.draft.tasks().len());
        preview::play(&mut self.draft, self.at, steps);
        self.at = self.at.plus_millis(A_MOVE);
        match serving(&self.draft, replica) {
            Some(new) if new.node == Some(to) && new.is_ready() => {
                self.moves.push(told);
                Ok(())
            }
            _ => Err(format!("{name} would not get from {} to {}", told.from, told.to)),
        }
    }

    fn view(self, goal: Goal, way: &Way, fewest: bool) -> RebalanceView {
        let Self { cluster, draft, moves, mut warnings, .. } = self;
        let left = match goal {
            Goal::Empty(node) => {
                draft.node(node).map(|node| drain_stays(&draft, node)).unwrap_or_default()
            }
            Goal::Best | Goal::Waiting => waiting(&draft),
            Goal::Room { .. } => Vec::new(),
        };
        if let (Goal::Room { amount, on }, None) = (goal, way.room_on) {
            let place = on.map_or_else(
                || "on any node".to_owned(),
                |node| format!("on {}", cluster.node_name(node)),
            );
            warnings.push(format!(
                "no moves of what can move make {} free {place}",
                amount_in_words(amount)
            ));
        }
        RebalanceView {
            gains: gains(cluster, &draft, (goal, way)),
            nodes: preview::nodes(cluster, &draft),
            left,
            fewest,
            unplaced_before: unplaced(cluster),
            unplaced_after: unplaced(&draft),
            moves,
            warnings,
        }
    }
}

fn amount_in_words(amount: model::Resources) -> String {
    if amount.cpu.0 == 0 {
        amount.memory.to_string()
    } else {
        format!("{} and {} CPUs", amount.memory, amount.cpu)
    }
}

/// The task that serves a replica, or the newest that is to.
fn serving<'a>(cluster: &'a Cluster, (stack, service, slot): &Replica) -> Option<&'a Task> {
    let serves = |task: &&Task| !task.desired.is_leaving() && !task.is_history();
    cluster.tasks_of_slot(stack, service, *slot).filter(serves).max_by_key(|task| task.epoch)
}

fn unplaced(cluster: &Cluster) -> u32 {
    u32::try_from(cluster.pending().count()).unwrap_or(u32::MAX)
}

/// What still has no place, and why.
fn waiting(draft: &Cluster) -> Vec<DrainStay> {
    let mut asking = Asking::of(draft);
    let mut left: Vec<&Task> = draft.pending().collect();
    left.sort_by_key(|task| (&task.stack, &task.service, task.slot));
    let told = left.into_iter().map(|task| {
        let placement = replica_placement(&mut asking, task);
        let nearest = placement.verdicts.first();
        let why = nearest.map_or_else(
            || "there is no node".to_owned(),
            |verdict| format!("{}: {}", verdict.node, verdict.reason),
        );
        DrainStay {
            task: task.id.to_string(),
            stack: task.stack.to_string(),
            service: task.service.to_string(),
            replica: task.slot,
            memory: task.spec.resources.reserved.memory,
            reason: format!("no moves make room for it: {why}"),
            fixes: placement.fixes,
        }
    });
    told.collect()
}

/// What it comes to, a sentence each.
fn gains(before: &Cluster, after: &Cluster, (goal, way): (Goal, &Way)) -> Vec<String> {
    let mut gains = Vec::new();
    let mut placed: Vec<&Task> = before
        .pending()
        .filter_map(|task| after.task(task.id).filter(|task| task.node.is_some()))
        .collect();
    placed.sort_by_key(|task| (&task.stack, &task.service, task.slot));
    gains.extend(placed.into_iter().map(|task| {
        let node = task.node.map(|node| after.node_name(node)).unwrap_or_default();
        format!("{}/{}.{} gets a place on {node}", task.stack, task.service, task.slot)
    }));
    let (used, still) = (in_use(before), in_use(after));
    let mut nodes: Vec<&Node> = after.nodes().values().collect();
    nodes.sort_by_key(|node| &node.name);
    let emptied = nodes.iter().filter(|node| used.contains(&node.id) && !still.contains(&node.id));
    gains.extend(emptied.map(|node| format!("{} becomes empty", node.name)));
    if let (Goal::Room { .. }, Some(node)) = (goal, way.room_on) {
        let fleet = Fleet::of(after);
        if let Some(room) = fleet.rooms().get(&node) {
            let free = room.free_for(after.next_task());
            gains.push(format!("{} free on {}", free.memory, room.node.name));
        }
    }
    gains
}

/// The nodes on which something is.
fn in_use(cluster: &Cluster) -> BTreeSet<NodeId> {
    let there = |task: &&Task| task.holds_resources() && task.status.state != TaskState::Lost;
    cluster.tasks().values().filter(there).filter_map(|task| task.node).collect()
}

//! The table of contents of every decision: which rooms are asked, in which order.

use std::{collections::BTreeSet, sync::Arc};

use model::{
    Liveness, NodeId, Revision, StackName, TaskId, Timestamp, event::Severity, task::Decision,
};

use crate::{
    cluster::{Change, Cluster, limits},
    liveness::{self, Heartbeats},
    orchestrate,
    placement::{self, Ask, Effort, Fleet, Outlook, Placed, Sought, Tried},
    rebalance,
    waits::Wait,
};

/// Rounds of orchestration and placement in one plan. Each acts on the outcome of the one before;
/// three are the most any case needs, the others are for surprises.
const MAX_ROUNDS: u32 = 8;

/// Steps that one search for a better arrangement may take, and all of one plan together: a tenth of a
/// second of work; up to eight times that where as much is free on every node. What was looked for once is
/// not looked for again until something changes.
pub(crate) const SEARCH_STEPS: u64 = 20_000_000;

/// Changes in one plan: three for each task there may be, from nothing to being told to run. What a plan costs
/// whatever it changes is paid once for all of them; the log takes them in entries of
/// [`limits::MAX_CHANGES`] at most.
const AT_ONCE: usize = 3 * limits::MAX_TASKS;

/// What should change now.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a plan that is not proposed changes nothing"]
pub struct Plan {
    /// The cluster revision it was made on.
    pub basis: Revision,
    /// The changes, in order: each may build on those before it. Empty when they were handed out in parts.
    pub changes: Vec<Change>,
    /// Nodes that came or went; to be proposed before the changes, which count on it. Likewise.
    pub liveness: Vec<(NodeId, Liveness)>,
    /// Why.
    pub report: PlanReport,
    /// The earliest time at which planning again may say something else with no new entry.
    pub wake_at: Option<Timestamp>,
    /// What it waits for: to be kept in mind until the next plan ([`crate::Waits::keep`]).
    pub waits: BTreeSet<Wait>,
    /// The arrangement that was looked for last: to be kept in mind likewise
    /// ([`crate::Waits::remember`]).
    pub tried: Option<Arc<Tried>>,
    /// The moves that were looked for last, for what is stuck: to be kept in mind as well.
    pub sought: Option<Arc<Sought>>,
}

/// Why a plan is as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PlanReport {
    /// The tasks that asked for a node and found none, with why: the last word on each.
    pub left_out: Vec<Placed>,
    /// How good the last arrangement is that left something out; nothing when there was none.
    pub outlook: Option<Outlook>,
}

/// A part of a plan, to be proposed before those that are handed out after it: they build on it.
#[derive(Debug)]
pub enum Part {
    /// [`Plan::liveness`]
    Liveness(Vec<(NodeId, Liveness)>),
    /// Some of [`Plan::changes`], in order.
    Changes(Vec<Change>),
}

impl Plan {
    /// Whether nothing is to be proposed.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.liveness.is_empty()
    }
}

/// A copy of the cluster to plan on: it is made in no time beside a plan, so that nobody has to wait for one.
#[derive(Debug)]
pub struct Draft(Cluster);

impl Draft {
    /// The revision of the cluster it is a copy of.
    pub fn revision(&self) -> Revision {
        self.0.revision()
    }

    /// Of the cluster as it is now.
    pub fn of(cluster: &Cluster) -> Self {
        let mut draft = cluster.draft();
        draft.act_as(cluster);
        Self(draft)
    }
}

/// Decides what should change. Taking the changes and planning again at the same time gives none.
pub fn plan(cluster: &Cluster, beats: &Heartbeats, now: Timestamp) -> Plan {
    plan_within(Draft::of(cluster), beats, now, AT_ONCE)
}

/// The same on a copy, in parts that are handed to `take` as soon as each is known: what is in them is not in
/// the plan again. Of many pending tasks those of one part stay where they are when the next is placed. It ends
/// when `take` answers that no more is wanted.
pub fn plan_in_parts(
    draft: Draft,
    beats: &Heartbeats,
    now: Timestamp,
    take: &mut dyn FnMut(Part) -> bool,
) -> Plan {
    let given = Given { room: AT_ONCE, group: limits::MAX_CHANGES, take };
    parts_within(draft, beats, now, given)
}

/// The same with at most so many changes, whole; the rest is for the next plan.
pub(crate) fn plan_within(draft: Draft, beats: &Heartbeats, now: Timestamp, most: usize) -> Plan {
    let (mut nodes, mut all) = (Vec::new(), Vec::new());
    let mut take = |part| {
        match part {
            Part::Liveness(some) => nodes.extend(some),
            Part::Changes(some) => all.extend(some),
        }
        true
    };
    let given = Given { room: most, group: usize::MAX, take: &mut take };
    let plan = parts_within(draft, beats, now, given);
    Plan { changes: all, liveness: nodes, ..plan }
}

/// The parts of a plan that were handed out, and how many changes there still may be.
struct Given<'g> {
    room: usize,
    /// Tasks that are placed together.
    group: usize,
    take: &'g mut dyn FnMut(Part) -> bool,
}

impl Given<'_> {
    /// Answers whether there is room for more.
    fn give(&mut self, mut changes: Vec<Change>) -> bool {
        changes.truncate(self.room);
        self.room = self.room.saturating_sub(changes.len());
        if !changes.is_empty() && !(self.take)(Part::Changes(changes)) {
            self.room = 0;
        }
        self.room > 0
    }
}

/// The copy that a plan is made on, and what of it the round changes.
struct Drafted {
    cluster: Cluster,
    /// The stacks; `None` when it may be any.
    changed: Option<BTreeSet<StackName>>,
}

impl Drafted {
    /// Answers what was refused.
    fn take(&mut self, at: Timestamp, changes: &[Change]) -> Vec<String> {
        for change in changes {
            let stack = match change {
                Change::CreateTask { stack, .. }
                | Change::RecordRollout { stack, .. }
                | Change::MarkReady { stack, .. } => Some(stack),
                Change::Place { task, .. }
                | Change::SetDesired { task, .. }
                | Change::MarkLost { task, .. }
                | Change::Forget { task }
                | Change::Note { task, .. } => self.cluster.task(*task).map(|task| &task.stack),
                Change::EndDrain { .. }
                | Change::EndToken { .. }
                | Change::ForgetStack { .. }
                | Change::MoveTask { .. }
                | Change::EndMove { .. } => {
                    self.changed = None;
                    continue;
                }
            };
            if let (Some(stack), Some(changed)) = (stack, &mut self.changed)
                && !changed.contains(stack)
            {
                changed.insert(stack.clone());
            }
        }
        self.cluster.take_changes(at, changes)
    }
}

fn parts_within(
    Draft(draft): Draft,
    beats: &Heartbeats,
    now: Timestamp,
    mut given: Given<'_>,
) -> Plan {
    let basis = draft.revision();
    let (liveness, mut wake_at) = liveness::transitions(&draft, beats, now);
    let mut draft = Drafted { cluster: draft, changed: None };
    draft.cluster.assume_liveness(now, &liveness);
    let assumed = liveness.iter().map(|(node, _)| *node).collect();
    if !liveness.is_empty() && !(given.take)(Part::Liveness(liveness)) {
        given.room = 0;
    }
    let mut sought = beats.waits.sought().cloned();
    let (mut report, mut waits) = (PlanReport::default(), BTreeSet::new());
    let mut effort =
        Effort::new(SEARCH_STEPS, SEARCH_STEPS).having_tried(beats.waits.tried().cloned());
    for _ in 0..MAX_ROUNDS {
        let room = given.room;
        // Of the first round it is not known what changed since the plan before.
        let only = draft.changed.replace(BTreeSet::new());
        let steps =
            orchestrate::orchestrate_among(&draft.cluster, beats, &assumed, now, only.as_ref());
        waits.extend(steps.waits);
        wake_at = [wake_at, steps.wake_at].into_iter().flatten().min();
        if steps.changes.len() < room {
            draft.take(now, &steps.changes);
            given.give(steps.changes);
            report.left_out = place(&mut draft, now, &mut given, &mut effort);
            report.outlook = effort.take_outlook().or(report.outlook);
            let yielding = yield_room(&draft.cluster);
            draft.take(now, &yielding);
            given.give(yielding);
        } else {
            given.give(steps.changes);
        }
        if given.room == room {
            let own = rebalance::own_move(&draft.cluster, beats, now);
            wake_at = [wake_at, own.wake_at].into_iter().flatten().min();
            sought = own.sought;
            let taken = |change: &Change| draft.take(now, std::slice::from_ref(change)).is_empty();
            given.give(own.change.filter(taken).into_iter().collect());
        }
        if given.room == room {
            break;
        }
        if given.room == 0 {
            wake_at = Some(now);
            break;
        }
    }
    waits.extend(rebalance::waits(&draft.cluster));
    let tried = effort.tried().cloned();
    let (changes, liveness) = (Vec::new(), Vec::new());
    Plan { basis, changes, liveness, report, wake_at, waits, tried, sought }
}

/// Gives pending tasks their nodes; answers those that found none.
fn place(
    draft: &mut Drafted,
    at: Timestamp,
    given: &mut Given<'_>,
    effort: &mut Effort,
) -> Vec<Placed> {
    let revision = draft.cluster.revision();
    let asks: Vec<Ask<'_>> = draft.cluster.pending().map(Ask::of).collect();
    if asks.is_empty() {
        return Vec::new();
    }
    let mut fleet = Fleet::of(&draft.cluster);
    let (mut seated, mut left_out) = (Vec::new(), Vec::new());
    let so_many = (given.room, given.group);
    placement::place_in_groups(&mut fleet, &asks, so_many, effort, &mut |some| {
        let mut changes = Vec::with_capacity(some.len());
        for held in some {
            let Some(node) = held.node else {
                left_out.push(held);
                continue;
            };
            let decision = Arc::new(Decision { at, revision, verdicts: held.verdicts });
            changes.push(Change::Place { task: held.task, node, decision });
            seated.push((held.task, node));
        }
        given.give(changes)
    });
    // Why is of no use to the rest of the plan, and much to remember.
    let unsaid = Arc::new(Decision { at, revision, verdicts: Vec::new() });
    let seat = |(task, node)| Change::Place { task, node, decision: Arc::clone(&unsaid) };
    let seats: Vec<Change> = seated.into_iter().map(seat).collect();
    draft.take(at, &seats);
    left_out
}

/// Where a new task fits nowhere while its predecessor runs, but would where that one is, the old
/// one stops first. It never stops for a task that would not fit then.
fn yield_room(cluster: &Cluster) -> Vec<Change> {
    let pairs = orchestrate::waiting_pairs(cluster);
    if pairs.is_empty() {
        return Vec::new();
    }
    let mut fleet = Fleet::of(cluster);
    let mut changes = Vec::new();
    for (old, new) in pairs {
        let Some(node) = old.node else { continue };
        if !orchestrate::may_start(cluster, new) {
            continue;
        }
        let Some(former) = fleet.take_away(old.id, node) else { continue };
        if fleet.fits(&Ask::of(new), node).is_err() {
            fleet.put(former, node);
            continue;
        }
        fleet.put(Ask::of(new), node);
        changes.push(Change::SetDesired { task: old.id, desired: model::Desired::Stop });
        if orchestrate::starts_first(&new.spec) {
            changes.push(stop_first(old.id, &cluster.node_name(node)));
        }
    }
    changes
}

fn stop_first(task: TaskId, node: &str) -> Change {
    Change::Note {
        severity: Severity::Warning,
        kind: "stop-first".to_owned(),
        task,
        message: format!(
            "stops before its successor starts: {node} has no room for both, and no other node has"
        ),
    }
}

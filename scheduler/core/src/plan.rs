//! The table of contents of every decision: which rooms are asked, in which order.

use std::{collections::BTreeSet, sync::Arc};

use model::{Liveness, NodeId, Revision, TaskId, Timestamp, event::Severity, task::Decision};

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
const SEARCH_STEPS: u64 = 20_000_000;

/// What should change now.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a plan that is not proposed changes nothing"]
pub struct Plan {
    /// The cluster revision it was made on.
    pub basis: Revision,
    /// The changes, in order: each may build on those before it.
    pub changes: Vec<Change>,
    /// Nodes that came or went; to be proposed before the changes, which count on it.
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
    /// Of the cluster as it is now.
    pub fn of(cluster: &Cluster) -> Self {
        let mut draft = cluster.draft();
        draft.act_as(cluster);
        Self(draft)
    }
}

/// Decides what should change. Taking the changes and planning again at the same time gives none.
pub fn plan(cluster: &Cluster, beats: &Heartbeats, now: Timestamp) -> Plan {
    plan_on(Draft::of(cluster), beats, now)
}

/// The same on a copy.
pub fn plan_on(draft: Draft, beats: &Heartbeats, now: Timestamp) -> Plan {
    plan_within(draft, beats, now, limits::MAX_CHANGES)
}

/// The same with at most so many changes; the rest is for the next plan.
pub(crate) fn plan_within(
    Draft(mut draft): Draft,
    beats: &Heartbeats,
    now: Timestamp,
    most: usize,
) -> Plan {
    let basis = draft.revision();
    let (liveness, mut wake_at) = liveness::transitions(&draft, beats, now);
    draft.assume_liveness(now, &liveness);
    let assumed = liveness.iter().map(|(node, _)| *node).collect();
    let mut changes = Vec::new();
    let mut sought = beats.waits.sought().cloned();
    let (mut report, mut waits) = (PlanReport::default(), BTreeSet::new());
    let mut effort =
        Effort::new(SEARCH_STEPS, SEARCH_STEPS).having_tried(beats.waits.tried().cloned());
    for _ in 0..MAX_ROUNDS {
        let steps = orchestrate::orchestrate(&draft, beats, &assumed, now);
        waits.extend(steps.waits);
        wake_at = [wake_at, steps.wake_at].into_iter().flatten().min();
        let mut round = steps.changes;
        let room = most.saturating_sub(changes.len());
        if round.len() < room {
            draft.take_changes(now, &round);
            let so_many = room.saturating_sub(round.len());
            let (placing, left_out) = place(&draft, basis, now, (so_many, &mut effort));
            draft.take_changes(now, &placing);
            report.left_out = left_out;
            report.outlook = effort.take_outlook().or(report.outlook);
            round.extend(placing);
            let yielding = yield_room(&draft);
            draft.take_changes(now, &yielding);
            round.extend(yielding);
        }
        if round.is_empty() {
            let own = rebalance::own_move(&draft, beats, now);
            wake_at = [wake_at, own.wake_at].into_iter().flatten().min();
            sought = own.sought;
            let taken =
                |change: &Change| draft.take_changes(now, std::slice::from_ref(change)).is_empty();
            round.extend(own.change.filter(taken));
        }
        if round.is_empty() {
            break;
        }
        changes.extend(round);
        if changes.len() >= most {
            changes.truncate(most);
            wake_at = Some(now);
            break;
        }
    }
    waits.extend(rebalance::waits(&draft));
    let tried = effort.tried().cloned();
    Plan { basis, changes, liveness, report, wake_at, waits, tried, sought }
}

/// Gives so many pending tasks their nodes at most; answers those that found none as well.
fn place(
    cluster: &Cluster,
    revision: Revision,
    at: Timestamp,
    (so_many, effort): (usize, &mut Effort),
) -> (Vec<Change>, Vec<Placed>) {
    let asks: Vec<Ask<'_>> = cluster.pending().map(Ask::of).collect();
    if asks.is_empty() {
        return (Vec::new(), Vec::new());
    }
    let mut fleet = Fleet::of(cluster);
    let (mut changes, mut left_out) = (Vec::new(), Vec::new());
    for held in placement::place(&mut fleet, &asks, so_many, effort) {
        let Some(node) = held.node else {
            left_out.push(held);
            continue;
        };
        let decision = Decision { at, revision, verdicts: held.verdicts };
        changes.push(Change::Place { task: held.task, node, decision });
    }
    (changes, left_out)
}

/// Where a new task fits nowhere while its predecessor runs, but would where that one is, the old
/// one stops first. It never stops for a task that would not fit then.
fn yield_room(cluster: &Cluster) -> Vec<Change> {
    let mut fleet = Fleet::of(cluster);
    let mut changes = Vec::new();
    for (old, new) in orchestrate::waiting_pairs(cluster) {
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

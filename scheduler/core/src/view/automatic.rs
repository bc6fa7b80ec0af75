//! The automatic mode of `rebalance`, as people are shown it.

use model::{
    Timestamp,
    view::{AutomaticRow, AutomaticView, Problem},
};

use crate::{
    cluster::{AN_HOUR, Automatic, AutomaticMove, Cluster, MOST_AN_HOUR},
    view::Soft,
    waits::Wait,
};

/// Whether it is on, and what it did.
pub(super) fn automatic(cluster: &Cluster, soft: &Soft<'_>) -> AutomaticView {
    let most_per_hour = u32::try_from(MOST_AN_HOUR).unwrap_or(u32::MAX);
    let Some(held) = cluster.automatic() else {
        return AutomaticView { most_per_hour, ..AutomaticView::default() };
    };
    let recent = held.moves.iter().filter(|begun| is_recent(soft, begun.at)).count();
    AutomaticView {
        on: held.on,
        since: Some(held.since.to_rfc3339()),
        moves: held.moves.iter().rev().map(|begun| row(cluster, begun)).collect(),
        moves_last_hour: u32::try_from(recent).unwrap_or(u32::MAX),
        most_per_hour,
        paused: paused(cluster, held, soft),
    }
}

/// While it rests because a move failed.
pub(super) fn pause_problem(cluster: &Cluster, soft: &Soft<'_>) -> Option<Problem> {
    let held = cluster.automatic()?;
    let cause = paused(cluster, held, soft)?;
    Some(Problem {
        what: "automatic rebalance is paused".to_owned(),
        cause,
        since: held.failed_at.map(Timestamp::to_rfc3339),
        fix: "it goes on by itself after an hour; to go on now: sisoctl rebalance --auto on"
            .to_owned(),
    })
}

fn is_recent(soft: &Soft<'_>, since: Timestamp) -> bool {
    soft.waits.waited(Wait::Rebalanced { since }, soft.now) < AN_HOUR
}

fn paused(cluster: &Cluster, held: &Automatic, soft: &Soft<'_>) -> Option<String> {
    held.failed_at.filter(|at| held.on && is_recent(soft, *at))?;
    let failed = held.moves.iter().rev().find(|begun| begun.failed.is_some());
    let why = failed.and_then(|failed| Some((failed, failed.failed.as_ref()?)));
    Some(why.map_or_else(
        || "a move failed".to_owned(),
        |(failed, why)| {
            format!(
                "the move of {}/{}.{} from {} to {} was given up: {why}",
                failed.stack,
                failed.service,
                failed.slot,
                cluster.node_name(failed.from),
                cluster.node_name(failed.to)
            )
        },
    ))
}

fn row(cluster: &Cluster, begun: &AutomaticMove) -> AutomaticRow {
    let moving = || cluster.task(begun.task).is_some_and(|task| task.moves_from.is_some());
    let state = match (begun.ended_at, &begun.failed) {
        (_, Some(_)) => "failed",
        (Some(_), None) => "moved",
        (None, None) if moving() => "moving",
        (None, None) => "overtaken",
    };
    AutomaticRow {
        stack: begun.stack.to_string(),
        service: begun.service.to_string(),
        replica: begun.slot,
        from: cluster.node_name(begun.from),
        to: cluster.node_name(begun.to),
        at: begun.at.to_rfc3339(),
        reason: begun.reason.clone(),
        state: state.to_owned(),
        error: begun.failed.clone(),
    }
}

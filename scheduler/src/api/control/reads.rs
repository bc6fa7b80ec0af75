//! Reads: each first makes sure that it sees every write answered before.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use model::{
    StackSpec, TaskId,
    task::Telemetry,
    view::{Problem, ReplicaPlacement, SchedulerRow, VoterRow},
};
use parking_lot::MappedRwLockReadGuard;
use proto::{
    convert::At as _,
    v1::{
        AdviseReply, AdviseRequest, ExplainReply, ExplainRequest, ListNodesReply, ListStacksReply,
        ListTasksReply, ListTasksRequest, ListTokensReply, PlacementView, PlanRequest, PlanView,
        StackHistoryReply, StackHistoryRequest, StatusView, VersionReply, WhatIfRequest,
        WhatIfView, supposition::Kind,
    },
};
use scheduler_core::{
    Cluster, Leases, Waits,
    view::{self, Supposition},
};
use tonic::Status;

use super::{
    super::{Office, status as statuses},
    nodes::named,
    writes::{service, spec, stack},
};
use crate::{
    clock,
    log::{Seen, Standing},
};

/// How long a scheduler may take to say how it is before the status says that it does not answer.
const GLANCE: Duration = Duration::from_secs(1);
/// Verdicts in one answer: a hundred bytes each, so that they fill a third of it at most.
const VERDICTS_ANSWERED: usize = 100_000;
/// More than a person thinks of at once.
const SUPPOSITIONS_MAX: usize = 32;
/// Fixes in one answer.
const FIXES_ANSWERED: usize = 20_000;

/// The cluster, as of now or later.
async fn read(office: &Office) -> Result<MappedRwLockReadGuard<'_, Cluster>, Status> {
    office.log.barrier().await.map_err(statuses::log_error)?;
    Ok(office.log.cluster())
}

/// What this scheduler knows as the leader.
pub(super) struct Led {
    leases: Leases,
    waits: Waits,
}

pub(super) fn led(office: &Office) -> Led {
    Led { leases: leases(office), waits: office.dispatch.sessions.waited_for() }
}

/// What is known of the present besides the log.
pub(super) fn soft<'a>(telemetry: &'a BTreeMap<TaskId, Telemetry>, led: &'a Led) -> view::Soft<'a> {
    view::Soft { telemetry, now: clock::now(), leases: Some(&led.leases), waits: &led.waits }
}

/// The leases this scheduler has granted as the leader.
pub(super) fn leases(office: &Office) -> Leases {
    office.dispatch.sessions.leases(clock::uptime())
}

fn rows<T, R: From<T>>(rows: Vec<T>) -> Vec<R> {
    rows.into_iter().map(R::from).collect()
}

pub(super) async fn plan(office: &Arc<Office>, request: PlanRequest) -> Result<PlanView, Status> {
    preview(office, &spec(request.spec)?).await
}

/// What applying `spec` would do. It plans many times over, so it does that on a copy of the cluster
/// and away from the threads that serve.
pub(super) async fn preview(office: &Office, spec: &StackSpec) -> Result<PlanView, Status> {
    let (cluster, spec) = (read(office).await?.clone(), spec.clone());
    let planned = move || view::plan_view(&cluster, &spec, clock::now());
    let planned = tokio::task::spawn_blocking(planned).await;
    let planned = planned.map_err(|_| Status::internal("the preview failed"))?;
    let mut planned = planned.map_err(|rejection| statuses::rejected(&rejection))?;
    bound(&mut planned.placements, |placement| placement);
    Ok(planned.into())
}

/// What the cluster would come to; planned as a preview is.
pub(super) async fn what_if(office: &Office, request: WhatIfRequest) -> Result<WhatIfView, Status> {
    let count = request.suppositions.len();
    if count == 0 || count > SUPPOSITIONS_MAX {
        let text = format!("{count} suppositions, 1 to {SUPPOSITIONS_MAX} are answered");
        return Err(statuses::bad_input(text));
    }
    let mut suppositions = Vec::with_capacity(count);
    for asked in request.suppositions {
        suppositions.push(match asked.kind {
            Some(Kind::Lose(node)) => Supposition::Lose(named(office, &node).await?),
            Some(Kind::Drain(node)) => Supposition::Drain(named(office, &node).await?),
            Some(Kind::Add(node)) => {
                Supposition::Add(node.try_into().at("add").map_err(statuses::bad_input)?)
            }
            Some(Kind::Apply(held)) => Supposition::Apply(spec(Some(held))?),
            None => return Err(statuses::bad_input("kind: missing")),
        });
    }
    let cluster = read(office).await?.clone();
    let imagined = move || view::what_if(&cluster, &suppositions, clock::now());
    let imagined = tokio::task::spawn_blocking(imagined).await;
    let imagined = imagined.map_err(|_| Status::internal("the preview failed"))?;
    let mut imagined = imagined.map_err(|rejection| statuses::rejected(&rejection))?;
    bound(&mut imagined.placements, |placement| placement);
    Ok(imagined.into())
}

/// Cuts explanations that together would not fit into one answer: the first ones of each stay.
fn bound<T>(answered: &mut [T], placement: impl Fn(&mut T) -> &mut ReplicaPlacement) {
    let most = |all: usize| all.checked_div(answered.len()).unwrap_or(all).max(1);
    let (verdicts, fixes) = (most(VERDICTS_ANSWERED), most(FIXES_ANSWERED));
    for placement in answered.iter_mut().map(placement) {
        placement.verdicts.truncate(verdicts);
        placement.fixes.truncate(fixes);
    }
}

pub(super) async fn tasks(
    office: &Office,
    request: ListTasksRequest,
) -> Result<ListTasksReply, Status> {
    let stack = request.stack.as_deref().map(stack).transpose()?;
    let telemetry = office.dispatch.sessions.telemetry();
    let cluster = read(office).await?;
    if let Some(name) = &stack
        && cluster.stack(name).is_none()
    {
        return Err(Status::not_found(format!("there is no stack `{name}`")));
    }
    let list = if request.all { view::remembered_tasks } else { view::tasks };
    Ok(ListTasksReply {
        tasks: rows(list(&cluster, &soft(&telemetry, &led(office)), stack.as_ref())),
    })
}

pub(super) async fn nodes(office: &Office) -> Result<ListNodesReply, Status> {
    let telemetry = office.dispatch.sessions.telemetry();
    let cluster = read(office).await?;
    Ok(ListNodesReply { nodes: rows(view::nodes(&cluster, &soft(&telemetry, &led(office)))) })
}

pub(super) async fn placement(office: &Office) -> Result<PlacementView, Status> {
    Ok(view::placement(&*read(office).await?).into())
}

pub(super) async fn explain(
    office: &Office,
    request: ExplainRequest,
) -> Result<ExplainReply, Status> {
    let (stack, service) = (stack(&request.stack)?, service(&request.service)?);
    let on = match &request.on {
        Some(node) => Some(named(office, node).await?),
        None => None,
    };
    // What would help is planned, many times over: aside, as a preview is.
    let (cluster, led) = (read(office).await?.clone(), led(office));
    let explained = tokio::task::spawn_blocking(move || {
        let telemetry = BTreeMap::new();
        let (soft, replica) = (soft(&telemetry, &led), request.replica);
        match on {
            Some(node) => view::explain_on(&cluster, (&stack, &service), replica, node, &soft),
            None => view::explain(&cluster, &stack, &service, replica, &soft),
        }
    });
    let explained = explained.await.map_err(|_| Status::internal("the explanation failed"))?;
    let mut explanations = explained.map_err(|rejection| statuses::rejected(&rejection))?;
    bound(&mut explanations, |view| &mut view.placement);
    Ok(ExplainReply { explanations: rows(explanations) })
}

pub(super) async fn advise(office: &Office, request: AdviseRequest) -> Result<AdviseReply, Status> {
    let stack = request.stack.as_deref().map(stack).transpose()?;
    let service = request.service.as_deref().map(service).transpose()?;
    if stack.is_none() && service.is_some() {
        return Err(statuses::bad_input("service: of which stack?"));
    }
    let cluster = read(office).await?;
    let seen = office.dispatch.sessions.seen(|task| cluster.task(task).is_some());
    let advice = view::advise(&cluster, &seen, stack.as_ref(), service.as_ref());
    let advice = advice.map_err(|rejection| statuses::rejected(&rejection))?;
    Ok(AdviseReply { services: rows(advice) })
}

pub(super) async fn stacks(office: &Office) -> Result<ListStacksReply, Status> {
    Ok(ListStacksReply { stacks: rows(view::stacks(&*read(office).await?)) })
}

pub(super) async fn history(
    office: &Office,
    request: StackHistoryRequest,
) -> Result<StackHistoryReply, Status> {
    let stack = stack(&request.stack)?;
    let history = view::history(&*read(office).await?, &stack);
    let history = history.map_err(|rejection| statuses::rejected(&rejection))?;
    Ok(StackHistoryReply { revisions: rows(history) })
}

pub(super) async fn tokens(office: &Office) -> Result<ListTokensReply, Status> {
    Ok(ListTokensReply { tokens: rows(view::tokens(&*read(office).await?, clock::now())) })
}

pub(super) async fn status(office: &Office) -> Result<StatusView, Status> {
    let (telemetry, led) = (office.dispatch.sessions.telemetry(), led(office));
    // What would help is planned, many times over: aside, as a preview is.
    let cluster = read(office).await?.clone();
    let status = move || view::status(&cluster, &soft(&telemetry, &led));
    let status = tokio::task::spawn_blocking(status).await;
    let mut status = status.map_err(|_| Status::internal("the status failed"))?;
    let standing = office.log.standing().borrow().clone();
    let schedulers = office.door.seen(standing.leader, GLANCE).await;
    status.problems.extend(schedulers.iter().filter_map(scheduler_problem));
    status.problems.extend(super::authorities::unfinished(office).await);
    status.problems.extend(office.places.problems());
    status.healthy = status.problems.is_empty();
    let rows = schedulers.into_iter().map(|seen| seen.row);
    let voters = rows.filter(|row| row.role != "joining");
    status.schedulers = voters.map(|row| scheduler(&standing, row)).collect();
    let leader = standing.voters.iter().find(|(id, _)| Some(*id) == standing.leader);
    status.leader = leader.map(|(_, address)| address.clone());
    Ok(status.into())
}

/// A voting member in short.
fn scheduler(standing: &Standing, row: VoterRow) -> SchedulerRow {
    let VoterRow { id, address, role, behind, version, .. } = row;
    let applied = behind.map_or(0, |behind| standing.applied.saturating_sub(behind));
    SchedulerRow { id, address, role, version: version.unwrap_or_default(), applied }
}

/// What is wrong with a member.
fn scheduler_problem(Seen { row, slow }: &Seen) -> Option<Problem> {
    let VoterRow { id, address, reachable, error, .. } = row;
    let Some(cause) = error.clone() else {
        let cause = format!(
            "a durable write took {:.1} s; changes wait for it",
            slow.as_ref()?.as_secs_f64()
        );
        let what = format!("the disk of scheduler {id} at {address} is slow");
        let fix = "look for what else writes to that disk, and whether it is about to fail; the scheduler's \
                   log tells of slow writes";
        return Some(Problem { what, cause, since: None, fix: fix.to_owned() });
    };
    let (what, fix) = if *reachable {
        let what = format!("scheduler {id} at {address} cannot take changes");
        (what, "make room on its disk".to_owned())
    } else {
        let fix = format!(
            "start it; if it is gone for good, `sisoctl scheduler rm {id}`: a majority has to be left"
        );
        (format!("scheduler {id} at {address} does not answer"), fix)
    };
    Some(Problem { what, cause, since: None, fix })
}

pub(super) fn version(office: &Office) -> VersionReply {
    VersionReply {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        cluster: office.name.clone(),
        now: clock::now().0,
    }
}

#[cfg(test)]
mod tests {
    use model::{Bytes, MilliCpu, view::Verdict};

    use super::*;

    #[test]
    fn explanations_are_cut_evenly_to_what_one_answer_holds() {
        let check = |placements: usize, each: usize, stay: usize| {
            let verdict = Verdict {
                node: "a".to_owned(),
                fits: true,
                reason: String::new(),
                resource: None,
                needed: None,
                free: None,
                short: None,
                score: None,
            };
            let placement = ReplicaPlacement {
                stack: "s".to_owned(),
                origin: None,
                service: "web".to_owned(),
                replica: 1,
                node: None,
                memory: Bytes::ZERO,
                memory_basis: None,
                cpus: MilliCpu(0),
                verdicts: vec![verdict; each],
                fixes: vec![String::new(); each],
                succession: None,
                generic: BTreeMap::new(),
                misfits: BTreeMap::new(),
            };
            let mut answered = vec![placement; placements];
            bound(&mut answered, |placement| placement);
            assert!(answered.iter().all(|placement| placement.verdicts.len() == stay));
            assert!(answered.iter().all(|placement| !placement.fixes.is_empty()));
        };
        check(0, 64, 64);
        check(7, 64, 64);
        check(1_500, 64, 64);
        check(10_000, 64, 10);
        check(20_000, 64, 5);
    }
}

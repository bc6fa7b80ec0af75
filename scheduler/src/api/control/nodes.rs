//! What people change of machines.

use std::collections::{BTreeMap, BTreeSet};

use model::{NodeId, NodeName, node::check_label};
use proto::v1::{
    DrainNodeRequest, DrainView, LabelNodeRequest, PlanDrainRequest, RemoveNodeRequest,
    SetSchedulableRequest, WriteReply,
};
use scheduler_core::{Command, lease::all_over, view};
use tonic::Status;

use super::{
    super::{Office, status},
    reads::leases,
    writes::{request_id, write},
};
use crate::clock;

/// The longest a drain may take: whoever waits for longer than this means `cordon`.
const DRAIN_MAX_MS: u64 = 7 * 24 * 3600 * 1000;

/// The member of that name. People name machines, the log knows them by their id.
pub(super) async fn named(office: &Office, name: &str) -> Result<NodeId, Status> {
    let name: NodeName = name.parse().map_err(status::bad_input)?;
    let find = || office.log.cluster().node_named(&name).map(|node| node.id);
    // A name that is known needs no question to the others: whether its node is still there is
    // looked at again where the command is applied.
    if let Some(node) = find() {
        return Ok(node);
    }
    office.log.barrier().await.map_err(status::log_error)?;
    find().ok_or_else(|| Status::not_found(format!("there is no node `{name}`")))
}

pub(super) async fn set_schedulable(
    office: &Office,
    request: SetSchedulableRequest,
) -> Result<WriteReply, Status> {
    let node = named(office, &request.node).await?;
    let command = Command::SetSchedulable { node, schedulable: request.schedulable };
    write(office, &request.request_id, command).await
}

/// It plans many times over, so it does that on a copy of the cluster and away from the threads that
/// serve.
pub(super) async fn plan_drain(
    office: &Office,
    request: PlanDrainRequest,
) -> Result<DrainView, Status> {
    let node = named(office, &request.node).await?;
    let cluster = office.log.cluster().clone();
    let planned = move || view::drain_plan(&cluster, node, clock::now());
    let planned = tokio::task::spawn_blocking(planned).await;
    let planned = planned.map_err(|_| Status::internal("the preview failed"))?;
    planned.map(Into::into).map_err(|rejection| status::rejected(&rejection))
}

pub(super) async fn drain(
    office: &Office,
    request: DrainNodeRequest,
) -> Result<WriteReply, Status> {
    if !(1..=DRAIN_MAX_MS).contains(&request.deadline_ms) {
        let days = DRAIN_MAX_MS / (24 * 3600 * 1000);
        let text = format!("deadline: a drain takes more than 0 and at most {days} d");
        return Err(status::bad_input(text));
    }
    let node = named(office, &request.node).await?;
    let until = clock::now().plus_millis(request.deadline_ms);
    write(office, &request.request_id, Command::DrainNode { node, until }).await
}

pub(super) async fn label(
    office: &Office,
    request: LabelNodeRequest,
) -> Result<WriteReply, Status> {
    let set: BTreeMap<String, String> = request.set.into_iter().collect();
    for (key, value) in &set {
        check_label(key, value).map_err(status::bad_input)?;
    }
    let remove: BTreeSet<String> = request.remove.into_iter().collect();
    if let Some(both) = set.keys().find(|key| remove.contains(*key)) {
        let text = format!("label `{both}` is both to be set and to be removed");
        return Err(status::bad_input(text));
    }
    let node = named(office, &request.node).await?;
    write(office, &request.request_id, Command::LabelNode { node, set, remove }).await
}

pub(super) async fn remove(
    office: &Office,
    request: RemoveNodeRequest,
) -> Result<WriteReply, Status> {
    office.log.barrier().await.map_err(status::log_error)?;
    // Asked again because its answer was lost, it would find no node of that name.
    let known = office.log.cluster().answered(request_id(&request.request_id)?);
    if let Some(known) = known {
        let (revision, _) = status::outcome(Ok(known))?;
        return Ok(WriteReply { revision: revision.0, changed: true });
    }
    let node = named(office, &request.node).await?;
    let down_since = all_over(&office.log.cluster(), node, &leases(office));
    let (tasks, volumes) = (request.tasks, request.volumes);
    let command = Command::RemoveNode { node, tasks, volumes, down_since };
    write(office, &request.request_id, command).await
}

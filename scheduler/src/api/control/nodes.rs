//! What people change of machines.

use std::collections::{BTreeMap, BTreeSet};

use model::{NodeId, NodeName, node::check_label};
use proto::v1::{LabelNodeRequest, RemoveNodeRequest, SetSchedulableRequest, WriteReply};
use scheduler_core::Command;
use tonic::Status;

use super::{
    super::{Office, status},
    writes::{request_id, write},
};

/// The member of that name. People name machines, the log knows them by their id.
async fn named(office: &Office, name: &str) -> Result<NodeId, Status> {
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
    let (tasks, volumes) = (request.tasks, request.volumes);
    write(office, &request.request_id, Command::RemoveNode { node, tasks, volumes }).await
}

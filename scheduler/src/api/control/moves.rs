//! Moves on request, and which would be worth it.

use model::{Bytes, MilliCpu, Resources, TaskId};
use proto::v1::{
    MoveTaskRequest, RebalanceRequest, RebalanceView, SetAutomaticRebalanceRequest, WriteReply,
    rebalance_request::Goal as Asked,
};
use scheduler_core::{Command, Goal, cluster::AUTOMATIC_FORM, view};
use tonic::Status;

use super::{
    super::{Office, status},
    nodes::named,
    writes::{raise_form, write},
};
use crate::{clock, log::MOVES_FORM};

pub(super) async fn move_task(
    office: &Office,
    request: MoveTaskRequest,
) -> Result<WriteReply, Status> {
    let task: TaskId = request.task.parse().map_err(status::bad_input)?;
    let to = named(office, &request.node).await?;
    raise_form(office, MOVES_FORM).await?;
    write(office, &request.request_id, Command::MoveTask { task, to }).await
}

pub(super) async fn set_automatic(
    office: &Office,
    request: SetAutomaticRebalanceRequest,
) -> Result<WriteReply, Status> {
    raise_form(office, AUTOMATIC_FORM).await?;
    write(office, &request.request_id, Command::SetAutomatic { on: request.on }).await
}

/// It searches and plans many times over, so it does that on a copy of the cluster and away from the threads
/// that serve.
pub(super) async fn rebalance(
    office: &Office,
    request: RebalanceRequest,
) -> Result<RebalanceView, Status> {
    let goal = match request.goal {
        None => Goal::Best,
        Some(Asked::Empty(node)) => Goal::Empty(named(office, &node).await?),
        Some(Asked::Room(room)) => {
            let amount = Resources { memory: Bytes(room.memory), cpu: MilliCpu(room.cpu_millis) };
            let on = match room.on {
                Some(node) => Some(named(office, &node).await?),
                None => None,
            };
            Goal::Room { amount, on }
        }
    };
    office.log.barrier().await.map_err(status::log_error)?;
    let cluster = office.log.cluster().clone();
    let found = move || view::rebalance(&cluster, goal, clock::now());
    let found = tokio::task::spawn_blocking(found).await;
    let found = found.map_err(|_| Status::internal("the search failed"))?;
    found.map(Into::into).map_err(|rejection| status::rejected(&rejection))
}

//! Moves on request.

use model::TaskId;
use proto::v1::{MoveTaskRequest, WriteReply};
use scheduler_core::Command;
use tonic::Status;

use super::{
    super::{Office, status},
    nodes::named,
    writes::{raise_form, write},
};
use crate::log::MOVES_FORM;

pub(super) async fn move_task(
    office: &Office,
    request: MoveTaskRequest,
) -> Result<WriteReply, Status> {
    let task: TaskId = request.task.parse().map_err(status::bad_input)?;
    let to = named(office, &request.node).await?;
    raise_form(office, MOVES_FORM).await?;
    write(office, &request.request_id, Command::MoveTask { task, to }).await
}

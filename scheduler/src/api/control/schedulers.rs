//! The schedulers themselves.

use proto::v1::{ListSchedulersReply, RemoveSchedulerRequest, WriteReply};
use scheduler_core::Command;
use tonic::Status;

use super::{
    super::{Office, status},
    writes::{request_id, write},
};
use crate::log::{LogError, PROBE_TIMEOUT};

/// Since this form schedulers can be removed.
const FORM: u32 = 2;

/// How every scheduler is. While nobody leads, as far as this one knows.
pub(super) async fn list(office: &Office) -> ListSchedulersReply {
    let leader = office.log.standing().borrow().leader;
    let seen = office.door.seen(leader, PROBE_TIMEOUT).await;
    ListSchedulersReply { schedulers: seen.into_iter().map(|seen| seen.row.into()).collect() }
}

pub(super) async fn remove(
    office: &Office,
    request: RemoveSchedulerRequest,
) -> Result<WriteReply, Status> {
    let scheduler = request.scheduler;
    request_id(&request.request_id)?;
    office.log.barrier().await.map_err(status::log_error)?;
    if office.log.cluster().form() < FORM {
        // The schedulers may have been updated just now.
        office.door.raise_form(&*office.log).await?;
    }
    let (agreed, removed) = {
        let cluster = office.log.cluster();
        (cluster.form(), cluster.shuts_out(scheduler))
    };
    if agreed < FORM {
        return Err(status::log_error(LogError::NotYet { needed: FORM, agreed }));
    }
    // It votes no more before it is shut out: until the others have agreed, its vote may be needed. Once
    // it is shut out it cannot come back, and nobody lets it vote again in between.
    let turn = office.door.dismiss(scheduler).await?;
    if turn.is_none() && !removed {
        return Err(Status::not_found(format!(
            "there is no scheduler {scheduler}\nhint: `sisoctl scheduler ls` lists them"
        )));
    }
    write(office, &request.request_id, Command::RemoveScheduler { scheduler }).await
}

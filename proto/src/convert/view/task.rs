//! Tasks and what happened to them.

use model::view::{EventRow, PullProgress, TaskRow};

use super::Shown;
use crate::{
    convert::{
        field::mirror,
        kinds::{Maybe, Message, Same, Total, TotalCpu},
        words::SuccessionWord,
    },
    v1,
};

mirror!(v1::TaskRow => TaskRow {
    stack: Shown,
    service: Shown,
    replica: Same<u32>,
    task: Shown,
    node: Maybe<Shown>,
    desired: Shown,
    state: Shown,
    health: Maybe<Shown>,
    image: Shown,
    memory_reservation: Total,
    memory_limit: Total,
    memory_used: Maybe<Total>,
    cpus: TotalCpu,
    container: Maybe<Shown>,
    started_at: Maybe<Shown>,
    restarts: Same<u32>,
    epoch: Same<u64>,
    error: Maybe<Shown>,
    revision: Same<u64>,
    ready: Same<bool>,
    pull: Maybe<Message<v1::Pull, PullProgress>>,
    waiting_for: Maybe<Shown>,
    succession: Maybe<SuccessionWord>,
});

mirror!(v1::Pull => PullProgress {
    done: Total,
    total: Total,
});

mirror!(v1::EventRow => EventRow {
    revision: Same<u64>,
    at: Shown,
    severity: Shown,
    kind: Shown,
    stack: Maybe<Shown>,
    service: Maybe<Shown>,
    task: Maybe<Shown>,
    node: Maybe<Shown>,
    message: Shown,
});

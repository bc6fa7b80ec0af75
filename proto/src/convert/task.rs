//! What was observed of a task.

use model::{
    Bytes, TaskId, TaskReport, TaskStatus,
    id::TaskKind,
    task::{Failure, MemorySeen, Telemetry},
};

use super::{
    At as _, BadField, Field,
    field::mirror,
    kinds::{Amount, IdOf, Maybe, Message, Required, Same, Sentence, Time, Word},
    words::{CauseWord, HealthWord, TaskStateWord},
};
use crate::v1;

mirror!(v1::TaskStatus => TaskStatus {
    restarts: Same<u32>,
    state: TaskStateWord,
    sequence: Same<u64>,
    health: HealthWord,
    container: Maybe<Word>,
    exit_code: Maybe<Same<i64>>,
    failure: Maybe<Message<v1::Failure, Failure>>,
    started_at: Maybe<Time>,
    finished_at: Maybe<Time>,
});

mirror!(v1::Failure => Failure {
    cause: CauseWord,
    message: Sentence,
    no_variant: Same<bool>,
});

mirror!(v1::TaskReport => TaskReport {
    task: IdOf<TaskKind>,
    status: Required<Message<v1::TaskStatus, TaskStatus>>,
});

impl TryFrom<v1::TaskTelemetry> for (TaskId, Telemetry) {
    type Error = BadField;

    fn try_from(wire: v1::TaskTelemetry) -> Result<Self, BadField> {
        let telemetry = Telemetry {
            memory_used: Maybe::<Amount>::read(wire.memory_used).at("memory_used")?,
            pull: wire.pull.map(|pull| (Bytes(pull.done), Bytes(pull.total))),
        };
        Ok((IdOf::read(wire.task).at("task")?, telemetry))
    }
}

impl From<(TaskId, &Telemetry)> for v1::TaskTelemetry {
    fn from((task, telemetry): (TaskId, &Telemetry)) -> Self {
        let pull = telemetry.pull.map(|(done, total)| v1::Pull { done: done.0, total: total.0 });
        Self { task: task.raw(), memory_used: Maybe::<Amount>::write(&telemetry.memory_used), pull }
    }
}

impl TryFrom<v1::TaskMemory> for (TaskId, MemorySeen) {
    type Error = BadField;

    fn try_from(wire: v1::TaskMemory) -> Result<Self, BadField> {
        let seen = MemorySeen {
            peak: Amount::read(wire.peak).at("peak")?,
            usual: Amount::read(wire.usual).at("usual")?,
            observed_ms: wire.observed_ms,
            samples: wire.samples,
        };
        Ok((IdOf::read(wire.task).at("task")?, seen))
    }
}

impl From<(TaskId, &MemorySeen)> for v1::TaskMemory {
    fn from((task, seen): (TaskId, &MemorySeen)) -> Self {
        let MemorySeen { peak, usual, observed_ms, samples } = *seen;
        Self { task: task.raw(), peak: peak.0, usual: usual.0, observed_ms, samples }
    }
}

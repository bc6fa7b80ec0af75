//! Plans, and why something sits where it does.

use model::view::{
    AdviceRow, DrainMove, DrainStay, DrainView, ExplainView, FieldChange, OutlookView, PlanNode,
    PlanView, RebalanceMove, RebalanceView, ReplicaPlacement, ServiceChange, Verdict, WhatIfView,
};

use super::{Amounts, Rows, Shown};
use crate::{
    convert::{
        BadField, Field,
        field::mirror,
        kinds::{Maybe, Message, Required, Same, Total, TotalCpu},
        words::{ChangeActionWord, MemorySourceWord, SuccessionWord},
    },
    v1,
};

mirror!(v1::PlanView => PlanView {
    stack: Shown,
    revision: Same<u64>,
    changes: Rows<Message<v1::ServiceChange, ServiceChange>>,
    placements: Rows<Message<v1::ReplicaPlacement, ReplicaPlacement>>,
    nodes: Rows<Message<v1::PlanNode, PlanNode>>,
    unplaced: Same<u32>,
    warnings: Rows<Shown>,
    outlook: Maybe<Message<v1::OutlookView, OutlookView>>,
});

mirror!(v1::OutlookView => OutlookView {
    optimal: Same<bool>,
    off: Total,
    short: Maybe<Shown>,
});

mirror!(v1::WhatIfView => WhatIfView {
    stack: Maybe<Shown>,
    revision: Maybe<Same<u64>>,
    changes: Rows<Message<v1::ServiceChange, ServiceChange>>,
    placements: Rows<Message<v1::ReplicaPlacement, ReplicaPlacement>>,
    nodes: Rows<Message<v1::PlanNode, PlanNode>>,
    unplaced: Same<u32>,
    warnings: Rows<Shown>,
});

mirror!(v1::ServiceChange => ServiceChange {
    action: ChangeActionWord,
    service: Shown,
    fields: Rows<Shown>,
    values: Rows<Message<v1::FieldChange, FieldChange>>,
});

mirror!(v1::FieldChange => FieldChange {
    field: Shown,
    what: Shown,
    old: Maybe<Shown>,
    new: Maybe<Shown>,
});

mirror!(v1::ReplicaPlacement => ReplicaPlacement {
    stack: Shown,
    service: Shown,
    replica: Same<u32>,
    node: Maybe<Shown>,
    origin: Maybe<Shown>,
    memory: Total,
    memory_basis: Maybe<MemorySourceWord>,
    cpus: TotalCpu,
    verdicts: Rows<Message<v1::Verdict, Verdict>>,
    fixes: Rows<Shown>,
    succession: Maybe<SuccessionWord>,
    generic: Amounts,
    misfits: Amounts,
});

mirror!(v1::AdviceRow => AdviceRow {
    stack: Shown,
    service: Shown,
    replicas: Same<u32>,
    memory_reservation: Total,
    memory_basis: MemorySourceWord,
    memory_limit: Total,
    observed_peak: Maybe<Total>,
    observed_usual: Maybe<Total>,
    observed_seconds: Same<u64>,
    needed_seconds: Same<u64>,
    oom_kills: Same<u32>,
    advice: Maybe<Shown>,
    advised_reservation: Maybe<Total>,
    advised_limit: Maybe<Total>,
});

mirror!(v1::PlanNode => PlanNode {
    name: Shown,
    allocatable: Total,
    reserved_before: Total,
    reserved_after: Total,
    free_after: Total,
    tasks: Rows<Shown>,
});

mirror!(v1::DrainView => DrainView {
    node: Shown,
    moves: Rows<Message<v1::DrainMove, DrainMove>>,
    stays: Rows<Message<v1::DrainStay, DrainStay>>,
    nodes: Rows<Message<v1::PlanNode, PlanNode>>,
});

mirror!(v1::DrainMove => DrainMove {
    task: Shown,
    stack: Shown,
    service: Shown,
    replica: Same<u32>,
    memory: Total,
    to: Shown,
    down_because: Maybe<Shown>,
});

mirror!(v1::DrainStay => DrainStay {
    task: Shown,
    stack: Shown,
    service: Shown,
    replica: Same<u32>,
    memory: Total,
    reason: Shown,
    fixes: Rows<Shown>,
});

mirror!(v1::RebalanceView => RebalanceView {
    moves: Rows<Message<v1::RebalanceMove, RebalanceMove>>,
    nodes: Rows<Message<v1::PlanNode, PlanNode>>,
    left: Rows<Message<v1::DrainStay, DrainStay>>,
    fewest: Same<bool>,
    unplaced_before: Same<u32>,
    unplaced_after: Same<u32>,
    gains: Rows<Shown>,
    warnings: Rows<Shown>,
});

mirror!(v1::RebalanceMove => RebalanceMove {
    stack: Shown,
    service: Shown,
    replica: Same<u32>,
    task: Shown,
    from: Shown,
    to: Shown,
    memory: Total,
    how: Shown,
});

mirror!(v1::ExplainView => ExplainView {
    placement: Required<Message<v1::ReplicaPlacement, ReplicaPlacement>>,
    decided: Rows<Message<v1::Verdict, Verdict>>,
    task: Maybe<Shown>,
    decided_at: Maybe<Shown>,
    revision: Maybe<Same<u64>>,
    state: Shown,
    error: Maybe<Shown>,
});

mirror!(v1::Verdict => Verdict {
    node: Shown,
    fits: Same<bool>,
    reason: Shown,
    resource: Maybe<Shown>,
    needed: Maybe<Same<u64>>,
    free: Maybe<Same<u64>>,
    short: Maybe<Same<u64>>,
    score: Maybe<Parts>,
});

/// The parts of a score, the most important first.
enum Parts {}

impl Field for Parts {
    type Wire = v1::Score;
    type Model = Vec<i64>;

    fn read(wire: v1::Score) -> Result<Vec<i64>, BadField> {
        Ok(wire.parts)
    }

    fn write(model: &Vec<i64>) -> v1::Score {
        v1::Score { parts: model.clone() }
    }
}

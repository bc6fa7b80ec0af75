//! The cluster, its stacks and its tokens.

use std::collections::BTreeMap;

use model::view::{
    AuthoritiesView, AuthorityRow, AutomaticRow, AutomaticView, HolderRow, LossRow, OperatorRow,
    Problem, RevisionRow, SchedulerRow, ServiceChange, StackRow, StatusView, TokenRow, VoterRow,
};

use super::{Rows, Shown};
use crate::{
    convert::{
        field::mirror,
        kinds::{Maybe, Message, Same, Total},
    },
    v1,
};

mirror!(v1::StatusView => StatusView {
    cluster: Shown,
    healthy: Same<bool>,
    leader: Maybe<Shown>,
    schedulers: Rows<Message<v1::SchedulerRow, SchedulerRow>>,
    nodes: Same<BTreeMap<String, u32>>,
    tasks: Same<BTreeMap<String, u32>>,
    problems: Rows<Message<v1::Problem, Problem>>,
    losses: Rows<Message<v1::LossRow, LossRow>>,
    losses_unknown: Same<u32>,
    automatic_rebalance: Maybe<Message<v1::AutomaticView, AutomaticView>>,
    cordoned: Rows<Shown>,
});

mirror!(v1::AutomaticView => AutomaticView {
    on: Same<bool>,
    since: Maybe<Shown>,
    moves: Rows<Message<v1::AutomaticRow, AutomaticRow>>,
    moves_last_hour: Same<u32>,
    most_per_hour: Same<u32>,
    paused: Maybe<Shown>,
});

mirror!(v1::AutomaticRow => AutomaticRow {
    stack: Shown,
    service: Shown,
    replica: Same<u32>,
    from: Shown,
    to: Shown,
    at: Shown,
    reason: Shown,
    state: Shown,
    error: Maybe<Shown>,
});

mirror!(v1::LossRow => LossRow {
    node: Shown,
    homeless: Rows<Shown>,
    memory: Total,
    bound: Rows<Shown>,
    cure: Maybe<Total>,
});

mirror!(v1::SchedulerRow => SchedulerRow {
    id: Same<u64>,
    address: Shown,
    role: Shown,
    version: Shown,
    applied: Same<u64>,
});

mirror!(v1::VoterRow => VoterRow {
    id: Same<u64>,
    address: Shown,
    role: Shown,
    reachable: Same<bool>,
    behind: Maybe<Same<u64>>,
    version: Maybe<Shown>,
    error: Maybe<Shown>,
});

mirror!(v1::AuthoritiesView => AuthoritiesView {
    authorities: Rows<Message<v1::AuthorityRow, AuthorityRow>>,
    phase: Shown,
    behind: Rows<Message<v1::HolderRow, HolderRow>>,
});

mirror!(v1::AuthorityRow => AuthorityRow {
    number: Same<u64>,
    fingerprint: Shown,
    state: Shown,
    since: Shown,
    until: Shown,
});

mirror!(v1::HolderRow => HolderRow {
    kind: Shown,
    name: Shown,
    authority: Maybe<Same<u64>>,
    needed: Same<bool>,
    why: Shown,
});

mirror!(v1::OperatorRow => OperatorRow {
    name: Shown,
    added_at: Maybe<Shown>,
    last_used_at: Maybe<Shown>,
    last_used_from: Maybe<Shown>,
    own: Same<bool>,
});

mirror!(v1::Problem => Problem {
    what: Shown,
    cause: Shown,
    since: Maybe<Shown>,
    fix: Shown,
});

mirror!(v1::StackRow => StackRow {
    stack: Shown,
    revision: Same<u64>,
    services: Same<u32>,
    replicas: Same<u32>,
    ready: Same<u32>,
    memory: Total,
    applied_at: Maybe<Shown>,
    state: Shown,
    problems: Rows<Shown>,
});

mirror!(v1::RevisionRow => RevisionRow {
    revision: Same<u64>,
    applied_at: Shown,
    cause: Shown,
    changes: Rows<Message<v1::ServiceChange, ServiceChange>>,
    current: Same<bool>,
    ready: Same<bool>,
});

mirror!(v1::TokenRow => TokenRow {
    id: Shown,
    role: Shown,
    created_at: Shown,
    expires_at: Shown,
    state: Shown,
});

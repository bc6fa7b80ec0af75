//! What may be asked of the cluster.

use model::{
    Inventory, OperatorName, ServiceName, StackName, StackSpec, TaskReport,
    id::{NodeKind, TaskKind, TokenKind},
    name::NodeName,
};
use proto::{
    convert::{
        kinds::{AtRevision, Maybe, Message, Parsed, Required, Same, Time, Total},
        words::{LivenessWord, RoleWord},
    },
    v1::{self, command},
};
use scheduler_core::{Command, cluster::ServiceNeed};

use super::{
    change::ChangeForm,
    form::{Hash, Labels, Many, Number, PhaseWord, Text, Words, choice, record},
};

choice!(CommandForm: v1::Command, command::Command, command => Command {
    found: Found { id: Text, name: Text },
    apply_stack: ApplyStack {
        spec: Required<Message<v1::StackSpec, StackSpec>>,
        basis: Maybe<AtRevision>,
    },
    remove_stack: RemoveStack { stack: Parsed<StackName>, volumes: Same<bool> },
    rollback_stack: RollbackStack { stack: Parsed<StackName>, to: Maybe<AtRevision> },
    scale: Scale {
        stack: Parsed<StackName>,
        service: Parsed<ServiceName>,
        replicas: Same<u32>,
    },
    restart: Restart {
        stack: Parsed<StackName>,
        service: Maybe<Parsed<ServiceName>>,
        slot: Maybe<Same<u32>>,
    },
    move_task: MoveTask { task: Number<TaskKind>, to: Number<NodeKind> },
    set_automatic: SetAutomatic { on: Same<bool> },
    join_node: JoinNode {
        name: Parsed<NodeName>,
        labels: Labels,
        address: Text,
        token: Number<TokenKind>,
        secret_hash: Hash,
    },
    update_node: UpdateNode {
        node: Number<NodeKind>,
        inventory: Required<Message<v1::Inventory, Inventory>>,
        address: Text,
    },
    set_liveness: SetLiveness { node: Number<NodeKind>, liveness: LivenessWord },
    set_schedulable: SetSchedulable { node: Number<NodeKind>, schedulable: Same<bool> },
    drain_node: DrainNode { node: Number<NodeKind>, until: Time },
    label_node: LabelNode { node: Number<NodeKind>, set: Labels, remove: Words },
    remove_node: RemoveNode {
        node: Number<NodeKind>,
        tasks: Same<bool>,
        volumes: Same<bool>,
        down_since: Maybe<Time>,
    },
    report_tasks: ReportTasks {
        node: Number<NodeKind>,
        reports: Many<Message<v1::TaskReport, TaskReport>>,
    },
    create_token: CreateToken { role: RoleWord, secret_hash: Hash, expires_at: Time },
    revoke_token: RevokeToken { token: Number<TokenKind> },
    join_scheduler: JoinScheduler { token: Number<TokenKind>, secret_hash: Hash },
    raise_form: RaiseForm { form: Same<u32> },
    remove_scheduler: RemoveScheduler { scheduler: Same<u64> },
    introduce_authority: IntroduceAuthority { current: Same<Vec<u8>>, next: Same<Vec<u8>> },
    advance_authority: AdvanceAuthority {
        authority: Same<u64>,
        to: PhaseWord,
        force: Same<bool>,
    },
    hold_authority: HoldAuthority { node: Number<NodeKind>, authority: Same<u64> },
    add_operator: AddOperator { name: Parsed<OperatorName> },
    remove_operator: RemoveOperator { name: Parsed<OperatorName> },
    confirm_volumes_removed: ConfirmVolumesRemoved {
        node: Number<NodeKind>,
        volumes: Many<Text>,
        left: Many<Text>,
    },
    record_needs: RecordNeeds { needs: Many<ServiceNeedForm> },
    plan: Plan { basis: AtRevision, changes: Many<ChangeForm> },
});

record!(ServiceNeedForm: command::ServiceNeed => ServiceNeed {
    stack: Parsed<StackName>,
    service: Parsed<ServiceName>,
    peak: Total,
    usual: Total,
    observed_ms: Same<u64>,
});

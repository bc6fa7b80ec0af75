//! The values whose bytes stand in `tests/golden`. What is here stays as it is: a new field gets a
//! new value and a new file.

mod spec;

use std::collections::{BTreeMap, BTreeSet};

use model::{
    Allows, Bytes, Desired, Epoch, Event, Generation, Generic, Health, Inventory, Liveness,
    MilliCpu, Node, NodeId, OperatorName, RequestId, Revision, ServiceSpec, TaskId, TaskReport,
    TaskState, TaskStatus, Timestamp, TokenId,
    event::Severity,
    task::{Cause, Decision, Failure, TaskVolume},
    token::{Role, Token},
    view::Verdict,
};
use scheduler_core::{
    Change, ClusterImage, Command, Entry, RolloutOutcome,
    cluster::{
        Answer, Authorities, Authority, AuthorityPhase, Automatic, AutomaticMove, FailedRollout,
        Kills, Need, Remembered, Removal, ServiceNeed, Volume,
        snapshot::{RequestImage, RevisionImage, ServiceImage, StackImage, TaskImage},
    },
};

use self::spec::{full, stack};

const AT: Timestamp = Timestamp(1_760_000_000_000);
const REQUEST: RequestId = RequestId(0x0011_2233_4455_6677_8899_aabb_ccdd_eeff);

fn pairs(key: &str, value: &str) -> BTreeMap<String, String> {
    [(key.to_owned(), value.to_owned())].into()
}

fn words(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}

fn inventory() -> Inventory {
    Inventory {
        memory: Bytes::gib(16),
        memory_budget: Some(Bytes::gib(14)),
        memory_reserve: Bytes::gib(1),
        cpu: MilliCpu::cores(8),
        arch: "arm64".to_owned(),
        os: "linux".to_owned(),
        engine: "docker 20.10.24".to_owned(),
        agent_version: "0.1.0".to_owned(),
        disk: Bytes::gib(256),
        disk_free: Bytes::gib(100),
        engine_ready: true,
        ledger_error: None,
        allows: None,
        generic: Generic::NONE,
    }
}

fn with_devices() -> Inventory {
    Inventory { generic: spec::generic(), ..permissive() }
}

fn permissive() -> Inventory {
    let set = |text: &str| words(text).into_iter().collect();
    let allows = Allows {
        capabilities: set("devices host-namespaces"),
        binds: set("/srv/data /Volumes/fast"),
        sockets: set("/var/run/docker.sock"),
    };
    Inventory { allows: Some(allows), ..inventory() }
}

fn status() -> TaskStatus {
    TaskStatus {
        restarts: 2,
        state: TaskState::Failed,
        sequence: 17,
        health: Health::Unhealthy,
        container: Some("c0ffee".to_owned()),
        exit_code: Some(-9),
        failure: Some(Failure::new(Cause::OutOfMemory, "killed: exceeded its limit of 512.0 MiB")),
        started_at: Some(AT),
        finished_at: Some(AT.plus_millis(1_500)),
    }
}

fn decision() -> Decision {
    let fits = Verdict {
        node: "mini-1".to_owned(),
        fits: true,
        reason: "fits".to_owned(),
        resource: None,
        needed: None,
        free: None,
        short: None,
        score: Some(vec![0, -1, 2_048]),
    };
    let short = Verdict {
        node: "mini-2".to_owned(),
        fits: false,
        reason: "needs 2.0 GiB, 1.0 GiB free, short 1.0 GiB".to_owned(),
        resource: Some("memory".to_owned()),
        needed: Some(2 << 30),
        free: Some(1 << 30),
        short: Some(1 << 30),
        score: None,
    };
    Decision { at: AT, revision: Revision(40), verdicts: vec![fits, short] }
}

fn changes() -> Vec<Change> {
    let (stack, service) = ("shop".parse().unwrap(), "db".parse().unwrap());
    let task = TaskId::new(12);
    vec![
        Change::CreateTask {
            task,
            stack,
            service,
            slot: 1,
            epoch: Epoch(3),
            spec_revision: Revision(4),
        },
        Change::Place { task, node: NodeId::new(2), decision: decision().into() },
        Change::SetDesired { task, desired: Desired::Run },
        Change::MarkLost { task: TaskId::new(9), down_since: None },
        Change::Forget { task: TaskId::new(8) },
        Change::RecordRollout {
            stack: "shop".parse().unwrap(),
            service: "web".parse().unwrap(),
            outcome: RolloutOutcome::Failed {
                revision: Revision(4),
                reason: "a new task failed".to_owned(),
            },
        },
        Change::ForgetStack { stack: "old".parse().unwrap() },
        Change::Note {
            severity: Severity::Warning,
            kind: "waiting".to_owned(),
            task,
            message: "waits for room".to_owned(),
        },
    ]
}

/// One entry of each kind of command, every field set.
pub(super) fn entries() -> Vec<Entry> {
    let node = NodeId::new(2);
    let stack_name = || "shop".parse().unwrap();
    let service_name = || "db".parse().unwrap();
    let commands = vec![
        Command::Found { id: "5150c0de".to_owned(), name: "home".to_owned() },
        Command::ApplyStack { spec: stack(), basis: Some(Revision(0)) },
        Command::RemoveStack { stack: stack_name(), volumes: true },
        Command::RollbackStack { stack: stack_name(), to: Some(Revision(3)) },
        Command::Scale { stack: stack_name(), service: service_name(), replicas: 5 },
        Command::Restart { stack: stack_name(), service: Some(service_name()), slot: Some(1) },
        Command::JoinNode {
            name: "mini-2".parse().unwrap(),
            labels: pairs("role", "database"),
            address: "192.168.1.12".to_owned(),
            token: TokenId::new(1),
            secret_hash: [0xab; 32],
        },
        Command::UpdateNode { node, inventory: inventory(), address: "192.168.1.12".to_owned() },
        Command::SetLiveness { node, liveness: Liveness::Unreachable },
        Command::SetSchedulable { node, schedulable: true },
        Command::ReportTasks {
            node,
            reports: vec![TaskReport { task: TaskId::new(12), status: status() }],
        },
        Command::CreateToken { role: Role::Node, secret_hash: [0xcd; 32], expires_at: AT },
        Command::RevokeToken { token: TokenId::new(1) },
        Command::ConfirmVolumesRemoved {
            node,
            volumes: words("old_data old_cache"),
            left: Vec::new(),
        },
        Command::Plan { basis: Revision(41), changes: changes() },
        Command::LabelNode {
            node,
            set: pairs("role", "testing"),
            remove: words("disk zone").into_iter().collect(),
        },
        Command::RemoveNode { node, tasks: true, volumes: true, down_since: None },
        Command::JoinScheduler { token: TokenId::new(3), secret_hash: [0xef; 32] },
        Command::RaiseForm { form: 2 },
        Command::RemoveScheduler { scheduler: 1_000_003 },
        Command::IntroduceAuthority { current: vec![0x30, 0x82, 1], next: vec![0x30, 0x82, 2] },
        Command::AdvanceAuthority { authority: 2, to: AuthorityPhase::Presented, force: true },
        Command::HoldAuthority { node, authority: 2 },
        Command::AddOperator { name: OperatorName::new("ada").unwrap() },
        Command::RemoveOperator { name: OperatorName::new("admin-2").unwrap() },
        Command::DrainNode { node, until: AT.plus_millis(600_000) },
        Command::RecordNeeds {
            needs: vec![ServiceNeed {
                stack: stack_name(),
                service: service_name(),
                peak: Bytes::mib(150),
                usual: Bytes::mib(120),
                observed_ms: 86_400_000,
            }],
        },
        Command::MoveTask { task: TaskId::new(12), to: node },
        Command::SetAutomatic { on: true },
    ];
    commands.into_iter().map(|command| Entry { at: AT, request: Some(REQUEST), command }).collect()
}

/// What entries may say since their kind got its golden bytes, each with the name of its own.
pub(super) fn additions() -> Vec<(&'static str, Entry)> {
    let changes = vec![
        Change::MarkReady { stack: "shop".parse().unwrap(), revision: Revision(4) },
        Change::SetDesired { task: TaskId::new(12), desired: Desired::Rest },
    ];
    let command = Command::Plan { basis: Revision(41), changes };
    let entry = |command| Entry { at: AT, request: None, command };
    let changes = vec![Change::EndDrain { node: NodeId::new(2) }];
    let end_drain = Command::Plan { basis: Revision(41), changes };
    let changes = vec![Change::MarkLost { task: TaskId::new(9), down_since: Some(AT) }];
    let fenced = Command::Plan { basis: Revision(41), changes };
    let (node, address) = (NodeId::new(2), "192.168.1.12".to_owned());
    let allows = Command::UpdateNode { node, inventory: permissive(), address };
    let left = Command::ConfirmVolumesRemoved {
        node: NodeId::new(2),
        volumes: Vec::new(),
        left: words("old_data"),
    };
    let removed = Command::RemoveNode {
        node: NodeId::new(2),
        tasks: true,
        volumes: false,
        down_since: Some(AT),
    };
    let end = |failed: Option<&str>| Change::EndMove {
        task: TaskId::new(12),
        failed: failed.map(str::to_owned),
    };
    let changes = vec![end(None), end(Some("replica 1 (task t12): its node is down"))];
    let end_move = Command::Plan { basis: Revision(41), changes };
    let message = "image app:1 has no variant for linux/arm64/v8";
    let failure = Some(Failure { no_variant: true, ..Failure::new(Cause::Image, message) });
    let status = TaskStatus { state: TaskState::Preparing, failure, ..status() };
    let reports = vec![TaskReport { task: TaskId::new(12), status }];
    let no_variant = Command::ReportTasks { node: NodeId::new(2), reports };
    let changes = vec![Change::EndToken { token: TokenId::new(7) }];
    let end_token = Command::Plan { basis: Revision(41), changes };
    let reason = "so that shop/db.1 has room".to_owned();
    let changes = vec![Change::MoveTask { task: TaskId::new(12), to: NodeId::new(1), reason }];
    let own_move = Command::Plan { basis: Revision(41), changes };
    let (node, address) = (NodeId::new(2), "192.168.1.12".to_owned());
    let offers = Command::UpdateNode { node, inventory: with_devices(), address };
    let asks = Command::ApplyStack { spec: spec::of_devices(), basis: Some(Revision(3)) };
    vec![
        ("entry-6-update-node-generic.bin", entry(offers)),
        ("entry-6-apply-stack-generic.bin", entry(asks)),
        ("entry-6-plan-end-token.bin", entry(end_token)),
        ("entry-6-report-tasks-no-variant.bin", entry(no_variant)),
        ("entry-6-plan-move-task.bin", entry(own_move)),
        ("entry-5-plan-end-move.bin", entry(end_move)),
        ("entry-4-update-node-allows.bin", entry(allows)),
        ("entry-1-remove-node-fenced.bin", entry(removed)),
        ("entry-1-plan-mark-ready.bin", entry(command)),
        ("entry-1-confirm-volumes-left.bin", entry(left)),
        ("entry-1-plan-end-drain.bin", entry(end_drain)),
        ("entry-1-plan-fenced.bin", entry(fenced)),
    ]
}

fn stack_image() -> StackImage {
    StackImage {
        revision: Revision(4),
        history: vec![RevisionImage {
            revision: Revision(4),
            at: AT,
            cause: "rollback to 3".to_owned(),
            spec: stack(),
            ready: false,
        }],
        services: vec![ServiceImage {
            name: "db".parse().unwrap(),
            spec: 1,
            spec_revision: Revision(4),
            wanted: true,
            failed: Some(FailedRollout {
                revision: Revision(3),
                at: AT,
                reason: "a new task failed".to_owned(),
            }),
            slots: vec![(1, Epoch(3), Epoch(2)), (2, Epoch(1), Epoch(0))],
            moved_at: None,
            need: None,
            kills: None,
            lacks: BTreeSet::new(),
        }],
        removal: Some(Removal { volumes: true, since: AT }),
    }
}

fn task_image() -> TaskImage {
    TaskImage {
        id: TaskId::new(12),
        stack: "shop".parse().unwrap(),
        service: "db".parse().unwrap(),
        slot: 1,
        epoch: Epoch(3),
        spec: 1,
        spec_revision: Revision(4),
        volumes: [(
            "pg_data".parse().unwrap(),
            TaskVolume { engine_name: "shop-pg".to_owned(), external: true },
        )]
        .into(),
        desired: Desired::Stop,
        node: Some(NodeId::new(2)),
        decision: Some(decision()),
        status: status(),
        created_at: AT,
        since: AT.plus_millis(2_000),
        moves_from: None,
    }
}

fn node() -> Node {
    Node {
        id: NodeId::new(2),
        name: "mini-2".parse().unwrap(),
        labels: pairs("role", "database"),
        address: "192.168.1.12".to_owned(),
        inventory: inventory(),
        liveness: Liveness::Down,
        schedulable: true,
        drain: None,
        drain_since: None,
        joined_at: AT,
        returned_at: None,
        since: AT.plus_millis(3_000),
    }
}

fn requests() -> Vec<RequestImage> {
    let refused = Answer::Refused { text: "there is no stack `x`".to_owned(), input: true };
    let answers = [
        Answer::Done,
        Answer::Unchanged,
        Answer::Stack(Revision(4)),
        Answer::Node(NodeId::new(2)),
        Answer::Token(TokenId::new(1)),
        refused,
    ];
    let numbered = (REQUEST.0..).map(RequestId).zip(answers);
    numbered
        .map(|(request, answer)| RequestImage {
            request,
            remembered: Remembered { at: AT, revision: Revision(42), answer },
        })
        .collect()
}

/// One of everything, every field set.
pub(super) fn image() -> ClusterImage {
    ClusterImage {
        version: 1,
        id: "5150c0de".to_owned(),
        name: "home".to_owned(),
        revision: Revision(42),
        planned: Revision(41),
        next_task: TaskId::new(13),
        next_node: NodeId::new(3),
        next_token: TokenId::new(2),
        specs: vec![ServiceSpec::new("nginx:1.27"), full()],
        stacks: vec![stack_image()],
        tasks: vec![task_image()],
        nodes: vec![(node(), Generation(42))],
        volumes: vec![(
            "shop-pg".to_owned(),
            Volume {
                stack: "shop".parse().unwrap(),
                name: "pg_data".parse().unwrap(),
                external: true,
                home: NodeId::new(2),
                used: true,
                removing: true,
                created_at: AT,
            },
        )],
        tokens: vec![Token {
            id: TokenId::new(1),
            role: Role::Scheduler,
            secret_hash: [0xef; 32],
            created_at: AT,
            expires_at: AT.plus_millis(86_400_000),
            used_at: Some(AT.plus_millis(1_000)),
            ended_at: None,
        }],
        requests: requests(),
        events: vec![Event {
            revision: Revision(42),
            at: AT,
            severity: Severity::Warning,
            kind: "oom".to_owned(),
            stack: Some("shop".parse().unwrap()),
            service: Some("db".parse().unwrap()),
            task: Some(TaskId::new(12)),
            node: Some(NodeId::new(2)),
            message: "killed: exceeded its limit of 512.0 MiB".to_owned(),
        }],
        origin: String::new(),
        least_scheduler: 0,
        removed_schedulers: BTreeSet::new(),
        authorities: None,
        operators: BTreeMap::new(),
        removed_operators: BTreeSet::new(),
        automatic: None,
    }
}

/// Moves that nobody asked for, the second of which failed.
fn with_own_moves() -> ClusterImage {
    let begun = |task: u64, ended: Option<u64>, failed: Option<&str>| AutomaticMove {
        at: AT,
        stack: "shop".parse().unwrap(),
        service: "web".parse().unwrap(),
        slot: 2,
        task: TaskId::new(task),
        from: NodeId::new(1),
        to: NodeId::new(2),
        reason: "so that shop/db.1 has room".to_owned(),
        ended_at: ended.map(|after| AT.plus_millis(after)),
        failed: failed.map(str::to_owned),
    };
    let failed = "replica 2 (task t19): its node is down";
    let moves = vec![begun(18, Some(4_000), None), begun(19, Some(9_000), Some(failed))];
    let moves = moves.into_iter().chain([begun(20, None, None)]).collect();
    let failed_at = Some(AT.plus_millis(9_000));
    let automatic = Automatic { on: true, since: AT, failed_at, moves };
    ClusterImage { version: 6, automatic: Some(automatic), ..image() }
}

/// Tokens that have ended, as they are from form 6 on.
fn with_ended_tokens() -> ClusterImage {
    let mut ended = ClusterImage { version: 6, ..image() };
    for token in &mut ended.tokens {
        (token.used_at, token.ended_at) = (None, Some(AT.plus_millis(86_400_001)));
    }
    ended
}

fn with_lacks() -> ClusterImage {
    let mut lacking = ClusterImage { version: 6, ..image() };
    for service in lacking.stacks.iter_mut().flat_map(|stack| &mut stack.services) {
        service.lacks = ["linux/amd64".to_owned(), "linux/arm64".to_owned()].into();
    }
    lacking
}

/// What asks for devices, and nodes that have some.
fn with_generic() -> ClusterImage {
    let mut devices = ClusterImage { version: 6, ..image() };
    devices.specs = spec::of_devices().services.into_values().collect();
    for stack in &mut devices.stacks {
        stack.history.iter_mut().for_each(|past| past.spec = spec::of_devices());
    }
    for (node, _) in &mut devices.nodes {
        node.inventory = with_devices();
    }
    devices
}

/// What snapshots may say since the first got its golden bytes, each with the name of its own.
pub(super) fn image_additions() -> Vec<(&'static str, ClusterImage)> {
    let mut drained = image();
    for (node, _) in &mut drained.nodes {
        node.schedulable = false;
        node.drain = Some(AT.plus_millis(600_000));
    }
    let recovered = ClusterImage {
        version: 2,
        origin: "0415c1a1".to_owned(),
        least_scheduler: 1_000_003,
        removed_schedulers: [1_000_004, 1_000_006].into(),
        ..image()
    };
    let authority =
        |number, byte, since| Authority { number, certificate: vec![0x30, byte], since };
    let rotating = ClusterImage {
        version: 3,
        authorities: Some(Authorities {
            step: 5,
            last: 4,
            phase: AuthorityPhase::Issuing,
            forced: true,
            trusted: vec![authority(2, 1, Timestamp(0)), authority(4, 2, AT)],
            nodes: [(NodeId::new(2), 4)].into(),
        }),
        ..image()
    };
    let name = |text: &str| OperatorName::new(text).unwrap();
    let mut people = ClusterImage {
        version: 4,
        operators: [(name("ada"), AT), (name("bob"), AT.plus_millis(1))].into(),
        removed_operators: [name("admin"), name("eve")].into(),
        ..drained.clone()
    };
    for (node, _) in &mut people.nodes {
        node.drain_since = Some(AT.plus_millis(4));
    }
    let mut moved = image();
    for (node, _) in &mut moved.nodes {
        node.returned_at = Some(AT.plus_millis(1));
    }
    for service in moved.stacks.iter_mut().flat_map(|stack| &mut stack.services) {
        service.moved_at = Some(AT.plus_millis(2));
    }
    let moves_from = Some(NodeId::new(1));
    let tasks = vec![TaskImage { moves_from, ..task_image() }];
    let moving = ClusterImage { version: 5, tasks, ..image() };
    let mut permitting = ClusterImage { version: 4, ..image() };
    for (node, _) in &mut permitting.nodes {
        node.inventory = permissive();
    }
    let mut sized = ClusterImage { version: 5, ..image() };
    for service in sized.stacks.iter_mut().flat_map(|stack| &mut stack.services) {
        let (peak, usual) = (Bytes::mib(150), Bytes::mib(120));
        service.need = Some(Need { at: AT, peak, usual, observed_ms: 86_400_000 });
        service.kills = Some(Kills { count: 3, at: AT, limit: Bytes::mib(256) });
    }
    vec![
        ("snapshot-6-automatic.bin", with_own_moves()),
        ("snapshot-6-generic.bin", with_generic()),
        ("snapshot-6-token-ended.bin", with_ended_tokens()),
        ("snapshot-6-lacks.bin", with_lacks()),
        ("snapshot-5-needs.bin", sized),
        ("snapshot-5-moves.bin", moving),
        ("snapshot-4-allows.bin", permitting),
        ("snapshot-1-drain.bin", drained),
        ("snapshot-2-recovered.bin", recovered),
        ("snapshot-1-moved.bin", moved),
        ("snapshot-3-authorities.bin", rotating),
        ("snapshot-4-operators.bin", people),
    ]
}

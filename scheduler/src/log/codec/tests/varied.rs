//! Values of every shape, the same for the same seed on every machine.

mod image;
mod spec;

use std::{collections::BTreeMap, fmt::Debug, str::FromStr};

use model::{
    Allows, Bytes, Desired, Epoch, Generic, Health, Id, Inventory, Liveness, MilliCpu, RequestId,
    Revision, TaskReport, TaskState, TaskStatus, Timestamp,
    event::Severity,
    task::{Cause, Decision, Failure},
    token::Role,
    view::Verdict,
};
use scheduler_core::{
    Change, Command, Entry, RolloutOutcome,
    cluster::{AuthorityPhase, ServiceNeed},
};

/// How many kinds of commands there are.
pub(super) const KINDS: u64 = 29;
const CHANGES: u64 = 13;

/// A seed that moves on with every draw (splitmix64).
pub(super) struct Varied(pub(super) u64);

type Labels = BTreeMap<String, String>;

impl Varied {
    fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.draw() % end
    }

    pub(super) fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).unwrap()
    }

    pub(super) fn byte(&mut self) -> u8 {
        self.draw().to_le_bytes()[0]
    }

    fn yes(&mut self) -> bool {
        self.below(2) == 1
    }

    fn of<T: Copy>(&mut self, words: &[T]) -> T {
        words[self.index(words.len())]
    }

    fn maybe<T>(&mut self, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.yes().then(|| make(self))
    }

    fn list<T, C: FromIterator<T>>(&mut self, mut make: impl FnMut(&mut Self) -> T) -> C {
        (0..self.below(3)).map(|_| make(self)).collect()
    }

    /// Often at an end of the range.
    fn u64(&mut self) -> u64 {
        let any = self.draw();
        self.of(&[0, 1, 127, 128, u64::MAX, any, any])
    }

    fn u32(&mut self) -> u32 {
        u32::try_from(self.u64() & u64::from(u32::MAX)).unwrap()
    }

    /// At most what passes the door.
    fn up_to(&mut self, most: u64) -> u64 {
        self.u64().min(most)
    }

    fn id<K>(&mut self) -> Id<K> {
        Id::new(self.u64())
    }

    fn revision(&mut self) -> Revision {
        Revision(self.u64())
    }

    fn time(&mut self) -> Timestamp {
        Timestamp(self.u64())
    }

    fn bytes(&mut self) -> Bytes {
        Bytes(self.up_to(1 << 62))
    }

    fn text(&mut self) -> String {
        self.of(&["", "a", "two words", "line\nline", "größer ≥ 😀", "x=1,y=\"2\""]).to_owned()
    }

    fn word(&mut self) -> String {
        format!("w{}", self.u64())
    }

    fn name<N: FromStr<Err: Debug>>(&mut self) -> N {
        self.of(&["a", "web", "db-1", "0"]).parse().unwrap()
    }

    fn labels(&mut self) -> Labels {
        self.list(|v| (v.word(), v.text()))
    }

    fn hash(&mut self) -> [u8; 32] {
        std::array::from_fn(|_| self.byte())
    }

    fn role(&mut self) -> Role {
        self.of(&[Role::Node, Role::Scheduler, Role::Admin])
    }

    fn liveness(&mut self) -> Liveness {
        self.of(&[Liveness::Ready, Liveness::Unreachable, Liveness::Down])
    }

    fn desired(&mut self) -> Desired {
        self.of(&[Desired::Prepare, Desired::Run, Desired::Rest, Desired::Stop])
    }

    fn phase(&mut self) -> AuthorityPhase {
        use AuthorityPhase::{Introduced, Issuing, Presented, Settled};
        self.of(&[Settled, Introduced, Issuing, Presented])
    }

    fn severity(&mut self) -> Severity {
        self.of(&[Severity::Normal, Severity::Warning])
    }

    pub(super) fn entry(&mut self, kind: u64) -> Entry {
        Entry {
            at: self.time(),
            request: self.maybe(|v| RequestId(u128::from(v.u64()) << 64 | u128::from(v.u64()))),
            command: self.command(kind),
        }
    }

    pub(super) fn command(&mut self, kind: u64) -> Command {
        match kind {
            0 => Command::Found { id: self.text(), name: self.text() },
            1 => Command::ApplyStack { spec: self.stack_spec(), basis: self.maybe(Self::revision) },
            2 => Command::RemoveStack { stack: self.name(), volumes: self.yes() },
            3 => Command::RollbackStack { stack: self.name(), to: self.maybe(Self::revision) },
            4 => Command::Scale { stack: self.name(), service: self.name(), replicas: self.u32() },
            5 => Command::Restart {
                stack: self.name(),
                service: self.maybe(Self::name),
                slot: self.maybe(Self::u32),
            },
            6 => Command::JoinNode {
                name: self.name(),
                labels: self.list(|v| (v.text(), v.text())),
                address: self.text(),
                token: self.id(),
                secret_hash: self.hash(),
            },
            7 => Command::UpdateNode {
                node: self.id(),
                inventory: self.inventory(),
                address: self.text(),
            },
            8 => Command::SetLiveness { node: self.id(), liveness: self.liveness() },
            9 => Command::SetSchedulable { node: self.id(), schedulable: self.yes() },
            10 => Command::ReportTasks { node: self.id(), reports: self.list(Self::report) },
            11 => Command::CreateToken {
                role: self.role(),
                secret_hash: self.hash(),
                expires_at: self.time(),
            },
            12 => Command::RevokeToken { token: self.id() },
            13 => {
                let (volumes, left) = (self.list(Self::text), self.list(Self::text));
                Command::ConfirmVolumesRemoved { node: self.id(), volumes, left }
            }
            16 => Command::DrainNode { node: self.id(), until: self.time() },
            14 => Command::LabelNode {
                node: self.id(),
                set: self.labels(),
                remove: self.list(Self::word),
            },
            15 => self.remove_node(),
            18 => Command::RaiseForm { form: 1 + self.u32() % 6 },
            20 => Command::IntroduceAuthority {
                current: self.hash().to_vec(),
                next: self.list(Self::byte),
            },
            21 => Command::AdvanceAuthority {
                authority: self.u64(),
                to: self.phase(),
                force: self.yes(),
            },
            22 => Command::HoldAuthority { node: self.id(), authority: self.u64() },
            23 => Command::AddOperator { name: self.name() },
            24 => Command::RemoveOperator { name: self.name() },
            25 => Command::RecordNeeds { needs: self.list(Self::need) },
            27 => Command::SetAutomatic { on: self.yes() },
            26 => Command::MoveTask { task: self.id(), to: self.id() },
            19 => Command::RemoveScheduler { scheduler: self.u64() },
            17 => Command::JoinScheduler { token: self.id(), secret_hash: self.hash() },
            _ => Command::Plan {
                basis: self.revision(),
                changes: (0..CHANGES).map(|kind| self.change(kind)).collect(),
            },
        }
    }

    fn remove_node(&mut self) -> Command {
        Command::RemoveNode {
            node: self.id(),
            tasks: self.yes(),
            volumes: self.yes(),
            down_since: self.maybe(Self::time),
        }
    }

    fn need(&mut self) -> ServiceNeed {
        ServiceNeed {
            stack: self.name(),
            service: self.name(),
            peak: Bytes(self.u64()),
            usual: Bytes(self.u64()),
            observed_ms: self.u64(),
        }
    }

    fn change(&mut self, kind: u64) -> Change {
        match kind {
            0 => Change::CreateTask {
                task: self.id(),
                stack: self.name(),
                service: self.name(),
                slot: self.u32(),
                epoch: Epoch(self.u64()),
                spec_revision: self.revision(),
            },
            1 => {
                Change::Place { task: self.id(), node: self.id(), decision: self.decision().into() }
            }
            2 => Change::SetDesired { task: self.id(), desired: self.desired() },
            3 => Change::MarkLost { task: self.id(), down_since: self.maybe(Self::time) },
            4 => Change::Forget { task: self.id() },
            5 => Change::RecordRollout {
                stack: self.name(),
                service: self.name(),
                outcome: RolloutOutcome::Failed { revision: self.revision(), reason: self.text() },
            },
            6 => Change::ForgetStack { stack: self.name() },
            7 => Change::MarkReady { stack: self.name(), revision: self.revision() },
            8 => Change::EndDrain { node: self.id() },
            9 => Change::EndMove { task: self.id(), failed: self.maybe(Self::text) },
            10 => Change::EndToken { token: self.id() },
            11 => Change::MoveTask { task: self.id(), to: self.id(), reason: self.text() },
            _ => Change::Note {
                severity: self.severity(),
                kind: self.text(),
                task: self.id(),
                message: self.text(),
            },
        }
    }

    fn decision(&mut self) -> Decision {
        Decision {
            at: self.time(),
            revision: self.revision(),
            verdicts: self.list(|v| Verdict {
                node: v.text(),
                fits: v.yes(),
                reason: v.text(),
                resource: v.maybe(Self::text),
                needed: v.maybe(Self::u64),
                free: v.maybe(Self::u64),
                short: v.maybe(Self::u64),
                score: v.maybe(|v| v.list(|v| v.u64().cast_signed())),
            }),
        }
    }

    fn inventory(&mut self) -> Inventory {
        Inventory {
            memory: self.bytes(),
            memory_budget: self.maybe(Self::bytes),
            memory_reserve: self.bytes(),
            cpu: MilliCpu(self.up_to(64_000)),
            arch: self.text(),
            os: self.text(),
            engine: self.text(),
            agent_version: self.text(),
            disk: self.bytes(),
            disk_free: self.bytes(),
            engine_ready: self.yes(),
            ledger_error: self.maybe(Self::text),
            allows: self.maybe(|v| Allows {
                capabilities: v.list(Self::word),
                binds: v.list(Self::word),
                sockets: v.list(Self::word),
            }),
            generic: self.generic(),
        }
    }

    fn generic(&mut self) -> Generic {
        let mut amounts = Generic::NONE;
        for _ in 0..self.below(3) {
            let kind = self.of(&["gpu", "disk", "NVIDIA-GPU"]);
            amounts = amounts
                .larger(&[(&kind.parse().unwrap(), 1 + self.up_to(1 << 40))].into_iter().collect());
        }
        amounts
    }

    fn report(&mut self) -> TaskReport {
        TaskReport { task: Id::new(self.u64().max(1)), status: self.status() }
    }

    fn status(&mut self) -> TaskStatus {
        use TaskState as S;
        TaskStatus {
            restarts: self.u32(),
            state: self.of(&[
                S::Pending,
                S::Assigned,
                S::Preparing,
                S::Starting,
                S::Running,
                S::Stopping,
                S::Stopped,
                S::Failed,
                S::Lost,
            ]),
            sequence: self.u64(),
            health: self.of(&[Health::None, Health::Starting, Health::Healthy, Health::Unhealthy]),
            container: self.maybe(Self::word),
            exit_code: self.maybe(|v| v.u64().cast_signed()),
            failure: self.maybe(|v| Failure {
                cause: v.of(&[
                    Cause::Exited,
                    Cause::OutOfMemory,
                    Cause::Image,
                    Cause::Start,
                    Cause::Refused,
                    Cause::Unhealthy,
                    Cause::NodeLost,
                    Cause::Interrupted,
                ]),
                message: v.text(),
                no_variant: v.yes(),
            }),
            started_at: self.maybe(Self::time),
            finished_at: self.maybe(Self::time),
        }
    }
}

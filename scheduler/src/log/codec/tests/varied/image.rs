//! Whole clusters; whether they can be is not asked.

use model::{Bytes, Epoch, Event, Generation, Node, RequestId, task::TaskVolume, token::Token};
use scheduler_core::{
    ClusterImage,
    cluster::{
        Answer, Authorities, Authority, Automatic, AutomaticMove, FailedRollout, Kills, Need,
        Remembered, Removal, Volume,
        snapshot::{
            IMAGE_VERSION, RequestImage, RevisionImage, ServiceImage, StackImage, TaskImage,
        },
    },
};

use super::Varied;

impl Varied {
    pub(in super::super) fn image(&mut self) -> ClusterImage {
        ClusterImage {
            version: IMAGE_VERSION,
            id: self.text(),
            name: self.text(),
            revision: self.revision(),
            planned: self.revision(),
            next_task: self.id(),
            next_node: self.id(),
            next_token: self.id(),
            specs: self.list(Self::service_spec),
            stacks: self.list(Self::stack),
            tasks: self.list(Self::task),
            nodes: self.list(|v| (v.node(), Generation(v.u64()))),
            volumes: self.list(|v| (v.text(), v.volume())),
            tokens: self.list(Self::token),
            requests: self.list(Self::request),
            events: self.list(Self::event),
            origin: self.text(),
            least_scheduler: self.u64(),
            removed_schedulers: self.list(Self::u64),
            authorities: self.maybe(Self::authorities),
            operators: self.list(|v| (v.name(), v.time())),
            removed_operators: self.list(Self::name),
            automatic: self.maybe(Self::automatic),
        }
    }

    fn automatic(&mut self) -> Automatic {
        Automatic {
            on: self.yes(),
            since: self.time(),
            failed_at: self.maybe(Self::time),
            moves: self.list(|v| AutomaticMove {
                at: v.time(),
                stack: v.name(),
                service: v.name(),
                slot: v.u32(),
                task: v.id(),
                from: v.id(),
                to: v.id(),
                reason: v.text(),
                ended_at: v.maybe(Self::time),
                failed: v.maybe(Self::text),
            }),
        }
    }

    fn authorities(&mut self) -> Authorities {
        Authorities {
            step: self.u64(),
            last: self.u64(),
            phase: self.phase(),
            forced: self.yes(),
            trusted: self.list(|v| Authority {
                number: v.u64(),
                certificate: v.hash().to_vec(),
                since: v.time(),
            }),
            nodes: self.list(|v| (v.id(), v.u64())),
        }
    }

    fn stack(&mut self) -> StackImage {
        StackImage {
            revision: self.revision(),
            history: self.list(|v| RevisionImage {
                revision: v.revision(),
                at: v.time(),
                cause: v.text(),
                spec: v.stack_spec(),
                ready: v.yes(),
            }),
            services: self.list(Self::service),
            removal: self.maybe(|v| Removal { volumes: v.yes(), since: v.time() }),
        }
    }

    fn service(&mut self) -> ServiceImage {
        ServiceImage {
            name: self.name(),
            spec: self.u32(),
            spec_revision: self.revision(),
            wanted: self.yes(),
            failed: self.maybe(|v| FailedRollout {
                revision: v.revision(),
                at: v.time(),
                reason: v.text(),
            }),
            slots: self.list(|v| (v.u32(), Epoch(v.u64()), Epoch(v.u64()))),
            moved_at: self.maybe(Self::time),
            need: self.maybe(|v| Need {
                at: v.time(),
                peak: Bytes(v.u64()),
                usual: Bytes(v.u64()),
                observed_ms: v.u64(),
            }),
            kills: self.maybe(|v| Kills { count: v.u32(), at: v.time(), limit: Bytes(v.u64()) }),
            lacks: self.list(Self::word),
        }
    }

    fn task(&mut self) -> TaskImage {
        TaskImage {
            id: self.id(),
            stack: self.name(),
            service: self.name(),
            slot: self.u32(),
            epoch: Epoch(self.u64()),
            spec: self.u32(),
            spec_revision: self.revision(),
            volumes: self
                .list(|v| (v.name(), TaskVolume { engine_name: v.text(), external: v.yes() })),
            desired: self.desired(),
            node: self.maybe(Self::id),
            decision: self.maybe(Self::decision),
            status: self.status(),
            created_at: self.time(),
            since: self.time(),
            moves_from: self.maybe(Self::id),
        }
    }

    fn node(&mut self) -> Node {
        Node {
            id: self.id(),
            name: self.name(),
            labels: self.labels(),
            address: self.text(),
            inventory: self.inventory(),
            liveness: self.liveness(),
            schedulable: self.yes(),
            drain: self.maybe(Self::time),
            drain_since: self.maybe(Self::time),
            joined_at: self.time(),
            returned_at: self.maybe(Self::time),
            since: self.time(),
        }
    }

    fn volume(&mut self) -> Volume {
        Volume {
            stack: self.name(),
            name: self.name(),
            external: self.yes(),
            home: self.id(),
            used: self.yes(),
            removing: self.yes(),
            created_at: self.time(),
        }
    }

    fn token(&mut self) -> Token {
        Token {
            id: self.id(),
            role: self.role(),
            secret_hash: self.hash(),
            created_at: self.time(),
            expires_at: self.time(),
            used_at: self.maybe(Self::time),
            ended_at: self.maybe(Self::time),
        }
    }

    fn request(&mut self) -> RequestImage {
        let answer = match self.below(6) {
            0 => Answer::Done,
            1 => Answer::Unchanged,
            2 => Answer::Stack(self.revision()),
            3 => Answer::Node(self.id()),
            4 => Answer::Token(self.id()),
            _ => Answer::Refused { text: self.text(), input: self.yes() },
        };
        RequestImage {
            request: RequestId(u128::from(self.u64()) << 64 | u128::from(self.u64())),
            remembered: Remembered { at: self.time(), revision: self.revision(), answer },
        }
    }

    fn event(&mut self) -> Event {
        Event {
            revision: self.revision(),
            at: self.time(),
            severity: self.severity(),
            kind: self.text(),
            stack: self.maybe(Self::name),
            service: self.maybe(Self::name),
            task: self.maybe(Self::id),
            node: self.maybe(Self::id),
            message: self.text(),
        }
    }
}

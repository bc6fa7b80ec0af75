//! Anything that may be shown.

use std::collections::BTreeMap;

use model::{
    Bytes, GenericName, ImaginedNode, MilliCpu, NodeName,
    view::{
        AdviceRow, AutomaticRow, AutomaticView, ChangeAction, DrainMove, DrainStay, DrainView,
        EventRow, ExplainView, FieldChange, LossRow, MemorySource, NodeCpus, NodeDisk, NodeGeneric,
        NodeMemory, NodeRow, OutlookView, PlacedTask, PlacementNode, PlacementView, PlanNode,
        PlanView, Problem, PullProgress, RebalanceMove, RebalanceView, ReplicaPlacement,
        RevisionRow, SchedulerRow, ServiceChange, StackRow, StatusView, Succession, TaskRow,
        TokenRow, Verdict, WhatIfView,
    },
};
use proptest::prelude::*;

/// One of each.
#[derive(Debug, Clone)]
pub(super) struct Shown {
    pub(super) task: TaskRow,
    pub(super) event: EventRow,
    pub(super) node: NodeRow,
    pub(super) placement: PlacementView,
    pub(super) plan: PlanView,
    pub(super) what_if: WhatIfView,
    pub(super) imagined: ImaginedNode,
    pub(super) drain: DrainView,
    pub(super) advice: AdviceRow,
    pub(super) rebalance: RebalanceView,
    pub(super) explain: ExplainView,
    pub(super) status: StatusView,
    pub(super) stack: StackRow,
    pub(super) revision: RevisionRow,
    pub(super) token: TokenRow,
}

/// Every value comes from one stream of numbers, so that no two fields have the same by a rule a
/// mix-up of fields could follow.
pub(super) fn all() -> impl Strategy<Value = Shown> {
    any::<u64>().prop_map(|seed| Draw { state: seed }.shown())
}

/// A stream of values (`SplitMix64`).
struct Draw {
    state: u64,
}

impl Draw {
    fn number(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn small(&mut self) -> u32 {
        u32::try_from(self.number() >> 32).unwrap()
    }

    fn flag(&mut self) -> bool {
        self.number().is_multiple_of(2)
    }

    fn text(&mut self) -> String {
        format!("é{}", self.number())
    }

    fn bytes(&mut self) -> Bytes {
        Bytes(self.number())
    }

    fn cpu(&mut self) -> MilliCpu {
        MilliCpu(self.number())
    }

    fn maybe<T>(&mut self, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        if self.flag() { Some(make(self)) } else { None }
    }

    fn some<T>(&mut self, mut make: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..self.number() % 3).map(|_| make(self)).collect()
    }

    fn shown(&mut self) -> Shown {
        Shown {
            task: self.task(),
            event: self.event(),
            node: self.node(),
            placement: self.placement(),
            plan: self.plan(),
            what_if: self.what_if(),
            imagined: self.imagined(),
            drain: self.drain(),
            advice: self.advice(),
            rebalance: self.rebalance(),
            explain: ExplainView {
                placement: self.replica(),
                decided: self.some(Self::verdict),
                task: self.maybe(Self::text),
                decided_at: self.maybe(Self::text),
                revision: self.maybe(Self::number),
                state: self.text(),
                error: self.maybe(Self::text),
            },
            status: self.status(),
            stack: self.stack(),
            revision: RevisionRow {
                revision: self.number(),
                applied_at: self.text(),
                cause: self.text(),
                changes: self.some(Self::change),
                current: self.flag(),
                ready: self.flag(),
            },
            token: TokenRow {
                id: self.text(),
                role: self.text(),
                created_at: self.text(),
                expires_at: self.text(),
                state: self.text(),
            },
        }
    }

    fn task(&mut self) -> TaskRow {
        TaskRow {
            stack: self.text(),
            service: self.text(),
            replica: self.small(),
            task: self.text(),
            node: self.maybe(Self::text),
            desired: self.text(),
            state: self.text(),
            health: self.maybe(Self::text),
            image: self.text(),
            memory_reservation: self.bytes(),
            memory_limit: self.bytes(),
            memory_used: self.maybe(Self::bytes),
            cpus: self.cpu(),
            container: self.maybe(Self::text),
            started_at: self.maybe(Self::text),
            restarts: self.small(),
            epoch: self.number(),
            error: self.maybe(Self::text),
            revision: self.number(),
            ready: self.flag(),
            pull: self.maybe(|draw| PullProgress { done: draw.bytes(), total: draw.bytes() }),
            waiting_for: self.maybe(Self::text),
            succession: self.maybe(Self::succession),
        }
    }

    fn succession(&mut self) -> Succession {
        if self.flag() { Succession::Old } else { Succession::New }
    }

    fn event(&mut self) -> EventRow {
        EventRow {
            revision: self.number(),
            at: self.text(),
            severity: self.text(),
            kind: self.text(),
            stack: self.maybe(Self::text),
            service: self.maybe(Self::text),
            task: self.maybe(Self::text),
            node: self.maybe(Self::text),
            message: self.text(),
        }
    }

    fn node(&mut self) -> NodeRow {
        NodeRow {
            name: self.text(),
            id: self.text(),
            state: self.text(),
            schedulable: self.flag(),
            labels: self.some(|draw| (draw.text(), draw.text())).into_iter().collect(),
            address: self.text(),
            arch: self.text(),
            engine: self.text(),
            version: self.text(),
            memory: NodeMemory {
                capacity: self.bytes(),
                reserve: self.bytes(),
                allocatable: self.bytes(),
                reserved: self.bytes(),
                limits: self.bytes(),
                used: self.maybe(Self::bytes),
            },
            cpus: NodeCpus { capacity: self.cpu(), reserved: self.cpu() },
            tasks: self.small(),
            disk: NodeDisk { capacity: self.bytes(), free: self.bytes() },
            engine_ready: self.flag(),
            drain_until: self.maybe(Self::text),
            generic: self.generic(),
        }
    }

    fn placement(&mut self) -> PlacementView {
        let nodes = self.some(|draw| PlacementNode {
            name: draw.text(),
            allocatable: draw.bytes(),
            reserved: draw.bytes(),
            free: draw.bytes(),
            tasks: draw.some(Self::placed),
            generic: draw.generic(),
        });
        PlacementView { nodes, pending: self.some(Self::placed) }
    }

    fn placed(&mut self) -> PlacedTask {
        PlacedTask {
            task: self.text(),
            stack: self.text(),
            service: self.text(),
            replica: self.small(),
            memory: self.bytes(),
            reason: self.maybe(Self::text),
            succession: self.maybe(Self::succession),
            generic: self.amounts(),
        }
    }

    fn generic(&mut self) -> BTreeMap<String, NodeGeneric> {
        let of = |draw: &mut Self| NodeGeneric { capacity: draw.number(), reserved: draw.number() };
        self.some(|draw| (draw.text(), of(draw))).into_iter().collect()
    }

    fn amounts(&mut self) -> BTreeMap<String, u64> {
        self.some(|draw| (draw.text(), draw.number())).into_iter().collect()
    }

    fn change(&mut self) -> ServiceChange {
        const ACTIONS: [ChangeAction; 5] = [
            ChangeAction::Create,
            ChangeAction::Update,
            ChangeAction::Replace,
            ChangeAction::Remove,
            ChangeAction::Keep,
        ];
        let index = usize::try_from(self.number() % 5).unwrap();
        ServiceChange {
            action: ACTIONS[index],
            service: self.text(),
            fields: self.some(Self::text),
            values: self.some(|draw| FieldChange {
                field: draw.text(),
                what: draw.text(),
                old: draw.maybe(Self::text),
                new: draw.maybe(Self::text),
            }),
        }
    }

    fn replica(&mut self) -> ReplicaPlacement {
        ReplicaPlacement {
            stack: self.text(),
            service: self.text(),
            replica: self.small(),
            node: self.maybe(Self::text),
            origin: self.maybe(Self::text),
            memory: self.bytes(),
            memory_basis: self.maybe(Self::source),
            cpus: self.cpu(),
            verdicts: self.some(Self::verdict),
            fixes: self.some(Self::text),
            succession: self.maybe(Self::succession),
            generic: self.amounts(),
            misfits: self.amounts(),
        }
    }

    fn verdict(&mut self) -> Verdict {
        Verdict {
            node: self.text(),
            fits: self.flag(),
            reason: self.text(),
            resource: self.maybe(Self::text),
            needed: self.maybe(Self::number),
            free: self.maybe(Self::number),
            short: self.maybe(Self::number),
            score: self.maybe(|draw| draw.some(|draw| draw.number().cast_signed())),
        }
    }

    fn source(&mut self) -> MemorySource {
        const SOURCES: [MemorySource; 4] = [
            MemorySource::Reservation,
            MemorySource::Limit,
            MemorySource::Assumed,
            MemorySource::Observed,
        ];
        SOURCES[usize::try_from(self.number() % 4).unwrap()]
    }

    fn advice(&mut self) -> AdviceRow {
        AdviceRow {
            stack: self.text(),
            service: self.text(),
            replicas: self.small(),
            memory_reservation: self.bytes(),
            memory_basis: self.source(),
            memory_limit: self.bytes(),
            observed_peak: self.maybe(Self::bytes),
            observed_usual: self.maybe(Self::bytes),
            observed_seconds: self.number(),
            needed_seconds: self.number(),
            oom_kills: self.small(),
            advice: self.maybe(Self::text),
            advised_reservation: self.maybe(Self::bytes),
            advised_limit: self.maybe(Self::bytes),
        }
    }

    fn what_if(&mut self) -> WhatIfView {
        let plan = self.plan();
        WhatIfView {
            stack: self.maybe(Self::text),
            revision: self.maybe(Self::number),
            changes: plan.changes,
            placements: plan.placements,
            nodes: plan.nodes,
            unplaced: plan.unplaced,
            warnings: plan.warnings,
        }
    }

    fn imagined(&mut self) -> ImaginedNode {
        ImaginedNode {
            name: NodeName::new("mini-1").expect("a name"),
            memory: Bytes(self.number() >> 2),
            cpus: MilliCpu(self.number() >> 40),
            labels: BTreeMap::from([("role".to_owned(), "database".to_owned())]),
            arch: self.maybe(Self::text),
            generic: [(&GenericName::new("gpu").expect("a name"), self.number() >> 11)]
                .into_iter()
                .collect(),
        }
    }

    fn drain(&mut self) -> DrainView {
        let moves = self.some(|draw| DrainMove {
            task: draw.text(),
            stack: draw.text(),
            service: draw.text(),
            replica: draw.small(),
            memory: draw.bytes(),
            to: draw.text(),
            down_because: draw.maybe(Self::text),
        });
        let stays = self.some(|draw| DrainStay {
            task: draw.text(),
            stack: draw.text(),
            service: draw.text(),
            replica: draw.small(),
            memory: draw.bytes(),
            reason: draw.text(),
            fixes: draw.some(Self::text),
        });
        DrainView { node: self.text(), moves, stays, nodes: self.plan().nodes }
    }

    fn rebalance(&mut self) -> RebalanceView {
        let moves = self.some(|draw| RebalanceMove {
            stack: draw.text(),
            service: draw.text(),
            replica: draw.small(),
            task: draw.text(),
            from: draw.text(),
            to: draw.text(),
            memory: draw.bytes(),
            how: draw.text(),
        });
        RebalanceView {
            moves,
            nodes: self.plan().nodes,
            left: self.drain().stays,
            fewest: self.flag(),
            unplaced_before: self.small(),
            unplaced_after: self.small(),
            gains: self.some(Self::text),
            warnings: self.some(Self::text),
        }
    }

    fn plan(&mut self) -> PlanView {
        PlanView {
            stack: self.text(),
            revision: self.number(),
            changes: self.some(Self::change),
            placements: self.some(Self::replica),
            nodes: self.some(|draw| PlanNode {
                name: draw.text(),
                allocatable: draw.bytes(),
                reserved_before: draw.bytes(),
                reserved_after: draw.bytes(),
                free_after: draw.bytes(),
                tasks: draw.some(Self::text),
            }),
            unplaced: self.small(),
            warnings: self.some(Self::text),
            outlook: self.maybe(|draw| OutlookView {
                optimal: draw.flag(),
                off: draw.bytes(),
                short: draw.maybe(Self::text),
            }),
        }
    }

    fn counts(&mut self) -> BTreeMap<String, u32> {
        self.some(|draw| (draw.text(), draw.small())).into_iter().collect()
    }

    fn status(&mut self) -> StatusView {
        StatusView {
            cluster: self.text(),
            healthy: self.flag(),
            leader: self.maybe(Self::text),
            schedulers: self.some(|draw| SchedulerRow {
                id: draw.number(),
                address: draw.text(),
                role: draw.text(),
                version: draw.text(),
                applied: draw.number(),
            }),
            nodes: self.counts(),
            tasks: self.counts(),
            problems: self.some(|draw| Problem {
                what: draw.text(),
                cause: draw.text(),
                since: draw.maybe(Self::text),
                fix: draw.text(),
            }),
            losses: self.some(|draw| LossRow {
                node: draw.text(),
                homeless: draw.some(Self::text),
                memory: draw.bytes(),
                bound: draw.some(Self::text),
                cure: draw.maybe(Self::bytes),
            }),
            losses_unknown: self.small(),
            cordoned: self.some(Self::text),
            automatic_rebalance: self.maybe(Self::automatic),
        }
    }

    fn automatic(&mut self) -> AutomaticView {
        AutomaticView {
            on: self.flag(),
            since: self.maybe(Self::text),
            moves: self.some(|draw| AutomaticRow {
                stack: draw.text(),
                service: draw.text(),
                replica: draw.small(),
                from: draw.text(),
                to: draw.text(),
                at: draw.text(),
                reason: draw.text(),
                state: draw.text(),
                error: draw.maybe(Self::text),
            }),
            moves_last_hour: self.small(),
            most_per_hour: self.small(),
            paused: self.maybe(Self::text),
        }
    }

    fn stack(&mut self) -> StackRow {
        StackRow {
            stack: self.text(),
            revision: self.number(),
            services: self.small(),
            replicas: self.small(),
            ready: self.small(),
            memory: self.bytes(),
            applied_at: self.maybe(Self::text),
            state: self.text(),
            problems: self.some(Self::text),
        }
    }
}

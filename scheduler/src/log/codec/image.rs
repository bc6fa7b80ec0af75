//! The whole cluster.

use std::collections::{BTreeMap, BTreeSet};

use model::{
    Epoch, Event, Generation, Inventory, Node, NodeId, OperatorName, ServiceName, ServiceSpec,
    StackName, StackSpec, TaskStatus, Timestamp, VolumeName,
    id::{NodeKind, TaskKind, TokenKind},
    name::NodeName,
    task::TaskVolume,
    token::Token,
};
use proto::{
    convert::{
        At as _, BadField, Field,
        kinds::{
            AtEpoch, AtGeneration, AtRevision, Map, Maybe, Message, Parsed, Required, Same, Time,
            Total,
        },
        words::{DesiredWord, LivenessWord, RoleWord},
    },
    v1::{self, snapshot as wire},
};
use scheduler_core::{
    ClusterImage,
    cluster::{
        Answer, Authorities, Authority, Automatic, AutomaticMove, FailedRollout, Kills, Need,
        Remembered, Removal, Volume,
        snapshot::{RequestImage, RevisionImage, ServiceImage, StackImage, TaskImage},
    },
};

use super::{
    change::DecisionForm,
    form::{
        Hash, Labels, Many, Number, Numbers, PhaseWord, RequestKey, SeverityWord, Text, Words,
        no_choice, record,
    },
};

record!(ImageForm: v1::Snapshot => ClusterImage {
    version: Same<u32>,
    id: Text,
    name: Text,
    revision: AtRevision,
    planned: AtRevision,
    next_task: Number<TaskKind>,
    next_node: Number<NodeKind>,
    next_token: Number<TokenKind>,
    specs: Many<Message<v1::ServiceSpec, ServiceSpec>>,
    stacks: Many<StackForm>,
    tasks: Many<TaskForm>,
    nodes: Many<NodeForm>,
    volumes: Many<VolumeForm>,
    tokens: Many<TokenForm>,
    requests: Many<RequestForm>,
    events: Many<EventForm>,
    origin: Text,
    least_scheduler: Same<u64>,
    removed_schedulers: Numbers,
    authorities: Maybe<AuthoritiesForm>,
    operators: OperatorsForm,
    removed_operators: OperatorNames,
    automatic: Maybe<AutomaticForm>,
});

record!(AutomaticForm: wire::Automatic => Automatic {
    on: Same<bool>,
    since: Time,
    failed_at: Maybe<Time>,
    moves: Many<AutomaticMoveForm>,
});

record!(AutomaticMoveForm: wire::AutomaticMove => AutomaticMove {
    at: Time,
    stack: Parsed<StackName>,
    service: Parsed<ServiceName>,
    slot: Same<u32>,
    task: Number<TaskKind>,
    from: Number<NodeKind>,
    to: Number<NodeKind>,
    reason: Text,
    ended_at: Maybe<Time>,
    failed: Maybe<Text>,
});

record!(AuthoritiesForm: wire::Authorities => Authorities {
    step: Same<u64>,
    last: Same<u64>,
    phase: PhaseWord,
    forced: Same<bool>,
    trusted: Many<AuthorityForm>,
    nodes: HeldForm,
});

record!(AuthorityForm: wire::Authority => Authority {
    number: Same<u64>,
    certificate: Same<Vec<u8>>,
    since: Time,
});

/// The newest authority each node holds a certificate of.
#[derive(Debug)]
pub(super) enum HeldForm {}

impl Field for HeldForm {
    type Wire = BTreeMap<u64, u64>;
    type Model = BTreeMap<NodeId, u64>;

    fn read(wire: Self::Wire) -> Result<Self::Model, BadField> {
        Ok(wire.into_iter().map(|(node, held)| (NodeId::new(node), held)).collect())
    }

    fn write(model: &Self::Model) -> Self::Wire {
        model.iter().map(|(node, held)| (node.raw(), *held)).collect()
    }
}

/// The operators that were added, each once.
#[derive(Debug)]
pub(super) enum OperatorsForm {}

impl Field for OperatorsForm {
    type Wire = Vec<wire::Operator>;
    type Model = BTreeMap<OperatorName, Timestamp>;

    fn read(wire: Self::Wire) -> Result<Self::Model, BadField> {
        let count = wire.len();
        let read = |one: wire::Operator| {
            let name = Parsed::<OperatorName>::read(one.name).at("name")?;
            Ok((name, Time::read(one.added_at).at("added_at")?))
        };
        let operators: BTreeMap<_, _> = wire.into_iter().map(read).collect::<Result<_, _>>()?;
        once(count, operators.len())?;
        Ok(operators)
    }

    fn write(model: &Self::Model) -> Self::Wire {
        let operators = model.iter();
        operators
            .map(|(name, at)| wire::Operator { name: name.to_string(), added_at: at.0 })
            .collect()
    }
}

/// Names of operators in order, each once.
#[derive(Debug)]
pub(super) enum OperatorNames {}

impl Field for OperatorNames {
    type Wire = Vec<String>;
    type Model = BTreeSet<OperatorName>;

    fn read(wire: Self::Wire) -> Result<Self::Model, BadField> {
        let count = wire.len();
        let names = wire.into_iter().map(Parsed::<OperatorName>::read);
        let names: BTreeSet<_> = names.collect::<Result<_, _>>()?;
        once(count, names.len())?;
        Ok(names)
    }

    fn write(model: &Self::Model) -> Self::Wire {
        model.iter().map(ToString::to_string).collect()
    }
}

fn once(count: usize, different: usize) -> Result<(), BadField> {
    if different < count { Err(BadField::new("an operator stands there twice")) } else { Ok(()) }
}

record!(StackForm: wire::Stack => StackImage {
    revision: AtRevision,
    history: Many<RevisionForm>,
    services: Many<ServiceForm>,
    removal: Maybe<RemovalForm>,
});

record!(RevisionForm: wire::PastRevision => RevisionImage {
    revision: AtRevision,
    at: Time,
    cause: Text,
    spec: Required<Message<v1::StackSpec, StackSpec>>,
    ready: Same<bool>,
});

record!(RemovalForm: wire::Removal => Removal {
    volumes: Same<bool>,
    since: Time,
});

record!(ServiceForm: wire::Service => ServiceImage {
    name: Parsed<ServiceName>,
    spec: Same<u32>,
    spec_revision: AtRevision,
    wanted: Same<bool>,
    failed: Maybe<FailedForm>,
    slots: Many<SlotForm>,
    moved_at: Maybe<Time>,
    need: Maybe<NeedForm>,
    kills: Maybe<KillsForm>,
    lacks: Words,
});

record!(NeedForm: wire::Need => Need {
    at: Time,
    peak: Total,
    usual: Total,
    observed_ms: Same<u64>,
});

record!(KillsForm: wire::Kills => Kills {
    count: Same<u32>,
    at: Time,
    limit: Total,
});

record!(FailedForm: wire::FailedRollout => FailedRollout {
    revision: AtRevision,
    at: Time,
    reason: Text,
});

record!(TaskForm: wire::Task => TaskImage {
    id: Number<TaskKind>,
    stack: Parsed<StackName>,
    service: Parsed<ServiceName>,
    slot: Same<u32>,
    epoch: AtEpoch,
    spec: Same<u32>,
    spec_revision: AtRevision,
    volumes: Map<Parsed<VolumeName>, TaskVolumeForm, { usize::MAX }>,
    desired: DesiredWord,
    node: Maybe<Number<NodeKind>>,
    decision: Maybe<DecisionForm>,
    status: Required<Message<v1::TaskStatus, TaskStatus>>,
    created_at: Time,
    since: Time,
    moves_from: Maybe<Number<NodeKind>>,
});

record!(TaskVolumeForm: wire::TaskVolume => TaskVolume {
    engine_name: Text,
    external: Same<bool>,
});

record!(TokenForm: wire::Token => Token {
    id: Number<TokenKind>,
    role: RoleWord,
    secret_hash: Hash,
    created_at: Time,
    expires_at: Time,
    used_at: Maybe<Time>,
    ended_at: Maybe<Time>,
});

record!(EventForm: wire::Event => Event {
    revision: AtRevision,
    at: Time,
    severity: SeverityWord,
    kind: Text,
    stack: Maybe<Parsed<StackName>>,
    service: Maybe<Parsed<ServiceName>>,
    task: Maybe<Number<TaskKind>>,
    node: Maybe<Number<NodeKind>>,
    message: Text,
});

/// Number, last epoch, least epoch.
#[derive(Debug)]
pub(super) enum SlotForm {}

impl Field for SlotForm {
    type Wire = wire::Slot;
    type Model = (u32, Epoch, Epoch);

    fn read(wire: wire::Slot) -> Result<Self::Model, BadField> {
        Ok((wire.slot, Epoch(wire.last), Epoch(wire.least)))
    }

    fn write(&(slot, Epoch(last), Epoch(minimum)): &Self::Model) -> wire::Slot {
        wire::Slot { slot, last, least: minimum }
    }
}

#[derive(Debug)]
pub(super) enum NodeForm {}

impl Field for NodeForm {
    type Wire = wire::Node;
    type Model = (Node, Generation);

    fn read(wire: wire::Node) -> Result<Self::Model, BadField> {
        let node = Node {
            id: Number::read(wire.id).at("id")?,
            name: Parsed::<NodeName>::read(wire.name).at("name")?,
            labels: Labels::read(wire.labels).at("labels")?,
            address: wire.address,
            inventory: proto::convert::message(wire.inventory).at("inventory")?,
            liveness: LivenessWord::read(wire.liveness).at("liveness")?,
            schedulable: wire.schedulable,
            drain: Maybe::<Time>::read(wire.drain).at("drain")?,
            joined_at: Time::read(wire.joined_at).at("joined_at")?,
            since: Time::read(wire.since).at("since")?,
            returned_at: Maybe::<Time>::read(wire.returned_at).at("returned_at")?,
            drain_since: Maybe::<Time>::read(wire.drain_since).at("drain_since")?,
        };
        Ok((node, AtGeneration::read(wire.generation).at("generation")?))
    }

    fn write((node, generation): &Self::Model) -> wire::Node {
        wire::Node {
            id: node.id.raw(),
            name: node.name.to_string(),
            labels: node.labels.clone(),
            address: node.address.clone(),
            inventory: Required::<Message<v1::Inventory, Inventory>>::write(&node.inventory),
            liveness: LivenessWord::write(&node.liveness),
            schedulable: node.schedulable,
            drain: Maybe::<Time>::write(&node.drain),
            joined_at: node.joined_at.0,
            since: node.since.0,
            returned_at: Maybe::<Time>::write(&node.returned_at),
            drain_since: Maybe::<Time>::write(&node.drain_since),
            generation: generation.0,
        }
    }
}

/// With the engine's name in front.
#[derive(Debug)]
pub(super) enum VolumeForm {}

impl Field for VolumeForm {
    type Wire = wire::Volume;
    type Model = (String, Volume);

    fn read(wire: wire::Volume) -> Result<Self::Model, BadField> {
        let volume = Volume {
            stack: Parsed::read(wire.stack).at("stack")?,
            name: Parsed::read(wire.name).at("name")?,
            external: wire.external,
            home: Number::read(wire.home).at("home")?,
            used: wire.used,
            removing: wire.removing,
            created_at: Time::read(wire.created_at).at("created_at")?,
        };
        Ok((wire.engine_name, volume))
    }

    fn write((engine_name, volume): &Self::Model) -> wire::Volume {
        wire::Volume {
            engine_name: engine_name.clone(),
            stack: volume.stack.to_string(),
            name: volume.name.to_string(),
            external: volume.external,
            home: volume.home.raw(),
            used: volume.used,
            removing: volume.removing,
            created_at: volume.created_at.0,
        }
    }
}

#[derive(Debug)]
pub(super) enum RequestForm {}

impl Field for RequestForm {
    type Wire = wire::Request;
    type Model = RequestImage;

    fn read(wire: wire::Request) -> Result<RequestImage, BadField> {
        Ok(RequestImage {
            request: RequestKey::read(wire.request).at("request")?,
            remembered: Remembered {
                at: Time::read(wire.at).at("at")?,
                revision: AtRevision::read(wire.revision).at("revision")?,
                answer: Required::<AnswerForm>::read(wire.answer).at("answer")?,
            },
        })
    }

    fn write(model: &RequestImage) -> wire::Request {
        let Remembered { at, revision, answer } = &model.remembered;
        wire::Request {
            request: RequestKey::write(&model.request),
            at: at.0,
            revision: revision.0,
            answer: Required::<AnswerForm>::write(answer),
        }
    }
}

#[derive(Debug)]
pub(super) enum AnswerForm {}

impl Field for AnswerForm {
    type Wire = wire::Answer;
    type Model = Answer;

    fn read(wire: wire::Answer) -> Result<Answer, BadField> {
        use wire::answer::{Answer as Wire, Refused};
        Ok(match wire.answer.ok_or_else(no_choice)? {
            Wire::Done(_) => Answer::Done,
            Wire::Unchanged(_) => Answer::Unchanged,
            Wire::Stack(revision) => Answer::Stack(AtRevision::read(revision).at("stack")?),
            Wire::Node(node) => Answer::Node(Number::read(node).at("node")?),
            Wire::Token(token) => Answer::Token(Number::read(token).at("token")?),
            Wire::Refused(Refused { text, input }) => Answer::Refused { text, input },
        })
    }

    fn write(model: &Answer) -> wire::Answer {
        use wire::answer::{Answer as Wire, Done, Refused, Unchanged};
        let answer = match model {
            Answer::Done => Wire::Done(Done {}),
            Answer::Unchanged => Wire::Unchanged(Unchanged {}),
            Answer::Stack(revision) => Wire::Stack(revision.0),
            Answer::Node(node) => Wire::Node(node.raw()),
            Answer::Token(token) => Wire::Token(token.raw()),
            Answer::Refused { text, input } => {
                Wire::Refused(Refused { text: text.clone(), input: *input })
            }
        };
        wire::Answer { answer: Some(answer) }
    }
}

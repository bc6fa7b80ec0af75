//! What a node must have.

use model::{
    Assignment, AssignmentSet, ServiceName, ServiceSpec, StackName, VolumeName,
    assignment::AssignedVolume,
    id::{NodeKind, TaskKind},
};

use super::{
    field::mirror,
    kinds::{
        AtEpoch, AtGeneration, IdOf, List, Map, Message, Parsed, Required, Same, Shared, Slot, Word,
    },
    limits::TASKS_MAX,
    words::DesiredWord,
};
use crate::v1;

mirror!(v1::AssignmentSet => AssignmentSet {
    cluster: Word,
    node: IdOf<NodeKind>,
    generation: AtGeneration,
    tasks: List<Message<v1::Assignment, Assignment>, TASKS_MAX>,
    stacks: List<Parsed<StackName>, TASKS_MAX>,
    remove_volumes: List<Word, TASKS_MAX>,
});

mirror!(v1::Assignment => Assignment {
    task: IdOf<TaskKind>,
    stack: Parsed<StackName>,
    service: Parsed<ServiceName>,
    slot: Slot,
    epoch: AtEpoch,
    desired: DesiredWord,
    spec: Required<Shared<Message<v1::ServiceSpec, ServiceSpec>>>,
    volumes: Map<Parsed<VolumeName>, Message<v1::AssignedVolume, AssignedVolume>>,
});

mirror!(v1::AssignedVolume => AssignedVolume {
    engine_name: Word,
    external: Same<bool>,
    must_exist: Same<bool>,
});

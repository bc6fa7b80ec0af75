//! A service.

use model::{
    MilliCpu, Resources, ServiceName, ServiceSpec,
    name::NetworkName,
    spec::{
        Constraint, Dependency, Healthcheck, Logging, Mount, PlacementRules, Port, Privileges,
        ResourceAsk, RestartPolicy, Ulimit,
    },
};

use super::{
    At as _, BadField, Field,
    container::{Arguments, Exposed, HostLine},
    field::mirror,
    kinds::{
        Amount, Cpu, GenericAmounts, Labels, List, Map, Maybe, Message, Millis, Parsed, Priority,
        Replicas, Required, Same, Set, Text, VariableName, Word,
    },
    words::{ConditionWord, MemoryBasisWord},
};
use crate::v1;

mirror!(v1::ServiceSpec => ServiceSpec {
    image: Word,
    replicas: Replicas,
    command: Maybe<Arguments>,
    entrypoint: Maybe<Arguments>,
    environment: Map<VariableName, Text>,
    labels: Labels,
    service_labels: Labels,
    user: Maybe<Word>,
    working_dir: Maybe<Word>,
    hostname: Maybe<Word>,
    container_name: Maybe<Word>,
    ports: List<Message<v1::Port, Port>>,
    expose: Set<Exposed>,
    mounts: List<Message<v1::Mount, Mount>>,
    depends_on: Map<Parsed<ServiceName>, Message<v1::Dependency, Dependency>>,
    healthcheck: Maybe<Message<v1::Healthcheck, Healthcheck>>,
    restart: Required<Message<v1::RestartPolicy, RestartPolicy>>,
    stop_grace_ms: Millis,
    stop_signal: Maybe<Word>,
    ulimits: Map<Word, Message<v1::Ulimit, Ulimit>>,
    extra_hosts: List<HostLine>,
    init: Maybe<Same<bool>>,
    read_only: Same<bool>,
    shm_size: Maybe<Amount>,
    cap_drop: List<Word>,
    no_new_privileges: Same<bool>,
    privileges: Required<Message<v1::Privileges, Privileges>>,
    logging: Maybe<Message<v1::Logging, Logging>>,
    resources: Required<Message<v1::ResourceAsk, ResourceAsk>>,
    placement: Required<Message<v1::PlacementRules, PlacementRules>>,
    networks: Set<Parsed<NetworkName>>,
    strict_singleton: Same<bool>,
    priority: Priority,
});

mirror!(v1::Dependency => Dependency {
    condition: ConditionWord,
    required: Same<bool>,
    restart: Same<bool>,
});

mirror!(v1::PlacementRules => PlacementRules {
    constraints: List<Parsed<Constraint>>,
    spread: List<Word>,
    max_replicas_per_node: Maybe<Same<u32>>,
});

impl TryFrom<v1::ResourceAsk> for ResourceAsk {
    type Error = BadField;

    fn try_from(wire: v1::ResourceAsk) -> Result<Self, BadField> {
        Ok(Self {
            reserved: Resources {
                memory: Required::<Amount>::read(wire.memory).at("memory")?,
                cpu: Required::<Cpu>::read(wire.cpu).at("cpu")?,
            },
            generic: GenericAmounts::read(wire.generic).at("generic")?,
            basis: MemoryBasisWord::read(wire.basis).at("basis")?,
            memory_limit: Required::<Amount>::read(wire.memory_limit).at("memory_limit")?,
            cpu_limit: Maybe::<Cpu>::read(wire.cpu_limit).at("cpu_limit")?,
            pids_limit: wire.pids_limit,
        })
    }
}

impl From<&ResourceAsk> for v1::ResourceAsk {
    fn from(model: &ResourceAsk) -> Self {
        Self {
            memory: Some(model.reserved.memory.0),
            cpu: Some(model.reserved.cpu.0),
            basis: MemoryBasisWord::write(&model.basis),
            memory_limit: Some(model.memory_limit.0),
            cpu_limit: model.cpu_limit.map(|MilliCpu(cpu)| cpu),
            pids_limit: model.pids_limit,
            generic: GenericAmounts::write(&model.generic),
        }
    }
}

impl TryFrom<v1::RestartPolicy> for RestartPolicy {
    type Error = BadField;

    fn try_from(wire: v1::RestartPolicy) -> Result<Self, BadField> {
        use v1::restart_policy::{OnFailure, Policy};
        match wire.policy.ok_or_else(BadField::missing)? {
            Policy::Never(_) => Ok(Self::Never),
            Policy::OnFailure(OnFailure { max_attempts }) => Ok(Self::OnFailure { max_attempts }),
            Policy::Always(_) => Ok(Self::Always),
        }
    }
}

impl From<&RestartPolicy> for v1::RestartPolicy {
    fn from(model: &RestartPolicy) -> Self {
        use v1::restart_policy::{Always, Never, OnFailure, Policy};
        let policy = match *model {
            RestartPolicy::Never => Policy::Never(Never {}),
            RestartPolicy::OnFailure { max_attempts } => {
                Policy::OnFailure(OnFailure { max_attempts })
            }
            RestartPolicy::Always => Policy::Always(Always {}),
        };
        Self { policy: Some(policy) }
    }
}

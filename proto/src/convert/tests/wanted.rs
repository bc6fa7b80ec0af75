//! Any stack, any assignment, any report.

use std::sync::Arc;

use model::{
    Allows, Assignment, AssignmentSet, Bytes, Desired, Epoch, Generation, Generic, GenericName,
    Health, Inventory, MilliCpu, NodeId, Resources, ServiceName, ServiceSpec, StackName, StackSpec,
    TaskId, TaskState, TaskStatus, Timestamp, VolumeName,
    assignment::AssignedVolume,
    generic::AMOUNT_MAX,
    name::NetworkName,
    spec::{
        Condition, Constraint, ConstraintKey, ConstraintOp, Dependency, DeviceCount, DeviceRequest,
        HealthTest, Healthcheck, Logging, MemoryBasis, Mount, MountSource, NetworkSpec,
        PlacementRules, Port, Privileges, Protocol, ResourceAsk, RestartPolicy, Ulimit, VolumeSpec,
    },
    task::{Cause, Failure, MemorySeen, Telemetry},
};
use proptest::{
    collection::{btree_map, btree_set, vec},
    option,
    prelude::*,
    sample::select,
};

use crate::convert::limits::{
    BYTES_MAX, MILLI_CPU_MAX, MILLIS_MAX, MODE_MAX, PRIORITY_MAX, REPLICAS_MAX,
};

fn stack_name() -> impl Strategy<Value = StackName> {
    "[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?".prop_map(|text| StackName::new(text).unwrap())
}
fn service_name() -> impl Strategy<Value = ServiceName> {
    "[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?".prop_map(|text| ServiceName::new(text).unwrap())
}
fn volume_name() -> impl Strategy<Value = VolumeName> {
    "[a-zA-Z0-9][a-zA-Z0-9._-]{0,8}".prop_map(|text| VolumeName::new(text).unwrap())
}
fn network_name() -> impl Strategy<Value = NetworkName> {
    "[a-zA-Z0-9][a-zA-Z0-9._-]{0,8}".prop_map(|text| NetworkName::new(text).unwrap())
}
fn word() -> impl Strategy<Value = String> {
    "[^\u{0}]{1,12}"
}
fn text() -> impl Strategy<Value = String> {
    "[^\u{0}]{0,12}"
}
fn path() -> impl Strategy<Value = String> {
    "/[^\u{0}]{0,12}"
}
fn labels() -> impl Strategy<Value = std::collections::BTreeMap<String, String>> {
    btree_map(word(), text(), 0..3)
}
fn amount() -> impl Strategy<Value = Bytes> {
    (0..=BYTES_MAX).prop_map(Bytes)
}
fn cpu() -> impl Strategy<Value = MilliCpu> {
    (0..=MILLI_CPU_MAX).prop_map(MilliCpu)
}
fn millis() -> impl Strategy<Value = u64> {
    0..=MILLIS_MAX
}
fn protocol() -> impl Strategy<Value = Protocol> {
    select(vec![Protocol::Tcp, Protocol::Udp])
}

fn port() -> impl Strategy<Value = Port> {
    (option::of(word()), option::of(1..=u16::MAX), 1..=u16::MAX, protocol()).prop_map(
        |(host_ip, published, target, protocol)| Port { host_ip, published, target, protocol },
    )
}

fn mount() -> impl Strategy<Value = Mount> {
    let source = prop_oneof![
        (volume_name(), any::<bool>())
            .prop_map(|(name, no_copy)| MountSource::Volume { name, no_copy }),
        Just(MountSource::Anonymous),
        (path(), any::<bool>()).prop_map(|(path, create)| MountSource::Bind { path, create }),
        (option::of(amount()), option::of(0..=MODE_MAX))
            .prop_map(|(size, mode)| MountSource::Tmpfs { size, mode }),
    ];
    (source, path(), any::<bool>()).prop_map(|(source, target, read_only)| Mount {
        source,
        target,
        read_only,
    })
}

fn healthcheck() -> impl Strategy<Value = Healthcheck> {
    let test = prop_oneof![
        Just(HealthTest::Inherit),
        Just(HealthTest::Disabled),
        vec(text(), 0..3).prop_map(HealthTest::Exec),
        text().prop_map(HealthTest::Shell),
    ];
    let times = (option::of(millis()), option::of(millis()), option::of(millis()));
    (test, times, option::of(any::<u32>())).prop_map(
        |(test, (interval_ms, timeout_ms, start_period_ms), retries)| Healthcheck {
            test,
            interval_ms,
            timeout_ms,
            retries,
            start_period_ms,
        },
    )
}

fn dependency() -> impl Strategy<Value = Dependency> {
    let condition = select(vec![Condition::Started, Condition::Healthy, Condition::Completed]);
    (condition, any::<bool>(), any::<bool>())
        .prop_map(|(condition, required, restart)| Dependency { condition, required, restart })
}

fn restart() -> impl Strategy<Value = RestartPolicy> {
    prop_oneof![
        Just(RestartPolicy::Never),
        option::of(any::<u32>()).prop_map(|max_attempts| RestartPolicy::OnFailure { max_attempts }),
        Just(RestartPolicy::Always),
    ]
}

fn generic() -> impl Strategy<Value = Generic> {
    let kind = "[a-zA-Z0-9][a-zA-Z0-9._-]{0,8}".prop_map(|name| GenericName::new(name).unwrap());
    btree_map(kind, 1..=AMOUNT_MAX, 0..3).prop_map(|amounts| Generic::new(amounts).unwrap())
}

fn device_request() -> impl Strategy<Value = DeviceRequest> {
    let words = || vec(word(), 0..3);
    let count = prop_oneof![
        Just(DeviceCount::All),
        any::<u32>().prop_map(DeviceCount::Number),
        words().prop_map(DeviceCount::Ids),
    ];
    (option::of(word()), count, words(), labels()).prop_map(
        |(driver, count, capabilities, options)| DeviceRequest {
            driver,
            count,
            capabilities,
            options,
        },
    )
}

fn resources() -> impl Strategy<Value = ResourceAsk> {
    let basis = select(vec![MemoryBasis::Reservation, MemoryBasis::Limit, MemoryBasis::Assumed]);
    (amount(), cpu(), generic(), basis, amount(), option::of(cpu()), any::<u32>()).prop_map(
        |(memory, cpu, generic, basis, memory_limit, cpu_limit, pids_limit)| ResourceAsk {
            reserved: Resources { memory, cpu },
            generic,
            basis,
            memory_limit,
            cpu_limit,
            pids_limit,
        },
    )
}

fn constraint() -> impl Strategy<Value = Constraint> {
    let key = prop_oneof![
        Just(ConstraintKey::Id),
        Just(ConstraintKey::Hostname),
        Just(ConstraintKey::Arch),
        Just(ConstraintKey::Os),
        "[a-z.]{1,8}".prop_map(ConstraintKey::Label),
    ];
    let op = select(vec![ConstraintOp::Equal, ConstraintOp::NotEqual]);
    (key, op, "[a-z0-9]{1,8}").prop_map(|(key, op, value)| Constraint { key, op, value })
}

fn placement() -> impl Strategy<Value = PlacementRules> {
    (vec(constraint(), 0..3), vec(word(), 0..3), option::of(any::<u32>())).prop_map(
        |(constraints, spread, max_replicas_per_node)| PlacementRules {
            constraints,
            spread,
            max_replicas_per_node,
        },
    )
}

fn privileges() -> impl Strategy<Value = Privileges> {
    let words = || vec(word(), 0..2);
    (any::<[bool; 5]>(), words(), words(), words(), vec(device_request(), 0..2)).prop_map(
        |(flags, cap_add, devices, security_opt, device_requests)| {
            let [privileged, host_network, host_pid, host_ipc, host_userns] = flags;
            Privileges {
                privileged,
                cap_add,
                devices,
                host_network,
                host_pid,
                host_ipc,
                host_userns,
                security_opt,
                device_requests,
            }
        },
    )
}

fn ulimit() -> impl Strategy<Value = Ulimit> {
    (-1..=i64::MAX, -1..=i64::MAX).prop_map(|(soft, hard)| Ulimit { soft, hard })
}

/// A service whose every field may have any value that may pass. Built up field by field: a tuple
/// of strategies has at most twelve.
fn service() -> impl Strategy<Value = ServiceSpec> {
    let arguments = || option::of(vec(text(), 0..3));
    let environment = btree_map("[^\u{0}=]{1,8}", text(), 0..3);
    let named = (word(), 0..=REPLICAS_MAX, arguments(), arguments(), environment).prop_map(
        |(image, replicas, command, entrypoint, environment)| ServiceSpec {
            replicas,
            command,
            entrypoint,
            environment,
            ..ServiceSpec::new(image)
        },
    );
    let words = proptest::array::uniform5(option::of(word()));
    let described = (named, labels(), labels(), words).prop_map(
        |(spec, labels, service_labels, [user, working_dir, hostname, container_name, signal])| {
            ServiceSpec {
                labels,
                service_labels,
                user,
                working_dir,
                hostname,
                container_name,
                stop_signal: signal,
                ..spec
            }
        },
    );
    let depends_on = btree_map(service_name(), dependency(), 0..3);
    let expose = btree_set((1..=u16::MAX, protocol()), 0..3);
    let connected = (described, vec(port(), 0..3), expose, vec(mount(), 0..3), depends_on)
        .prop_map(|(spec, ports, expose, mounts, depends_on)| ServiceSpec {
            ports,
            expose,
            mounts,
            depends_on,
            ..spec
        });
    let ulimits = btree_map(word(), ulimit(), 0..3);
    let logging = (word(), labels()).prop_map(|(driver, options)| Logging { driver, options });
    let hosts = vec((word(), word()), 0..3);
    let supervised =
        (connected, option::of(healthcheck()), restart(), millis(), ulimits, option::of(logging))
            .prop_map(|(spec, healthcheck, restart, stop_grace_ms, ulimits, logging)| {
                ServiceSpec { healthcheck, restart, stop_grace_ms, ulimits, logging, ..spec }
            });
    let init = option::of(any::<bool>());
    let shared = (supervised, hosts, init, option::of(amount()), vec(word(), 0..3), privileges())
        .prop_map(|(spec, extra_hosts, init, shm_size, cap_drop, privileges)| ServiceSpec {
            extra_hosts,
            init,
            shm_size,
            cap_drop,
            privileges,
            ..spec
        });
    let priority = (0..=PRIORITY_MAX).prop_map(|priority| u8::try_from(priority).unwrap());
    let networks = btree_set(network_name(), 0..3);
    (shared, resources(), placement(), networks, priority, any::<[bool; 3]>()).prop_map(
        |(spec, resources, placement, networks, priority, flags)| ServiceSpec {
            resources,
            placement,
            networks,
            priority,
            read_only: flags[0],
            no_new_privileges: flags[1],
            strict_singleton: flags[2],
            ..spec
        },
    )
}

pub(super) fn stack() -> impl Strategy<Value = StackSpec> {
    let volume = (option::of(word()), any::<bool>(), labels())
        .prop_map(|(name, external, labels)| VolumeSpec { name, external, labels });
    let network =
        (any::<bool>(), labels()).prop_map(|(internal, labels)| NetworkSpec { internal, labels });
    (
        stack_name(),
        btree_map(service_name(), service(), 0..3),
        btree_map(volume_name(), volume, 0..3),
        btree_map(network_name(), network, 0..3),
    )
        .prop_map(|(name, services, volumes, networks)| StackSpec {
            name,
            services,
            volumes,
            networks,
        })
}

fn assignment() -> impl Strategy<Value = Assignment> {
    let volume =
        (word(), any::<bool>(), any::<bool>()).prop_map(|(engine_name, external, must_exist)| {
            AssignedVolume { engine_name, external, must_exist }
        });
    let place = (1..=u64::MAX, stack_name(), service_name(), 1..=u32::MAX, any::<u64>());
    let desired = select(vec![Desired::Prepare, Desired::Run, Desired::Rest, Desired::Stop]);
    (place, desired, service(), btree_map(volume_name(), volume, 0..3)).prop_map(
        |((task, stack, service, slot, epoch), desired, spec, volumes)| Assignment {
            task: TaskId::new(task),
            stack,
            service,
            slot,
            epoch: Epoch(epoch),
            desired,
            spec: Arc::new(spec),
            volumes,
        },
    )
}

pub(super) fn assignment_set() -> impl Strategy<Value = AssignmentSet> {
    let lists = (vec(assignment(), 0..3), vec(stack_name(), 0..3), vec(word(), 0..3));
    (word(), 1..=u64::MAX, any::<u64>(), lists).prop_map(
        |(cluster, node, generation, (tasks, stacks, remove_volumes))| AssignmentSet {
            cluster,
            node: NodeId::new(node),
            generation: Generation(generation),
            tasks,
            stacks,
            remove_volumes,
        },
    )
}

pub(super) fn status() -> impl Strategy<Value = TaskStatus> {
    use TaskState as S;
    let state = select(vec![
        S::Pending,
        S::Assigned,
        S::Preparing,
        S::Starting,
        S::Running,
        S::Stopping,
        S::Stopped,
        S::Failed,
        S::Lost,
    ]);
    let health = select(vec![Health::None, Health::Starting, Health::Healthy, Health::Unhealthy]);
    let cause = select(vec![
        Cause::Exited,
        Cause::OutOfMemory,
        Cause::Image,
        Cause::Start,
        Cause::Refused,
        Cause::Unhealthy,
        Cause::NodeLost,
        Cause::Interrupted,
    ]);
    let failure = (cause, ".{0,40}", any::<bool>())
        .prop_map(|(cause, message, no_variant)| Failure { cause, message, no_variant });
    let time = || option::of(any::<u64>().prop_map(Timestamp));
    let ended = (option::of(any::<i64>()), option::of(failure), time(), time());
    (any::<u32>(), state, any::<u64>(), health, option::of(word()), ended).prop_map(
        |(restarts, state, sequence, health, container, ended)| {
            let (exit_code, failure, started_at, finished_at) = ended;
            TaskStatus {
                restarts,
                state,
                sequence,
                health,
                container,
                exit_code,
                failure,
                started_at,
                finished_at,
            }
        },
    )
}

pub(super) fn inventory() -> impl Strategy<Value = Inventory> {
    let sizes = (amount(), option::of(amount()), amount(), amount(), amount());
    let well = (any::<bool>(), option::of(".{0,20}"), option::of(allows()), generic());
    (sizes, cpu(), proptest::array::uniform4(".{0,20}"), well).prop_map(
        |((memory, memory_budget, memory_reserve, disk, disk_free), cpu, words, well)| {
            let (engine_ready, ledger_error, allows, generic) = well;
            let [arch, os, engine, agent_version] = words;
            Inventory {
                memory,
                memory_budget,
                memory_reserve,
                cpu,
                arch,
                os,
                engine,
                agent_version,
                disk,
                disk_free,
                engine_ready,
                ledger_error,
                allows,
                generic,
            }
        },
    )
}

fn allows() -> impl Strategy<Value = Allows> {
    let words = || btree_set("[^\0]{1,20}", 0..4);
    (words(), words(), words()).prop_map(|(capabilities, binds, sockets)| Allows {
        capabilities,
        binds,
        sockets,
    })
}

pub(super) fn telemetry() -> impl Strategy<Value = (TaskId, Telemetry)> {
    let pull = any::<(u64, u64)>().prop_map(|(done, total)| (Bytes(done), Bytes(total)));
    (1..=u64::MAX, option::of(amount()), option::of(pull))
        .prop_map(|(task, memory_used, pull)| (TaskId::new(task), Telemetry { memory_used, pull }))
}

pub(super) fn memory_seen() -> impl Strategy<Value = (TaskId, MemorySeen)> {
    (1..=u64::MAX, amount(), amount(), any::<(u64, u64)>()).prop_map(
        |(task, peak, usual, (observed_ms, samples))| {
            (TaskId::new(task), MemorySeen { peak, usual, observed_ms, samples })
        },
    )
}

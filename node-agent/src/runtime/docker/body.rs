//! A service's specification as the engine's request for a container.

use std::collections::{BTreeMap, HashMap};

use bollard::models::{
    ContainerCreateBody, DeviceMapping, DeviceRequest as EngineDeviceRequest, EndpointSettings,
    HealthConfig, HostConfig, HostConfigLogConfig, Mount as EngineMount, MountTmpfsOptions,
    MountType, MountVolumeOptions, NetworkingConfig, PortBinding, PortMap, ResourcesUlimits,
    RestartPolicy as EngineRestart, RestartPolicyNameEnum,
};
use model::{
    Assignment, Bytes, MilliCpu, ServiceSpec,
    spec::{
        DeviceCount, DeviceRequest, HealthTest, Healthcheck, Logging, Mount, MountSource,
        Privileges, ResourceAsk,
    },
};

use super::{
    LABEL_CLUSTER, LABEL_EPOCH, LABEL_LEASE, LABEL_NODE, LABEL_SERVICE, LABEL_SLOT, LABEL_STACK,
    LABEL_TASK,
};
use crate::runtime::{Order, RuntimeError};

/// The log driver of a service that names none, and its cap: 3 files of 10 MB each, compressed.
const LOG_DRIVER: &str = "local";
const LOG_CAP: [(&str, &str); 2] = [(MAX_SIZE, "10m"), ("max-file", "3")];
const MAX_SIZE: &str = "max-size";
/// The drivers that fill this machine's disk: `json-file` has no cap of its own.
const FILE_DRIVERS: [&str; 2] = ["json-file", LOG_DRIVER];
/// The engine refuses a smaller soft limit.
const MIN_SOFT_LIMIT: Bytes = Bytes::mib(6);
const NANOS_PER_MILLI: u64 = 1_000_000;

/// What is put on every container: how it is found again, and by whom.
pub(super) fn labels(order: &Order) -> HashMap<String, String> {
    let Assignment { task, stack, service, slot, epoch, .. } = order.assignment.as_ref();
    let ours = [
        (LABEL_CLUSTER, order.cluster.clone()),
        (LABEL_NODE, order.node.to_string()),
        (LABEL_TASK, task.to_string()),
        (LABEL_STACK, stack.to_string()),
        (LABEL_SERVICE, service.to_string()),
        (LABEL_SLOT, slot.to_string()),
        (LABEL_EPOCH, epoch.to_string()),
    ];
    let mut labels: HashMap<String, String> =
        order.assignment.spec.labels.clone().into_iter().collect();
    labels.extend(ours.map(|(key, value)| (key.to_owned(), value)));
    if order.assignment.spec.strict_singleton {
        let grace = order.assignment.spec.stop_grace_ms;
        labels.insert(LABEL_LEASE.to_owned(), grace.to_string());
    }
    labels
}

/// The names a container answers to on its networks.
pub(super) fn aliases(assignment: &Assignment) -> Vec<String> {
    let replica = format!("{}-{}", assignment.service, assignment.slot);
    let mut names = vec![assignment.service.to_string(), replica];
    names.extend(assignment.spec.container_name.clone());
    names
}

/// The whole request. `network` is the engine's id of the first network; `None` on the machine's own.
pub(super) fn container(
    order: &Order,
    network: Option<&str>,
    cores: Option<u64>,
) -> Result<ContainerCreateBody, RuntimeError> {
    let spec = order.assignment.spec.as_ref();
    let environment = spec.environment.iter().map(|(key, value)| format!("{key}={value}"));
    let endpoint =
        EndpointSettings { aliases: Some(aliases(&order.assignment)), ..Default::default() };
    let networking = network
        .map(|id| NetworkingConfig { endpoints_config: Some([(id.to_owned(), endpoint)].into()) });
    let seconds = spec.stop_grace_ms.div_ceil(1000);
    Ok(ContainerCreateBody {
        image: Some(spec.image.clone()),
        cmd: spec.command.clone(),
        entrypoint: spec.entrypoint.clone(),
        env: Some(environment.collect()),
        labels: Some(labels(order)),
        user: spec.user.clone(),
        working_dir: spec.working_dir.clone(),
        hostname: spec.hostname.clone(),
        exposed_ports: Some(exposed(spec)),
        healthcheck: spec.healthcheck.as_ref().map(healthcheck),
        stop_signal: spec.stop_signal.clone(),
        stop_timeout: Some(i64::try_from(seconds).unwrap_or(i64::MAX)),
        host_config: Some(host(order, network, cores)?),
        networking_config: networking,
        ..Default::default()
    })
}

fn host(
    order: &Order,
    network: Option<&str>,
    cores: Option<u64>,
) -> Result<HostConfig, RuntimeError> {
    let spec = order.assignment.spec.as_ref();
    let privileges = &spec.privileges;
    let mounts: Result<Vec<_>, _> =
        spec.mounts.iter().map(|mount| mount_of(order, mount)).collect();
    let on_host = |wanted: bool| wanted.then(|| "host".to_owned());
    let hosts = spec.extra_hosts.iter().map(|(name, address)| format!("{name}:{address}"));
    Ok(HostConfig {
        mounts: Some(mounts?),
        network_mode: on_host(privileges.host_network).or_else(|| network.map(str::to_owned)),
        port_bindings: network.map(|_| published(spec)),
        restart_policy: Some(EngineRestart {
            name: Some(RestartPolicyNameEnum::NO),
            ..Default::default()
        }),
        log_config: Some(logging(spec)),
        init: Some(spec.init.unwrap_or(true)),
        readonly_rootfs: Some(spec.read_only),
        shm_size: spec.shm_size.map(signed),
        extra_hosts: Some(hosts.collect()),
        ulimits: Some(ulimits(spec)),
        cap_drop: Some(spec.cap_drop.clone()),
        cap_add: Some(privileges.cap_add.clone()),
        privileged: Some(privileges.privileged),
        devices: Some(privileges.devices.iter().map(|device| device_of(device)).collect()),
        device_requests: (!privileges.device_requests.is_empty())
            .then(|| privileges.device_requests.iter().map(device_request).collect()),
        pid_mode: on_host(privileges.host_pid),
        ipc_mode: on_host(privileges.host_ipc),
        userns_mode: on_host(privileges.host_userns),
        security_opt: Some(security(spec, privileges)),
        ..limits(&spec.resources, cores)
    })
}

/// Memory and swap together are limited to the memory limit: no swap.
fn limits(ask: &ResourceAsk, cores: Option<u64>) -> HostConfig {
    let soft = ask.reserved.memory.min(ask.memory_limit);
    // The engine refuses more CPUs than the machine has.
    let all = cores.map_or(MilliCpu(u64::MAX), MilliCpu::cores);
    let nanos = |cpu: MilliCpu| i64::try_from(cpu.min(all).0.saturating_mul(NANOS_PER_MILLI));
    HostConfig {
        memory: Some(signed(ask.memory_limit)),
        memory_swap: Some(signed(ask.memory_limit)),
        memory_reservation: (soft >= MIN_SOFT_LIMIT).then(|| signed(soft)),
        nano_cpus: ask.cpu_limit.and_then(|cpu| nanos(cpu).ok()),
        pids_limit: Some(i64::from(ask.pids_limit)),
        ..Default::default()
    }
}

fn signed(amount: Bytes) -> i64 {
    i64::try_from(amount.0).unwrap_or(i64::MAX)
}

fn mount_of(order: &Order, wanted: &Mount) -> Result<EngineMount, RuntimeError> {
    let (kind, source) = match &wanted.source {
        MountSource::Volume { name, .. } => {
            let volume = order.assignment.volumes.get(name).ok_or_else(|| {
                let message = format!("volume {name} is mounted but was not assigned");
                RuntimeError::Refused { message }
            })?;
            (MountType::VOLUME, Some(volume.engine_name.clone()))
        }
        MountSource::Anonymous => (MountType::VOLUME, None),
        MountSource::Bind { path, .. } => {
            let real = order.binds.get(path).ok_or_else(|| RuntimeError::Refused {
                message: format!("bind {path} was not permitted"),
            })?;
            (MountType::BIND, Some(real.display().to_string()))
        }
        MountSource::Tmpfs { .. } => (MountType::TMPFS, None),
    };
    let mut bound = EngineMount {
        target: Some(wanted.target.clone()),
        source,
        typ: Some(kind),
        read_only: Some(wanted.read_only),
        ..Default::default()
    };
    if let MountSource::Volume { no_copy, .. } = &wanted.source {
        let options = MountVolumeOptions { no_copy: Some(*no_copy), ..Default::default() };
        bound.volume_options = Some(options);
    }
    if let MountSource::Tmpfs { size, mode } = &wanted.source {
        let mode = mode.map(i64::from);
        let options = MountTmpfsOptions { size_bytes: size.map(signed), mode, options: None };
        bound.tmpfs_options = Some(options);
    }
    Ok(bound)
}

fn exposed(spec: &ServiceSpec) -> Vec<String> {
    let published = spec.ports.iter().map(|port| (port.target, port.protocol));
    let mut ports: Vec<_> = spec.expose.iter().copied().chain(published).collect();
    ports.sort_unstable();
    ports.dedup();
    ports.into_iter().map(|(port, protocol)| format!("{port}/{}", protocol.as_str())).collect()
}

fn published(spec: &ServiceSpec) -> PortMap {
    let mut map = PortMap::new();
    for port in &spec.ports {
        let binding = PortBinding {
            host_ip: port.host_ip.clone(),
            // An empty port asks the engine to choose one.
            host_port: Some(port.published.map(|port| port.to_string()).unwrap_or_default()),
        };
        let key = format!("{}/{}", port.target, port.protocol.as_str());
        map.entry(key).or_default().get_or_insert_default().push(binding);
    }
    map
}

fn healthcheck(check: &Healthcheck) -> HealthConfig {
    let words = |first: &str, rest: &[String]| {
        std::iter::once(first.to_owned()).chain(rest.iter().cloned()).collect()
    };
    let test = match &check.test {
        HealthTest::Inherit => Vec::new(),
        HealthTest::Disabled => words("NONE", &[]),
        HealthTest::Exec(command) => words("CMD", command),
        HealthTest::Shell(line) => words("CMD-SHELL", std::slice::from_ref(line)),
    };
    let nanos =
        |millis: u64| i64::try_from(millis.saturating_mul(NANOS_PER_MILLI)).unwrap_or(i64::MAX);
    HealthConfig {
        test: Some(test),
        interval: check.interval_ms.map(nanos),
        timeout: check.timeout_ms.map(nanos),
        retries: check.retries.map(i64::from),
        start_period: check.start_period_ms.map(nanos),
        start_interval: None,
    }
}

fn logging(spec: &ServiceSpec) -> HostConfigLogConfig {
    let (driver, mut options) = match &spec.logging {
        Some(Logging { driver, options }) => (driver.as_str(), options.clone()),
        None => (LOG_DRIVER, BTreeMap::new()),
    };
    if FILE_DRIVERS.contains(&driver) && !options.contains_key(MAX_SIZE) {
        for (key, value) in LOG_CAP {
            options.entry(key.to_owned()).or_insert_with(|| value.to_owned());
        }
    }
    let options = options.into_iter().collect();
    HostConfigLogConfig { typ: Some(driver.to_owned()), config: Some(options) }
}

fn ulimits(spec: &ServiceSpec) -> Vec<ResourcesUlimits> {
    let ulimit = |(name, limit): (&String, &model::spec::Ulimit)| ResourcesUlimits {
        name: Some(name.clone()),
        soft: Some(limit.soft),
        hard: Some(limit.hard),
    };
    spec.ulimits.iter().map(ulimit).collect()
}

fn security(spec: &ServiceSpec, privileges: &Privileges) -> Vec<String> {
    let ours = spec.no_new_privileges.then(|| "no-new-privileges".to_owned());
    ours.into_iter().chain(privileges.security_opt.iter().cloned()).collect()
}

/// `HOST[:CONTAINER[:rwm]]`, as Compose writes a device.
fn device_of(text: &str) -> DeviceMapping {
    let mut parts = text.split(':');
    let host = parts.next().unwrap_or_default().to_owned();
    let inside = parts.next().map_or_else(|| host.clone(), str::to_owned);
    let rights = parts.next().unwrap_or("rwm").to_owned();
    DeviceMapping {
        path_on_host: Some(host),
        path_in_container: Some(inside),
        cgroup_permissions: Some(rights),
    }
}

/// Which devices of a kind it gets is for the engine's driver to say, unless they are named.
fn device_request(wanted: &DeviceRequest) -> EngineDeviceRequest {
    let (count, device_ids) = match &wanted.count {
        DeviceCount::All => (Some(-1), None),
        DeviceCount::Number(number) => (Some(i64::from(*number)), None),
        DeviceCount::Ids(ids) => (None, Some(ids.clone())),
    };
    EngineDeviceRequest {
        driver: wanted.driver.clone(),
        count,
        device_ids,
        // Any of several lists would do; this is one of which all must hold.
        capabilities: Some(vec![wanted.capabilities.clone()]),
        options: Some(wanted.options.clone().into_iter().collect()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use model::{Desired, Epoch, Resources, ServiceName, StackName, TaskId, spec::Port};

    use super::*;

    fn order(spec: ServiceSpec) -> Order {
        let assignment = Assignment {
            task: TaskId::new(7),
            stack: StackName::new("shop").unwrap(),
            service: ServiceName::new("web").unwrap(),
            slot: 2,
            epoch: Epoch(3),
            desired: Desired::Run,
            spec: Arc::new(spec),
            volumes: BTreeMap::new(),
        };
        let node = model::NodeId::new(1);
        Order {
            cluster: "c1".to_owned(),
            node,
            assignment: Arc::new(assignment),
            binds: BTreeMap::new(),
        }
    }

    fn host_of(spec: ServiceSpec) -> HostConfig {
        container(&order(spec), Some("net"), Some(2)).unwrap().host_config.unwrap()
    }

    #[test]
    fn the_memory_limit_is_the_swap_limit_and_the_reservation_is_soft() {
        let mut spec = ServiceSpec::new("a");
        spec.resources.reserved = Resources { memory: Bytes::mib(512), cpu: MilliCpu::ZERO };
        spec.resources.memory_limit = Bytes::gib(2);
        let host = host_of(spec);
        assert_eq!(host.memory, Some(2 << 30));
        assert_eq!(host.memory_swap, host.memory);
        assert_eq!(host.memory_reservation, Some(512 << 20));
    }

    #[test]
    fn more_cpus_than_the_machine_has_are_all_of_them() {
        let mut spec = ServiceSpec::new("a");
        spec.resources.cpu_limit = Some(MilliCpu::cores(8));
        assert_eq!(host_of(spec).nano_cpus, Some(2_000_000_000));
    }

    #[test]
    fn what_a_file_leaves_out_is_capped_and_safe() {
        let host = host_of(ServiceSpec::new("a"));
        let logging = host.log_config.unwrap();
        assert_eq!(logging.typ.as_deref(), Some("local"));
        assert_eq!(logging.config.unwrap().get("max-size").map(String::as_str), Some("10m"));
        assert_eq!(host.restart_policy.unwrap().name, Some(RestartPolicyNameEnum::NO));
        assert_eq!((host.init, host.privileged), (Some(true), Some(false)));
        assert!(host.pids_limit.is_some_and(|limit| limit > 0));
    }

    #[test]
    fn a_log_on_this_machines_disk_always_has_a_cap() {
        let check = |driver: &str, asked: &[(&str, &str)], expected: &[(&str, &str)]| {
            let words = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
                pairs.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect()
            };
            let mut spec = ServiceSpec::new("a");
            spec.logging = Some(Logging { driver: driver.to_owned(), options: words(asked) });
            let HostConfigLogConfig { typ, config } = logging(&spec);
            assert_eq!(typ.as_deref(), Some(driver));
            assert_eq!(config.unwrap().into_iter().collect::<BTreeMap<_, _>>(), words(expected));
        };
        let cap = [("max-size", "10m"), ("max-file", "3")];
        check("json-file", &[], &cap);
        check("local", &[], &cap);
        check("json-file", &[("max-file", "5")], &[("max-size", "10m"), ("max-file", "5")]);
        check("json-file", &[("max-size", "1g")], &[("max-size", "1g")]);
        check("journald", &[("tag", "a")], &[("tag", "a")]);
    }

    #[test]
    fn our_labels_win_over_a_files() {
        let mut spec = ServiceSpec::new("a");
        spec.labels.insert(LABEL_TASK.to_owned(), "t999".to_owned());
        spec.labels.insert("team".to_owned(), "brain".to_owned());
        let labels = labels(&order(spec));
        assert_eq!(labels.get(LABEL_TASK).map(String::as_str), Some("t7"));
        assert_eq!(labels.get("team").map(String::as_str), Some("brain"));
    }

    #[test]
    fn a_container_answers_to_its_service_its_replica_and_its_given_name() {
        let mut spec = ServiceSpec::new("a");
        spec.container_name = Some("legacy".to_owned());
        assert_eq!(aliases(&order(spec).assignment), ["web", "web-2", "legacy"]);
    }

    #[test]
    fn a_port_may_be_published_twice_and_left_to_the_engine() {
        let port = |published, target| Port {
            host_ip: None,
            published,
            target,
            protocol: model::spec::Protocol::Tcp,
        };
        let mut spec = ServiceSpec::new("a");
        spec.ports = vec![port(Some(80), 8080), port(Some(81), 8080), port(None, 9000)];
        let map = published(&spec);
        let ports = |key: &str| -> Vec<String> {
            let bindings = map.get(key).cloned().flatten().unwrap_or_default();
            bindings.into_iter().filter_map(|binding| binding.host_port).collect()
        };
        assert_eq!(ports("8080/tcp"), ["80", "81"]);
        assert_eq!(ports("9000/tcp"), [""]);
    }

    #[test]
    fn on_the_machines_own_network_nothing_is_published() {
        let mut spec = ServiceSpec::new("a");
        spec.privileges.host_network = true;
        let body = container(&order(spec), None, None).unwrap();
        assert_eq!(body.host_config.unwrap().network_mode.as_deref(), Some("host"));
        assert!(body.networking_config.is_none());
    }

    #[test]
    fn devices_are_asked_for_as_the_engine_counts_them() {
        let request = |count| {
            let mut spec = ServiceSpec::new("a");
            spec.resources.generic.add(&"disk".parse().unwrap(), 1 << 30);
            spec.privileges.device_requests = vec![DeviceRequest {
                driver: Some("nvidia".to_owned()),
                count,
                capabilities: vec!["gpu".to_owned(), "compute".to_owned()],
                options: [("virtualization".to_owned(), "no".to_owned())].into(),
            }];
            serde_json::to_value(host_of(spec).device_requests).unwrap()
        };
        let expected = |more: (&str, serde_json::Value)| {
            let mut one = serde_json::json!({
                "Driver": "nvidia",
                "Capabilities": [["gpu", "compute"]],
                "Options": {"virtualization": "no"},
            });
            one[more.0] = more.1;
            serde_json::Value::Array(vec![one])
        };
        assert_eq!(request(DeviceCount::All), expected(("Count", (-1).into())));
        assert_eq!(request(DeviceCount::Number(2)), expected(("Count", 2.into())));
        let ids = DeviceCount::Ids(vec!["0".to_owned()]);
        assert_eq!(request(ids), expected(("DeviceIDs", serde_json::json!(["0"]))));
        let mut amounts = ServiceSpec::new("a");
        amounts.resources.generic.add(&"gpu".parse().unwrap(), 1);
        assert_eq!(host_of(amounts).device_requests, None, "amounts are only counted");
    }

    #[test]
    fn a_bind_the_policy_did_not_see_is_not_mounted() {
        let mut spec = ServiceSpec::new("a");
        let source = MountSource::Bind { path: "/etc".to_owned(), create: false };
        spec.mounts = vec![Mount { source, target: "/host".to_owned(), read_only: true }];
        assert!(container(&order(spec), Some("net"), None).is_err());
    }
}

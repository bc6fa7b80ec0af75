//! A stack with everything a stack file can say.

use model::{
    Bytes, Generic, MilliCpu, Resources, ServiceSpec, StackSpec,
    spec::{
        Condition, Dependency, DeviceCount, DeviceRequest, HealthTest, Healthcheck, Logging,
        MemoryBasis, Mount, MountSource, NetworkSpec, PlacementRules, Port, Privileges, Protocol,
        ResourceAsk, RestartPolicy, Ulimit, VolumeSpec,
    },
};

use super::{pairs, words};

fn mounts() -> Vec<Mount> {
    let mount =
        |source, target: &str, read_only| Mount { source, target: target.to_owned(), read_only };
    vec![
        mount(
            MountSource::Volume { name: "pg_data".parse().unwrap(), no_copy: true },
            "/var/lib/postgresql",
            false,
        ),
        mount(MountSource::Anonymous, "/scratch", false),
        mount(MountSource::Bind { path: "/etc/tls".to_owned(), create: true }, "/tls", true),
        mount(MountSource::Tmpfs { size: Some(Bytes::mib(64)), mode: Some(0o1777) }, "/tmp", false),
    ]
}

fn healthcheck() -> Healthcheck {
    Healthcheck {
        test: HealthTest::Exec(words("pg_isready -U postgres")),
        interval_ms: Some(1_000),
        timeout_ms: Some(2_000),
        retries: Some(3),
        start_period_ms: Some(4_000),
    }
}

fn privileges() -> Privileges {
    Privileges {
        privileged: true,
        cap_add: words("NET_ADMIN"),
        devices: words("/dev/fuse:/dev/fuse:rwm"),
        host_network: true,
        host_pid: true,
        host_ipc: true,
        host_userns: true,
        security_opt: words("apparmor=unconfined"),
        device_requests: Vec::new(),
    }
}

/// Every field set, to something other than its default.
pub(super) fn full() -> ServiceSpec {
    ServiceSpec {
        image: "postgres:16@sha256:0000".to_owned(),
        replicas: 2,
        command: Some(words("postgres -c fsync=on")),
        entrypoint: Some(Vec::new()),
        environment: pairs("POSTGRES_DB", "shop"),
        labels: pairs("app", "shop"),
        service_labels: pairs("team", "orders"),
        user: Some("999:999".to_owned()),
        working_dir: Some("/srv".to_owned()),
        hostname: Some("db".to_owned()),
        container_name: Some("shop-db".to_owned()),
        ports: vec![Port {
            host_ip: Some("127.0.0.1".to_owned()),
            published: Some(15_432),
            target: 5_432,
            protocol: Protocol::Tcp,
        }],
        expose: [(53, Protocol::Udp), (5_432, Protocol::Tcp)].into(),
        mounts: mounts(),
        depends_on: [(
            "migrate".parse().unwrap(),
            Dependency { condition: Condition::Completed, required: true, restart: true },
        )]
        .into(),
        healthcheck: Some(healthcheck()),
        restart: RestartPolicy::OnFailure { max_attempts: Some(5) },
        stop_grace_ms: 30_000,
        stop_signal: Some("SIGINT".to_owned()),
        ulimits: [("nofile".to_owned(), Ulimit { soft: 1_024, hard: -1 })].into(),
        extra_hosts: vec![("printer".to_owned(), "10.0.0.9".to_owned())],
        init: Some(false),
        read_only: true,
        shm_size: Some(Bytes::mib(256)),
        cap_drop: words("ALL"),
        no_new_privileges: true,
        privileges: privileges(),
        logging: Some(Logging { driver: "json-file".to_owned(), options: pairs("max-file", "3") }),
        resources: ResourceAsk {
            reserved: Resources { memory: Bytes::gib(1), cpu: MilliCpu(500) },
            generic: Generic::NONE,
            basis: MemoryBasis::Reservation,
            memory_limit: Bytes::gib(2),
            cpu_limit: Some(MilliCpu::cores(2)),
            pids_limit: 512,
        },
        placement: PlacementRules {
            constraints: vec!["node.labels.role == database".parse().unwrap()],
            spread: words("zone rack"),
            max_replicas_per_node: Some(1),
        },
        networks: ["back_end".parse().unwrap()].into(),
        strict_singleton: true,
        priority: 90,
    }
}

/// Amounts of generic resources.
pub(super) fn generic() -> Generic {
    let amounts = [("NVIDIA-GPU", 2), ("disk", 200 << 30)];
    Generic::new(amounts.map(|(kind, amount)| (kind.parse().unwrap(), amount)).into()).unwrap()
}

/// The stack with services that ask for generic resources and for devices.
pub(super) fn of_devices() -> StackSpec {
    let mut spec = stack();
    let requests = [
        (DeviceCount::All, Some("nvidia")),
        (DeviceCount::Number(2), None),
        (DeviceCount::Ids(words("0 GPU-fef8089b")), None),
    ];
    let requests = requests.map(|(count, driver)| DeviceRequest {
        driver: driver.map(str::to_owned),
        count,
        capabilities: words("gpu compute"),
        options: pairs("virtualization", "no"),
    });
    for service in spec.services.values_mut() {
        service.resources.generic = generic();
        service.privileges.device_requests = requests.to_vec();
    }
    spec
}

pub(super) fn stack() -> StackSpec {
    StackSpec {
        name: "shop".parse().unwrap(),
        services: [
            ("db".parse().unwrap(), full()),
            ("web".parse().unwrap(), ServiceSpec::new("nginx:1.27")),
        ]
        .into(),
        volumes: [(
            "pg_data".parse().unwrap(),
            VolumeSpec {
                name: Some("shop-pg".to_owned()),
                external: true,
                labels: pairs("backup", "yes"),
            },
        )]
        .into(),
        networks: [(
            "back_end".parse().unwrap(),
            NetworkSpec { internal: true, labels: pairs("tier", "data") },
        )]
        .into(),
    }
}

//! Specifications.

use model::{
    MilliCpu, Resources, ServiceSpec, StackSpec,
    spec::{
        Condition, Dependency, DeviceCount, DeviceRequest, HealthTest, Healthcheck, Logging,
        MemoryBasis, Mount, MountSource, NetworkSpec, PlacementRules, Port, Privileges, Protocol,
        ResourceAsk, RestartPolicy, Ulimit, VolumeSpec,
    },
};

use super::Varied;

impl Varied {
    pub(super) fn stack_spec(&mut self) -> StackSpec {
        StackSpec {
            name: self.name(),
            services: self.list(|v| (v.name(), v.service_spec())),
            volumes: self.list(|v| {
                let name = v.maybe(Self::word);
                (v.name(), VolumeSpec { name, external: v.yes(), labels: v.labels() })
            }),
            networks: self
                .list(|v| (v.name(), NetworkSpec { internal: v.yes(), labels: v.labels() })),
        }
    }

    pub(super) fn service_spec(&mut self) -> ServiceSpec {
        ServiceSpec {
            image: self.word(),
            replicas: self.of(&[0, 1, 3, 1_000]),
            command: self.maybe(|v| v.list(Self::text)),
            entrypoint: self.maybe(|v| v.list(Self::text)),
            environment: self.labels(),
            labels: self.labels(),
            service_labels: self.labels(),
            user: self.maybe(Self::word),
            working_dir: self.maybe(Self::word),
            hostname: self.maybe(Self::word),
            container_name: self.maybe(Self::word),
            ports: self.list(Self::port),
            expose: self.list(|v| (v.port_number(), v.protocol())),
            mounts: self.list(Self::mount),
            depends_on: self.list(|v| (v.name(), v.dependency())),
            healthcheck: self.maybe(Self::healthcheck),
            restart: self.restart(),
            stop_grace_ms: self.up_to(60_000),
            stop_signal: self.maybe(Self::word),
            ulimits: self.list(|v| {
                let (soft, hard) = (v.of(&[-1, 0, 1024]), v.of(&[-1, i64::MAX]));
                (v.word(), Ulimit { soft, hard })
            }),
            extra_hosts: self.list(|v| (v.word(), v.word())),
            init: self.maybe(Self::yes),
            read_only: self.yes(),
            shm_size: self.maybe(Self::bytes),
            cap_drop: self.list(Self::word),
            no_new_privileges: self.yes(),
            privileges: self.privileges(),
            logging: self.maybe(|v| Logging { driver: v.word(), options: v.labels() }),
            resources: self.resources(),
            placement: self.placement(),
            networks: self.list(Self::name),
            strict_singleton: self.yes(),
            priority: self.of(&[0, 50, 100]),
        }
    }

    fn port_number(&mut self) -> u16 {
        self.of(&[1, 80, u16::MAX])
    }

    fn protocol(&mut self) -> Protocol {
        self.of(&[Protocol::Tcp, Protocol::Udp])
    }

    fn port(&mut self) -> Port {
        Port {
            host_ip: self.maybe(Self::word),
            published: self.maybe(Self::port_number),
            target: self.port_number(),
            protocol: self.protocol(),
        }
    }

    fn mount(&mut self) -> Mount {
        let source = match self.below(4) {
            0 => MountSource::Volume { name: self.name(), no_copy: self.yes() },
            1 => MountSource::Anonymous,
            2 => MountSource::Bind { path: format!("/{}", self.word()), create: self.yes() },
            _ => MountSource::Tmpfs {
                size: self.maybe(Self::bytes),
                mode: self.maybe(|v| v.of(&[0, 0o1777])),
            },
        };
        Mount { source, target: format!("/{}", self.word()), read_only: self.yes() }
    }

    fn dependency(&mut self) -> Dependency {
        Dependency {
            condition: self.of(&[Condition::Started, Condition::Healthy, Condition::Completed]),
            required: self.yes(),
            restart: self.yes(),
        }
    }

    fn healthcheck(&mut self) -> Healthcheck {
        let test = match self.below(4) {
            0 => HealthTest::Inherit,
            1 => HealthTest::Disabled,
            2 => HealthTest::Exec(self.list(Self::text)),
            _ => HealthTest::Shell(self.text()),
        };
        Healthcheck {
            test,
            interval_ms: self.maybe(|v| v.up_to(60_000)),
            timeout_ms: self.maybe(|v| v.up_to(60_000)),
            retries: self.maybe(Self::u32),
            start_period_ms: self.maybe(|v| v.up_to(60_000)),
        }
    }

    fn restart(&mut self) -> RestartPolicy {
        match self.below(3) {
            0 => RestartPolicy::Never,
            1 => RestartPolicy::OnFailure { max_attempts: self.maybe(Self::u32) },
            _ => RestartPolicy::Always,
        }
    }

    fn privileges(&mut self) -> Privileges {
        Privileges {
            privileged: self.yes(),
            cap_add: self.list(Self::word),
            devices: self.list(Self::word),
            host_network: self.yes(),
            host_pid: self.yes(),
            host_ipc: self.yes(),
            host_userns: self.yes(),
            security_opt: self.list(Self::word),
            device_requests: self.list(Self::device_request),
        }
    }

    fn device_request(&mut self) -> DeviceRequest {
        let count = match self.below(3) {
            0 => DeviceCount::All,
            1 => DeviceCount::Number(self.u32()),
            _ => DeviceCount::Ids(self.list(Self::word)),
        };
        DeviceRequest {
            driver: self.maybe(Self::word),
            count,
            capabilities: self.list(Self::word),
            options: self.labels(),
        }
    }

    fn resources(&mut self) -> ResourceAsk {
        let cpu = |v: &mut Self| MilliCpu(v.up_to(64_000));
        ResourceAsk {
            reserved: Resources { memory: self.bytes(), cpu: cpu(self) },
            generic: self.generic(),
            basis: self.of(&[MemoryBasis::Reservation, MemoryBasis::Limit, MemoryBasis::Assumed]),
            memory_limit: self.bytes(),
            cpu_limit: self.maybe(cpu),
            pids_limit: self.u32(),
        }
    }

    fn placement(&mut self) -> PlacementRules {
        let constraints = [
            "node.id == n3",
            "node.hostname != mini-1",
            "node.platform.arch == arm64",
            "node.platform.os != linux",
            "node.labels.role == data base",
        ];
        PlacementRules {
            constraints: self.list(|v| v.of(&constraints).parse().unwrap()),
            spread: self.list(Self::word),
            max_replicas_per_node: self.maybe(Self::u32),
        }
    }
}

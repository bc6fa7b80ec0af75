//! From text to a stack: every key the model has a place for.

use std::collections::BTreeMap;

use crate::support::Case;
use model::{
    Bytes, MilliCpu, ServiceSpec,
    spec::{
        Condition, Constraint, DeviceCount, HealthTest, MemoryBasis, Mount, MountSource, Port,
        Protocol, RestartPolicy,
    },
};
use siso_stackfile::Severity;

/// The service `web` of a stack whose other lines are `below` it.
#[track_caller]
fn web(below: &str) -> ServiceSpec {
    let text = format!("services:\n  web:\n    image: nginx\n{below}");
    let loaded = Case::new(&text).load().unwrap_or_else(|error| panic!("{error}"));
    loaded.stack.services["web"].clone()
}

#[test]
fn a_service_of_one_line_has_every_default() {
    let stack = Case::new("services: {web: {image: nginx}}").load().unwrap().stack;
    assert_eq!(stack.name.as_str(), "shop");
    let mut expected = ServiceSpec::new("nginx");
    expected.networks = ["default".parse().unwrap()].into();
    assert_eq!(stack.services["web"], expected);
}

#[test]
fn memory_is_reserved_from_the_reservation_else_the_limit_else_assumed() {
    #[track_caller]
    fn check(below: &str, reserved: Bytes, limit: Bytes, basis: MemoryBasis) {
        let ask = web(below).resources;
        assert_eq!((ask.reserved.memory, ask.memory_limit, ask.basis), (reserved, limit, basis));
    }
    let (half, two) = (Bytes::mib(512), Bytes::gib(2));
    let deploy = |inner: &str| format!("    deploy: {{resources: {{{inner}}}}}\n");
    check(
        &deploy("limits: {memory: 2G}, reservations: {memory: 512M}"),
        half,
        two,
        MemoryBasis::Reservation,
    );
    check("    mem_limit: 2g\n    mem_reservation: 512m\n", half, two, MemoryBasis::Reservation);
    check("    mem_limit: 2g\n", two, two, MemoryBasis::Limit);
    check("    mem_limit: 2147483648\n", two, two, MemoryBasis::Limit);
    check("    mem_reservation: 512m\n", half, half, MemoryBasis::Reservation);
    check("", Bytes::mib(256), Bytes::mib(256), MemoryBasis::Assumed);
    check("    mem_limit: 0\n", Bytes::mib(256), Bytes::mib(256), MemoryBasis::Assumed);
}

#[test]
fn cpus_and_processes_have_limits() {
    let ask = web("    cpus: 1.5\n    pids_limit: 100\n").resources;
    assert_eq!((ask.cpu_limit, ask.pids_limit), (Some(MilliCpu(1500)), 100));
    let ask = web(
        "    deploy: {resources: {limits: {cpus: '2', pids: 7}, reservations: {cpus: 0.25}}}\n",
    )
    .resources;
    assert_eq!(
        (ask.cpu_limit, ask.reserved.cpu, ask.pids_limit),
        (Some(MilliCpu(2000)), MilliCpu(250), 7)
    );
}

#[test]
fn ports_keep_address_published_port_and_protocol() {
    let port = |host_ip: Option<&str>, published, target, protocol| Port {
        host_ip: host_ip.map(str::to_owned),
        published,
        target,
        protocol,
    };
    let ports = web(
        "    ports:\n      - 80\n      - 8080:80\n      - 127.0.0.1:5353:53/udp\n      - {target: 443, published: 8443}\n      - \"3000-3001:3000-3001\"\n",
    )
    .ports;
    assert_eq!(
        ports,
        [
            port(None, None, 80, Protocol::Tcp),
            port(None, Some(8080), 80, Protocol::Tcp),
            port(Some("127.0.0.1"), Some(5353), 53, Protocol::Udp),
            port(None, Some(8443), 443, Protocol::Tcp),
            port(None, Some(3000), 3000, Protocol::Tcp),
            port(None, Some(3001), 3001, Protocol::Tcp),
        ]
    );
}

#[test]
fn mounts_are_volumes_binds_and_memory() {
    let text = "services:\n  web:\n    image: nginx\n    volumes:\n      - data:/data:ro\n      - /cache\n      - /srv/x:/x\n      - {type: tmpfs, target: /t, tmpfs: {size: 64m, mode: 01777}}\n      - {type: volume, source: data, target: /n, volume: {nocopy: true}}\n    tmpfs: /run:size=1m,mode=700\nvolumes:\n  data: {name: shared-data, external: true}\n";
    let stack = Case::new(text).load().unwrap().stack;
    let data = |no_copy| MountSource::Volume { name: "data".parse().unwrap(), no_copy };
    let mount =
        |source, target: &str, read_only| Mount { source, target: target.to_owned(), read_only };
    assert_eq!(
        stack.services["web"].mounts,
        [
            mount(data(false), "/data", true),
            mount(MountSource::Anonymous, "/cache", false),
            mount(MountSource::Bind { path: "/srv/x".to_owned(), create: true }, "/x", false),
            mount(
                MountSource::Tmpfs { size: Some(Bytes::mib(64)), mode: Some(0o1777) },
                "/t",
                false
            ),
            mount(data(true), "/n", false),
            mount(
                MountSource::Tmpfs { size: Some(Bytes::mib(1)), mode: Some(0o700) },
                "/run",
                false
            ),
        ]
    );
    let volume = &stack.volumes["data"];
    assert!(volume.external);
    assert_eq!(stack.engine_volume(&"data".parse().unwrap()), "shared-data");
}

#[test]
fn an_own_volume_has_the_name_of_its_stack() {
    let text = "services: {db: {image: x, volumes: ['data:/d']}}\nvolumes: {data: }\n";
    let stack = Case::new(text).load().unwrap().stack;
    assert_eq!(stack.volumes["data"].name, None);
    assert_eq!(stack.engine_volume(&"data".parse().unwrap()), "shop_data");
}

#[test]
fn commands_are_words_or_lists() {
    let words =
        |list: &[&str]| Some(list.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
    let service =
        web("    command: nginx -g \"daemon off;\"\n    entrypoint: [\"/bin/sh\", \"-c\"]\n");
    assert_eq!(service.command, words(&["nginx", "-g", "daemon off;"]));
    assert_eq!(service.entrypoint, words(&["/bin/sh", "-c"]));
    assert_eq!(web("    command: []\n").command, words(&[]));
    assert_eq!(web("    command:\n").command, None);
}

#[test]
fn health_checks_have_a_test_and_times() {
    let test = |below: &str| web(below).healthcheck.unwrap().test;
    assert_eq!(
        test("    healthcheck: {test: curl -f x}\n"),
        HealthTest::Shell("curl -f x".to_owned())
    );
    assert_eq!(
        test("    healthcheck: {test: [CMD, pg_isready]}\n"),
        HealthTest::Exec(vec!["pg_isready".to_owned()])
    );
    assert_eq!(test("    healthcheck: {disable: true}\n"), HealthTest::Disabled);
    assert_eq!(test("    healthcheck: {test: [NONE]}\n"), HealthTest::Disabled);
    let check =
        web("    healthcheck: {interval: 1m30s, timeout: 500ms, retries: 5, start_period: 1d}\n")
            .healthcheck
            .unwrap();
    assert_eq!(check.test, HealthTest::Inherit);
    assert_eq!((check.interval_ms, check.timeout_ms), (Some(90_000), Some(500)));
    assert_eq!((check.retries, check.start_period_ms), (Some(5), Some(86_400_000)));
    assert_eq!(web("").healthcheck, None);
}

#[test]
fn restart_is_on_failure_unless_the_file_says_otherwise() {
    let forever = RestartPolicy::OnFailure { max_attempts: None };
    let three = RestartPolicy::OnFailure { max_attempts: Some(3) };
    for (below, policy) in [
        ("", forever),
        ("    restart: no\n", RestartPolicy::Never),
        ("    restart: always\n", RestartPolicy::Always),
        ("    restart: unless-stopped\n", RestartPolicy::Always),
        ("    restart: on-failure\n", forever),
        ("    restart: on-failure:3\n", three),
        ("    deploy: {restart_policy: {condition: on-failure, max_attempts: 3}}\n", three),
        ("    deploy: {restart_policy: {condition: none}}\n", RestartPolicy::Never),
        ("    deploy: {restart_policy: {condition: any}}\n", RestartPolicy::Always),
    ] {
        assert_eq!(web(below).restart, policy, "{below}");
    }
}

#[test]
fn environment_comes_from_files_then_the_service_then_the_person() {
    let text = "services:\n  web:\n    image: x\n    env_file: [a.env, {path: b.env, required: false}, {path: missing.env, required: false}]\n    environment:\n      OWN: 1.10\n      OVER: own\n      PASSED:\n      UNSET:\n      FLAG: true\n";
    let case = Case::new(text)
        .named("a.env", "FIRST=a\nOVER=file\nBOTH=a\n")
        .named("b.env", "BOTH=b\nUSES=${FIRST}-$PASSED\n")
        .variable("PASSED", "on");
    let found = case.load().unwrap().stack.services["web"].environment.clone();
    let expected: BTreeMap<String, String> = [
        ("FIRST", "a"),
        ("OVER", "own"),
        ("BOTH", "b"),
        ("USES", "a-on"),
        ("OWN", "1.1"),
        ("PASSED", "on"),
        ("FLAG", "true"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    assert_eq!(found, expected);
}

#[test]
fn variables_come_from_the_process_then_dotenv() {
    let image = |case: Case| case.load().unwrap().stack.services["web"].image.clone();
    let text = "services: {web: {image: \"nginx:${TAG:-1.0}\"}}";
    assert_eq!(image(Case::new(text)), "nginx:1.0");
    assert_eq!(image(Case::new(text).dotenv("TAG=2.0\n")), "nginx:2.0");
    assert_eq!(image(Case::new(text).dotenv("TAG=2.0\n").variable("TAG", "3.0")), "nginx:3.0");
}

#[test]
fn placement_has_constraints_preferences_and_a_maximum() {
    let rules = web("    platform: linux/arm64/v8\n    deploy:\n      placement:\n        constraints: [node.labels.role == database]\n        preferences: [{spread: node.labels.zone}]\n        max_replicas_per_node: 1\n").placement;
    let constraint = |text: &str| text.parse::<Constraint>().unwrap();
    assert_eq!(
        rules.constraints,
        [constraint("node.labels.role == database"), constraint("node.platform.arch == arm64")]
    );
    assert_eq!((rules.spread, rules.max_replicas_per_node), (vec!["zone".to_owned()], Some(1)));
}

#[test]
fn dependencies_have_conditions() {
    let text = "services:\n  web:\n    image: x\n    depends_on:\n      db: {condition: service_healthy, restart: true}\n      job: {condition: service_completed_successfully, required: false}\n  db: {image: x}\n  job: {image: x}\n  api: {image: x, depends_on: [db]}\n";
    let stack = Case::new(text).load().unwrap().stack;
    let of = |service: &str, name: &str| {
        let dependency = stack.services[service].depends_on[name];
        (dependency.condition, dependency.required, dependency.restart)
    };
    assert_eq!(of("web", "db"), (Condition::Healthy, true, true));
    assert_eq!(of("web", "job"), (Condition::Completed, false, false));
    assert_eq!(of("api", "db"), (Condition::Started, true, false));
}

#[test]
fn privileges_are_kept_apart_and_noted() {
    let text = "services:\n  web:\n    image: x\n    privileged: true\n    cap_add: [CAP_NET_ADMIN]\n    cap_drop: [all]\n    network_mode: host\n    pid: host\n    ipc: host\n    userns_mode: host\n    devices: [/dev/ttyUSB0]\n    security_opt: [no-new-privileges:true, seccomp=unconfined]\n";
    let loaded = Case::new(text).load().unwrap();
    let service = &loaded.stack.services["web"];
    let privileges = &service.privileges;
    assert!(privileges.privileged && privileges.host_network && privileges.host_pid);
    assert!(privileges.host_ipc && privileges.host_userns && service.no_new_privileges);
    assert_eq!(privileges.cap_add, ["NET_ADMIN"]);
    assert_eq!(service.cap_drop, ["ALL"]);
    assert_eq!(privileges.devices, ["/dev/ttyUSB0:/dev/ttyUSB0:rwm"]);
    assert_eq!(privileges.security_opt, ["seccomp=unconfined"]);
    let noted: Vec<&str> = loaded.notes.iter().map(|note| note.path.as_str()).collect();
    for key in ["privileged", "cap_add", "network_mode", "pid", "ipc", "userns_mode", "devices"] {
        assert!(noted.contains(&format!("services.web.{key}").as_str()), "{key}: {noted:?}");
    }
    // A list has no place of its own: its key is named, not its service.
    for (key, line) in [("cap_add", 5), ("devices", 11), ("security_opt", 12)] {
        let note = loaded.notes.iter().find(|note| note.path == format!("services.web.{key}"));
        assert_eq!(note.unwrap().at.as_ref().unwrap().line, line, "{key}");
    }
}

#[test]
fn generic_resources_are_amounts_and_devices_are_requests_that_are_noted() {
    let text = "services:
  web:
    image: x
    gpus: all
    deploy:
      resources:
        reservations:
          generic_resources:
            - discrete_resource_spec: {kind: ssd, value: 1}
            - discrete_resource_spec: {kind: disk, value: 1.5GiB}
          devices:
            - {driver: nvidia, count: 2, capabilities: [gpu, compute], options: {a: b}}
            - {device_ids: [\"0\", GPU-1], capabilities: [tpu]}
";
    let loaded = Case::new(text).load().unwrap();
    let service = &loaded.stack.services["web"];
    assert_eq!(service.resources.generic.to_string(), "1.5 GiB disk and 1 ssd");
    let [all, two, named] = service.privileges.device_requests.as_slice() else { panic!() };
    assert_eq!((&all.count, all.capabilities.as_slice()), (&DeviceCount::All, &["gpu".into()][..]));
    assert_eq!((&two.count, two.driver.as_deref()), (&DeviceCount::Number(2), Some("nvidia")));
    assert_eq!(
        (two.capabilities.as_slice(), two.options["a"].as_str()),
        (&["gpu".into(), "compute".into()][..], "b")
    );
    assert_eq!(named.count, DeviceCount::Ids(vec!["0".into(), "GPU-1".into()]));
    let reserved = service.generic_on(&model::Generic::NONE).to_string();
    assert_eq!(reserved, "1.5 GiB disk and 2 gpu and 1 ssd and 2 tpu");
    let noted: Vec<_> = loaded
        .notes
        .iter()
        .map(|note| (note.path.as_str(), note.at.as_ref().unwrap().line))
        .collect();
    assert!(noted.contains(&("services.web.gpus", 4)), "{noted:?}");
    assert!(
        noted.contains(&("services.web.deploy.resources.reservations.devices", 11)),
        "{noted:?}"
    );
}

#[test]
fn the_rest_of_a_service_is_taken_as_it_is() {
    let service = web(
        "    user: \"1000:1000\"\n    working_dir: /app\n    hostname: h\n    container_name: c\n    stop_grace_period: 1m\n    stop_signal: SIGINT\n    ulimits: {nofile: 1024, nproc: {soft: 1, hard: 2}}\n    extra_hosts: [\"db:10.0.0.5\", \"v6=[::1]\"]\n    init: false\n    read_only: true\n    shm_size: 64m\n    expose: [\"80-81\", 53/udp]\n    labels: [a=1, b]\n    logging: {driver: local, options: {max-size: 10m}}\n    x-siso: {singleton: strict, priority: 80}\n    deploy: {labels: {c: d}, replicas: 1}\n",
    );
    assert_eq!(service.user.as_deref(), Some("1000:1000"));
    assert_eq!(service.working_dir.as_deref(), Some("/app"));
    assert_eq!(
        (service.hostname.as_deref(), service.container_name.as_deref()),
        (Some("h"), Some("c"))
    );
    assert_eq!((service.stop_grace_ms, service.stop_signal.as_deref()), (60_000, Some("SIGINT")));
    assert_eq!((service.ulimits["nofile"].hard, service.ulimits["nproc"].soft), (1024, 1));
    let host = |name: &str, address: &str| (name.to_owned(), address.to_owned());
    assert_eq!(service.extra_hosts, [host("db", "10.0.0.5"), host("v6", "::1")]);
    assert_eq!((service.init, service.read_only), (Some(false), true));
    assert_eq!(service.shm_size, Some(Bytes::mib(64)));
    assert_eq!(service.expose.len(), 3);
    assert_eq!((service.labels["a"].as_str(), service.labels["b"].as_str()), ("1", ""));
    assert_eq!(service.service_labels["c"], "d");
    assert_eq!(service.logging.unwrap().options["max-size"], "10m");
    assert_eq!((service.strict_singleton, service.priority), (true, 80));
}

#[test]
fn later_files_override_earlier_ones() {
    let first = "services:\n  web:\n    image: a\n    command: [one]\n    ports: ['80:80']\n    environment: {A: '1', B: '1'}\n    volumes: ['data:/d']\n    healthcheck: {test: x, retries: 3}\nvolumes: {data: , other: }\n";
    let second = "services:\n  web:\n    image: b\n    command: [two]\n    ports: ['81:81']\n    environment: ['B=2']\n    volumes: ['other:/d']\n    healthcheck: {retries: 5}\n";
    let stack = Case::new(first).and_file("over.yaml", second).load().unwrap().stack;
    let web = &stack.services["web"];
    assert_eq!((web.image.as_str(), web.command.clone().unwrap()), ("b", vec!["two".to_owned()]));
    assert_eq!(web.ports.len(), 2);
    assert_eq!((web.environment["A"].as_str(), web.environment["B"].as_str()), ("1", "2"));
    assert_eq!(web.mounts.len(), 1);
    assert_eq!(web.healthcheck.clone().unwrap().retries, Some(5));
}

#[test]
fn reset_removes_and_override_replaces() {
    let first = "services: {web: {image: a, ports: ['80:80'], environment: {A: x}}}\n";
    let second =
        "services:\n  web:\n    ports: !override ['81:81']\n    environment: !reset null\n";
    let stack = Case::new(first).and_file("over.yaml", second).load().unwrap().stack;
    let web = &stack.services["web"];
    assert_eq!(web.ports.iter().map(|port| port.published).collect::<Vec<_>>(), [Some(81)]);
    assert!(web.environment.is_empty());
}

#[test]
fn merge_keys_take_what_a_mapping_lacks() {
    let text = "x-a: &a {restart: always, labels: {from: a}}\nx-b: &b {restart: no, user: '1'}\nservices:\n  web:\n    <<: [*a, *b]\n    image: x\n    labels: {own: x}\n";
    let web = Case::new(text).load().unwrap().stack.services["web"].clone();
    assert_eq!(web.restart, RestartPolicy::Always);
    assert_eq!(web.user.as_deref(), Some("1"));
    assert_eq!(web.labels.keys().collect::<Vec<_>>(), ["own"]);
}

#[test]
fn profiles_leave_services_out() {
    let text = "services:\n  web: {image: x}\n  debug: {image: x, profiles: [debug], build: .}\n";
    let names = |case: Case| {
        let stack = case.config().unwrap().tree;
        stack["services"].as_object().unwrap().keys().cloned().collect::<Vec<_>>()
    };
    assert_eq!(names(Case::new(text)), ["web"]);
    assert_eq!(names(Case::new(text).profile("debug")), ["debug", "web"]);
    assert_eq!(names(Case::new(text).dotenv("COMPOSE_PROFILES=debug")), ["debug", "web"]);
    // What is wrong with a service that is left out disturbs nobody.
    assert!(Case::new(text).load().is_ok());
    assert!(Case::new(text).profile("debug").errors().contains("`build` is not supported"));
}

#[test]
fn the_name_comes_from_the_person_the_variable_the_file_then_the_directory() {
    let text = "name: from-file\nservices: {web: {image: x}}";
    let name = |case: Case| case.load().unwrap().stack.name.to_string();
    assert_eq!(name(Case::new("services: {web: {image: x}}")), "shop");
    assert_eq!(name(Case::new(text)), "from-file");
    assert_eq!(name(Case::new(text).variable("COMPOSE_PROJECT_NAME", "from-env")), "from-env");
    let given = Case { name: Some("given".to_owned()), ..Case::new(text) };
    assert_eq!(name(given.variable("COMPOSE_PROJECT_NAME", "from-env")), "given");
}

#[test]
fn nothing_is_dropped_in_silence() {
    let text = "version: '3'\nservices:\n  web:\n    image: ${UNSET}x\n    container_name: w\n    tty: true\n    pull_policy: always\n    depends_on: {db: {condition: service_healthy}}\n    volumes: ['/srv:/srv']\n    deploy: {update_config: {parallelism: 2}}\n  db: {image: x}\n";
    let loaded = Case::new(text).load().unwrap();
    let said: Vec<(Severity, &str)> =
        loaded.notes.iter().map(|note| (note.severity, note.path.as_str())).collect();
    for expected in [
        (Severity::Note, "version"),
        (Severity::Warning, ""),
        (Severity::Note, "services.web.container_name"),
        (Severity::Note, "services.web.tty"),
        (Severity::Note, "services.web.pull_policy"),
        (Severity::Warning, "services.web.depends_on.db"),
        (Severity::Note, "services.web.volumes"),
        (Severity::Note, "services.web.deploy.update_config"),
    ] {
        assert!(said.contains(&expected), "{expected:?} is not in {said:#?}");
    }
}

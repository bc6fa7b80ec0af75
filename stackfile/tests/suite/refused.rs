//! Values no engine would start a container with: refused before anything is changed, each with
//! its line and a way out, and shown by `config` all the same.

use crate::support::Case;

/// The service `web`, whose fifth line is the first of `below` it.
fn web(below: &str) -> Case {
    Case::new(&format!("name: shop\nservices:\n  web:\n    image: nginx\n{below}"))
}

#[track_caller]
fn refused(below: &str, said: &str, line: usize) {
    let case = web(below);
    let errors = case.load().expect_err(below);
    let [error] = errors.shown.as_slice() else { panic!("{errors}") };
    let shown = error.to_string();
    assert!(error.message.contains(said), "{shown}");
    assert_eq!(error.at.as_ref().map(|at| at.line), Some(line), "{shown}");
    assert!(!error.path.is_empty(), "{error:?}");
    assert!(error.hint.is_some(), "no way out: {shown}");
    assert!(case.config().is_ok(), "`config` refuses it too: {below}");
}

/// The same of what no file may say.
#[track_caller]
fn wrong(below: &str, said: &str, line: usize) {
    let errors = web(below).load().expect_err(below);
    let [error] = errors.shown.as_slice() else { panic!("{errors}") };
    let shown = error.to_string();
    assert!(error.message.contains(said) && error.hint.is_some(), "{shown}");
    assert_eq!(error.at.as_ref().map(|at| at.line), Some(line), "{shown}");
}

#[track_caller]
fn taken(below: &str) {
    web(below).load().unwrap_or_else(|errors| panic!("{below}{errors}"));
}

#[test]
fn names_the_engine_does_not_give() {
    let volume = |name: &str| format!("volumes:\n  data:\n    name: {name}\n");
    for name in ["../../etc", "a", "_a", "''", "a/b", "'a b'", &"x".repeat(256)] {
        refused(&volume(name), "is not a name the engine gives a volume", 7);
    }
    taken(&volume("my_data.v-2"));
    for name in ["'a b'", "-a", "a-", "a..b", "a.", &"x".repeat(64)] {
        refused(&format!("    hostname: {name}\n"), "is not a host name", 5);
    }
    refused(&format!("    hostname: {}b\n", "a.".repeat(33)), "64 characters", 5);
    for name in ["db", "db.example.com", "DB_1"] {
        taken(&format!("    hostname: {name}\n"));
    }
}

#[test]
fn users_that_are_none() {
    refused("    user: \"a b\"\n", "holds a space", 5);
    refused("    user: \"1:2:3\"\n", "more than a user and a group", 5);
    refused("    user: \"4294967295\"\n", "the largest number is 2147483647", 5);
    for user in ["1000", "1000:1000", "postgres:postgres", "app.user"] {
        taken(&format!("    user: \"{user}\"\n"));
    }
}

#[test]
fn further_hosts_without_an_address() {
    refused("    extra_hosts:\n      - foo:bar\n", "`bar` is not an IP address", 6);
    refused("    extra_hosts: {db: 10.0.0.256}\n", "`10.0.0.256` is not an IP address", 5);
    refused("    extra_hosts: [\"a b=10.0.0.5\"]\n", "`a b` is not a host name", 5);
    taken("    extra_hosts: [\"a=10.0.0.5\", \"b:::1\", \"c=[fe80::1]\", \"d:host-gateway\"]\n");
}

#[test]
fn logs_no_driver_would_take() {
    let logging = |inner: &str| format!("    logging: {{{inner}}}\n");
    refused(&logging("driver: sylog"), "`sylog` is not a log driver", 5);
    refused(&logging("driver: loki"), "`loki` is not a log driver", 5);
    let local = |option: &str| logging(&format!("driver: local, options: {{{option}}}"));
    refused(&local("max_size: 10m"), "`max_size` is not an option of the log driver `local`", 5);
    refused(&local("labels: a"), "`labels` is not an option of the log driver `local`", 5);
    refused(&local("max-size: big"), "`big` is not right for `max-size`", 5);
    refused(&local("max-size: 0"), "`0` is not right for `max-size`", 5);
    refused(&local("max-file: 0"), "`0` is not right for `max-file`", 5);
    refused(&local("compress: maybe"), "`maybe` is not right for `compress`", 5);
    refused(&local("compress: true, max-file: 1"), "a log of one file cannot be compressed", 5);
    refused(&local("mode: fast"), "`fast` is not right for `mode`", 5);
    taken(&local("max-size: 10m, max-file: '3', compress: false, mode: non-blocking"));
    taken(&logging("driver: json-file, options: {labels: a, tag: t, max-size: 1.5MB}"));
    taken(&logging("options: {max-size: 10m}"));
    taken(&logging("driver: none"));
    taken(&logging("driver: syslog, options: {syslog-address: 'udp://10.0.0.5:514'}"));
}

#[test]
fn amounts_below_what_a_container_starts_with() {
    let deploy = |inner: &str| format!("    deploy: {{resources: {{{inner}}}}}\n");
    refused("    cpus: 0.0001\n", "a limit of 0.0001 CPUs starts no container", 5);
    refused(&deploy("limits: {cpus: '0.009'}"), "a limit of 0.009 CPUs", 5);
    taken("    cpus: 0.01\n");
    taken("    cpus: 0\n");
    refused("    mem_limit: 5m\n", "a memory limit of 5.0 MiB starts no container", 5);
    refused(&deploy("reservations: {memory: 1M}"), "a memory limit of 1.0 MiB", 5);
    taken(&deploy("limits: {memory: 64M}, reservations: {memory: 1M}"));
    refused("    shm_size: 0\n", "`shm_size` of 0", 5);
    refused("    tmpfs: /run:size=0\n", "a tmpfs of size 0 has no limit", 5);
    let mount = "    volumes:\n      - {type: tmpfs, target: /t, tmpfs: {size: 0}}\n";
    refused(mount, "a tmpfs of size 0 has no limit", 6);
}

#[test]
fn signals_and_limits_that_are_none() {
    refused("    stop_signal: SIGTREM\n", "`SIGTREM` is not a signal", 5);
    refused("    stop_signal: SIGRTFOO\n", "`SIGRTFOO` is not a signal", 5);
    refused("    stop_signal: SIGRTMIN+16\n", "is not a signal", 5);
    for signal in ["SIGTERM", "quit", "SIGRTMIN+3", "RTMAX-14", "SIGURG", "'15'"] {
        taken(&format!("    stop_signal: {signal}\n"));
    }
    refused("    working_dir: app\n", "is not an absolute path", 5);
    refused("    ulimits: {nofiles: 1024}\n", "`nofiles` is not a limit of processes", 5);
}

#[test]
fn variables_without_a_name_of_their_own() {
    refused("    environment:\n      \"A=B\": c\n", "`A=B` is not the name of a variable", 6);
    taken("    environment: [\"A=B=c\"]\n");
    // The format refuses it for everybody.
    assert!(web("    environment: {\"\": c}\n").errors().contains("is not a name"));
}

#[test]
fn words_longer_than_a_program_takes() {
    let limit = 128 << 10;
    let long = |bytes: usize| "x".repeat(bytes);
    let said = format!("the words of `command` have {} bytes in all, the limit is", limit + 1);
    refused(&format!("    command:\n      - {}\n", long(limit)), &said, 5);
    taken(&format!("    command: [{}]\n", long(limit - 1)));
    refused(&format!("    entrypoint: [{0}, {0}]\n", long(limit / 2)), "the words of `entryp", 5);
    let test = format!("    healthcheck:\n      test: [CMD, {}]\n", long(limit));
    refused(&test, "the words of `healthcheck.test` have", 6);
    refused(&format!("    environment:\n      A: {}\n", long(limit)), "the variable `A` has", 6);
}

#[test]
fn copies_that_write_to_the_same_data() {
    let copies = |mount: &str, replicas: u32| {
        format!(
            "    volumes:\n      - {mount}\n    deploy:\n      replicas: {replicas}\nvolumes: {{d: }}\n"
        )
    };
    refused(&copies("d:/data", 2), "service `web` has 2 replicas that write to volume `d`", 6);
    taken(&copies("d:/data:ro", 2));
    taken(&copies("d:/data", 1));
    taken(&copies("/data", 2));
    refused("    volumes: [\"d:/data\"]\n    scale: 2\nvolumes: {d: }\n", "2 replicas", 5);
}

#[test]
fn ports_siso_listens_on() {
    let port = |text: &str| format!("    ports: [\"{text}\"]\n");
    refused(&port("7400:80"), "port 7400 of every node is reserved for the scheduler", 5);
    refused(&port("7401:80"), "port 7401 of every node is reserved for the agent", 5);
    refused(&port("127.0.0.1:7401:80"), "port 7401", 5);
    refused(&port("10.0.0.5:7401:80"), "port 7401", 5);
    refused(&port("7401-7402:80-81"), "port 7401", 5);
    refused(&port("7480:80"), "reserved for the scheduler's metrics", 5);
    refused(&port("0.0.0.0:7481:80"), "reserved for the agent's metrics", 5);
    refused(&port("[::]:7481:80"), "port 7481", 5);
    refused(&port("127.0.0.1:7481:80"), "port 7481", 5);
    refused("    ports:\n      - target: 80\n        published: 7400\n", "port 7400", 7);
    for free in ["10.0.0.5:7480:80", "127.0.0.2:7481:80", "7400:80/udp", "80:7400", "7400"] {
        taken(&port(free));
    }
}

#[test]
fn devices_that_are_none() {
    refused("    devices: [vendor.com/gpu=all]\n", "is not a device of the node", 5);
    refused("    devices: [\"/dev/a:/dev/b:x\"]\n", "`/dev/a:/dev/b:x` is not a device", 5);
    taken("    devices:\n      - {source: /dev/a, permissions: r}\n      - /dev/b:/dev/c:rw\n");
    let key = "    devices: [{source: /dev/a, sauce: /dev/b}]\n";
    assert!(web(key).errors().contains("`sauce` is not a key of `devices`"));
}

#[test]
fn requests_for_devices_that_ask_for_none() {
    let devices = |inner: &str| {
        format!(
            "    deploy:\n      resources:\n        reservations:\n          devices:\n            - {inner}\n"
        )
    };
    let check = |inner: &str, said: &str| refused(&devices(inner), said, 9);
    let wrong = |inner: &str, said: &str| wrong(&devices(inner), said, 9);
    wrong("{capabilities: [gpu], count: 1, device_ids: [\"0\"]}", "exclude each other");
    wrong("{count: 1}", "needs `capabilities`");
    check("{capabilities: [gpu], count: 0}", "a request for no devices");
    check("{capabilities: [gpu], device_ids: []}", "a request for no devices");
    wrong("{capabilities: [gpu], count: some}", "a number of devices, or `all`");
    check("{capabilities: [], count: 1}", "no capability names a kind");
    wrong("{capabilities: [gpu], gpus: 1}", "`gpus` is not a key of `devices`");
    taken(&devices("{capabilities: [gpu], count: \"2\"}"));
    refused("    gpus: [{count: 0}]\n", "a request for no devices", 5);
    taken("    gpus: all\n");
    assert!(web("    gpus: some\n").errors().contains("`gpus` takes a list"));
}

#[test]
fn amounts_of_nothing_and_kinds_without_a_name() {
    let generic = |inner: &str| {
        format!(
            "    deploy:\n      resources:\n        reservations:\n          generic_resources:\n            - {inner}\n"
        )
    };
    let check = |inner: &str, said: &str| refused(&generic(inner), said, 9);
    let spec = |inner: &str| format!("discrete_resource_spec: {{{inner}}}");
    check(&spec("kind: gpu, value: 0"), "0 is no amount of gpu");
    let wrong = |inner: &str, said: &str| wrong(&generic(inner), said, 9);
    wrong(&spec("kind: gpu, value: -1"), "`-1` is not an amount: it is at least 1");
    wrong(&spec("kind: gpu, value: some"), "`some` is not an amount");
    check(&spec("kind: a gpu, value: 1"), "is not a resource name");
    check(&spec("kind: gpu"), "needs a `kind` and a `value`");
    check("{}", "needs a `discrete_resource_spec`");
    wrong("named_resource_spec: {kind: gpu, value: x}", "is not a key of `generic_resources`");
    taken(&generic(&spec("kind: disk, value: 20GiB")));
}

#[test]
fn networks_no_node_makes() {
    let network = |inner: &str| format!("networks:\n  default:\n    {inner}\n");
    for driver in ["macvlan", "ipvlan", "host", "none"] {
        let said = format!("the network driver `{driver}` is not known to the nodes");
        refused(&network(&format!("driver: {driver}")), &said, 7);
    }
    refused(&network("external: true"), "the network `default` is external", 7);
}

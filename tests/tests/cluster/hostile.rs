//! People, strangers and containers that mean harm, or are made to: refused or borne, with little
//! memory, while everybody else is served.

use std::{
    fmt::Write as _,
    fs,
    io::{Read, Write},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use siso_tests::{PATIENT, World, wait_until};

/// No process of ours takes more, whatever is done to it.
const MEMORY_KIB_MAX: u64 = 512 << 10;
/// Connections of each kind that only stand there.
const IDLERS: usize = 300;
/// They are closed by then; twice the limits there are, for machines under load.
const CLOSED_WITHIN: Duration = Duration::from_secs(20);
const GIBIBYTE: usize = 1 << 30;

/// The most memory a process ever took.
#[track_caller]
fn peak_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("its status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("VmHWM");
    line.trim().trim_end_matches(" kB").trim().parse().expect("kB")
}

fn service(rest: &str) -> String {
    format!("name: x\nservices:\n  web:\n    image: a\n{rest}")
}

fn services(count: usize) -> String {
    (0..count).fold("name: x\nservices:\n".to_owned(), |mut text, number| {
        writeln!(text, "  s{number}: {{image: a}}").expect("a string");
        text
    })
}

fn alias_bomb() -> String {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..10 {
        let last = format!("*a{},", level - 1);
        writeln!(text, "a{level}: &a{level} [{}]", last.repeat(10)).expect("a string");
    }
    text
}

#[test]
fn a_file_that_is_no_stack_is_refused_for_what_it_is() {
    let world = World::scheduler_only("hostile-files");
    let utf_16: Vec<u8> = "\u{feff}services:".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let table: &[(&str, Vec<u8>, &str)] = &[
        ("an alias bomb", alias_bomb().into(), "expands to more than"),
        ("depth 10,000", "[".repeat(10_000).into(), "nested"),
        ("1 GiB", vec![0; GIBIBYTE], "1 MiB"),
        ("10,000 services", services(10_000).into(), "at most 500 services"),
        ("a key twice", service("    image: b\n").into(), "twice"),
        (
            "a custom tag",
            service("    command: !!python/object:os.system x\n").into(),
            "means nothing",
        ),
        ("an include tag", service("    command: !include /etc/passwd\n").into(), "means nothing"),
        ("a merge cycle", b"services:\n  web: &a\n    <<: *a\n    image: x\n".to_vec(), "inside"),
        ("UTF-16", utf_16, "UTF-16"),
        ("no UTF-8", b"services:\n  web:\n    image: \xff\n".to_vec(), "UTF-8"),
        ("-1 replicas", service("    deploy: {replicas: -1}\n").into(), "replicas"),
        ("2^32 replicas", service("    deploy: {replicas: 4294967296}\n").into(), "replicas"),
        ("2^64 bytes", service("    mem_limit: 18446744073709551616\n").into(), "mem_limit"),
        ("no number of CPUs", service("    cpus: NaN\n").into(), "cpus"),
        ("port 0", service("    ports: ['0:80']\n").into(), "port"),
        ("port 65536", service("    ports: ['65536:80']\n").into(), "port"),
        ("a port twice", service("    ports: ['80:80', '80:81']\n").into(), "80"),
        ("a missing dependency", service("    depends_on: [db]\n").into(), "db"),
        ("itself as dependency", service("    depends_on: [web]\n").into(), "web"),
        ("a near miss", service("    replica: 3\n").into(), "replica"),
        ("a path for a name", b"name: ../x\nservices: {web: {image: a}}\n".to_vec(), "name"),
        ("300 characters", format!("name: {}\nservices: {{}}", "a".repeat(300)).into(), "63"),
        (
            "a volume that is the root",
            {
                let options = "{type: none, o: bind, device: /}";
                let volumes = format!("volumes: {{v: {{driver_opts: {options}}}}}\n");
                [service("    volumes: ['v:/v']\n"), volumes].concat().into()
            },
            "driver_opts",
        ),
    ];
    for (what, bytes, says) in table {
        let answer = world.ctl.run_with_input(&["apply", "--yes", "--detach", "-"], bytes);
        assert_eq!(answer.code, 1, "{what}: {answer}");
        assert!(answer.stderr.contains(says), "{what}: {says:?} is not said: {answer}");
        assert!(!answer.stderr.contains("panicked"), "{what}: {answer}");
        let escapes = answer.stderr.chars().any(|c| c.is_control() && c != '\n');
        assert!(!escapes, "{what}: {answer}");
    }
    assert_eq!(world.ctl.json(&["stack", "ls"]).as_array().map(Vec::len), Some(0));
    assert!(peak_kib(world.scheduler.pid()) < MEMORY_KIB_MAX);
}

#[test]
fn connections_that_only_stand_there_are_closed_and_hold_up_nobody() {
    let world = World::scheduler_only("idlers");
    // The first words of a greeting whose rest never comes.
    let stalled: &[u8] = &[0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03];
    let began = Instant::now();
    let connect = |first: &[u8]| {
        let mut stream = TcpStream::connect(world.endpoint()).expect("a connection");
        stream.set_read_timeout(Some(CLOSED_WITHIN)).expect("a timeout");
        // One that was closed already is what is wanted.
        let _ = stream.write_all(first);
        stream
    };
    let silent = (0..IDLERS).map(|_| connect(b""));
    let mut streams: Vec<_> = silent.collect();
    streams.extend((0..IDLERS).map(|_| connect(stalled)));
    streams.extend((0..IDLERS).map(|_| connect(b"GET / HTTP/1.1\r\nX: ")));
    for _ in 0..5 {
        world.ctl.run(&["stack", "ls"]).expect(0);
    }
    // One byte a second keeps nobody's place.
    let slow = thread::spawn({
        let mut stream = connect(&stalled[..5]);
        move || {
            while began.elapsed() < CLOSED_WITHIN {
                if stream.write_all(b"\x01").is_err() {
                    return true;
                }
                thread::sleep(Duration::from_secs(1));
            }
            false
        }
    });
    for mut stream in streams {
        let mut answer = Vec::new();
        match stream.read_to_end(&mut answer) {
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                panic!("still open after {:?}", began.elapsed());
            }
            _ => assert!(!answer.starts_with(b"HTTP"), "{answer:?}"),
        }
    }
    assert!(slow.join().expect("the slow one"), "it was let talk for ever");
    world.ctl.run(&["stack", "ls"]).expect(0);
    assert!(peak_kib(world.scheduler.pid()) < MEMORY_KIB_MAX);
    let said = world.scheduler.output("stderr");
    assert!(!said.contains("panicked"), "{said}");
}

/// A line of 100 MB, five thousand children, lines that look like ours.
const VANDALS: &str = r#"
name: vandals
services:
  flood:
    image: siso/test:1
    command: [sh, -c, "head -c 100000000 /dev/zero | tr '\\0' x; echo end; exec sleep 1000000"]
    mem_limit: 16m
  forks:
    image: siso/test:1
    command: [sh, -c, 'for i in $$(seq 5000); do sleep 1000000 & done; exec sleep 1000000']
    mem_limit: 64m
  liar:
    image: siso/test:1
    command: [sh, -c, 'printf "one\n2026-01-01T00:00:00Z ERROR siso_agent: forged\r\n\000\001"; exec sleep 1000000']
    mem_limit: 16m
"#;

#[test]
fn containers_that_flood_fork_and_lie_disturb_nobody() {
    let Some(mut world) = World::new("vandals") else { return };
    let calm = "
name: calm
services:
  web:
    image: siso/test:1
    command: [sleep, '1000000']
    mem_limit: 16m
";
    world.apply(calm).expect(0);
    let before = world.wait_running("calm", 1);
    world.apply_with(&["--detach"], VANDALS).expect(0);
    wait_until("the liar has lied", PATIENT, || {
        let answer = world.ctl.run(&["logs", "vandals/liar"]);
        if answer.stdout.contains("forged") { Ok(()) } else { Err(answer.to_string()) }
    });
    wait_until("the flood has passed", PATIENT, || {
        let answer = world.ctl.run(&["logs", "vandals/flood", "--tail", "1"]);
        if answer.stdout.contains("end") { Ok(()) } else { Err(format!("code {}", answer.code)) }
    });
    // A line that a container wrote is told as a container's.
    let lines = world.ctl.run(&["logs", "vandals/liar"]).expect(0).stdout;
    assert!(lines.lines().all(|line| line.starts_with("liar.1 | ")), "{lines:?}");
    let said = world.agent.output("stderr") + &world.scheduler.output("stderr");
    assert!(!said.contains("forged") && !said.contains("panicked"), "{said}");
    for (what, pid) in [("agent", world.agent.pid()), ("scheduler", world.scheduler.pid())] {
        let peak = peak_kib(pid);
        assert!(peak < MEMORY_KIB_MAX, "the {what} took {peak} KiB");
    }
    assert_eq!(world.running("calm"), before);
    world.ctl.run(&["stack", "rm", "vandals", "--yes"]).expect(0);
    assert_eq!(world.wait_running("calm", 1), before);
    assert!(world.agent.ended().is_none(), "{}", world.agent.story());
}

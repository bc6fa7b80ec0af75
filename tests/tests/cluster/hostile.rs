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

use siso_tests::{PATIENT, World, required, wait_until};

/// No process of ours takes more, whatever is done to it.
const MEMORY_KIB_MAX: u64 = 512 << 10;
/// Connections of each kind that only stand there.
const IDLERS: usize = 300;
/// They are closed by then; twice the limits there are, for machines under load.
const CLOSED_WITHIN: Duration = Duration::from_secs(20);
/// Connections that all come at once, and the files a test of them opens besides.
const CROWD: usize = 10_000;
const FILES_OF_A_TEST: usize = 1_000;
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
        (
            "a cycle",
            service("    depends_on: [db]\n  db: {image: a, depends_on: [web]}\n").into(),
            "db → web → db",
        ),
        ("a port of ours", service("    ports: ['7400:80']\n").into(), "reserved"),
        ("a port of the agent's", service("    ports: ['7481:80']\n").into(), "reserved"),
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
fn a_name_that_is_none_is_refused_and_never_shown_raw() {
    let world = World::scheduler_only("hostile-names");
    for name in [
        "''",
        "..",
        "a/b",
        "A_b",
        "-a",
        "w eb",
        r#""w\0b""#,
        r#""w\nb""#,
        r#""w\e[31mb""#,
        "w\u{202e}eb",
        // Cyrillic, and full width.
        "w\u{435}b",
        "\u{ff57}eb",
        "\u{1f600}",
    ] {
        let text = format!("name: x\nservices:\n  {name}: {{image: a}}\n");
        let answer =
            world.ctl.run_with_input(&["apply", "--yes", "--detach", "-"], text.as_bytes());
        assert_eq!(answer.code, 1, "{name}: {answer}");
        assert!(answer.stderr.contains("service name"), "{name}: {answer}");
        let raw = |c: char| c.is_control() && c != '\n' || c == '\u{202e}';
        assert!(!answer.stderr.contains(raw), "{name}: {answer:?}");
    }
    assert_eq!(world.ctl.json(&["stack", "ls"]).as_array().map(Vec::len), Some(0));
}

#[test]
fn a_mark_at_the_beginning_and_line_ends_of_windows_change_nothing() {
    let world = World::scheduler_only("windows-files");
    let text = "\u{feff}name: windows\r\nservices:\r\n  web:\r\n    image: a\r\n";
    let apply = |text: &str| {
        world.ctl.run_with_input(&["apply", "--yes", "--detach", "-"], text.as_bytes()).expect(0)
    };
    apply(text);
    apply(text.trim_start_matches('\u{feff}').replace('\r', "").as_str());
    let stacks = world.ctl.json(&["stack", "ls"]);
    assert_eq!(stacks[0]["revision"], 1, "the same file, twice: {stacks:#}");
}

#[test]
fn ten_thousand_connections_at_once_leave_people_served() {
    let world = World::scheduler_only("crowd");
    let limit = open_files_max();
    let enough = if limit > CROWD + FILES_OF_A_TEST {
        Ok(())
    } else {
        Err(format!("this process may open {limit} files"))
    };
    if required("ten thousand connections", "SISO_REQUIRE_FILES", enough).is_none() {
        return;
    }
    let mut streams = Vec::new();
    for _ in 0..CROWD {
        // Of those beyond its places the scheduler may let some wait and turn others away.
        if let Ok(stream) = TcpStream::connect(world.endpoint()) {
            streams.push(stream);
        }
    }
    assert!(streams.len() > CROWD / 2, "{} connections", streams.len());
    world.ctl.run(&["stack", "ls"]).expect(0);
    // Most of the places are given back before the last of these has asked.
    for number in 0..3 {
        world
            .apply_with(&["--detach"], &service("").replace("name: x", &format!("name: x{number}")))
            .expect(0);
    }
    let peak = peak_kib(world.scheduler.pid());
    assert!(peak < MEMORY_KIB_MAX, "{peak} KiB");
    drop(streams);
    world.ctl.run(&["stack", "ls"]).expect(0);
    let said = world.scheduler.output("stderr");
    assert!(!said.contains("panicked"), "{said}");
}

/// How many files this process may have open.
fn open_files_max() -> usize {
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
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

/// A line of 100 MB, five thousand children, fifteen thousand open files, lines that look like ours.
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
  files:
    image: siso/test:1
    command: [sh, -c, 'cd /tmp && seq 15000 | xargs touch && echo begin && exec tail -f $$(seq 15000) > /dev/null']
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
    wait_until("the files are open", PATIENT, || {
        let answer = world.ctl.run(&["logs", "vandals/files"]);
        if answer.stdout.contains("begin") { Ok(()) } else { Err(answer.to_string()) }
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

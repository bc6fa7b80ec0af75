//! Stack files that are none, and names that are none, through `sisoctl` and a real scheduler.

use std::fmt::Write as _;

use siso_tests::{MEMORY_KIB_MAX, World};

const GIBIBYTE: usize = 1 << 30;

pub(super) fn service(rest: &str) -> String {
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

/// What it is, its bytes, and what is said of it.
type File = (&'static str, Vec<u8>, &'static str);

/// What cannot be read at all.
fn unreadable() -> Vec<File> {
    let utf_16: Vec<u8> = "\u{feff}services:".encode_utf16().flat_map(u16::to_le_bytes).collect();
    vec![
        ("an alias bomb", alias_bomb().into(), "expands to more than"),
        ("depth 10,000", "[".repeat(10_000).into(), "nested"),
        ("10,000 services", services(10_000).into(), "at most 500 services"),
        ("a key twice", service("    image: b\n").into(), "twice, on line 4 and on line 5"),
        (
            "a custom tag",
            service("    command: !!python/object:os.system x\n").into(),
            "means nothing",
        ),
        ("an include tag", service("    command: !include /etc/passwd\n").into(), "means nothing"),
        ("a merge cycle", b"services:\n  web: &a\n    <<: *a\n    image: x\n".to_vec(), "inside"),
        ("UTF-16", utf_16, "UTF-16"),
        ("no UTF-8", b"services:\n  web:\n    image: \xff\n".to_vec(), "UTF-8"),
    ]
}

/// What can be read and is no stack.
fn unfit() -> Vec<File> {
    vec![
        ("-1 replicas", service("    deploy: {replicas: -1}\n").into(), "is at least 0"),
        (
            "2^32 replicas",
            service("    deploy: {replicas: 4294967296}\n").into(),
            "at most 1000 replicas",
        ),
        (
            "2^64 bytes",
            service("    mem_limit: 18446744073709551616\n").into(),
            "larger than any machine",
        ),
        ("no number of CPUs", service("    cpus: NaN\n").into(), "not a number of CPUs"),
        ("port 0", service("    ports: ['0:80']\n").into(), "port 0 does not exist"),
        ("port 65536", service("    ports: ['65536:80']\n").into(), "ports go from 1 to 65535"),
        (
            "a port twice",
            service("    ports: ['80:80', '80:81']\n").into(),
            "published by `web` twice",
        ),
        (
            "a missing dependency",
            service("    depends_on: [db]\n").into(),
            "`db`, which is not a service",
        ),
        ("itself as dependency", service("    depends_on: [web]\n").into(), "depends on itself"),
        (
            "a cycle",
            service("    depends_on: [db]\n  db: {image: a, depends_on: [web]}\n").into(),
            "db → web → db",
        ),
        ("a port of ours", service("    ports: ['7400:80']\n").into(), "reserved"),
        ("a port of the agent's", service("    ports: ['7481:80']\n").into(), "reserved"),
        ("a near miss", service("    replica: 3\n").into(), "did you mean `deploy.replicas`"),
        (
            "a path for a name",
            b"name: ../x\nservices: {web: {image: a}}\n".to_vec(),
            "is not a stack name",
        ),
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
    ]
}

#[test]
fn a_file_that_is_no_stack_is_refused_for_what_it_is() {
    let world = World::scheduler_only("hostile-files");
    for (what, bytes, says) in unreadable().into_iter().chain(unfit()) {
        let answer = world.ctl.run_with_input(&["apply", "--yes", "--detach", "-"], &bytes);
        assert_eq!(answer.code, 1, "{what}: {answer}");
        assert!(answer.stderr.contains(says), "{what}: {says:?} is not said: {answer}");
        assert!(!answer.stderr.contains("panicked"), "{what}: {answer}");
        let escapes = answer.stderr.chars().any(|c| c.is_control() && c != '\n');
        assert!(!escapes, "{what}: {answer}");
    }
    assert_eq!(world.ctl.json(&["stack", "ls"]).as_array().map(Vec::len), Some(0));
    world.expect_unharmed();
}

#[test]
fn a_gibibyte_on_standard_input_is_refused_and_not_read_into_memory() {
    let world = World::scheduler_only("hostile-gibibyte");
    let bounded = world.ctl.within(MEMORY_KIB_MAX << 10);
    let arguments = ["apply", "--yes", "--detach", "-"];
    bounded.run_with_input(&arguments, &vec![b'#'; GIBIBYTE]).expect(1).says(&["1 MiB"]);
    world.expect_unharmed();
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
    world.expect_unharmed();
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

//! Whatever the bytes are, the answer is a message: no crash, no hang, no terminal control.

use std::fmt::Write as _;

use crate::support::Case;
use proptest::prelude::*;
use siso_stackfile::{MAX_FILE_BYTES, SourceFile};

#[track_caller]
fn check(bytes: impl Into<Vec<u8>>, said: &str) {
    let case = Case { files: vec![SourceFile::new("stack.yaml", bytes)], ..Case::default() };
    let errors = case.errors();
    assert!(errors.contains(said), "{errors}");
}

#[test]
fn an_alias_bomb_is_refused_by_its_budget() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let last = format!("*a{},", level - 1);
        writeln!(text, "a{level}: &a{level} [{}]", last.repeat(9)).unwrap();
    }
    check(text, "expands to more than 200000 values");
}

#[test]
fn a_long_text_repeated_by_aliases_is_refused_by_its_budget() {
    let mut text = format!("a: &a {}\nb:\n", "x".repeat(900_000));
    text.push_str(&"  - *a\n".repeat(100));
    check(text, "more than 16 MiB of text");
}

#[test]
fn a_variable_repeated_without_end_is_refused() {
    let text = format!("services: {{web: {{image: x, command: ['{}']}}}}", "${LONG}".repeat(1000));
    let case = Case::new(&text).variable("LONG", &"y".repeat(100_000));
    assert!(case.errors().contains("variables expand to more than 16 MiB"));
}

#[test]
fn variables_that_double_each_other_are_refused() {
    let mut dotenv = format!("A0={}\n", "y".repeat(1_000));
    for level in 1..40 {
        writeln!(dotenv, "A{level}=$A{0}${{A{0}}}", level - 1).unwrap();
    }
    let text = "services: {web: {image: x, command: ['$A39', '$A38'], environment: [A39, A38]}}";
    let case = Case::new(text).dotenv(&dotenv);
    let errors = case.errors();
    assert_eq!(errors.matches("expand to more than 16 MiB of text").count(), 1, "{errors}");
    assert!(errors.contains(".env:15:1"), "{errors}");

    // Each of them is short enough: all services together are not.
    let mut text = "services:\n".to_owned();
    for service in 0..40 {
        writeln!(text, "  s{service}: {{image: x, environment: [A9]}}").unwrap();
    }
    let lines = dotenv.lines().take(10).fold(String::new(), |all, line| all + line + "\n");
    let case = Case::new(&text).dotenv(&lines);
    let errors = case.errors();
    assert_eq!(errors.matches("expand to more than 16 MiB of text").count(), 1, "{errors}");
}

#[test]
fn a_file_of_bare_names_has_no_budget_of_its_own() {
    let long = format!("LONG={}\n", "y".repeat(500_000));
    let mut text = "services:\n".to_owned();
    for service in 0..40 {
        writeln!(text, "  s{service}: {{image: x, env_file: [e.env]}}").unwrap();
    }
    let case = Case::new(&text).dotenv(&long).named("e.env", "LONG\n");
    let errors = case.errors();
    assert_eq!(errors.matches("expand to more than 16 MiB of text").count(), 1, "{errors}");
}

#[test]
fn depth_is_refused_before_the_stack_ends() {
    check("[".repeat(10_000), "nested");
    check(format!("{}x", "a: {".repeat(10_000)), "nested");
    let mut block = String::new();
    for level in 0..1000 {
        writeln!(block, "{}a:", " ".repeat(level)).unwrap();
    }
    check(block, "nested");
    // Aliases may not add up to more than a file may nest by itself.
    let deep = |inner: &str| format!("{}{inner}{}", "[".repeat(40), "]".repeat(40));
    let text = format!("a: &a {}\nb: &b {}\nc: {}\n", deep("x"), deep("*a"), deep("*b"));
    check(text, "nested more than 64 deep");
}

#[test]
fn a_value_cannot_contain_itself() {
    check("services: &a\n  web: *a\n", "stands inside the value it repeats");
    check("services:\n  web: &a\n    <<: *a\n    image: x\n", "stands inside the value it repeats");
}

#[test]
fn only_utf_8_of_a_sensible_size_is_read() {
    let stack = "services:\n  web:\n    image: nginx\n";
    check(vec![b' '; MAX_FILE_BYTES + 1], "larger than 1 MiB");
    check([0xff, 0xfe, b's', 0], "is UTF-16");
    check([0xfe, 0xff, 0, b's'], "is UTF-16");
    check(b"services:\n  web:\n    image: \xff\n".to_vec(), "stack.yaml:3: this is not UTF-8");
    for readable in [format!("\u{feff}{stack}"), stack.replace('\n', "\r\n")] {
        assert!(Case::new(&readable).load().is_ok(), "{readable:?}");
    }
}

#[test]
fn tags_of_other_programs_are_refused() {
    for tag in ["!!python/object:os.system", "!include", "!<tag:x,2000:y>", "!!binary"] {
        check(format!("services:\n  web:\n    image: {tag} x\n"), "means nothing in a stack file");
    }
}

#[test]
fn ten_thousand_services_are_refused() {
    let mut text = "services:\n".to_owned();
    for number in 0..10_000 {
        writeln!(text, "  s{number}: {{image: x}}").unwrap();
    }
    check(text, "at most 500 services, this one has 10000");
}

#[test]
fn ranges_of_ports_are_not_written_out_without_end() {
    let said = "names more than 10000 ports";
    check("services: {web: {image: x, ports: [1-65535]}}", said);
    check(
        format!("services:\n  web:\n    image: x\n    expose:\n{}", "      - 1-9999\n".repeat(2)),
        said,
    );
}

#[test]
fn many_mistakes_are_counted_not_printed() {
    let mut text = "services:\n  web:\n    image: x\n".to_owned();
    for number in 0..1000 {
        writeln!(text, "    zzzzz{number}: 1").unwrap();
    }
    let errors = Case::new(&text).load().unwrap_err();
    assert_eq!((errors.shown.len(), errors.more), (50, 950));
    assert!(errors.to_string().ends_with("… and 950 more"));
}

#[test]
fn names_that_are_none_are_refused() {
    check("services:\n  \"\":\n    image: x\n", "a service name must not be empty");
    for name in ["A_b", "../x", "вeb", "😀", "\"a\\0b\"", "\"a\\u202eb\"", "a b"] {
        check(format!("services:\n  {name}:\n    image: x\n"), "is not a service name");
    }
    check(
        format!("services:\n  {}:\n    image: x\n", "x".repeat(300)),
        "has at most 63 characters",
    );
}

proptest! {
    #[test]
    fn any_text_is_answered_without_control_characters(text in "[ -~\n\t\u{1b}\u{7}äß€😀\\-]{0,200}") {
        for text in [text.clone(), format!("services:\n  web:\n    image: nginx\n    {text}")] {
            if let Err(errors) = Case::new(&text).load() {
                let shown = errors.to_string();
                let bad = shown.chars().find(|c| c.is_control() && *c != '\n');
                prop_assert_eq!(bad, None, "{}", shown);
            }
        }
    }

    #[test]
    fn any_bytes_are_answered(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let case = Case { files: vec![SourceFile::new("x", bytes)], ..Case::default() };
        // A load answers, whatever it answers.
        drop(case.load());
    }

    #[test]
    fn any_fragments_of_stack_files_are_answered(
        lines in proptest::collection::vec(
            proptest::sample::select(&[
                "services:", "  web:", "  db:", "    image: x", "    image: ${X:-y", "    ports:",
                "      - 80:80", "      - target: 80", "        published: 1-2", "    command: a | b",
                "    <<: *a", "  x: &a", "    environment: [A, B=1, ' =']", "    mem_limit: 1g",
                "    deploy: {replicas: 3, resources: {limits: {memory: 2g}}}", "    depends_on: [web, db]",
                "volumes:", "  data:", "    volumes: ['data:/x', './y:/z', '/a:/b:ro,z']", "\tx", "---",
                "    networks: {a: {aliases: [x]}}", "networks: {a: {external: true}}", "    tmpfs: /x:size=1",
                "    healthcheck: {test: [CMD, x], interval: 1m30s}", "    env_file: .env", "name: ${Y}",
                "    ulimits: {nofile: {soft: 1, hard: 2}}", "    extra_hosts: ['a=1', b]", "version: 3",
            ]),
            0..25,
        )
    ) {
        let text = lines.join("\n");
        for case in [Case::new(&text), Case::new(&text).and_file("second.yaml", &text)] {
            drop(case.load());
            drop(case.config());
        }
    }
}

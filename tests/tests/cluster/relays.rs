//! `logs`, `exec` and `events`: what reaches through the scheduler into a container.

use siso_tests::{PROMPT, World, wait_until};

const TALKER: &str = "
name: NAME
services:
  web:
    image: siso/test:1
    command: [sh, -c, 'for i in $$(seq 1 40); do echo line-$$i; done; echo complaint >&2; exec sleep 1000000']
    mem_limit: 16m
  quiet:
    image: siso/test:1
    command: [sleep, '1000000']
    mem_limit: 16m
";

#[test]
fn logs_are_read_from_their_end_by_their_content_and_as_they_come() {
    let Some(world) = World::new("logs") else { return };
    world.apply(&TALKER.replace("NAME", "talker")).expect(0);
    let logs = |arguments: &[&str]| {
        let mut line = vec!["logs", "talker/web"];
        line.extend_from_slice(arguments);
        world.ctl.run(&line).expect(0).stdout
    };
    wait_until("everything was written", PROMPT, || {
        let all = logs(&[]);
        if all.contains("line-40") && all.contains("complaint") { Ok(()) } else { Err(all) }
    });
    assert_eq!(logs(&[]).lines().count(), 41);
    let tail = logs(&["--tail", "3"]);
    assert_eq!(tail.lines().count(), 3, "{tail}");
    assert!(!tail.contains("line-1\n"), "{tail}");
    let matching = logs(&["--grep", "line-(7|8)$"]);
    assert_eq!(matching.lines().count(), 2, "{matching}");
    assert_eq!(logs(&["--since", "1h"]).lines().count(), 41);
    assert!(world.ctl.run(&["logs", "talker"]).expect(0).stdout.contains("line-40"));

    let follower = world.ctl.spawn(&["logs", "talker/web", "-f", "--tail", "1"]);
    follower.wait_for("\n");
    let container = world.container("talker", "web");
    world.engine.exec(&container, &["sh", "-c", "echo news > /proc/1/fd/1"]);
    follower.wait_for("news");
    follower.interrupt();
    assert_eq!(follower.finish().code, 130);
    world.ctl.run(&["logs", "talker/web", "--grep", "("]).expect(1);
}

/// A terminal must not be steered by what a container writes; a file gets it as it was written.
#[test]
fn escapes_in_foreign_text_are_harmless_on_a_terminal() {
    let Some(world) = World::new("escapes") else { return };
    let text = r#"
name: painter
services:
  web:
    image: siso/test:1
    command: [sh, -c, 'printf "\\033]0;owned\\007red \\033[31mtext\\r\\n"; exec sleep 1000000']
    mem_limit: 16m
"#;
    world.apply(text).expect(0);
    wait_until("the line was written", PROMPT, || {
        let written = world.ctl.run(&["logs", "painter/web"]).expect(0).stdout;
        if written.contains("text") { Ok(()) } else { Err(written) }
    });
    let shown = world.ctl.run_on_a_terminal("logs painter/web");
    assert!(shown.contains("text"), "{shown:?}");
    assert!(!shown.contains("\u{1b}]0;") && !shown.contains('\u{7}'), "{shown:?}");
    world.expect_unharmed();
}

#[test]
fn exec_runs_in_the_container_with_its_exit_code_and_its_input() {
    let Some(world) = World::new("exec") else { return };
    world.apply(&TALKER.replace("NAME", "worker")).expect(0);
    let exec = |command: &[&str], input: &[u8]| {
        let mut line = vec!["exec", "worker/quiet", "--"];
        line.extend_from_slice(command);
        world.ctl.run_with_input(&line, input)
    };
    let answer = exec(&["sh", "-c", "echo out; echo err >&2"], b"").expect(0);
    assert_eq!(answer.stdout, "out\n");
    assert!(answer.stderr.contains("err"), "{answer}");
    let _ = exec(&["sh", "-c", "exit 7"], b"").expect(7);
    let counted = exec(&["wc", "-c"], &vec![b'x'; 200_000]).expect(0);
    assert_eq!(counted.stdout.trim(), "200000");
    let _ = world.ctl.run(&["exec", "worker/nobody", "--", "true"]).expect(1);
}

#[test]
fn events_tell_what_happened_in_order_and_as_it_comes() {
    let Some(world) = World::new("events") else { return };
    let follower = world.ctl.spawn(&["-o", "json", "events", "-f"]);
    world.apply(&TALKER.replace("NAME", "newsworthy")).expect(0);
    follower.wait_for("newsworthy");
    let events = world.events();
    let revisions: Vec<_> = events.iter().map(|event| event["revision"].as_u64()).collect();
    assert!(revisions.is_sorted(), "{revisions:?}");
    let about = |service: &str| {
        events.iter().any(|event| event["stack"] == "newsworthy" && event["service"] == service)
    };
    assert!(about("web") && about("quiet"), "{events:#?}");
    for event in &events {
        assert!(event["message"].as_str().is_some_and(|text| !text.is_empty()), "{event:#}");
    }
}

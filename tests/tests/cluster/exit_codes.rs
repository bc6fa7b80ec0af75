//! Exit codes: 1 your input, 2 usage, 3 the cluster refused, 4 unreachable. And what none of them
//! may do: disturb what runs.

use siso_tests::World;

const STEADY: &str = "
name: steady
services:
  web:
    image: siso/test:1
    command: [sleep, '1000000']
    mem_limit: 32m
";

/// `small` fits; `big` asks for more than any node has.
const GREEDY: &str = "
name: greedy
services:
  small:
    image: siso/test:1
    command: [sleep, '1000000']
    mem_limit: 32m
  big:
    image: siso/test:1
    command: [sleep, '1000000']
    mem_limit: 4g
";

#[test]
fn a_bad_file_is_1_names_its_line_and_changes_nothing() {
    let world = World::scheduler_only("bad-file");
    let check = |text: &str, words: &[&str]| {
        let answer = world.apply(text).expect(1).says(words);
        assert!(answer.stderr.contains(".yaml:"), "no file and line: {answer}");
        let stacks = world.ctl.json(&["stack", "ls"]);
        assert_eq!(stacks.as_array().map(Vec::len), Some(0), "{answer}");
    };
    check("name: bad\nservices:\n  web:\n    imag: a\n", &[":4:", "imag", "image"]);
    check("name: bad\nservices:\n  web:\n    image: [\n", &[":4:"]);
    check("name: bad\nservices:\n  web:\n    image: a\n    mem_limit: 5 apples\n", &[":5:"]);
    check("name: bad\nservices:\n  web:\n    image: a\n    depends_on: [db]\n", &["db"]);
}

#[test]
fn a_wrong_command_line_is_2() {
    let world = World::scheduler_only("usage");
    let check = |arguments: &[&str]| drop(world.ctl.run(arguments).expect(2));
    check(&["ps", "--no-such-flag"]);
    check(&["no-such-command"]);
    check(&["explain"]);
    check(&["-o", "xml", "ps"]);
}

#[test]
fn an_unknown_name_is_1() {
    let world = World::scheduler_only("unknown");
    let check = |arguments: &[&str]| drop(world.ctl.run(arguments).expect(1).says(&["nowhere"]));
    check(&["explain", "nowhere/web"]);
    check(&["stack", "rm", "nowhere", "--yes"]);
    check(&["stack", "history", "nowhere"]);
    check(&["node", "show", "nowhere"]);
}

#[test]
fn a_replica_that_is_not_there_is_1_and_those_that_are_there_are_named() {
    let world = World::scheduler_only("replicas");
    world.apply_with(&["--detach"], STEADY).expect(0);
    let check = |arguments: &[&str]| {
        drop(world.ctl.run(arguments).expect(1).says(&["no replica 7", "steady/web.1"]));
    };
    check(&["logs", "steady/web.7"]);
    check(&["logs", "-f", "steady/web.7"]);
    check(&["exec", "steady/web.7", "true"]);
    check(&["explain", "steady/web.7"]);
    check(&["restart", "steady/web.7"]);
    world.ctl.run(&["logs", "steady/web.1"]).expect(0);
}

#[test]
fn no_scheduler_is_4() {
    let mut world = World::scheduler_only("unreachable");
    world.scheduler.kill9();
    world.ctl.run(&["ps"]).expect(4).says(&["127.0.0.1"]);
    world.apply(STEADY).expect(4);
}

#[test]
fn what_does_not_fit_is_3_with_amounts_and_fixes_and_disturbs_nothing() {
    let Some(world) = World::new("does-not-fit") else { return };
    world.apply(STEADY).expect(0);
    let steady = world.wait_running("steady", 1);
    world.apply(GREEDY).expect(3).says(&["big", "4.0 GiB", "short"]);
    let small = world.wait_running("greedy", 1);
    assert_eq!(world.running("steady"), steady);

    let explained = world.ctl.json(&["explain", "greedy/big"]);
    let verdict = &explained["verdicts"][0];
    let amount = |field: &str| verdict[field].as_u64().unwrap_or_else(|| panic!("{verdict:#}"));
    assert_eq!(verdict["fits"], false);
    assert_eq!(verdict["resource"], "memory");
    assert_eq!(amount("needed"), 4 << 30);
    assert_eq!(amount("short"), amount("needed") - amount("free"));
    assert!(explained["fixes"].as_array().is_some_and(|fixes| !fixes.is_empty()), "{explained:#}");
    let pending = world.ctl.json(&["placement"])["pending"].clone();
    assert_eq!(pending.as_array().map(Vec::len), Some(1), "{pending:#}");
    assert_eq!(pending[0]["service"], "big");

    // The mended file brings the rest and leaves the small one alone.
    world.apply(&GREEDY.replace("4g", "64m")).expect(0);
    let both = world.wait_running("greedy", 2);
    assert!(small.iter().all(|(id, started)| both.get(id) == Some(started)), "{small:?} {both:?}");
    assert_eq!(world.running("steady"), steady);
}

#[test]
fn reservations_never_exceed_what_a_node_has() {
    let Some(world) = World::new("no-overbooking") else { return };
    // 1 GiB is allocatable: five of 300 MiB ask for more, three fit.
    let text = "
name: crowd
services:
  web:
    image: siso/test:1
    command: [sleep, '1000000']
    mem_limit: 300m
    deploy: { replicas: 5 }
";
    world.apply(text).expect(3);
    world.wait_running("crowd", 3);
    let node = world.ctl.json(&["node", "ls"])[0].clone();
    let reserved = node["memory"]["reserved"].as_u64().expect("bytes");
    let allocatable = node["memory"]["allocatable"].as_u64().expect("bytes");
    assert_eq!(reserved, 3 * 300 * 1024 * 1024);
    assert!(reserved <= allocatable, "{node:#}");
}

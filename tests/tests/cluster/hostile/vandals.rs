//! Containers that take what they can get, or lie.

use std::{thread, time::Duration};

use siso_tests::{PATIENT, World, wait_until};

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
  bounded:
    image: siso/test:1
    command: [sh, -c, '(for i in $$(seq 5000); do sleep 1000000 & done); echo bound; exec sleep 1000000']
    mem_limit: 64m
    pids_limit: 200
  files:
    image: siso/test:1
    command: [sh, -c, 'cd /tmp && seq 15000 | xargs touch && exec tail -f $$(seq 15000) > /dev/null']
    mem_limit: 64m
  liar:
    image: siso/test:1
    command: [sh, -c, 'printf "one\n2026-01-01T00:00:00Z ERROR siso_agent: forged\r\n\000\001"; exec sleep 1000000']
    mem_limit: 16m
"#;

const FILES: usize = 15_000;

/// As fast as it can for some seconds, a thousand bytes a line; two files of a megabyte are kept of it.
const TORRENT: &str = r#"
name: torrent
services:
  web:
    image: siso/test:1
    command: [sh, -c, "timeout 6 yes $$(head -c 1000 /dev/zero | tr '\\0' x); echo over; exec sleep 1000000"]
    mem_limit: 16m
    logging:
      driver: local
      options: {max-size: 1m, max-file: '2'}
"#;
/// What may be told of it: two files, and as much again for what stands before each line.
const TORRENT_KEPT_MAX: usize = 4 << 20;

#[test]
fn a_container_that_logs_as_fast_as_it_can_fills_no_disk_and_disturbs_nobody() {
    let Some(world) = World::new("torrent") else { return };
    world.apply(TORRENT).expect(0);
    let torrent = world.container("torrent", "web");
    // People who look meanwhile see the newest of it. Its shell says "Terminated" on the other stream, and which of two
    // streams' last lines comes first nobody promises.
    let tail = || world.ctl.run(&["logs", "torrent/web", "--tail", "2"]);
    wait_until("it has written all it wanted", PATIENT, || {
        // At each look the engine unpacks a file: looked at in a hurry, it does little else.
        thread::sleep(Duration::from_secs(1));
        let answer = tail();
        if answer.stdout.contains("over") { Ok(()) } else { Err(answer.to_string()) }
    });
    let kept = world.ctl.run(&["logs", "torrent/web"]).expect(0).stdout;
    assert!(kept.len() < TORRENT_KEPT_MAX, "{} bytes are kept", kept.len());
    let lines = kept.lines().filter(|line| line.ends_with("xxxx")).count();
    assert!(lines > 100, "{lines} lines are kept");
    let log = &world.engine.inspect(&torrent)["HostConfig"]["LogConfig"];
    assert_eq!(log["Config"]["max-size"], "1m", "{log}");
    assert_eq!(world.container("torrent", "web"), torrent, "it was started anew");
    world.expect_unharmed();
}

/// Lines that are numbered, more of them than two files of a megabyte hold; a line of a megabyte; and lines
/// that wait until somebody follows them.
const NUMBERED: u32 = 400_000;
const FOLLOWED: u32 = 100_000;
const LONG_LINE: usize = 1_000_000;
const COUNTED: &str = r#"
name: counted
services:
  numbered:
    image: siso/test:1
    command: [sh, -c, "seq 1 400000; exec sleep 1000000"]
    mem_limit: 16m
    logging:
      driver: local
      options: {max-size: 1m, max-file: '2'}
  long:
    image: siso/test:1
    command: [sh, -c, "head -c 1000000 /dev/zero | tr '\\0' x; echo; echo end; exec sleep 1000000"]
    mem_limit: 16m
  followed:
    image: siso/test:1
    command: [sh, -c, "echo begin; until test -e /go; do sleep 0.1; done; seq 1 100000; exec sleep 1000000"]
    mem_limit: 16m
"#;
/// The engine hands a line on in pieces of this many bytes.
const PIECE: usize = 16 << 10;

/// The numbers on these lines, which must follow each other up to the last.
#[track_caller]
fn first_of(lines: &str, last: u32) -> u32 {
    let numbers: Vec<u32> = lines.lines().map(|line| line.parse().expect("a number")).collect();
    let gap = numbers.windows(2).find(|pair| pair[1] != pair[0] + 1);
    assert_eq!((gap, numbers.last()), (None, Some(&last)), "something is missing");
    numbers[0]
}

/// What an engine's files have no room for any more is gone from the beginning, and it tells nobody how much
/// that was. What is kept is passed on whole, in order, however slowly it is read.
#[test]
fn a_log_loses_its_beginning_only_and_a_long_line_comes_in_pieces() {
    let Some(world) = World::new("counted") else { return };
    world.apply(COUNTED).expect(0);
    let follower = world.ctl.spawn(&["logs", "counted/followed", "-f", "--no-log-prefix"]);
    follower.wait_for("begin");
    // Somebody who looks away while everything is written.
    follower.pause();
    world.engine.exec(&world.container("counted", "followed"), &["touch", "/go"]);
    let wait_last = |service: &str, last: &str| {
        wait_until(&format!("{service} has written {last}"), PATIENT, || {
            let line = ["logs", &format!("counted/{service}"), "--tail", "1", "--no-log-prefix"];
            let answer = world.ctl.run(&line);
            if answer.stdout.trim_end() == last { Ok(()) } else { Err(answer.to_string()) }
        });
    };
    wait_last("followed", &FOLLOWED.to_string());
    follower.resume();
    follower.wait_for(&format!("\n{FOLLOWED}\n"));
    follower.interrupt();
    let read = follower.finish().stdout;
    assert_eq!(first_of(read.strip_prefix("begin\n").expect("its first line"), FOLLOWED), 1);

    wait_last("numbered", &NUMBERED.to_string());
    let kept = world.ctl.run(&["logs", "counted/numbered", "--no-log-prefix"]).expect(0);
    let first = first_of(&kept.stdout, NUMBERED);
    assert!(first > 1, "everything is kept");
    assert_eq!(kept.stderr, "", "something is said of it");

    wait_last("long", "end");
    let long = world.ctl.run(&["logs", "counted/long", "--no-log-prefix"]).expect(0).stdout;
    let (pieces, end) = long.trim_end().rsplit_once('\n').expect("two lines at least");
    assert!(pieces.lines().all(|piece| piece.len() <= PIECE && piece.trim_matches('x').is_empty()));
    let length: usize = pieces.lines().map(str::len).sum();
    assert_eq!((length, end), (LONG_LINE, "end"));
    world.expect_unharmed();
}

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
        let count = "ls /proc/[0-9]*/fd | wc -l";
        let answer = world.ctl.run(&["exec", "vandals/files", "--", "sh", "-c", count]);
        let open: usize = answer.stdout.trim().parse().unwrap_or_default();
        if open >= FILES { Ok(()) } else { Err(answer.to_string()) }
    });
    wait_until("the flood has passed", PATIENT, || {
        let answer = world.ctl.run(&["logs", "vandals/flood", "--tail", "1"]);
        if answer.stdout.contains("end") { Ok(()) } else { Err(format!("code {}", answer.code)) }
    });
    wait_until("no more processes can be had", PATIENT, || {
        let answer = world.ctl.run(&["logs", "vandals/bounded"]);
        if answer.stdout.contains("bound") { Ok(()) } else { Err(answer.to_string()) }
    });
    let bounded = world.container("vandals", "bounded");
    let processes = world.engine.processes(&bounded).len();
    assert!((150..=200).contains(&processes), "{processes} processes where 200 are allowed");
    // A line that a container wrote is told as a container's.
    let lines = world.ctl.run(&["logs", "vandals/liar"]).expect(0).stdout;
    assert!(lines.lines().all(|line| line.starts_with("liar.1 | ")), "{lines:?}");
    let said = world.agent.output("stderr") + &world.scheduler.output("stderr");
    assert!(!said.contains("forged") && !said.contains("panicked"), "{said}");
    world.expect_unharmed();
    assert_eq!(world.running("calm"), before);
    world.ctl.run(&["stack", "rm", "vandals", "--yes"]).expect(0);
    assert_eq!(world.wait_running("calm", 1), before);
    assert!(world.agent.ended().is_none(), "{}", world.agent.story());
}

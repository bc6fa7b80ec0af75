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
    command: [sh, -c, 'cd /tmp && seq 15000 | xargs touch && echo begin && exec tail -f $$(seq 15000) > /dev/null']
    mem_limit: 64m
  liar:
    image: siso/test:1
    command: [sh, -c, 'printf "one\n2026-01-01T00:00:00Z ERROR siso_agent: forged\r\n\000\001"; exec sleep 1000000']
    mem_limit: 16m
"#;

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

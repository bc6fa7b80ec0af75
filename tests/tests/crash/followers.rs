//! A follower whose disk is full.

use siso_tests::{PATIENT, World, wait_until};

use crate::disk;

const DISK_MIB: u64 = 96;

#[test]
fn a_follower_with_a_full_disk_acknowledges_nothing_says_so_and_catches_up_when_there_is_room() {
    let Some((disk, _directory)) = disk("full follower", DISK_MIB) else { return };
    let world = World::scheduler_only("full-follower");
    let mut follower = world.further_scheduler("second");
    let at = follower.arguments.iter().position(|flag| flag == "--data-dir").expect("--data-dir");
    follower.arguments[at + 1] = disk.path().join("data").display().to_string();
    follower.start();
    follower.wait_ready();
    let voters = |count: usize| {
        wait_until(&format!("{count} vote"), PATIENT, || {
            let rows = world.ctl.json(&["scheduler", "ls"]);
            let rows = rows.as_array().expect("a list").clone();
            let votes = |row: &&serde_json::Value| row["role"] != "joining";
            if rows.iter().filter(votes).count() == count {
                Ok(rows)
            } else {
                Err(format!("{rows:?}"))
            }
        })
    };
    voters(2);
    let mut third = world.further_scheduler("third");
    third.start();
    third.wait_ready();
    voters(3);
    let token = || world.ctl.run(&["token", "create", "--role", "node", "--timeout", "30s"]);
    token().expect(0);

    let filler = disk.fill();
    // The other two agree; the full one does not.
    for _ in 0..5 {
        token().expect(0);
    }
    let rows = voters(3);
    let of = |rows: &[serde_json::Value], needle: &str| {
        let found =
            rows.iter().find(|row| row["error"].as_str().is_some_and(|it| it.contains(needle)));
        found.cloned()
    };
    let full = of(&rows, "MiB free").unwrap_or_else(|| panic!("none says so: {rows:?}"));
    assert!(full["reachable"] == true && full["behind"].as_u64() >= Some(5), "{full}");
    assert!(follower.output("stderr").contains("no entries are taken"), "{}", follower.story());
    // Without the third there is no majority that can write, and nothing is acknowledged.
    third.kill9();
    let unanswered = token();
    assert!(unanswered.code == 3 || unanswered.code == 4, "{unanswered}");
    assert!(follower.ended().is_none(), "{}", follower.story());

    std::fs::remove_file(filler).expect("room");
    wait_until("writes are taken again", PATIENT, || {
        let asked = token();
        if asked.code == 0 { Ok(()) } else { Err(asked.to_string()) }
    });
    let id = full["id"].clone();
    wait_until("it has caught up", PATIENT, || {
        let rows = world.ctl.json(&["scheduler", "ls"]);
        let rows = rows.as_array().expect("a list");
        let caught_up = |row: &&serde_json::Value| row["id"] == id && row["behind"] == 0;
        if rows.iter().any(|row| caught_up(&row)) { Ok(()) } else { Err(format!("{rows:?}")) }
    });
    assert!(follower.output("stderr").contains("there is room on the disk again"));
}

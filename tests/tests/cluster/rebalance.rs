//! Few moves on a real engine: room is made for what is stuck, and nothing that runs is missed.

use siso_tests::World;

/// What can move, one replica of it without a second copy ever.
const LEFT: &str = "
name: left
services:
  web:
    image: siso/test:1
    command: [sleep, '1000000']
    stop_grace_period: 1s
    deploy: { resources: { limits: { memory: 400m }, reservations: { memory: 400m } } }
  single:
    image: siso/test:1
    command: [sleep, '1000000']
    stop_grace_period: 1s
    x-siso: { singleton: strict }
    deploy: { resources: { limits: { memory: 200m }, reservations: { memory: 200m } } }
";

/// What is bound to the second machine.
const RIGHT: &str = "
name: right
services:
  near:
    image: siso/test:1
    command: [sleep, '1000000']
    stop_grace_period: 1s
    deploy:
      resources: { limits: { memory: 300m }, reservations: { memory: 300m } }
      placement: { constraints: ['node.hostname == mini-2'] }
";

/// What fits nowhere as things are.
const BIG: &str = "
name: big
services:
  db:
    image: siso/test:1
    command: [sleep, '1000000']
    stop_grace_period: 1s
    deploy: { resources: { limits: { memory: 800m }, reservations: { memory: 800m } } }
";

#[test]
fn what_is_stuck_gets_room_by_one_move_and_nothing_runs_fewer_meanwhile() {
    let Some(world) = World::new("rebalance") else { return };
    world.apply(LEFT).expect(0);
    let before = world.wait_running("left", 2);
    let mut second = world.second_agent("mini-2");
    world.apply(RIGHT).expect(0);
    let near = world.wait_running("right", 1);
    let fix = "move left/web.1 to mini-2: sisoctl rebalance --apply";
    world.apply(BIG).expect(3).says(&[fix]);

    let planned = world.ctl.json(&["rebalance"]);
    let moves = planned["moves"].as_array().expect("moves");
    assert_eq!(moves.len(), 1, "{planned:#}");
    assert_eq!((&moves[0]["service"], &moves[0]["to"]), (&"web".into(), &"mini-2".into()));
    assert_eq!(planned["fewest"], true, "{planned:#}");
    assert_eq!((&planned["unplaced_before"], &planned["unplaced_after"]), (&1.into(), &0.into()));
    assert_eq!(world.running("left"), before, "nothing was changed");

    let moving = world.ctl.spawn(&["rebalance", "--apply", "--yes"]);
    let answer = moving.finish_unless(|| {
        let running = world.running("left");
        assert!(running.len() >= 2, "one is missed: {running:?}");
        false
    });
    let answer = answer.expect("nobody gave up").expect(0);
    assert!(answer.stdout.contains("big/db.1 gets a place on mini-1"), "{answer}");
    assert!(answer.stdout.ends_with("1 move made\n"), "{answer}");
    let after = world.wait_running("left", 2);
    let kept = before.iter().filter(|(id, since)| after.get(*id) == Some(*since)).count();
    assert_eq!(kept, 1, "only web moved: {before:?} {after:?}");
    assert_eq!(world.wait_running("right", 1), near);
    world.wait_running("big", 1);
    let again = world.ctl.run(&["rebalance"]).expect(0);
    assert_eq!(again.stdout, "nothing to gain\n");

    // What cannot run twice moves as well, and stops first.
    let emptied = world.ctl.run(&["rebalance", "--empty", "mini-1", "--apply", "--yes"]).expect(0);
    assert!(emptied.stdout.contains("left/single.1"), "{emptied}");
    assert!(emptied.stdout.contains("stops here before it starts there"), "{emptied}");
    let tasks = world.tasks("left");
    assert!(tasks.iter().all(|task| task["node"] == "mini-2"), "{tasks:#?}");
    world.wait_running("left", 2);
    let stuck = world.ctl.run(&["rebalance", "--room", "4GiB"]).expect(0);
    assert!(stuck.stdout.contains("make 4.0 GiB free on any node"), "{stuck}");
    second.kill9();
}

//! Everything fails at random and in any order; then nothing does any more, and all must be as it was
//! acknowledged.
//!
//! A seed is a story: the same seed does the same things in the same order. `SISO_CHAOS_SEED` tells
//! another one.

use std::collections::BTreeMap;

use siso_tests::{PATIENT, World, wait_until};

use crate::stacks::sleepers;

/// What is told when nobody asks for another.
const SEED: u64 = 20_261_123;
const STEPS: usize = 30;
const STACKS: &[&str] = &["ants", "bees", "cats"];
const MOST_REPLICAS: u64 = 4;
/// Has a volume; is never scaled.
const KEEPER: &str = "
name: keeper
services:
  db:
    image: siso/test:1
    command: [sh, -c, 'test -s /data/born || date +%s%N > /data/born; exec sleep 1000000']
    mem_limit: 16m
    volumes: [data:/data]
    healthcheck: { test: [CMD, test, -s, /data/born], interval: 1s }
volumes:
  data:
";

/// A small generator (xorshift) whose numbers a seed fixes.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        let index = self.below(u64::try_from(from.len().max(1)).expect("few"));
        from.get(usize::try_from(index).expect("few"))
    }
}

/// One thing that happens; the words stand in the message of a failure.
fn step(world: &mut World, dice: &mut Dice, wanted: &mut BTreeMap<&str, u64>) -> String {
    match dice.below(6) {
        0 | 1 => {
            let stack = dice.pick(STACKS).expect("a stack");
            let replicas = dice.below(MOST_REPLICAS) + 1;
            let target = format!("{stack}/web={replicas}");
            world.ctl.run(&["scale", "--detach", &target]).expect(0);
            wanted.insert(stack, replicas);
            format!("scale {target}")
        }
        2 => {
            world.scheduler.kill9();
            world.start_scheduler();
            "kill the scheduler".to_owned()
        }
        3 => {
            world.agent.kill9();
            world.agent.start();
            "kill the agent".to_owned()
        }
        4 => {
            let containers = world.engine.containers(world.cluster());
            let Some(container) = dice.pick(&containers) else {
                return "nothing to kill".to_owned();
            };
            let id = container["Id"].as_str().expect("its id");
            let hit = world.engine.try_kill(id);
            format!(
                "kill container {} ({})",
                container["Names"],
                if hit { "hit" } else { "missed" }
            )
        }
        _ => {
            world.agent.kill9();
            world.scheduler.kill9();
            world.agent.start();
            world.start_scheduler();
            "kill both".to_owned()
        }
    }
}

/// The running containers of each slot.
fn slots(world: &World) -> BTreeMap<String, Vec<String>> {
    let mut slots = BTreeMap::<String, Vec<String>>::new();
    for container in world.engine.containers(world.cluster()) {
        if container["State"] == "running" {
            let label = |name: &str| container["Labels"][name].as_str().unwrap_or("?").to_owned();
            let slot = ["siso.stack", "siso.service", "siso.slot"].map(label).join("/");
            slots.entry(slot).or_default().push(container["Id"].to_string());
        }
    }
    slots
}

#[test]
fn after_any_failures_all_is_as_it_was_acknowledged() {
    let Some(mut world) = World::new("chaos") else { return };
    let seed = std::env::var("SISO_CHAOS_SEED").ok().and_then(|seed| seed.parse().ok());
    let mut dice = Dice(seed.unwrap_or(SEED).max(1));
    let mut wanted = BTreeMap::new();
    world.apply(KEEPER).expect(0);
    for stack in STACKS {
        world.apply_with(&["--detach"], &sleepers(stack, 1)).expect(0);
        wanted.insert(*stack, 1);
    }
    let born = |world: &World| {
        let answer = world.ctl.run(&["exec", "keeper/db", "--", "cat", "/data/born"]);
        if answer.code == 0 { Ok(answer.stdout) } else { Err(answer.to_string()) }
    };
    let data = wait_until("the keeper has data", PATIENT, || born(&world));

    let mut story = Vec::new();
    for _ in 0..STEPS {
        story.push(step(&mut world, &mut dice, &mut wanted));
        let twice = slots(&world).into_iter().find(|(_, containers)| containers.len() > 1);
        assert!(twice.is_none(), "{twice:?} runs twice, seed {}: {story:#?}", seed.unwrap_or(SEED));
    }

    let mut expected: Vec<_> = wanted
        .iter()
        .flat_map(|(stack, count)| (1..=*count).map(move |slot| format!("{stack}/web/{slot}")))
        .collect();
    expected.push("keeper/db/1".to_owned());
    expected.sort();
    wait_until(&format!("all is as acknowledged after {story:#?}"), PATIENT, || {
        let found = slots(&world);
        let all = world.engine.containers(world.cluster()).len();
        let rows = world.ctl.json(&["ps"]);
        let ready =
            rows.as_array().into_iter().flatten().filter(|row| row["ready"] == true).count();
        let complete = found.keys().eq(&expected) && ready == expected.len();
        if complete && all == expected.len() { Ok(()) } else { Err(format!("{found:#?} {rows:#}")) }
    });
    assert_eq!(wait_until("the keeper answers", PATIENT, || born(&world)), data);
    let problems = world.problems();
    assert!(problems.is_empty(), "{problems:#?}");
}

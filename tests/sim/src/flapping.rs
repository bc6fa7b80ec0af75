//! Machines that come and go for hours, and how often services are moved because of it.

use std::collections::BTreeMap;

use crate::{
    event::OnMachine,
    people::{service, service_name, stack, stack_name},
    world::World,
};

/// How long each is away, and there, in milliseconds.
const PHASE: u64 = 20_000;

/// What came of it.
#[derive(Debug)]
pub struct Flapped {
    /// The first rule that was broken.
    pub broken: Option<String>,
    /// When each service was moved, in milliseconds.
    pub moves: BTreeMap<String, Vec<u64>>,
}

/// Three machines, `flapping` of which are 20 s away and 20 s there for `millis`, each beginning at
/// another time, with services that could run anywhere. The wall clock of whoever leads may step meanwhile.
pub fn flap(seed: u64, flapping: usize, millis: u64, steps: bool) -> Flapped {
    let mut world = World::empty(seed, false);
    world.faults.on = true;
    if steps {
        world.let_clock_step();
    }
    let nodes: Vec<_> =
        (1..=3).map(|n| world.join(&format!("mini-{n}"), 2_000, &BTreeMap::new())).collect();
    world.run_until(5_000);
    let names = ["api", "job", "one", "web"];
    let services = names.map(|name| {
        let mut spec = service("web:1", 300);
        spec.strict_singleton = name == "one";
        spec.replicas = if name == "web" { 2 } else { 1 };
        (service_name(name), spec)
    });
    let spec = stack("shop", services.into());
    world.ask(scheduler_core::Command::ApplyStack { spec, basis: None });
    world.run_until(60_000);
    let times = u32::try_from(millis / (2 * PHASE)).unwrap_or(u32::MAX);
    for (node, turn) in nodes.iter().take(flapping).zip(0_u64..) {
        let after = 1 + turn * 7_000;
        world.on_machine(*node, after, OnMachine::Flaps { times, millis: PHASE });
    }
    world.run_until(60_000 + millis + 2 * PHASE);
    let shop = stack_name("shop");
    let moves = world.moves.services.iter().filter(|((stack, _), _)| *stack == shop);
    let moves = moves.map(|((_, service), at)| (service.to_string(), at.clone())).collect();
    Flapped { broken: world.why_broken().map(str::to_owned), moves }
}

//! A machine that is frozen from outside, as a Mac freezes the virtual machine of its engine when it sleeps. By itself:
//! what is emulated beside other tests takes as long as they leave it.

use std::io::{self, Write as _};

use siso_tests::{
    Vm, World,
    beats::{Recorder, singleton},
    required,
    vm::{EMULATED, OUTSIDE},
    wait_until,
};

/// A lease is good for 20 s and renewed every second. So one of a machine that was frozen has at least this left
/// by clocks that were frozen with it, in hundredths of a second, however slowly it is emulated.
const LEFT: u64 = 1_500;
/// So many beats tell that it runs.
const RUNNING: usize = 20;

/// Something that needs no lease.
const PLAIN: &str = "
name: plain
services:
  one:
    image: siso/test:1
    command: [sleep, '1000000']
    mem_limit: 64m
    stop_grace_period: 1s
";

#[track_caller]
fn wait_ready(world: &World, vm: &Vm) {
    wait_until("the machine is a node that is ready", EMULATED, || {
        let nodes = world.ctl.json(&["node", "ls"]);
        let mut rows = nodes.as_array().into_iter().flatten();
        let found = rows.any(|row| row["name"] == "frozen" && row["state"] == "ready");
        if found { Ok(()) } else { Err(format!("{nodes}\n{}", vm.story())) }
    });
}

/// Beats of the machine's own clock, from the last one before it froze to the last one of all.
#[track_caller]
fn ran_on(name: &str, blind: bool) -> Option<u64> {
    let engine = required(name, "SISO_REQUIRE_VM", Vm::possible())?;
    let world = World::new(name)?;
    let token = world.ctl.run(&["token", "create", "--role", "node"]).expect(0).stdout;
    let port = world.endpoint().rsplit_once(':').expect("a port").1.to_owned();
    let scheduler = format!("{OUTSIDE}:{port}");
    let flags = ["--scheduler", &scheduler, "--token-file", "/siso/token", "--name", "frozen"];
    let further = ["--data-dir", "/siso/data", "--memory-budget", "768MiB"];
    let reserve = ["--reserve-memory", "256MiB", "--listen", "127.0.0.1:7401"];
    let flags = [&flags[..], &further, &reserve].concat();
    let mut vm = Vm::start(&engine, &flags, &token, blind);
    wait_ready(&world, &vm);
    world.ctl.run(&["node", "cordon", "mini-1"]).expect(0);
    let applied = world.apply(&singleton(name));
    assert_eq!(applied.code, 0, "{applied}\n{}", vm.story());
    world.ctl.run(&["node", "uncordon", "mini-1"]).expect(0);
    wait_until("it beats in the machine", EMULATED, || {
        if vm.beats().len() >= RUNNING { Ok(()) } else { Err(vm.story()) }
    });

    assert_eq!(
        vm.log().contains("the hardware's clock cannot be read here"),
        blind,
        "{}",
        vm.story()
    );

    vm.freeze();
    let frozen = vm.beats();
    let last = *frozen.last().expect("beats");
    let recorder = Recorder::of([world.engine.clone()], world.cluster(), name);
    wait_until("another one runs in its place", EMULATED, || {
        if recorder.beats().len() >= RUNNING {
            Ok(())
        } else {
            Err(format!("{:?}", world.tasks(name)))
        }
    });
    assert_eq!(vm.beats(), frozen, "who is frozen prints nothing");

    // Nobody can tell it anything when it wakes.
    vm.plug(false);
    vm.thaw();
    wait_until("the one in the machine ends", EMULATED, || {
        if vm.ended() > 0 { Ok(()) } else { Err(vm.story()) }
    });
    let ran_on = vm.beats().last().expect("beats") - last;
    vm.plug(true);
    wait_ready(&world, &vm);
    let running = world.wait_running(name, 1);
    assert_eq!(running.len(), 1, "the other one runs on");
    // Whatever is placed there now is done after what the machine did about the other one.
    world.ctl.run(&["node", "cordon", "mini-1"]).expect(0);
    let applied = world.apply(&PLAIN.replace("plain", &format!("{name}-next")));
    assert_eq!(applied.code, 0, "{applied}\n{}", vm.story());
    wait_until("the next one is seen in the machine", EMULATED, || {
        if vm.began() > 1 { Ok(()) } else { Err(vm.story()) }
    });
    assert_eq!((vm.began(), vm.ended()), (2, 1), "nothing else was started there: {}", vm.story());
    let _ = writeln!(io::stderr(), "{name}: it ran for {ran_on}0 ms after the machine woke");
    Some(ran_on)
}

#[test]
fn a_machine_that_wakes_ends_its_strict_singleton_by_the_hardwares_clock_though_nobody_tells_it() {
    let Some(ran_on) = ran_on("wakes", false) else { return };
    assert!(ran_on < LEFT, "it ran for {ran_on}0 ms more");
}

/// What shows that the one above can fail. Two machines at once are emulated at half the pace, so it is for those who ask.
#[test]
fn a_machine_without_the_hardwares_clock_does_not_know_that_it_was_frozen() {
    if std::env::var_os("SISO_FROZEN_BLIND").is_none() {
        let _ = writeln!(io::stderr(), "skipped: SISO_FROZEN_BLIND=1 runs it");
        return;
    }
    let Some(ran_on) = ran_on("blind", true) else { return };
    assert!(ran_on >= LEFT, "it ran for {ran_on}0 ms more: then the test above shows nothing");
}

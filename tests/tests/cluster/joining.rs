//! `node add` over a real `sshd`.

use std::fs;

use siso_tests::{Answer, Engine, GUEST, Sshd, World, program, required};

const THERE: &str = "
name: there
services:
  db:
    image: siso/test:1
    command: [sleep, '1000000']
    mem_limit: 16m
    stop_grace_period: 1s
    deploy:
      placement: { constraints: ['node.labels.role == database'] }
";

fn machine(test: &str) -> Option<Sshd> {
    required(test, "SISO_REQUIRE_SSHD", Sshd::start())
}

/// `node add`, reaching the scheduler as it is reached on this machine.
#[track_caller]
fn add(world: &World, machine: &Sshd, more: &[&str]) -> Answer {
    add_as("root@127.0.0.1", world, machine, more)
}

#[track_caller]
fn add_as(target: &str, world: &World, machine: &Sshd, more: &[&str]) -> Answer {
    let (ssh, endpoint) = (machine.ssh(), world.endpoint());
    let agent = program("siso-agent").display().to_string();
    let mut line = vec!["node", "add", target, "--ssh", &ssh];
    for (flag, value) in [("--scheduler", &endpoint), ("--agent", &agent)] {
        if !more.contains(&flag) {
            line.extend([flag, value.as_str()]);
        }
    }
    line.extend_from_slice(more);
    world.ctl.run(&line)
}

#[test]
fn a_machine_becomes_a_node_over_the_users_own_ssh_and_again_is_no_harm() {
    let Some(machine) = machine("node-add") else { return };
    let Some(world) = World::new("node-add") else { return };
    let added = add(&world, &machine, &["--name", "mini-2", "--label", "role=database"]).expect(0);
    assert!(added.stdout.starts_with("mini-2 is ready: "), "{added}");
    let nodes = world.ctl.json(&["node", "ls"]);
    assert_eq!(
        (&nodes[1]["name"], &nodes[1]["labels"]["role"]),
        (&"mini-2".into(), &"database".into())
    );
    assert_eq!(machine.run("stat -c %a /etc/siso/agent.token /etc/siso/agent.env"), "600\n600\n");
    world.apply(THERE).expect(0);
    assert_eq!(world.tasks("there")[0]["node"], "mini-2");
    let running = world.wait_running("there", 1);
    let tokens = world.ctl.json(&["token", "ls"]);
    // An upgrade is the same again: the program is replaced, the member stays who it is, and so does what a
    // person set there.
    let settings = |more: &str| machine.run(&format!("{more} cat /etc/siso/agent.env"));
    let own = "# for tests\nSISO_RESERVE_MEMORY='256 MiB'\n";
    let before = settings(&format!("printf %s \"{own}\" >>/etc/siso/agent.env;"));
    assert!(before.ends_with(own), "{before}");
    let again = ["--label", "role=database", "--allow", "devices", "-o", "json"];
    let said = ["labels count when joining", "keeps SISO_RESERVE_MEMORY as it is"];
    let again = add(&world, &machine, &again).expect(0).says(&said).json();
    assert_eq!(settings(""), format!("{before}SISO_ALLOW=devices\n"));
    assert_eq!((&again["name"], &again["id"]), (&"mini-2".into(), &nodes[1]["id"]));
    assert_eq!(world.ctl.json(&["token", "ls"]), tokens, "a member needs no token");
    assert_eq!(world.running("there"), running, "what runs was not disturbed");

    // One whose program does not run is not called ready for what it was before.
    let useless = ["--agent", "/bin/false", "--timeout", "15s"];
    add(&world, &machine, &useless).expect(3).says(&["mini-2 is not ready after 15s"]);
    add(&world, &machine, &[]).expect(0);
    assert_eq!(world.ctl.json(&["node", "ls"])[1]["id"], nodes[1]["id"]);

    // It is a member already, and stays that.
    let other = World::scheduler_only("node-add-other");
    let refused = add(&other, &machine, &["--name", "mini-9"]).expect(3);
    refused.says(&["is a member of another cluster", world.cluster(), "nothing was changed"]);
    assert_eq!(world.ctl.json(&["node", "ls"])[1]["state"], "ready");
}

#[test]
fn a_user_who_becomes_root_by_sudo_adds_a_machine_as_root_does() {
    let Some(machine) = machine("node-add-sudo") else { return };
    let Some(world) = World::new("node-add-sudo") else { return };
    machine.trust_guest();
    let named = ["--name", "mini-2", "--label", "role=database"];
    let added = add_as(GUEST, &world, &machine, &named).expect(0);
    assert!(added.stdout.starts_with("mini-2 is ready: "), "{added}");
    let files =
        "stat -c '%U %a' /etc/siso/agent.token /etc/siso/agent.env /usr/local/bin/siso-agent";
    assert_eq!(machine.run(files), "root 600\nroot 600\nroot 755\n");
    add_as(GUEST, &world, &machine, &[]).expect(0);
    assert_eq!(world.ctl.json(&["node", "ls"])[1]["name"], "mini-2");
}

#[test]
fn what_stands_in_the_way_is_told_with_its_way_out_and_nothing_is_changed() {
    let Some(machine) = machine("node-add-refused") else { return };
    let world = World::scheduler_only("node-add-refused");
    let named = ["--name", "mini-2"];
    for (broken, words) in [
        (
            "no-engine",
            &["its container engine does not answer", "systemctl enable --now docker"][..],
        ),
        ("no-systemd", &["systemd does not run there", "docs/operations.md"]),
        (
            "clock-ahead",
            &["its clock is 180 minutes ahead of this machine's", "timedatectl set-ntp true"],
        ),
    ] {
        machine.break_something(broken, true);
        let refused = add(&world, &machine, &named).expect(3).says(words);
        assert!(refused.stderr.contains("nothing was changed"), "{refused}");
        machine.break_something(broken, false);
    }
    for (memory, words) in [
        (
            (512 << 10, 400 << 10),
            &["512.0 MiB of memory, a node needs 768.0 MiB", "another machine"],
        ),
        (
            (8 << 20, 100 << 10),
            &["100.0 MiB of its memory are free, 256.0 MiB are needed", "end what"],
        ),
    ] {
        machine.set_memory(Some(memory));
        add(&world, &machine, &named).expect(3).says(words).says(&["nothing was changed"]);
        machine.set_memory(None);
    }
    let refused = add_as(GUEST, &world, &machine, &named).expect(3);
    refused.says(&["its user may not become root", "root@HOST", "nothing was changed"]);
    let script = world.write("siso-agent", "#!/bin/sh");
    let other = [&named[..], &["--agent", &script]].concat();
    add(&world, &machine, &other).expect(3).says(&["no program for Linux", "--agent FILE"]);
    assert_eq!(machine.run("ls /etc/siso 2>/dev/null | wc -l"), "0\n");
    assert_eq!(world.ctl.json(&["token", "ls"]), serde_json::json!([]), "no token was made");

    // Nobody listens, a host key that is another, no ssh at all.
    let line = |ssh: &str| {
        ["node", "add", "root@127.0.0.1", "--ssh"]
            .map(str::to_owned)
            .into_iter()
            .chain([ssh.to_owned(), "--scheduler".to_owned(), world.endpoint()])
            .collect::<Vec<_>>()
    };
    let run = |ssh: &str| {
        let line = line(ssh);
        world.ctl.run(&line.iter().map(String::as_str).collect::<Vec<_>>())
    };
    run("ssh -p 1 -o BatchMode=yes")
        .expect(4)
        .says(&["cannot reach root@127.0.0.1", "has to work first"]);
    run("/nonexistent/ssh").expect(1).says(&["cannot run `/nonexistent/ssh`", "--ssh"]);
    fs::write(machine.path("known_hosts"), "").expect("the known hosts");
    run(&machine.ssh()).expect(4).says(&["Host key verification failed"]);
}

#[test]
fn a_machine_that_cannot_reach_the_scheduler_says_so_in_its_agents_words() {
    let Some(machine) = machine("node-add-unreachable") else { return };
    let world = World::scheduler_only("node-add-unreachable");
    let blind = ["--name", "mini-2", "--scheduler", "127.0.0.1:1", "--timeout", "5s"];
    let answer = add(&world, &machine, &blind).expect(3);
    answer.clone().says(&["mini-2 is not ready after 5s", "127.0.0.1:1", "--scheduler"]);
    // From this machine alone the context's own endpoint is of use.
    let ssh = machine.ssh();
    let refused = world.ctl.run(&["node", "add", "root@127.0.0.1", "--ssh", &ssh]).expect(1);
    refused.says(&["another machine cannot reach", "--scheduler HOST:7400"]);
    // Mended, it is the same line again.
    if Engine::of_this_machine().is_ok() {
        add(&world, &machine, &["--name", "mini-2"]).expect(0);
    }
}

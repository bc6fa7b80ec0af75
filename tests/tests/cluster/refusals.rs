//! What an agent does not run unless it was told to.

use siso_tests::World;

#[test]
fn what_reaches_past_a_container_is_refused_and_the_way_to_allow_it_is_named() {
    let Some(world) = World::new("refusals") else { return };
    let check = |stack: &str, extra: &str| {
        let text = format!(
            "
name: {stack}
services:
  web:
    image: siso/test:1
    command: [sleep, '1000000']
    mem_limit: 16m
    {extra}
"
        );
        let answer = world.apply(&text);
        assert!(answer.code == 3 || answer.code == 1, "{stack}: {answer}");
        let said = answer.stdout.clone() + &answer.stderr;
        assert!(said.contains("--allow"), "{stack}: the way to allow it is not named: {answer}");
        let made = world.engine.containers(world.cluster());
        assert!(made.is_empty(), "{stack}: a container was made: {made:#?}");
        // What was refused before it was accepted is not there to be removed.
        let removed = world.ctl.run(&["stack", "rm", stack, "--yes"]);
        assert!(removed.code == 0 || removed.code == 1, "{removed}");
    };
    check("privileged", "privileged: true");
    check("socket", "volumes: ['/var/run/docker.sock:/var/run/docker.sock']");
    check("root-bind", "volumes: ['/:/host']");
    check("dots", "volumes: ['/srv/../etc:/host']");
    check("host-network", "network_mode: host");
    check("host-pid", "pid: host");
    check("host-ipc", "ipc: host");
    check("capability", "cap_add: [SYS_ADMIN]");
    check("every-capability", "cap_add: [ALL]");
    check("host-users", "userns_mode: host");
    check("processes", "volumes: ['/proc:/host']");
    check("keys", "volumes: ['/root/.ssh:/host']");
    check("no-apparmor", "security_opt: ['apparmor:unconfined']");
    check("device", "devices: ['/dev/mem:/dev/mem']");
    check("unconfined", "security_opt: ['seccomp:unconfined']");
    world.expect_unharmed();
}

#[test]
fn an_agent_told_to_allow_something_runs_it() {
    let Some(mut world) = World::new("allowed") else { return };
    let text = "
name: allowed
services:
  web:
    image: siso/test:1
    command: [sleep, '1000000']
    mem_limit: 16m
    cap_add: [NET_ADMIN]
";
    let refused = world.apply(text).expect(3);
    let named = refused.stdout.split("start its agent with --allow ").nth(1);
    let value = named.and_then(|rest| rest.split(['`', ' ', '\n']).next());
    let allowed = value.unwrap_or_else(|| panic!("no value of --allow: {refused}")).to_owned();
    world.ctl.run(&["stack", "rm", "allowed", "--yes"]).expect(0);
    world.agent.stop();
    world.agent.arguments.extend(["--allow".to_owned(), allowed]);
    world.start_agent();
    world.apply(text).expect(0);
    let inspected = world.engine.inspect(&world.container("allowed", "web"));
    let added = inspected["HostConfig"]["CapAdd"].to_string();
    assert!(added.contains("NET_ADMIN"), "{added}");
}

#[test]
fn labels_of_ours_cannot_be_claimed_by_a_file() {
    let world = World::scheduler_only("labels");
    let text = "name: thief\nservices:\n  web:\n    image: a\n    labels: { siso.task: '7' }\n";
    world.apply(text).expect(1).says(&["siso."]);
    world.expect_unharmed();
}

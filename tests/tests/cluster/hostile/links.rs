//! Links put in the place of what was looked at before.

use std::{fs, os::unix::fs::symlink};

use siso_tests::{PATIENT, World, wait_until};

#[test]
fn a_link_put_in_the_place_of_a_bind_is_not_followed_at_the_next_start() {
    let Some(mut world) = World::new("swapped") else { return };
    let (root, outside) = (world.path("binds"), world.path("outside"));
    let data = root.join("data");
    for directory in [&data, &outside] {
        fs::create_dir_all(directory).expect("a directory");
    }
    fs::write(data.join("file"), "ours").expect("a file");
    fs::write(outside.join("file"), "of somebody else").expect("a file");
    world.agent.kill9();
    world.agent.arguments.extend(["--allow-bind".to_owned(), root.display().to_string()]);
    world.start_agent();
    let stack = format!(
        "name: swapped\nservices:\n  web:\n    image: siso/test:1\n    \
         command: [sh, -c, 'cat /data/file; exec sleep 1000000']\n    mem_limit: 16m\n    \
         volumes: ['{}:/data']\n",
        data.display()
    );
    world.apply(&stack).expect(0);
    world.wait_running("swapped", 1);
    let container = world.container("swapped", "web");

    fs::rename(&data, root.join("aside")).expect("moved aside");
    symlink(&outside, &data).expect("a link");
    world.engine.kill(&container);
    let told = format!("it leads to {}", outside.display());
    wait_until("the agent refuses to start it", PATIENT, || {
        let answer = world.ctl.run(&["-o", "json", "ps", "-a"]);
        if answer.stdout.contains(&told) { Ok(()) } else { Err(answer.to_string()) }
    });
    assert!(world.running("swapped").is_empty(), "{:?}", world.running("swapped"));
    let logs = world.ctl.run(&["logs", "swapped/web"]).stdout;
    assert!(logs.contains("ours") && !logs.contains("of somebody else"), "{logs}");
    world.expect_unharmed();
}

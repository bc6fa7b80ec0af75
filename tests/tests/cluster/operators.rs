//! People with contexts of their own, and one whose context was stolen.

use std::fs;

use siso_tests::{PATIENT, World, wait_until};

use crate::schedulers::two_more;

#[test]
fn a_stolen_context_is_shut_out_and_so_is_every_copy_of_the_first_one() {
    let world = World::scheduler_only("operators");
    let _others = two_more(&world);
    let (ada, eve) = (world.path("ada.yaml"), world.path("eve.yaml"));
    for (name, file) in [("ada", &ada), ("eve", &eve)] {
        let file = file.display().to_string();
        world.ctl.run(&["operator", "add", name, "--file", &file]).expect(0);
        // What is there already is not written over, and nobody is added.
        let again = world.ctl.run(&["operator", "add", &format!("{name}-2"), "--file", &file]);
        again.expect(1).says(&["is there already"]);
    }
    let context = |path: &std::path::Path| world.ctl.with_context(&path.display().to_string());
    let (ada, eve) = (context(&ada), context(&eve));
    let rows = eve.json(&["operator", "ls"]);
    let names: Vec<_> = rows.as_array().expect("a list").iter().map(|row| &row["name"]).collect();
    assert_eq!(names, ["admin", "ada", "eve"], "{rows}");
    eve.run(&["token", "create", "--role", "node"]).expect(0);

    let removed = ada.run(&["operator", "rm", "eve", "--yes"]).expect(0);
    assert!(removed.stdout.contains("operator eve is shut out"), "{removed}");
    let refused = eve.run(&["status", "--timeout", "5s"]);
    assert!(refused.code != 0, "{refused}");
    refused.says(&["operator eve was removed", "sisoctl operator add"]);

    // The file that every scheduler writes, and every copy of it.
    let copy = world.path("laptop.yaml");
    fs::copy(&world.ctl.context, &copy).expect("a copy");
    let laptop = context(&copy);
    ada.run(&["operator", "rm", "admin", "--yes"]).expect(0);
    laptop.run(&["status", "--timeout", "5s"]).says(&["operator admin was removed"]);
    for scheduler in ["scheduler", "second", "third"] {
        wait_until("the file is written anew", PATIENT, || {
            let asked = world.ctl_of(scheduler).run(&["operator", "ls", "-q", "--timeout", "5s"]);
            if asked.code == 0 { Ok(asked) } else { Err(asked.to_string()) }
        });
    }
    let last = world.ctl_of("second");
    last.run(&["operator", "rm", "ada", "--yes"]).expect(0);
    last.run(&["operator", "rm", "admin-2", "--yes"]).expect(3).says(&["the last operator"]);
}

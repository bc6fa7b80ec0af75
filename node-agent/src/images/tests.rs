use std::{collections::BTreeMap, fs};

use model::{Inventory, NodeId, ServiceSpec};

use super::*;
use crate::{
    runtime::{Order, fake::FakeEngine},
    testing::{assignment, set},
};

#[test]
fn a_fifth_of_a_disk_is_kept_free_and_of_a_large_one_50_gib() {
    let check = |size, free, begins, ends| {
        let disk = (Bytes::gib(size), Bytes::gib(free));
        assert_eq!((BEGIN.is_undercut(disk), !END.is_undercut(disk)), (begins, ends), "{disk:?}");
    };
    check(100, 19, true, false);
    check(100, 20, false, false);
    check(100, 30, false, true);
    check(1_000, 49, true, false);
    check(1_000, 60, false, false);
    check(1_000, 75, false, true);
    // It lies where the agent cannot see it.
    check(0, 0, false, true);
}

#[test]
fn what_was_fetched_is_known_to_the_next_life_of_the_agent() {
    let directory = tempfile::tempdir().unwrap();
    let names = |fetched: &Fetched| -> Vec<String> {
        fetched.all().into_iter().map(|held| held.name).collect()
    };
    let fetched = Fetched::load(directory.path());
    fetched.add("sha256:a", "web:1").unwrap();
    fetched.add("sha256:b", "db:1").unwrap();
    fetched.add("sha256:a", "web:latest").unwrap();
    assert_eq!(names(&Fetched::load(directory.path())), ["db:1", "web:latest"]);
    fetched.forget("sha256:b").unwrap();
    assert_eq!(names(&Fetched::load(directory.path())), ["web:latest"]);
    for number in 0..IMAGES_MAX {
        fetched.add(&format!("sha256:{number}"), "many:1").unwrap();
    }
    assert_eq!((fetched.all().len(), fetched.all()[0].name.as_str()), (IMAGES_MAX, "many:1"));
    // Of a damaged file, what can be read.
    let text = "sha256:c ok:1\nrm -rf\nnothing\n\u{0} x\nsha256:d \n";
    fs::write(directory.path().join(FILE), text).unwrap();
    assert_eq!(names(&Fetched::load(directory.path())), ["ok:1"]);
}

#[tokio::test]
async fn what_nothing_needs_goes_the_oldest_first_until_there_is_room() {
    let directory = tempfile::tempdir().unwrap();
    let fetched = Arc::new(Fetched::load(directory.path()));
    let all = ["assigned:1", "used:1", "old:1", "older:1", "new:1"];
    let engine = all.iter().fold(FakeEngine::new(), |engine, image| engine.with_image(image));
    let engine = engine.with_image("others:1");
    for image in all {
        fetched.add(&engine.image_id(image).await.unwrap().unwrap(), image).unwrap();
    }
    let order = Order {
        cluster: "another".to_owned(),
        node: NodeId::new(1),
        assignment: Arc::new(assignment(9, ServiceSpec::new("used:1"))),
        binds: BTreeMap::new(),
    };
    engine.create(&order).await.unwrap();
    let board = Arc::new(Board::new(Inventory::default()));
    let sweeper = Sweeper {
        runtime: Arc::new(engine.clone()),
        board: Arc::clone(&board),
        fetched: Arc::clone(&fetched),
    };
    let left = async || {
        sweeper.sweep().await.unwrap();
        let remembered: Vec<_> = fetched.all().into_iter().map(|held| held.name).collect();
        (engine.images().into_iter().collect::<Vec<_>>(), remembered)
    };
    let everything = ["assigned:1", "new:1", "old:1", "older:1", "others:1", "used:1"];
    // Each image that goes makes 10 GiB free.
    engine.set_disk(Bytes::gib(100), Bytes::gib(15));
    assert_eq!(left().await.0, everything, "nothing is known of what is needed");
    let tasks = [(1, "assigned:1"), (2, "absent:1")];
    let tasks = tasks.map(|(task, image)| assignment(task, ServiceSpec::new(image)));
    board.accepted(&set(tasks.to_vec()));
    engine.set_disk(Bytes::gib(100), Bytes::gib(20));
    assert_eq!(left().await.0, everything, "there is room");
    engine.set_disk(Bytes::gib(100), Bytes::gib(15));
    let (there, remembered) = left().await;
    assert_eq!(there, ["assigned:1", "new:1", "others:1", "used:1"]);
    assert_eq!(remembered, ["assigned:1", "used:1", "new:1"]);
    engine.set_disk(Bytes::gib(100), Bytes::ZERO);
    assert_eq!(left().await.0, ["assigned:1", "others:1", "used:1"]);
}

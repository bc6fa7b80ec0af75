//! People get certificates of their own, and lose them.

use model::OperatorName;

use super::*;

fn name(text: &str) -> OperatorName {
    OperatorName::new(text).unwrap()
}

fn add(text: &str) -> Command {
    Command::AddOperator { name: name(text) }
}

fn remove(text: &str) -> Command {
    Command::RemoveOperator { name: name(text) }
}

#[test]
fn an_operator_is_added_and_removed_once_and_its_name_is_never_given_again() {
    let mut world = World::new(&[]);
    assert_eq!(world.ok(add("ada")), Outcome::Done);
    let why = world.refused(add("ada")).to_string();
    assert!(why.contains("there is an operator ada"), "{why}");
    assert_eq!(world.ok(remove("ada")), Outcome::Done);
    assert_eq!(world.ok(remove("ada")), Outcome::Unchanged);
    assert!(world.cluster.shuts_out_operator("ada") && world.cluster.operators().count() == 0);
    let why = world.refused(add("ada")).to_string();
    assert!(why.contains("was removed"), "{why}");
    let why = world.refused(remove("bob"));
    assert!(why.is_not_found() && why.is_input_error(), "{why}");
    world.check_snapshot();
}

#[test]
fn the_last_operator_stays_and_what_schedulers_write_has_another_name_from_then_on() {
    let mut world = World::new(&[]);
    assert_eq!(world.cluster.own_operator(), "admin");
    let why = world.refused(remove("admin")).to_string();
    assert!(why.contains("admin is the last operator"), "{why}");
    world.ok(add("ada"));
    world.ok(remove("admin"));
    assert!(world.cluster.shuts_out_operator("admin"));
    assert_eq!(world.cluster.own_operator(), "admin-2");
    world.ok(remove("admin-2"));
    assert_eq!(world.cluster.own_operator(), "admin-3");
    assert_eq!(world.ok(remove("admin")), Outcome::Unchanged);
    world.ok(remove("ada"));
    let why = world.refused(remove("admin-3")).to_string();
    assert!(why.contains("admin-3 is the last operator"), "{why}");
    for reserved in ["admin", "admin-2", "admin-9"] {
        let why = world.refused(add(reserved)).to_string();
        assert!(why.contains("schedulers write"), "{why}");
    }
    world.ok(add("administrator"));
    world.check_snapshot();
}

#[test]
fn there_are_so_many_operators_at_most() {
    let mut world = World::new(&[]);
    for number in 0..limits::MAX_OPERATORS {
        world.ok(add(&format!("o{number}")));
    }
    let why = world.refused(add("one-more")).to_string();
    assert_eq!(why, "too many operators: 257, the limit is 256");
}

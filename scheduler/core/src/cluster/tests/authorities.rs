//! One certificate authority takes the place of another.

use super::*;
use crate::cluster::{AuthorityPhase, SchedulerStand, next_step};

use AuthorityPhase::{Introduced, Issuing, Presented, Settled};

fn introduce(current: u8, next: u8) -> Command {
    Command::IntroduceAuthority { current: vec![current], next: vec![next] }
}

fn advance(authority: u64, to: AuthorityPhase, force: bool) -> Command {
    Command::AdvanceAuthority { authority, to, force }
}

/// The phase, which are trusted, which signs, which is shown.
fn stand(world: &World) -> (AuthorityPhase, Vec<u64>, u64, u64) {
    let held = world.cluster.authorities().unwrap();
    let trusted = held.trusted.iter().map(|authority| authority.number).collect();
    (held.phase, trusted, held.issuing(), held.presented())
}

#[test]
fn an_authority_takes_the_place_of_another_step_by_step_and_again() {
    let mut world = World::new(&[("a", 1_000)]);
    let (a, create) = (world.node("a"), |role| Command::CreateToken {
        role,
        secret_hash: [1; 32],
        expires_at: Timestamp(u64::MAX / 2),
    });
    assert_eq!(world.cluster.authorities(), None);
    assert_eq!(world.ok(introduce(1, 2)), Outcome::Done);
    assert_eq!(stand(&world), (Introduced, vec![1, 2], 1, 1));
    world.check_snapshot();
    assert_eq!(world.ok(advance(2, Issuing, false)), Outcome::Done);
    assert_eq!(world.ok(advance(2, Issuing, false)), Outcome::Unchanged);
    assert_eq!(stand(&world), (Issuing, vec![1, 2], 2, 1));
    // Who joins now is given a certificate of the second.
    let b = world.join("b", 1_000, &[]);
    assert_eq!(world.cluster.authorities().unwrap().held_by(b), 2);
    let why = world.refused(advance(2, Presented, false));
    assert_eq!(why.to_string(), "with authority 1 these nodes would be shut out: a");
    assert_eq!(world.ok(Command::HoldAuthority { node: a, authority: 2 }), Outcome::Done);
    assert_eq!(world.ok(Command::HoldAuthority { node: a, authority: 2 }), Outcome::Unchanged);
    world.ok(create(Role::Node));
    assert_eq!(world.ok(advance(2, Presented, false)), Outcome::Done);
    assert_eq!(stand(&world), (Presented, vec![1, 2], 2, 2));
    let unused = world.cluster.tokens().values().filter(|token| token.used_at.is_none());
    assert_eq!(unused.count(), 0, "they name an authority that is shown no more");
    assert_eq!(world.ok(advance(2, Settled, false)), Outcome::Done);
    assert_eq!(stand(&world), (Settled, vec![2], 2, 2));
    world.check_snapshot();
    assert_eq!(world.ok(introduce(2, 3)), Outcome::Done);
    assert_eq!(stand(&world), (Introduced, vec![2, 3], 2, 2));
    assert_eq!(
        world.warned("authority"),
        [
            "authority 2 is trusted",
            "authority 2 signs from now on",
            "authority 1 is being given up",
            "authority 1 is trusted no more",
            "authority 3 is trusted",
        ]
    );
}

#[test]
fn steps_are_not_left_out_and_one_who_leads_with_another_authority_is_refused() {
    let mut world = World::new(&[("a", 1_000)]);
    let check = |world: &mut World, command, told: &str| {
        let why = world.refused(command).to_string();
        assert!(why.contains(told), "{why}");
    };
    check(&mut world, advance(2, Issuing, false), "authority 2 is not the newest");
    check(&mut world, introduce(1, 1), "cannot take its own place");
    let large = vec![1; limits::MAX_CERTIFICATE_BYTES + 1];
    let large = Command::IntroduceAuthority { current: vec![1], next: large };
    check(&mut world, large, "the limit is 8192");
    assert_eq!(world.cluster.authorities(), None, "what was refused left nothing");
    world.ok(introduce(1, 2));
    check(&mut world, introduce(9, 3), "another than the cluster's");
    for to in [Presented, Settled] {
        check(&mut world, advance(2, to, true), "cannot take this step now");
    }
    // Its key was lost before anybody else had it.
    world.ok(introduce(1, 3));
    assert_eq!(stand(&world), (Introduced, vec![1, 3], 1, 1));
    check(&mut world, advance(2, Issuing, false), "not the newest");
    world.ok(advance(3, Issuing, false));
    check(&mut world, introduce(1, 4), "finish that first");
    check(&mut world, advance(3, Settled, true), "cannot take this step now");
    let node = world.node("a");
    check(&mut world, Command::HoldAuthority { node, authority: 9 }, "there is no authority 9");
    // By force, and whoever is left behind is named.
    world.ok(advance(3, Presented, true));
    assert!(world.cluster.authorities().unwrap().forced);
    assert!(world.warned("authority").iter().any(|text| text.ends_with("and with it a")));
    world.ok(advance(3, Settled, false));
    assert!(world.cluster.authorities().unwrap().held_by(node) < 3, "it has to join anew");
    world.check_snapshot();
}

#[test]
fn a_step_is_taken_when_every_scheduler_is_ready_for_it() {
    let mut world = World::new(&[]);
    world.ok(introduce(1, 2));
    let ready = |step| SchedulerStand { step: Some(step), ready: true };
    let (busy, away) = (
        SchedulerStand { step: Some(1), ready: false },
        SchedulerStand { step: None, ready: false },
    );
    let check = |world: &World, schedulers: &[SchedulerStand], expected| {
        assert_eq!(next_step(world.cluster.authorities().unwrap(), schedulers), expected);
    };
    check(&world, &[ready(1), ready(0)], None);
    check(&world, &[ready(1), busy], None);
    check(&world, &[ready(1), away], None);
    check(&world, &[ready(1), ready(7)], Some(Issuing));
    world.ok(advance(2, Issuing, false));
    // The next one is for a person to say.
    check(&world, &[ready(2), ready(2)], None);
    let presented = |force| {
        let mut world = World::new(&[]);
        world.ok(introduce(1, 2));
        world.ok(advance(2, Issuing, false));
        world.ok(advance(2, Presented, force));
        world
    };
    check(&presented(false), &[ready(3), away], None);
    check(&presented(true), &[ready(3), away], Some(Settled));
    check(&presented(true), &[ready(3), busy], None);
    check(&presented(false), &[ready(3), ready(3)], Some(Settled));
}

//! Schedulers go, and a cluster goes on from one copy.

use model::{Epoch, TokenId};

use super::*;

#[test]
fn a_scheduler_is_removed_once_and_for_ever() {
    let mut world = World::new(&[]);
    world.ok(Command::RaiseForm { form: 2 });
    assert_eq!(world.ok(Command::RaiseForm { form: 1 }), Outcome::Unchanged);
    assert_eq!(world.ok(Command::RemoveScheduler { scheduler: 3 }), Outcome::Done);
    assert_eq!(world.ok(Command::RemoveScheduler { scheduler: 3 }), Outcome::Unchanged);
    assert!(world.cluster.shuts_out(3) && !world.cluster.shuts_out(1));
    world.check_snapshot();
    for scheduler in 4..(limits::MAX_REMOVED_SCHEDULERS as u64 + 3) {
        world.ok(Command::RemoveScheduler { scheduler });
    }
    let why = world.refused(Command::RemoveScheduler { scheduler: 9_999 });
    assert_eq!(why.to_string(), "too many removed schedulers: 1001, the limit is 1000");
}

#[test]
fn a_recovered_cluster_keeps_what_runs_and_uses_no_number_of_before_again() {
    let mut world = World::new(&[("a", 4_000)]);
    world.apply(&stack("shop", &[("web", service("nginx", 100))]));
    world.settle();
    let create = |role| Command::CreateToken {
        role,
        secret_hash: [1; 32],
        expires_at: Timestamp(u64::MAX / 2),
    };
    world.ok(create(Role::Node));
    let before = world.cluster.clone();
    assert!(!before.id().is_empty());
    let own = world.cluster.recover(Timestamp(9), "new");
    let cluster = &world.cluster;
    assert_eq!((cluster.id(), cluster.origin()), ("new", before.id()));
    assert!(cluster.shuts_out(own - 1) && !cluster.shuts_out(own));
    // One that was not used may have been used where nobody here saw it.
    assert!(cluster.tokens().values().all(|token| token.used_at.is_some()));
    assert_eq!(cluster.tasks(), before.tasks());
    assert_eq!(cluster.nodes(), before.nodes());
    let node = world.node("a");
    assert!(cluster.generation(node) > before.generation(node));
    assert!(cluster.next_task() > before.next_task());
    let epoch = |cluster: &Cluster| {
        let service = cluster.service(&stack_name("shop"), &service_name("web"));
        service.unwrap().slots[&1].last
    };
    assert!(epoch(cluster) >= Epoch(epoch(&before).0 + 1_000));
    assert_eq!(crate::assignments(cluster, node).cluster, before.id());
    world.check_snapshot();
    // It goes on; a second time, it is still called as it was founded.
    world.settle();
    assert_eq!(world.cluster.tasks().len(), before.tasks().len());
    let Outcome::Token(token) = world.ok(create(Role::Scheduler)) else { panic!("a token") };
    assert!(crate::cluster::scheduler_number(token) > own);
    assert!(token > TokenId::new(own - 1));
    let again = world.cluster.recover(Timestamp(10), "newer");
    assert!(world.cluster.shuts_out(own) && !world.cluster.shuts_out(again));
    assert_eq!(world.cluster.origin(), before.id());
}

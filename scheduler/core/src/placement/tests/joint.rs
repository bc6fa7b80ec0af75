//! All at once: what is said of an arrangement that leaves something out, and the rules as the search
//! knows them.

use model::{ServiceSpec, spec::Port};

use super::*;

type Machine<'a> = (&'a str, u64, &'a [(&'a str, &'a str)]);

/// Whether the plan is proven to be the best, and what is short.
fn outlook(nodes: &[Machine<'_>], services: &[(&str, ServiceSpec)]) -> (bool, Option<String>) {
    let mut world = World::new(&[]);
    for (name, mib, labels) in nodes {
        world.join(name, *mib, labels);
    }
    let plan = view::plan_view(&world.cluster, &stack("s", services), world.now).unwrap();
    let outlook = plan.outlook.unwrap();
    (outlook.optimal, outlook.short)
}

#[test]
fn what_is_short_is_told_in_amounts_with_where() {
    let bound = |mib| {
        let wanted = "node.labels.role == database".parse().unwrap();
        service("x", mib).with(|s| s.placement.constraints = vec![wanted])
    };
    let nodes: [Machine<'_>; 2] = [("a", 1_024, &[("role", "database")]), ("b", 4_096, &[])];
    let check = |services: &[(&str, ServiceSpec)], short: Option<&str>| {
        assert_eq!(outlook(&nodes, services), (true, short.map(str::to_owned)));
    };
    let three = [("one", bound(512)), ("two", bound(512)), ("three", bound(512))];
    check(&three, Some("512.0 MiB short on role=database"));
    let large = [("one", bound(768)), ("two", bound(768))];
    check(&large, Some("1 piece of 768.0 MiB too many on role=database"));
    let apart =
        service("x", 10).with(|s| (s.replicas, s.placement.max_replicas_per_node) = (4, Some(1)));
    check(&[("x", apart)], Some("2 replicas of s/x too many on all 2 nodes, at most 1 on each"));
    let port = || service("x", 10).with(|s| publish(s, 80));
    let three = [("x", port()), ("y", port()), ("z", port())];
    check(&three, Some("1 task with port 80 too many on all 2 nodes"));
    check(&[("x", service("x", 10))], None);
    let gold = || {
        service("x", 64)
            .with(|s| s.placement.constraints = vec!["node.labels.role == gold".parse().unwrap()])
    };
    check(&[("x", gold())], Some("64.0 MiB short on role=gold: no node there takes tasks"));
}

#[test]
fn a_change_that_fits_nowhere_beside_what_it_replaces_is_known_to_have_no_other_plan() {
    let mut world = World::new(&[("a", 1_000), ("b", 1_000)]);
    let both = |mib| service("x:1", mib).with(|s| s.replicas = 2);
    world.apply(&stack("s", &[("x", both(500))]));
    world.settle();
    let told = |spec: ServiceSpec| {
        let plan = view::plan_view(&world.cluster, &stack("s", &[("x", spec)]), world.now);
        plan.unwrap().outlook.unwrap()
    };
    let larger = told(both(600));
    assert_eq!((larger.optimal, larger.off), (true, Bytes::ZERO), "{larger:?}");
    let fits = told(both(400));
    assert!(fits.optimal, "{fits:?}");
}

#[test]
fn the_search_knows_ports_as_the_filter_does() {
    let addresses = [None, Some("0.0.0.0"), Some("::"), Some("10.0.0.1"), Some("10.0.0.2")];
    let at = |address: Option<&str>| {
        service("x", 10).with(|s| {
            publish(s, 80);
            s.ports[0].host_ip = address.map(str::to_owned);
        })
    };
    let port = |address: Option<&str>| -> Port { at(address).ports.remove(0) };
    for (one, other) in addresses.iter().flat_map(|one| addresses.map(|other| (*one, other))) {
        let (optimal, short) = outlook(&[("a", 1_000, &[])], &[("x", at(one)), ("y", at(other))]);
        assert!(optimal, "{one:?} {other:?}");
        let clash = crate::placement::filter::clash(&port(one), &port(other));
        assert_eq!(short.is_some(), clash, "{one:?} {other:?}: {short:?}");
    }
}

//! What hosts leave behind.

use std::path::Path;

use siso_tests::{
    hosts::{ENGINE, Hosts},
    required,
};

#[test]
fn what_a_run_that_was_killed_left_is_removed_by_the_next_and_nothing_is_left_by_that() {
    if required("leftovers", "SISO_REQUIRE_HOSTS", Hosts::possible()).is_none() {
        return;
    }
    let hosts = Hosts::up(2);
    let processes: Vec<u32> = hosts.all().filter_map(|host| host.process_of(ENGINE)).collect();
    assert_eq!(processes.len(), 2, "their engines run");
    let next = hosts.killed_and_up(1);
    for process in processes {
        assert!(!Path::new(&format!("/proc/{process}")).exists(), "{process} still runs");
    }
    assert_eq!(next.down(), Vec::<String>::new());
}

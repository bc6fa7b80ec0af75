//! The fake engine keeps the port's contract.

mod common;
mod contract;

use node_agent::runtime::{ContainerId, fake::FakeEngine};

struct Fake(FakeEngine);

impl contract::Bench for Fake {
    type Engine = FakeEngine;

    fn engine(&self) -> &FakeEngine {
        &self.0
    }

    fn image(&self) -> &'static str {
        "image"
    }

    async fn kill(&self, id: &ContainerId) {
        self.0.kill(id);
    }
}

macro_rules! contract {
    ($($case:ident)*) => {
        $(#[tokio::test]
        async fn $case() {
            contract::$case(&Fake(FakeEngine::new().with_image("image"))).await;
        })*
    };
}

contract! {
    making_a_container_twice_makes_one
    an_end_is_told_with_its_code
    a_kill_from_outside_is_told_before_the_end
    stopping_and_removing_may_be_repeated
    a_cluster_sees_only_its_own
    a_volume_that_held_data_is_never_made_anew
    without_its_image_nothing_is_made
    only_a_running_container_runs_commands
    what_is_gone_is_told_as_absent
}

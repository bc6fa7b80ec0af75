//! From what agents see of memory to what the next apply reserves.

use model::{Bytes, TaskState};
use proto::v1::{AdviceRow, AdviseRequest, MemorySource, PlanRequest};
use tokio::time::{sleep, timeout};

use super::{
    agent::Agent,
    world::{PATIENCE, World, stack},
};

const DAY: u64 = 24 * 3_600_000;
/// Too short to be written down: from then on nothing would be for an hour.
const HALF_AN_HOUR: u64 = 1_800_000;

async fn advised(world: &mut World) -> AdviceRow {
    let request = AdviseRequest { stack: Some("shop".to_owned()), service: Some("web".to_owned()) };
    let mut rows = world.admin.advise(request).await.unwrap().into_inner().services;
    assert_eq!(rows.len(), 1);
    rows.remove(0)
}

/// Reserved and limit in MiB with where the first came from, as applying the stack again would have it.
async fn planned(world: &mut World) -> (u64, MemorySource) {
    let spec = stack("shop", &[("web", 1)]);
    let request = PlanRequest { spec: Some((&spec).into()) };
    let plan = world.admin.plan(request).await.unwrap().into_inner();
    let placement = plan.placements.last().unwrap();
    (placement.memory >> 20, placement.memory_basis())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_agent_saw_for_a_day_is_reserved_at_the_next_apply_and_survives_a_restart() {
    let mut world = World::new().await;
    let mut agent = Agent::join(&mut world, "mini-1").await;
    let mut mine = agent.session().await;
    mine.keep_beating();
    world.apply(&stack("shop", &[("web", 1)])).await.unwrap();
    let running = mine.run(1).await;
    let mut theirs = Agent::join(&mut world, "mini-2").await.session().await;
    theirs.keep_beating();
    assert_eq!(planned(&mut world).await, (256, MemorySource::Assumed));

    // A report behind the heartbeat: when it is acknowledged, the heartbeat was read.
    mine.tell_memory(running[0], Bytes::mib(100).0, HALF_AN_HOUR).await;
    mine.report(running[0], TaskState::Running).await;
    mine.acknowledged().await;
    let row = advised(&mut world).await;
    assert_eq!((row.observed_peak, row.advice), (Some(Bytes::mib(100).0), None));
    assert_eq!(
        (row.observed_seconds, row.needed_seconds),
        (HALF_AN_HOUR / 1_000, (DAY - HALF_AN_HOUR) / 1_000)
    );

    // Nobody speaks of tasks of others.
    theirs.tell_memory(running[0], Bytes::gib(100).0, 2 * DAY).await;
    mine.tell_memory(running[0], Bytes::mib(120).0, 2 * DAY).await;
    let recorded = async {
        while planned(&mut world).await != (144, MemorySource::Observed) {
            sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, recorded).await.expect("it is written down");
    let row = advised(&mut world).await;
    assert_eq!((row.advised_reservation, row.advised_limit), (Some(144 << 20), Some(256 << 20)));

    let mut world = world.restart().await;
    assert_eq!(planned(&mut world).await, (144, MemorySource::Observed), "it is in the log");
    world.handle.stop().await;
}

use model::ServiceSpec;

use super::*;
use crate::{
    Command,
    cluster::{LONG_ENOUGH_MS, NEEDS_FORM},
    testing::{World, service_name, stack, stack_name},
};

const HOUR: u64 = 3_600_000;
const DAY: u64 = 24 * HOUR;

/// A leader that looks once in a while at a service with one replica.
struct Scene {
    world: World,
    needs: Needs,
    seen: BTreeMap<TaskId, MemorySeen>,
    /// Entries about the service.
    entries: u64,
}

impl Scene {
    fn new() -> Self {
        let mut world = World::new(&[("a", 4_000)]);
        world.ok(Command::RaiseForm { form: NEEDS_FORM });
        world.apply(&stack("s", &[("web", ServiceSpec::new("web:1"))]));
        world.settle();
        Self { world, needs: Needs::default(), seen: BTreeMap::new(), entries: 0 }
    }

    fn task(&self) -> TaskId {
        let (stack, service) = (stack_name("s"), service_name("web"));
        let tasks = self.world.cluster.tasks_of_service(&stack, &service);
        tasks.max_by_key(|task| task.epoch).unwrap().id
    }

    /// Its agent has looked at it for that long, and the leader looks.
    fn look(&mut self, observed_ms: u64, mib: u64) {
        let (peak, usual) = (Bytes::mib(mib), Bytes::mib(mib));
        let seen = MemorySeen { peak, usual, observed_ms, samples: observed_ms / 10_000 };
        self.seen.insert(self.task(), seen);
        let news = self.needs.pass(&self.world.cluster, &self.seen, self.world.now);
        if !news.is_empty() {
            self.entries += 1;
            self.world.ok(Command::RecordNeeds { needs: news });
        }
    }

    /// So many hours, each with a look; it was observed for `before` when they began.
    fn hours(&mut self, before: u64, count: u64, mib: u64) {
        for hour in 1..=count {
            self.world.pass(HOUR);
            self.look(before + hour * HOUR, mib);
        }
    }

    fn need(&self) -> Option<(u64, u64)> {
        let held = self.world.cluster.service(&stack_name("s"), &service_name("web")).unwrap();
        held.memory.need.map(|need| (need.peak.0 >> 20, need.observed_ms / HOUR))
    }
}

#[test]
fn a_service_that_uses_what_it_always_used_is_written_down_ever_more_seldom() {
    let mut scene = Scene::new();
    scene.look(HOUR - 1, 100);
    assert_eq!(scene.need(), None);
    scene.hours(0, 24, 100);
    assert_eq!(scene.need(), Some((100, 24)), "the day is noticed when it is over");
    scene.hours(DAY, 24 * 364, 100);
    assert_eq!(scene.entries, 14, "a whole year");
}

#[test]
fn a_marked_peak_is_written_down_but_not_more_often_than_once_an_hour() {
    let mut scene = Scene::new();
    scene.hours(0, 100, 100);
    let before = scene.entries;
    scene.hours(100 * HOUR, 1, 112);
    assert_eq!(scene.entries, before, "an eighth is no marked difference");
    for minute in 1..=120 {
        scene.world.pass(60_000);
        scene.look(101 * HOUR + minute * 60_000, 113 + minute * 20);
    }
    assert!(scene.entries - before <= 3, "{}", scene.entries - before);
    assert!(scene.need().unwrap().0 > 1_000);
}

#[test]
fn the_tasks_that_run_now_make_a_higher_peak_forgotten_after_a_week() {
    let mut scene = Scene::new();
    scene.hours(0, 30, 400);
    scene.world.ok(Command::Restart { stack: stack_name("s"), service: None, slot: None });
    scene.world.settle();
    scene.hours(0, 7 * 24 - 1, 100);
    assert_eq!(scene.need().map(|(peak, _)| peak), Some(400));
    scene.hours((7 * 24 - 1) * HOUR, 1, 100);
    assert_eq!(scene.need().map(|(peak, _)| peak), Some(100));
}

#[test]
fn tasks_that_are_replaced_every_few_hours_add_up() {
    let mut scene = Scene::new();
    for _ in 0..9 {
        scene.look(0, 100);
        scene.hours(0, 3, 100);
        scene.world.ok(Command::Restart { stack: stack_name("s"), service: None, slot: None });
        scene.world.settle();
    }
    let (_, hours) = scene.need().unwrap();
    assert!((24..=27).contains(&hours), "{hours}");
}

#[test]
fn another_leader_and_an_agent_that_begins_anew_count_nothing_twice() {
    let mut scene = Scene::new();
    scene.hours(0, 20, 100);
    let (_, before) = scene.need().unwrap();
    scene.needs = Needs::default();
    scene.look(20 * HOUR, 100);
    scene.hours(20 * HOUR, 4, 100);
    assert_eq!((before, scene.need()), (16, Some((100, 24))));
    // The agent was started again, and has seen little.
    scene.look(0, 10);
    scene.hours(0, 25, 10);
    let (peak, hours) = scene.need().unwrap();
    assert!(peak == 100 && (48..=49).contains(&hours), "{peak} {hours}");
    assert!(hours * HOUR >= LONG_ENOUGH_MS);
}

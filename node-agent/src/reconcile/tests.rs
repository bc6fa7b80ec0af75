use std::sync::Arc;

use model::{
    Epoch, Generation, NodeId, ServiceSpec, TaskState, Timestamp, VolumeName,
    assignment::AssignedVolume, lease::LEASE_MS, spec::Mount, task::Cause,
};
use proptest::prelude::*;

use super::*;
use crate::{lease::Awake, testing};

const NOW: Moment = Moment(1_000);

fn assignment(task: u64, slot: u32, epoch: u64, desired: Desired) -> Assignment {
    let of_place = testing::assignment(task, ServiceSpec::new("image"));
    Assignment { slot, epoch: Epoch(epoch), desired, ..of_place }
}

fn container(task: u64, slot: u32, epoch: u64, state: ContainerState) -> Container {
    Container {
        place: Place { stack: "shop".to_owned(), service: "web".to_owned(), slot },
        epoch: Epoch(epoch),
        started_at: Some(Timestamp(1)),
        finished_at: (state == ContainerState::Exited).then_some(Timestamp(2)),
        ..testing::container(task, state)
    }
}

/// A machine in one picture: everything a test changes.
struct Picture {
    set: AssignmentSet,
    observed: Observed,
    attempts: BTreeMap<TaskId, Attempt>,
    images: BTreeMap<String, Image>,
    removed: BTreeMap<String, Disposal>,
    leases: Leases,
    sweep: bool,
}

impl Picture {
    /// Assigned tasks that are permitted and whose image is there, and these containers.
    fn new(tasks: Vec<Assignment>, containers: Vec<Container>) -> Self {
        let permitted = || Attempt { permitted: true, ..Attempt::default() };
        let set = AssignmentSet {
            cluster: "c1".to_owned(),
            node: NodeId::new(1),
            generation: Generation(1),
            stacks: tasks.iter().map(|task| task.stack.clone()).collect(),
            tasks,
            remove_volumes: Vec::new(),
        };
        let containers = containers.into_iter().map(|found| (found.id.clone(), found)).collect();
        Self {
            attempts: set.tasks.iter().map(|task| (task.task, permitted())).collect(),
            set,
            observed: Observed { known: true, containers, networks: Vec::new() },
            images: [("image".to_owned(), Image::Present)].into(),
            removed: BTreeMap::new(),
            leases: Leases::default(),
            sweep: false,
        }
    }

    fn attempt(&mut self, task: u64) -> &mut Attempt {
        self.attempts.get_mut(&TaskId::new(task)).unwrap()
    }

    fn steps(&self) -> Vec<Step> {
        reconcile(&Scene {
            set: &self.set,
            leases: &self.leases,
            observed: &self.observed,
            attempts: &self.attempts,
            images: &self.images,
            removed: &self.removed,
            sweep: self.sweep,
            now: NOW,
        })
    }
}

const T1: TaskId = TaskId::new(1);

fn c1() -> ContainerId {
    ContainerId("c1".to_owned())
}

/// The one step (or none) for one task in this state.
#[track_caller]
fn check(desired: Desired, over: bool, seen: Option<ContainerState>, expected: Option<Step>) {
    let found = seen.map(|state| container(1, 1, 1, state));
    let mut picture = Picture::new(vec![assignment(1, 1, 1, desired)], found.into_iter().collect());
    if over {
        picture.attempt(1).refuse(Cause::Exited, String::new());
    }
    assert_eq!(picture.steps(), Vec::from_iter(expected));
    picture.observed.known = false;
    assert_eq!(picture.steps(), [], "an engine that does not answer is left alone");
}

#[test]
fn every_pair_of_wanted_and_seen_has_its_step() {
    use ContainerState::{Created, Exited, Leaving, Lost, Running};
    use Desired::{Prepare, Run, Stop};
    let start = || Some(Step::Start { task: T1, container: c1() });
    let stop = || Some(Step::Stop { task: T1, container: c1() });
    let remove = || Some(Step::Remove { task: T1, container: c1() });

    // The image is there already.
    check(Prepare, false, None, None);
    for seen in [Created, Running, Exited, Leaving] {
        check(Prepare, false, Some(seen), None);
    }
    check(Run, false, None, Some(Step::Create { task: T1 }));
    check(Run, false, Some(Created), start());
    check(Run, false, Some(Running), None);
    check(Run, false, Some(Exited), start());
    check(Run, false, Some(Leaving), None);
    // Nobody can reach what the engine lost sight of; ended, it is started like any other.
    check(Prepare, false, Some(Lost), stop());
    check(Run, false, Some(Lost), stop());

    // It is over: nothing of it may run, and its remains stay for their log.
    for desired in [Prepare, Run] {
        check(desired, true, None, None);
        check(desired, true, Some(Created), None);
        check(desired, true, Some(Running), stop());
        check(desired, true, Some(Exited), None);
        check(desired, true, Some(Leaving), None);
        check(desired, true, Some(Lost), stop());
    }

    for over in [false, true] {
        check(Stop, over, None, None);
        check(Stop, over, Some(Created), remove());
        check(Stop, over, Some(Running), stop());
        check(Stop, over, Some(Exited), remove());
        check(Stop, over, Some(Leaving), None);
        check(Stop, over, Some(Lost), stop());
    }
}

#[test]
fn nothing_is_fetched_or_made_before_the_policy_has_spoken() {
    for desired in [Desired::Prepare, Desired::Run] {
        let mut picture = Picture::new(vec![assignment(1, 1, 1, desired)], Vec::new());
        picture.attempt(1).permitted = false;
        assert_eq!(picture.steps(), [Step::Permit { task: T1 }]);
    }
}

#[test]
fn a_missing_image_is_fetched_when_its_time_has_come() {
    let fetch = Step::Fetch { image: "image".to_owned() };
    let failed = |not_before| Image::Failed {
        tries: 1,
        not_before,
        failure: crate::attempt::failure(Cause::Image, String::new()),
    };
    for desired in [Desired::Prepare, Desired::Run] {
        let mut picture = Picture::new(vec![assignment(1, 1, 1, desired)], Vec::new());
        picture.images.clear();
        assert_eq!(picture.steps(), std::slice::from_ref(&fetch));
        picture.images.insert("image".to_owned(), failed(NOW.plus(1)));
        assert_eq!(picture.steps(), []);
        picture.images.insert("image".to_owned(), failed(NOW));
        assert_eq!(picture.steps(), std::slice::from_ref(&fetch));
    }
}

#[test]
fn a_start_waits_for_its_delay_and_for_its_end_to_be_counted() {
    for seen in [None, Some(ContainerState::Created), Some(ContainerState::Exited)] {
        let found = seen.map(|state| container(1, 1, 1, state));
        let mut picture =
            Picture::new(vec![assignment(1, 1, 1, Desired::Run)], found.into_iter().collect());
        picture.attempt(1).not_before = NOW.plus(1);
        assert_eq!(picture.steps(), [], "{seen:?}");
        picture.attempt(1).not_before = NOW;
        assert_eq!(picture.steps().len(), 1, "{seen:?}");
    }
    let exited = container(1, 1, 1, ContainerState::Exited);
    let mut picture = Picture::new(vec![assignment(1, 1, 1, Desired::Run)], vec![exited]);
    picture.attempt(1).end_seen = Some(NOW);
    assert_eq!(picture.steps(), []);
}

#[test]
fn a_container_that_can_never_start_is_made_anew() {
    let exited = container(1, 1, 1, ContainerState::Exited);
    let mut picture = Picture::new(vec![assignment(1, 1, 1, Desired::Run)], vec![exited]);
    picture.attempt(1).rebuild();
    assert_eq!(picture.steps(), [Step::Remove { task: T1, container: c1() }]);
}

#[test]
fn a_new_attempt_waits_until_what_it_replaces_is_gone() {
    let new = assignment(2, 1, 2, Desired::Run);
    for state in [ContainerState::Running, ContainerState::Exited, ContainerState::Created] {
        // Nobody assigned the old one any more: it goes, connected or not.
        let picture = Picture::new(vec![new.clone()], vec![container(1, 1, 1, state)]);
        let steps = picture.steps();
        assert_eq!(steps.len(), 1, "{steps:?}");
        assert!(steps.iter().all(|step| step.key() == Key::Task(T1)), "{steps:?}");
    }
    let leaving = container(1, 1, 1, ContainerState::Leaving);
    assert_eq!(Picture::new(vec![new.clone()], vec![leaving]).steps(), []);
    // It is told to stop.
    let old = assignment(1, 1, 1, Desired::Stop);
    let running = container(1, 1, 1, ContainerState::Running);
    let picture = Picture::new(vec![old, new], vec![running]);
    assert_eq!(picture.steps(), [Step::Stop { task: T1, container: c1() }]);
}

/// Lets a task mount a volume of this name.
fn with_data(task: &mut Assignment, engine_name: &str, read_only: bool) {
    let name = VolumeName::new("data").unwrap();
    let source = MountSource::Volume { name: name.clone(), no_copy: false };
    let mount = Mount { source, target: "/data".to_owned(), read_only };
    Arc::make_mut(&mut task.spec).mounts.push(mount);
    let engine_name = engine_name.to_owned();
    task.volumes.insert(name, AssignedVolume { engine_name, external: false, must_exist: true });
}

/// What keeps task 2 from being made, and from being started where it was made already.
#[track_caller]
fn check_beside(new: &Assignment, old: Option<Assignment>, other: &Container, waits: bool) {
    let task = TaskId::new(2);
    let mut beside = old.map_or_else(Vec::new, |old| vec![old]);
    beside.push(new.clone());
    for seen in [None, Some(ContainerState::Created), Some(ContainerState::Exited)] {
        let mine = seen.map(|state| container(2, new.slot, new.epoch.0, state));
        let found = mine.into_iter().chain([other.clone()]).collect();
        let steps = Picture::new(beside.clone(), found).steps();
        let goes = steps.iter().any(|step| step.key() == Key::Task(task));
        assert_eq!(goes, !waits, "{seen:?} beside {other:?}: {steps:?}");
    }
}

#[test]
fn a_replica_waits_for_every_other_container_of_it_that_is_not_wanted() {
    use ContainerState::{Created, Exited, Leaving, Running};
    let new = assignment(2, 1, 5, Desired::Run);
    for epoch in [4, 5, 6] {
        for state in [Created, Running, Exited, Leaving] {
            let other = || container(1, 1, epoch, state);
            let old = |desired| Some(assignment(1, 1, epoch, desired));
            check_beside(&new, None, &other(), true);
            check_beside(&new, old(Desired::Stop), &other(), true);
            check_beside(&new, old(Desired::Run), &other(), false);
            check_beside(&new, None, &container(1, 2, epoch, state), false);
        }
    }
}

#[test]
fn nobody_writes_to_a_volume_that_something_unwanted_still_has() {
    for (ours, theirs, new_reads, old_writes, waits) in [
        ("a", "a", false, true, true),
        ("a", "a", true, true, true),
        ("a", "a", false, false, true),
        ("a", "a", true, false, false),
        ("a", "b", false, true, false),
    ] {
        let mut new = assignment(2, 1, 1, Desired::Run);
        with_data(&mut new, ours, new_reads);
        let mut other = container(1, 7, 1, ContainerState::Running);
        other.volumes.insert(theirs.to_owned(), old_writes);
        check_beside(&new, None, &other, waits);
        check_beside(&new, Some(assignment(1, 7, 1, Desired::Stop)), &other, waits);
        check_beside(&new, Some(assignment(1, 7, 1, Desired::Run)), &other, false);
    }
}

#[test]
fn nobody_binds_a_path_that_something_unwanted_can_still_change() {
    for (path, writes, waits) in [
        ("/srv/data", true, true),
        ("/srv/data", false, false),
        ("/srv", true, true),
        ("/srv/data/deep", true, true),
        ("/srv/database", true, false),
    ] {
        let mut new = assignment(2, 1, 1, Desired::Run);
        let source = MountSource::Bind { path: "/srv/data".to_owned(), create: false };
        let mount = Mount { source, target: "/data".to_owned(), read_only: true };
        Arc::make_mut(&mut new.spec).mounts.push(mount);
        let mut other = container(1, 7, 1, ContainerState::Running);
        other.binds.insert(path.into(), writes);
        check_beside(&new, None, &other, waits);
    }
}

#[test]
fn a_replacement_starts_beside_an_attempt_that_is_wanted() {
    let (old, new) = (assignment(1, 1, 1, Desired::Run), assignment(2, 1, 2, Desired::Run));
    let running = container(1, 1, 1, ContainerState::Running);
    let picture = Picture::new(vec![old, new], vec![running]);
    assert_eq!(picture.steps(), [Step::Create { task: TaskId::new(2) }]);
}

#[test]
fn what_the_set_leaves_out_goes_only_while_its_sender_is_connected() {
    for (state, step) in [
        (ContainerState::Running, Some(Step::Stop { task: T1, container: c1() })),
        (ContainerState::Exited, Some(Step::Remove { task: T1, container: c1() })),
        (ContainerState::Created, Some(Step::Remove { task: T1, container: c1() })),
        (ContainerState::Leaving, None),
    ] {
        let mut picture = Picture::new(Vec::new(), vec![container(1, 1, 1, state)]);
        assert_eq!(picture.steps(), [], "{state:?} while disconnected");
        picture.sweep = true;
        assert_eq!(picture.steps(), step.into_iter().collect::<Vec<_>>(), "{state:?}");
    }
}

#[test]
fn a_newer_attempt_than_the_set_knows_is_not_taken_for_a_leftover() {
    let newer = container(9, 1, 9, ContainerState::Running);
    let running = container(1, 1, 1, ContainerState::Running);
    let picture = Picture::new(vec![assignment(1, 1, 1, Desired::Run)], vec![newer, running]);
    assert_eq!(picture.steps(), []);
}

#[test]
fn of_two_containers_of_one_task_the_one_that_runs_stays() {
    let mut twin = container(1, 1, 1, ContainerState::Exited);
    twin.id = ContainerId("c0".to_owned());
    let running = container(1, 1, 1, ContainerState::Running);
    let picture = Picture::new(vec![assignment(1, 1, 1, Desired::Run)], vec![twin, running]);
    let remove = Step::Remove { task: T1, container: ContainerId("c0".to_owned()) };
    assert_eq!(picture.steps(), [remove]);
}

#[test]
fn a_network_goes_when_its_stack_is_known_to_nobody() {
    let network = |stack: &str| Network { id: format!("net-{stack}"), stack: stack.to_owned() };
    let mut picture = Picture::new(vec![assignment(1, 1, 1, Desired::Prepare)], Vec::new());
    let mut other = container(7, 1, 1, ContainerState::Leaving);
    other.place.stack = "leaving".to_owned();
    picture.observed.containers.insert(other.id.clone(), other);
    picture.observed.networks = ["shop", "gone", "leaving"].map(network).to_vec();
    assert_eq!(picture.steps(), [], "not while disconnected");
    picture.sweep = true;
    assert_eq!(picture.steps(), [Step::RemoveNetwork { network: "net-gone".to_owned() }]);
}

#[test]
fn a_volume_is_removed_once_and_never_while_a_wanted_task_mounts_it() {
    let mut task = assignment(1, 1, 1, Desired::Prepare);
    with_data(&mut task, "shop_data", false);
    let mut picture = Picture::new(vec![task], Vec::new());
    picture.set.remove_volumes = vec!["shop_data".to_owned()];
    assert_eq!(picture.steps(), []);
    picture.set.tasks.iter_mut().for_each(|task| task.desired = Desired::Stop);
    assert_eq!(picture.steps(), [Step::RemoveVolume { volume: "shop_data".to_owned() }]);
    picture.removed.insert("shop_data".to_owned(), Disposal::Removed);
    assert_eq!(picture.steps(), []);
}

fn state() -> impl Strategy<Value = ContainerState> {
    use ContainerState::{Created, Exited, Leaving, Lost, Running};
    prop::sample::select(vec![Created, Running, Exited, Leaving, Lost])
}

fn desired() -> impl Strategy<Value = Desired> {
    prop::sample::select(vec![Desired::Prepare, Desired::Run, Desired::Rest, Desired::Stop])
}

/// What an obedient engine makes of a step.
fn obey(picture: &mut Picture, step: &Step) {
    let containers = &mut picture.observed.containers;
    match step {
        Step::Create { task } => {
            let assigned = picture.set.tasks.iter().find(|held| held.task == *task).unwrap();
            let (slot, epoch) = (assigned.slot, assigned.epoch.0);
            let made = container(task.raw(), slot, epoch, ContainerState::Created);
            assert!(containers.insert(made.id.clone(), made).is_none(), "made twice");
        }
        Step::Start { container, .. } => {
            let place = containers.get(container).unwrap().place.clone();
            let assigned = |found: &Container| find(&picture.set, found.task).is_some();
            let twins = containers.values().filter(|found| found.place == place);
            assert!(twins.clone().all(assigned), "started beside a stray");
            containers.get_mut(container).unwrap().state = ContainerState::Running;
        }
        Step::Stop { container, .. } | Step::Fence { container, .. } => {
            containers.get_mut(container).unwrap().state = ContainerState::Exited;
        }
        Step::Remove { container, .. } => {
            containers.remove(container).unwrap();
        }
        Step::Permit { .. }
        | Step::Fetch { .. }
        | Step::RemoveNetwork { .. }
        | Step::RemoveVolume { .. } => panic!("{step:?} is not part of this picture"),
    }
    // An engine finishes what it is removing.
    containers.retain(|_, found| found.state != ContainerState::Leaving);
}

proptest! {
    /// Performing steps until there are none leaves exactly what is wanted running; no task is
    /// worked on twice at once, and of one replica never two that replace each other run.
    #[test]
    fn steps_end_with_exactly_what_is_wanted(
        tasks in prop::collection::vec((1..4_u32, desired(), prop::option::of(state())), 0..8),
        strays in prop::collection::vec((1..4_u32, 0..9_u64, state()), 0..4),
    ) {
        let mut assigned = Vec::new();
        let mut found = Vec::new();
        for (number, (slot, desired, state)) in (1_u64..).zip(tasks) {
            assigned.push(assignment(number, slot, number, desired));
            found.extend(state.map(|state| container(number, slot, number, state)));
        }
        for (number, (slot, epoch, state)) in (100_u64..).zip(strays) {
            found.push(container(number, slot, epoch, state));
        }
        let mut picture = Picture::new(assigned, found);
        picture.sweep = true;
        for _ in 0..20 {
            let steps = picture.steps();
            let keys: BTreeSet<Key> = steps.iter().map(Step::key).collect();
            prop_assert_eq!(keys.len(), steps.len(), "two steps about one thing: {:?}", steps);
            picture.observed.containers.retain(|_, found| found.state != ContainerState::Leaving);
            for step in steps {
                obey(&mut picture, &step);
            }
        }
        prop_assert_eq!(picture.steps(), vec![]);
        for task in &picture.set.tasks {
            let seen = picture.observed.of(task.task);
            match task.desired {
                Desired::Run => prop_assert!(matches!(seen, Seen::Running(_)), "{:?}", seen),
                Desired::Rest => prop_assert!(!matches!(seen, Seen::Running(_)), "{:?}", seen),
                Desired::Stop => prop_assert_eq!(seen, Seen::Absent),
                Desired::Prepare => {}
            }
        }
        let known = |found: &Container| find(&picture.set, found.task).is_some();
        prop_assert!(picture.observed.containers.values().all(known), "a stray is left");
    }
}

#[test]
fn an_attempt_that_is_over_is_at_rest_unless_it_must_stop() {
    let over = Attempt {
        status: model::TaskStatus { state: TaskState::Failed, ..Default::default() },
        ..Attempt::default()
    };
    let check = |desired, attempt: Option<&Attempt>, expected| {
        let found = wanted(&assignment(1, 1, 1, desired), attempt, &Leases::default());
        assert_eq!(found, expected, "{desired:?}");
    };
    check(Desired::Run, Some(&over), Wanted::Rest);
    check(Desired::Prepare, Some(&over), Wanted::Rest);
    check(Desired::Stop, Some(&over), Wanted::Stop);
    check(Desired::Run, None, Wanted::Run);
    check(Desired::Rest, None, Wanted::Rest);
}

/// A strict singleton that is to run, of this epoch.
fn strict(task: u64, epoch: u64, desired: Desired) -> Assignment {
    let mut strict = assignment(task, 1, epoch, desired);
    Arc::make_mut(&mut strict.spec).strict_singleton = true;
    strict
}

/// Leases of these tasks, sent so many milliseconds ago.
fn leases(tasks: &[u64], ago: u64) -> Leases {
    let mut leases = Leases::default();
    let tasks = tasks.iter().copied().map(TaskId::new).collect();
    leases.take(&crate::lease::Granted { sent: Awake { boot: 0, hardware: None }, tasks });
    leases.pass(Awake { boot: ago, hardware: None });
    leases
}

/// The steps of one strict singleton that is to run, whose lease was sent so long ago.
#[track_caller]
fn check_strict(ago: Option<u64>, seen: Option<ContainerState>, expected: &[Step]) {
    let found = seen.map(|state| container(1, 1, 1, state));
    let mut picture = Picture::new(vec![strict(1, 1, Desired::Run)], found.into_iter().collect());
    picture.leases = ago.map_or_else(Leases::default, |ago| leases(&[1], ago));
    assert_eq!(picture.steps(), expected, "{ago:?} {seen:?}");
}

#[test]
fn a_strict_singleton_runs_while_its_lease_is_good_and_is_stopped_when_it_ends() {
    use ContainerState::{Created, Exited, Leaving, Lost, Running};
    let good = Some(LEASE_MS - 1);
    let fence = |grace_ms| Step::Fence { task: T1, container: c1(), grace_ms };
    let start = Step::Start { task: T1, container: c1() };
    check_strict(good, None, &[Step::Create { task: T1 }]);
    check_strict(good, Some(Created), std::slice::from_ref(&start));
    check_strict(good, Some(Exited), &[start]);
    check_strict(good, Some(Running), &[]);
    for ago in [None, Some(LEASE_MS), Some(10 * LEASE_MS)] {
        check_strict(ago, None, &[]);
        check_strict(ago, Some(Created), &[]);
        check_strict(ago, Some(Exited), &[]);
        check_strict(ago, Some(Leaving), &[]);
    }
    let grace = ServiceSpec::new("image").stop_grace_ms;
    check_strict(Some(LEASE_MS), Some(Running), &[fence(grace)]);
    check_strict(Some(LEASE_MS + grace - 5), Some(Running), &[fence(5)]);
    check_strict(Some(10 * LEASE_MS), Some(Running), &[fence(0)]);
    check_strict(None, Some(Running), &[fence(0)]);
    check_strict(None, Some(Lost), &[fence(0)]);
    check_strict(good, Some(Lost), &[Step::Stop { task: T1, container: c1() }]);
}

#[test]
fn without_a_lease_the_image_is_fetched_and_nothing_more() {
    let mut picture = Picture::new(vec![strict(1, 1, Desired::Run)], Vec::new());
    picture.images.clear();
    assert_eq!(picture.steps(), [Step::Fetch { image: "image".to_owned() }]);
}

#[test]
fn a_lower_epoch_of_a_strict_singleton_is_stopped_before_the_higher_one_starts() {
    let both = vec![strict(1, 1, Desired::Run), strict(2, 2, Desired::Run)];
    let mut picture = Picture::new(both, vec![container(1, 1, 1, ContainerState::Running)]);
    picture.leases = leases(&[1, 2], 0);
    let stop = Step::Fence { task: T1, container: c1(), grace_ms: 0 };
    assert_eq!(picture.steps(), [stop]);
    let id = c1();
    picture.observed.containers.get_mut(&id).unwrap().state = ContainerState::Exited;
    assert_eq!(picture.steps(), [Step::Create { task: TaskId::new(2) }]);
    // A successor that is only prepared stops nobody.
    picture.set.tasks.last_mut().unwrap().desired = Desired::Prepare;
    picture.observed.containers.get_mut(&id).unwrap().state = ContainerState::Running;
    assert_eq!(picture.steps(), []);
}

#[test]
fn what_has_no_lease_still_stops_and_goes_as_anything_else() {
    for (desired, state) in
        [(Desired::Stop, ContainerState::Running), (Desired::Rest, ContainerState::Running)]
    {
        let task = strict(1, 1, desired);
        let picture = Picture::new(vec![task], vec![container(1, 1, 1, state)]);
        assert_eq!(picture.steps(), [Step::Stop { task: T1, container: c1() }]);
    }
}

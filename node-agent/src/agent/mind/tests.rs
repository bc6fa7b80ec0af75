use model::{Bytes, Desired, Generation, Health, Inventory, ServiceSpec, spec::RestartPolicy};

use super::*;
use crate::{
    agent::Wake,
    perform::Outcome,
    runtime::{ContainerState, Happening, Look, RuntimeError},
    testing,
};

const NOW: Moment = Moment(100_000);
const WALL: Timestamp = Timestamp(1_000_000);

fn set() -> AssignmentSet {
    let mut spec = ServiceSpec::new("image");
    spec.restart = RestartPolicy::Never;
    let assignment = testing::assignment(1, spec);
    AssignmentSet {
        cluster: "abc".to_owned(),
        stacks: vec![assignment.stack.clone()],
        ..testing::set(vec![assignment])
    }
}

fn container(state: ContainerState) -> Container {
    Container {
        started_at: Some(Timestamp(1)),
        finished_at: (state == ContainerState::Exited).then_some(Timestamp(2)),
        exit_code: (state == ContainerState::Exited).then_some(0),
        ..testing::container(1, state)
    }
}

fn mind() -> Mind {
    let board = Arc::new(Board::new(Inventory::default()));
    let stamp = Arc::new(AtomicU64::new(0));
    let mut mind = Mind::new(("abc".to_owned(), NodeId::new(1)), board, stamp, None);
    mind.hear_link(Link { connected: true, set: Some(set()) });
    mind
}

fn look(mind: &mut Mind, state: ContainerState) {
    let look = Look { containers: vec![container(state)], networks: Vec::new() };
    mind.learn(Wake::Looked { asked: u64::MAX, look: Ok(look) }, NOW);
}

fn look_at_nothing(mind: &mut Mind) {
    let look = Look { containers: Vec::new(), networks: Vec::new() };
    mind.learn(Wake::Looked { asked: u64::MAX, look: Ok(look) }, NOW);
}

/// One round in which the ledger is written or cannot be; answers the states that are reported.
fn round(mind: &mut Mind, written: bool, now: Moment) -> Vec<TaskState> {
    let news = mind.notice(now, WALL);
    if mind.unsaved(now).is_some() {
        mind.saved(written, now);
    }
    mind.report(news);
    let sent = mind.board.outbox(|outbox| outbox.take_reports(now.0, 10));
    sent.into_iter().map(|report| report.status.state).collect()
}

#[test]
fn an_end_is_reported_once_the_ledger_holds_it() {
    let mut mind = mind();
    look(&mut mind, ContainerState::Running);
    assert_eq!(round(&mut mind, false, NOW), [TaskState::Running], "a run is told at once");
    let (id, task, at) = (ContainerId("c1".to_owned()), TaskId::new(1), Timestamp(2));
    mind.learn(Wake::Happened { id, task, what: Happening::Died, at }, NOW);
    look(&mut mind, ContainerState::Exited);
    assert_eq!(round(&mut mind, false, NOW), [], "a restart would forget that it ended");
    let later = NOW.plus(SAVE_AGAIN);
    assert_eq!(round(&mut mind, true, later), [TaskState::Stopped]);
}

#[test]
fn an_end_is_not_confirmed_while_a_start_is_under_way() {
    let mut mind = mind();
    look(&mut mind, ContainerState::Created);
    assert_eq!(round(&mut mind, true, NOW), [TaskState::Starting]);
    let (step, _) = mind.steps(NOW).into_iter().find(|(step, _)| step.as_str() == "start").unwrap();
    // It is given up before the engine has answered.
    let mut news = set();
    (news.generation, news.tasks[0].desired) = (Generation(2), Desired::Rest);
    mind.hear_link(Link { connected: true, set: Some(news) });
    assert_eq!(round(&mut mind, true, NOW), [], "by now it may run");
    let shown = Ok(Some(Box::new(container(ContainerState::Running))));
    let outcome = Outcome::Container { done: Ok(()), shown };
    mind.learn(Wake::Done { step, outcome }, NOW);
    assert_eq!(round(&mut mind, true, NOW), [TaskState::Stopping]);
    assert!(mind.steps(NOW).iter().any(|(step, _)| step.as_str() == "stop"));
}

#[test]
fn a_ledger_written_while_the_engine_is_away_keeps_what_the_machine_offered() {
    let mind = mind();
    let memory = Bytes::gib(8);
    let offered = Inventory { memory, engine_ready: false, ..Inventory::default() };
    mind.board.inventory.send_replace(offered);
    let bytes = mind.unsaved(NOW).unwrap();
    let held = ledger::decode(&bytes).unwrap().inventory;
    assert_eq!(held.map(|offered| offered.memory), Some(memory));
}

/// Its policy is to start it once and never again: the engine's own trouble is no start.
#[test]
fn a_container_that_the_engine_can_never_start_is_made_anew_and_nothing_is_counted() {
    let mut mind = mind();
    look(&mut mind, ContainerState::Created);
    assert_eq!(round(&mut mind, true, NOW), [TaskState::Starting]);
    let (step, _) = mind.steps(NOW).into_iter().find(|(step, _)| step.as_str() == "start").unwrap();
    let done = Err(RuntimeError::Jammed { message: "task c1: already exists".to_owned() });
    let shown = Ok(Some(Box::new(container(ContainerState::Created))));
    mind.learn(Wake::Done { step, outcome: Outcome::Container { done, shown } }, NOW);
    round(&mut mind, true, NOW);
    assert!(mind.steps(NOW).is_empty(), "not at once");
    let later = NOW.plus(60_000);
    let (step, _) = mind.steps(later).into_iter().next().unwrap();
    assert_eq!(step.as_str(), "remove");
    let outcome = Outcome::Container { done: Ok(()), shown: Ok(None) };
    mind.learn(Wake::Done { step, outcome }, later);
    round(&mut mind, true, later);
    let status = &mind.attempts()[&TaskId::new(1)].status;
    assert!(!status.state.is_over() && status.restarts == 0, "{status:?}");
    assert!(status.failure.is_none(), "{status:?}");
}

#[test]
fn what_waits_for_a_port_says_so_and_goes_on_by_itself() {
    let with = |generation, desired| {
        let mut news = set();
        (news.generation, news.tasks[0].desired) = (Generation(generation), desired);
        Link { connected: true, set: Some(news) }
    };
    let mut mind = mind();
    mind.hear_link(with(2, Desired::Prepare));
    look_at_nothing(&mut mind);
    let ask = |mind: &mut Mind, now, outcome| {
        let (step, _) = mind.steps(now).remove(0);
        assert_eq!(step.as_str(), "permit");
        mind.learn(Wake::Done { step, outcome }, now);
        round(mind, true, now);
        let status = mind.attempts()[&TaskId::new(1)].status.clone();
        assert_eq!(status.state, TaskState::Preparing);
        status.failure.map(|failure| failure.message)
    };
    let mut now = NOW;
    for told in [false, false, true, true] {
        let said = ask(&mut mind, now, Outcome::PortTaken(80));
        assert_eq!(said.is_some(), told, "{said:?}");
        assert!(mind.steps(now).is_empty(), "not at once");
        now = mind.due(now);
    }
    assert_eq!(now.0 - NOW.0, 1_000 + 2_000 + 4_000 + 8_000);
    assert_eq!(ask(&mut mind, now, Outcome::Permitted(Ok(()))), None);
    assert_eq!(mind.steps(now)[0].0.as_str(), "fetch");
    // What has nothing to take over from finds out when it starts.
    let mut alone = self::mind();
    alone.hear_link(with(2, Desired::Prepare));
    look_at_nothing(&mut alone);
    ask(&mut alone, NOW, Outcome::PortTaken(80));
    alone.hear_link(with(3, Desired::Run));
    assert_eq!(ask(&mut alone, NOW, Outcome::PortTaken(80)), None);
    assert_eq!(alone.steps(NOW)[0].0.as_str(), "fetch");
}

/// A set with one strict singleton that is to run.
fn strict_mind() -> Mind {
    let mut mind = mind();
    let mut news = set();
    news.generation = Generation(2);
    let spec = Arc::make_mut(&mut news.tasks[0].spec);
    (spec.strict_singleton, spec.restart) = (true, RestartPolicy::default());
    mind.hear_link(Link { connected: true, set: Some(news) });
    mind
}

fn at(boot: u64) -> Awake {
    Awake { boot, hardware: None }
}

fn grant(mind: &mut Mind, sent: u64) {
    mind.hear_leases(&Granted { sent: at(sent), tasks: vec![TaskId::new(1)] });
}

/// The names of the steps begun now.
fn begun(mind: &mut Mind) -> Vec<&'static str> {
    let mut steps = mind.steps(NOW);
    steps.retain(|(step, _)| !matches!(step, Step::Fetch { .. }));
    steps.iter().map(|(step, _)| step.as_str()).collect()
}

#[test]
fn a_strict_singleton_waits_for_its_lease_and_asks_for_it() {
    let mut mind = strict_mind();
    look(&mut mind, ContainerState::Created);
    mind.look_at_leases(at(1_000));
    round(&mut mind, true, NOW);
    assert!(mind.wants_lease());
    assert_eq!(begun(&mut mind), [""; 0]);
    grant(&mut mind, 900);
    mind.look_at_leases(at(1_000));
    assert!(!mind.wants_lease());
    assert_eq!(begun(&mut mind), ["start"]);
    assert_eq!(mind.due(NOW), NOW.plus(LOOK_EVERY), "it may sleep");
}

#[test]
fn a_strict_singleton_whose_lease_ended_is_started_again_with_the_next_one_and_counted_once() {
    let mut mind = strict_mind();
    grant(&mut mind, 0);
    mind.look_at_leases(at(100));
    look(&mut mind, ContainerState::Running);
    assert_eq!(round(&mut mind, true, NOW), [TaskState::Running]);
    mind.look_at_leases(at(60_000));
    round(&mut mind, true, NOW);
    let status = &mind.attempts()[&TaskId::new(1)].status;
    assert_eq!((status.state, status.health), (TaskState::Running, Health::Starting));
    let (step, _) = mind.steps(NOW).remove(0);
    assert_eq!(step.as_str(), "fence");
    let shown = Ok(Some(Box::new(container(ContainerState::Exited))));
    mind.learn(Wake::Done { step, outcome: Outcome::Container { done: Ok(()), shown } }, NOW);
    assert_eq!(round(&mut mind, true, NOW), [TaskState::Starting]);
    assert_eq!(begun(&mut mind), [""; 0]);
    let status = mind.attempts()[&TaskId::new(1)].status.clone();
    assert_eq!(status.restarts, 1);
    assert!(status.failure.unwrap().message.contains("its lease ended"));
    grant(&mut mind, 60_500);
    mind.look_at_leases(at(60_600));
    round(&mut mind, true, NOW);
    assert_eq!(begun(&mut mind), ["start"], "at once, for it did nothing wrong");
    assert_eq!(mind.attempts()[&TaskId::new(1)].status.restarts, 1);
}

#[test]
fn leases_of_an_earlier_life_keep_what_runs_until_they_end() {
    let mut mind = strict_mind();
    mind.restore_leases([(TaskId::new(1), at(1_000))].into());
    mind.look_at_leases(at(2_000));
    look(&mut mind, ContainerState::Running);
    round(&mut mind, true, NOW);
    assert_eq!(begun(&mut mind), [""; 0]);
    assert_eq!(mind.unsaved_leases(), None);
    mind.look_at_leases(at(30_000));
    round(&mut mind, true, NOW);
    assert_eq!(begun(&mut mind), ["fence"]);
    assert_eq!(mind.unsaved_leases(), None, "the guard has to know when it was sent");
    grant(&mut mind, 29_000);
    assert_eq!(mind.unsaved_leases(), Some([(TaskId::new(1), at(29_000))].into()));
}

//! One kill of an agent after the other, with everything going on that it does; after each, what runs
//! is compared with what is wanted and with what ran before.

use std::{collections::BTreeMap, os::unix::process::ExitStatusExt as _};

use crate::{
    crash::{
        Fault,
        ward::{Seen, TASKS, Task, Ward, wrong},
    },
    wait::{PATIENT, wait_until},
};

/// The system calls at which it is killed, and up to which number of a thread: those it writes its
/// ledger with, those it speaks with the engine and the scheduler with.
const POINTS: &[(&str, u32)] = &[
    ("sendto,writev", 40),
    ("recvfrom", 40),
    ("fsync", 16),
    ("rename", 8),
    ("write", 30),
    ("connect", 20),
    ("unlink,openat", 24),
];
/// Shares no divisor with the numbers of [`POINTS`].
const STEP: u32 = 7;
/// How many things have happened to containers when it is killed at a plain moment, at most.
const DEEDS_MAX: u32 = 7;
/// So many more kills in calm than others, and the points are not where the calls are.
const CALM_MAX: usize = 10;
const SIGKILL: i32 = 9;

/// What happened in a campaign.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AgentTally {
    /// Kills at a numbered system call.
    pub numbered: usize,
    /// Of these, before it was ready.
    pub starting: usize,
    /// Kills just when something had happened to a container.
    pub amidst: usize,
    /// Kills when nothing was left to do.
    pub calm: usize,
    /// Comparisons of all that runs.
    pub checks: usize,
    /// Containers made meanwhile.
    pub made: usize,
}

impl AgentTally {
    /// All of them.
    pub const fn kills(&self) -> usize {
        self.numbered + self.amidst + self.calm
    }
}

impl std::fmt::Display for AgentTally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { numbered, starting, amidst, calm, checks, made } = self;
        let kills = self.kills();
        write!(
            f,
            "{kills}: {numbered} at a numbered system call ({starting} of them while starting), \
             {amidst} amidst its work, {calm} in calm; {made} containers made, {checks} \
             comparisons, 0 duplicates, 0 needless restarts"
        )
    }
}

/// How a round's agent ends.
enum Way {
    Call(Fault),
    Deeds(usize),
}

/// A machine and what ran on it from the beginning.
#[derive(Debug)]
pub struct AgentKills {
    ward: Ward,
    kept: BTreeMap<String, Seen>,
    strangers: Vec<(String, serde_json::Value, serde_json::Value)>,
    round: u32,
    tally: AgentTally,
    /// Containers to be made since the last comparison.
    expected: usize,
}

fn kept(containers: &BTreeMap<String, Seen>) -> BTreeMap<String, Seen> {
    let kept = containers.iter().filter(|(_, seen)| seen.place.starts_with("kept/"));
    kept.map(|(id, seen)| (id.clone(), seen.clone())).collect()
}

impl AgentKills {
    /// On an engine of its own. The error says what the machine lacks.
    #[track_caller]
    pub fn start(name: &str) -> Result<Self, String> {
        let mut ward = Ward::start(name, false)?;
        let kept = kept(&ward.settle("everything was asked for"));
        ward.world.agent.kill9();
        let (strangers, expected) = (ward.strangers(), ward.deeds_of("create"));
        let tally = AgentTally::default();
        Ok(Self { ward, kept, strangers, round: 0, tally, expected })
    }

    /// Goes on until there were so many kills.
    #[track_caller]
    pub fn run(&mut self, kills: usize) -> AgentTally {
        while self.tally.kills() < kills {
            self.round();
            let AgentTally { numbered, amidst, calm, .. } = self.tally;
            assert!(calm <= numbered + amidst + CALM_MAX, "nothing is hit: {}", self.tally);
        }
        self.tally
    }

    fn way(&self) -> Way {
        let kinds = u32::try_from(POINTS.len()).expect("few") + 1;
        let turn = self.round / kinds;
        match POINTS.get((self.round % kinds) as usize) {
            Some((calls, most)) => Way::Call(Fault::kill(calls, turn * STEP % most + 1)),
            None => Way::Deeds((turn % DEEDS_MAX + 1) as usize),
        }
    }

    #[track_caller]
    fn round(&mut self) {
        let (way, task) = (self.way(), TASKS[self.round as usize % TASKS.len()]);
        self.round += 1;
        let what = match &way {
            Way::Call(fault) => format!("round {}, {task:?}, {fault}", self.round),
            Way::Deeds(deeds) => format!("round {}, {task:?}, {deeds} deeds", self.round),
        };
        let agent = &mut self.ward.world.agent;
        agent.wrapper = match &way {
            Way::Call(fault) => fault.wrapper(),
            Way::Deeds(_) => Vec::new(),
        };
        agent.start();
        if let Err(status) = agent.ready_or_ended() {
            assert_eq!(status.signal(), Some(SIGKILL), "{what}: {}", agent.story());
            self.tally.numbered += 1;
            self.tally.starting += 1;
            // Else the next kill hits a start that follows a kill while starting.
            if self.round.is_multiple_of(2) {
                self.check(&what);
            }
            return;
        }
        self.suffer(&way, task, &what);
        self.check(&what);
    }

    /// Asks for something and waits for the end that was chosen, or makes one.
    #[track_caller]
    fn suffer(&mut self, way: &Way, task: Task, what: &str) {
        let before = self.ward.deeds().len();
        self.expected += self.ward.ask(task);
        let (ward, tally) = (&mut self.ward, &mut self.tally);
        wait_until(&format!("the agent ends: {what}"), PATIENT, || {
            if let Some(status) = ward.world.agent.ended_soon() {
                let story = || ward.world.agent.story();
                assert_eq!(status.signal(), Some(SIGKILL), "{what}: {}", story());
                tally.numbered += 1;
                return Ok(());
            }
            if matches!(way, Way::Deeds(deeds) if ward.deeds().len() >= before + deeds) {
                ward.world.agent.kill9();
                tally.amidst += 1;
                return Ok(());
            }
            ward.settled().map(|_| {
                ward.world.agent.kill9();
                tally.calm += 1;
            })
        });
    }

    #[track_caller]
    fn check(&mut self, what: &str) {
        let (ward, expected) = (&mut self.ward, self.expected);
        let while_away = kept(&ward.containers());
        assert_eq!(while_away, self.kept, "{what}: while the agent is away");
        ward.world.agent.wrapper.clear();
        ward.world.agent.start();
        ward.world.agent.wait_ready();
        // Between two replicas of a replacement all look as if nothing were under way.
        wait_until(&format!("{expected} containers were made: {what}"), PATIENT, || {
            let made = ward.deeds_of("create");
            if made >= expected { Ok(()) } else { Err(format!("{made} were")) }
        });
        let now = ward.settle(what);
        ward.no_ghosts(&now, what);
        assert_eq!(kept(&now), self.kept, "{what}: something was touched");
        assert_eq!(ward.strangers(), self.strangers, "{what}: a stranger was touched");
        assert_eq!(ward.data(), 1, "{what}: the volume's data");
        let twice: Vec<_> = now.values().filter(|seen| seen.starts != 1).collect();
        assert!(twice.is_empty(), "{what}: not started once: {twice:#?}");
        let told = ward.told_restarts();
        let none = told.values().all(|restarts| *restarts == 0);
        assert!(none && told.len() == now.len(), "{what}: restarts are told: {told:?}");
        assert_eq!(ward.deeds_of("create"), expected, "{what}: containers made");
        let wrong = wrong(&ward.deeds());
        assert!(wrong.is_empty(), "{what}: {wrong:#?}");
        ward.world.agent.kill9();
        self.tally.checks += 1;
        self.tally.made = expected;
    }
}

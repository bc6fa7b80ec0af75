//! One restart of an engine after the other, with everything going on that an agent does; after each,
//! what runs is compared with what is wanted and with what ran before.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::{
    crash::ward::{Seen, TASKS, Task, Ward},
    wait::{PATIENT, wait_until},
};

/// How many things have happened to containers when the engine ends, at most.
const DEEDS_MAX: usize = 7;
/// Every so many restarts the agent is killed with the engine.
const AGENT_TOO: usize = 4;

/// What happened in a campaign.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EngineTally {
    /// Restarts after SIGKILL.
    pub killed: usize,
    /// Restarts after SIGTERM.
    pub stopped: usize,
    /// Of both, while something was going on.
    pub amidst: usize,
    /// Of both, with the agent killed as well.
    pub with_agent: usize,
    /// Replacements that were given up because of it, and asked for again.
    pub given_up: usize,
    /// Containers that were told of as lost to the engine while it started them; some are ended and
    /// started anew before anybody asks.
    pub ghosts: usize,
    /// Containers that were there before and after.
    pub compared: usize,
    /// Starts of those, each because the engine's end had ended them.
    pub started: usize,
}

impl std::fmt::Display for EngineTally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { killed, stopped, amidst, with_agent, given_up, ghosts, compared, started } =
            self;
        write!(
            f,
            "{killed} by SIGKILL, {stopped} by SIGTERM, {amidst} of them amidst work, {with_agent} with \
             the agent killed as well; {given_up} replacements given up and asked for again; {ghosts} containers the engine lost sight of; of {compared} containers that were there before and after {started} \
             had to be started, 0 duplicates, 0 needless restarts"
        )
    }
}

/// A machine whose engine lets containers outlive it, or does not.
#[derive(Debug)]
pub struct EngineRestarts {
    ward: Ward,
    live: bool,
    round: usize,
    tally: EngineTally,
    /// Containers that ran without their engine's knowledge.
    ghosts: BTreeSet<String>,
}

impl EngineRestarts {
    /// On an engine of its own. The error says what the machine lacks.
    #[track_caller]
    pub fn start(name: &str, live: bool) -> Result<Self, String> {
        let ward = Ward::start(name, live)?;
        Ok(Self { ward, live, round: 0, tally: EngineTally::default(), ghosts: BTreeSet::new() })
    }

    /// Restarts it so often.
    #[track_caller]
    pub fn run(&mut self, restarts: usize) -> EngineTally {
        for _ in 0..restarts {
            self.round();
        }
        self.tally
    }

    #[track_caller]
    fn round(&mut self) {
        let task = TASKS[self.round % TASKS.len()];
        let deeds = self.round % DEEDS_MAX + 1;
        let (kill, agent_too) = (self.round.is_multiple_of(2), self.round % AGENT_TOO == 1);
        self.round += 1;
        let how = if kill { "SIGKILL" } else { "SIGTERM" };
        let what = format!("restart {}, {task:?}, {deeds} deeds, {how}", self.round);

        let before = self.ward.settle("the last restart");
        let (strangers, told) = (self.ward.strangers(), self.told());
        let given_up = self.ward.given_up();
        self.suffer(task, deeds);
        let Ward { world, own, .. } = &mut self.ward;
        if agent_too {
            world.agent.kill9();
            self.tally.with_agent += 1;
        }
        if kill {
            own.kill9();
            self.tally.killed += 1;
        } else {
            own.stop();
            self.tally.stopped += 1;
        }
        own.start_again();
        if agent_too {
            world.agent.start();
            world.agent.wait_ready();
        }
        let replaced = self.see_through(given_up, &what);
        let now = self.ward.settle(&what);
        self.ward.no_ghosts(&now, &what);
        self.check(&before, &now, (task, replaced), &what);
        self.check_told(&told, &before, &now, &what);
        self.check_strangers(&strangers, &what);
    }

    /// Asks for something and waits until so much has happened, or nothing more does.
    #[track_caller]
    fn suffer(&mut self, task: Task, deeds: usize) {
        let (ward, tally) = (&mut self.ward, &mut self.tally);
        let before = ward.deeds().len();
        ward.ask(task);
        wait_until("the time of the engine's end", PATIENT, || {
            if ward.deeds().len() >= before + deeds {
                tally.amidst += 1;
                return Ok(());
            }
            ward.settled().map(|_| ())
        });
    }

    /// A new version that ends before it has served is given up, whoever ended it, and the old one
    /// serves; then it is asked for again.
    /// Answers whether it was.
    #[track_caller]
    fn see_through(&mut self, given_up: usize, what: &str) -> bool {
        let (ward, ghosts) = (&self.ward, &mut self.ghosts);
        let again = wait_until(&format!("all is as wanted or given up: {what}"), PATIENT, || {
            if ward.given_up() > given_up {
                return Ok(true);
            }
            ghosts.extend(ward.lost_sight());
            ward.no_writer_twice(what);
            ward.settled().map(|_| false)
        });
        self.tally.ghosts = self.ghosts.len();
        if again {
            self.ward.ask(Task::Rollout);
            self.tally.given_up += 1;
        }
        again
    }

    /// What was there before is there, started once more only if the engine took it with it.
    #[track_caller]
    fn check(
        &mut self,
        before: &BTreeMap<String, Seen>,
        now: &BTreeMap<String, Seen>,
        (task, replaced): (Task, bool),
        what: &str,
    ) {
        for (id, was) in before {
            let Some(is) = now.get(id) else {
                let asked =
                    self.ward.goes(task, &was.place) || replaced && was.place.starts_with("moved/");
                assert!(asked, "{what}: {was:?} is gone");
                continue;
            };
            let died = was.running && !self.live;
            let starts = was.starts + usize::from(died);
            assert_eq!(is.starts, starts, "{what}: {was:?}, then {is:?}");
            assert_eq!(is.started == was.started, !died, "{what}: {was:?}, then {is:?}");
            self.tally.compared += 1;
            self.tally.started += usize::from(died);
        }
        let db = now.values().find(|seen| seen.place == "kept/db/1").expect("db");
        assert_eq!(self.ward.data(), db.starts, "{what}: the volume's data");
    }

    /// The restarts told of each container.
    #[track_caller]
    fn told(&self) -> BTreeMap<String, usize> {
        self.ward.told_restarts()
    }

    /// A container was started once more than it was restarted. One that was being made when the engine
    /// ended its containers may have been ended before its command could note its first start.
    #[track_caller]
    fn check_told(
        &self,
        told_before: &BTreeMap<String, usize>,
        before: &BTreeMap<String, Seen>,
        now: &BTreeMap<String, Seen>,
        what: &str,
    ) {
        let told = self.told();
        let of = |told: &BTreeMap<String, usize>, id: &str| {
            told.iter().find(|(short, _)| id.starts_with(*short)).map(|(_, restarts)| *restarts)
        };
        let unnoted = |restarts: usize, seen: &Seen| (restarts + 1).checked_sub(seen.starts);
        for (id, seen) in now {
            let restarts = of(&told, id).unwrap_or_else(|| panic!("{what}: {id} in {told:?}"));
            let known = of(told_before, id).zip(before.get(id));
            let earlier = known.map(|(restarts, seen)| unnoted(restarts, seen));
            let found = unnoted(restarts, seen);
            let first_may_be_unnoted = earlier.is_none() && !self.live && found == Some(1);
            assert!(
                first_may_be_unnoted || found == earlier.unwrap_or(Some(0)),
                "{what}: {restarts} restarts are told of {seen:?}, before: {known:?}"
            );
        }
    }

    #[track_caller]
    fn check_strangers(&self, before: &[(String, Value, Value)], what: &str) {
        let now = self.ward.strangers();
        for (was, is) in before.iter().zip(&now) {
            assert_eq!((&was.0, &was.2), (&is.0, &is.2), "{what}: a stranger was touched");
            assert_eq!(was.1["StartedAt"], is.1["StartedAt"], "{what}: {was:?}, then {is:?}");
            if self.live {
                assert_eq!(was.1["Pid"], is.1["Pid"], "{what}: {was:?}, then {is:?}");
            }
        }
    }
}

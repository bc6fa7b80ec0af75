//! One crash after the other on one data directory, each at a numbered system call, with a client
//! that writes meanwhile; after each, what is there is compared with what was acknowledged.

use std::{collections::BTreeSet, os::unix::process::ExitStatusExt as _};

use crate::crash::{Fault, Load, LoopDisk, Victim};

/// The system calls at which it crashes, and up to which number: about as many as one thread makes until
/// the writes are over. First those that change files; then those of what it hears and answers, and of
/// its threads among themselves. Each goes through its numbers in steps of [`STEP`], so that few crashes
/// are spread; none comes again before all had their turn.
const POINTS: &[(&str, u32)] = &[
    ("pwrite64", 176),
    ("fdatasync", 88),
    ("fsync", 10),
    ("write", 79),
    ("rename,unlink,ftruncate", 6),
    ("openat", 29),
    ("read", 60),
    ("close", 22),
    ("recvfrom", 100),
    ("writev", 83),
    ("epoll_wait", 190),
    ("futex", 170),
];
/// Shares no divisor with the numbers of [`POINTS`].
const STEP: u32 = 7;
/// Writes of each writer until the crash; the last of the points lies within them.
const WRITES_MAX: usize = 20;
/// More of them than crashes, and the points are not where the calls are.
const UNNUMBERED_MAX: usize = 10;
const SIGKILL: i32 = 9;

/// What happened in a campaign.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Crashes at a numbered call.
    pub crashes: usize,
    /// Of these, before it was ready: while it read and mended its files.
    pub starting: usize,
    /// Different numbered points among them: the call, its number, and whether it was starting.
    pub points: usize,
    /// Ends that came when a thread did not make its numbered call in time.
    pub unnumbered: usize,
    /// Writes acknowledged between the crashes.
    pub acknowledged: usize,
    /// Comparisons with the ledger.
    pub checks: usize,
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { crashes, starting, points, unnumbered, acknowledged, checks } = self;
        write!(
            f,
            "{crashes} at a numbered system call ({starting} of them while starting; {points} different \
             points), {unnumbered} at another moment; {acknowledged} writes acknowledged; {checks} \
             comparisons, 0 lost"
        )
    }
}

/// A victim, its client, and the disk whose power goes with each crash, if it has one of its own.
#[derive(Debug)]
pub struct Campaign {
    victim: Victim,
    load: Load,
    disk: Option<LoopDisk>,
    round: u32,
    tally: Tally,
    order: Vec<(&'static str, u32)>,
    points: Points,
}

/// The numbered points that were hit: a start makes the calls of a number elsewhere than one who serves.
#[derive(Debug, Default)]
struct Points(BTreeSet<(bool, &'static str, u32)>);

impl Points {
    /// Notes one; how many different ones there are by now.
    fn hit(&mut self, starting: bool, (calls, nth): (&'static str, u32)) -> usize {
        self.0.insert((starting, calls, nth));
        self.0.len()
    }
}

/// All points in their order: the calls, and which of them.
fn order() -> Vec<(&'static str, u32)> {
    let turns = POINTS.iter().map(|(_, most)| *most).max().unwrap_or_default();
    let of = |turn| {
        let due = POINTS.iter().filter(move |(_, most)| turn < *most);
        due.map(move |(calls, most)| (*calls, turn * STEP % most + 1))
    };
    (0..turns).flat_map(of).collect()
}

impl Campaign {
    /// Kills only: what was written stays in the system's memory.
    #[track_caller]
    pub fn of_kills() -> Self {
        Self::new(Victim::new(), None)
    }

    /// Power cuts: what was not synced is lost.
    #[track_caller]
    pub fn of_power_cuts(disk: LoopDisk) -> Self {
        Self::new(Victim::on(disk.path()), Some(disk))
    }

    #[track_caller]
    fn new(mut victim: Victim, disk: Option<LoopDisk>) -> Self {
        let load = Load::left_on(&mut victim);
        let (tally, order, points) = (Tally::default(), order(), Points::default());
        Self { victim, load, disk, round: 0, tally, order, points }
    }

    /// Goes on until there were so many numbered crashes.
    #[track_caller]
    pub fn run(&mut self, crashes: usize) -> Tally {
        while self.tally.crashes < crashes {
            self.round();
            let Tally { crashes, unnumbered, .. } = self.tally;
            assert!(unnumbered <= crashes + UNNUMBERED_MAX, "nothing is hit: {}", self.tally);
        }
        self.tally
    }

    #[track_caller]
    fn round(&mut self) {
        let (calls, nth) = self.order[self.round as usize % self.order.len()];
        let fault = Fault::kill(calls, nth);
        self.victim.start_with(&fault);
        let starting = self.victim.scheduler.ready_or_ended().err();
        let ended = starting.or_else(|| {
            let (acknowledged, ended) = self.load.write(&mut self.victim, WRITES_MAX);
            self.tally.acknowledged += acknowledged;
            ended
        });
        match ended {
            Some(status) if status.signal() == Some(SIGKILL) => {
                self.tally.crashes += 1;
                self.tally.starting += usize::from(starting.is_some());
                self.tally.points = self.points.hit(starting.is_some(), (calls, nth));
            }
            Some(status) => {
                panic!("{fault}: it ended by itself, {status}\n{}", self.victim.scheduler.story())
            }
            None => {
                self.victim.scheduler.kill9();
                self.tally.unnumbered += 1;
            }
        }
        if let Some(disk) = &self.disk {
            disk.cut_power();
        }
        // Else the next crash hits a start that follows a crash while starting.
        if starting.is_none() || self.round.is_multiple_of(2) {
            self.check(&fault);
        }
        self.round += 1;
    }

    #[track_caller]
    fn check(&mut self, fault: &Fault) {
        self.victim.start();
        match self.victim.replicas() {
            Ok(found) => self.load.check(&found),
            Err(answer) => panic!("after {fault}: {answer}\n{}", self.victim.scheduler.story()),
        }
        self.tally.checks += 1;
        self.victim.scheduler.kill9();
        if let Some(disk) = &self.disk {
            disk.cut_power();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_hit_twice_is_one_and_every_point_has_its_turn() {
        let mut points = Points::default();
        assert_eq!(points.hit(true, ("write", 3)), 1);
        assert_eq!(points.hit(true, ("write", 3)), 1, "again");
        assert_eq!(points.hit(false, ("write", 3)), 2, "while it serves");
        assert_eq!(points.hit(false, ("write", 4)), 3);
        assert_eq!(points.hit(false, ("fsync", 4)), 4);
        let all = usize::try_from(POINTS.iter().map(|(_, most)| most).sum::<u32>()).unwrap();
        let (turns, different) = (order(), BTreeSet::from_iter(order()));
        assert_eq!((turns.len(), different.len()), (all, all));
        assert!(all >= 1_000, "{all}");
        let first: Vec<_> = turns.iter().take(POINTS.len()).map(|(calls, _)| *calls).collect();
        assert!(first.iter().eq(POINTS.iter().map(|(calls, _)| calls)), "{first:?}");
    }
}

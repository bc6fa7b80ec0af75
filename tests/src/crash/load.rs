//! A client that writes until nobody answers, and remembers what it was told.

use std::{
    collections::BTreeMap,
    process::ExitStatus,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    thread,
};

use crate::{
    acknowledged::{Acknowledged, Found},
    crash::Victim,
    ctl::Ctl,
};

/// Writers at once, each with stacks of its own.
const WRITERS: usize = 2;
const STACKS_PER_WRITER: usize = 2;
/// Replicas asked for go round below this: any number will do.
const REPLICAS_MAX: u64 = 50;

/// The client and its ledger.
#[derive(Debug, Default)]
pub struct Load {
    ledger: Mutex<Acknowledged>,
    value: AtomicU64,
}

fn stack(writer: usize, number: usize) -> String {
    format!("w{writer}s{number}")
}

impl Load {
    /// Begins with one stack for each place to write to. The victim serves.
    #[track_caller]
    pub fn on(victim: &Victim) -> Self {
        let load = Self::default();
        for writer in 0..WRITERS {
            for number in 0..STACKS_PER_WRITER {
                let name = stack(writer, number);
                let mut ledger = load.ledger.lock().expect("the ledger");
                ledger.attempt(&name, 1);
                victim.apply(&name).expect(0);
                ledger.acknowledge(&name, 1);
            }
        }
        load
    }

    /// The same of a victim that is started for it and killed when all has its place.
    #[track_caller]
    pub fn left_on(victim: &mut Victim) -> Self {
        victim.start();
        let load = Self::on(victim);
        victim.scheduler.kill9();
        load
    }

    /// Writes until the victim has ended or refuses, or each writer has had `most` answers. Returns
    /// how many writes were acknowledged, and how it ended.
    #[track_caller]
    pub fn write(&self, victim: &mut Victim, most: usize) -> (usize, Option<ExitStatus>) {
        let (acknowledged, over) = (AtomicUsize::new(0), AtomicBool::new(false));
        let Victim { ctl, scheduler, .. } = victim;
        let (ctl, mut ended) = (&*ctl, None);
        thread::scope(|scope| {
            let writer = |writer| {
                let (acknowledged, over) = (&acknowledged, &over);
                scope.spawn(move || {
                    for number in (0..STACKS_PER_WRITER).cycle().take(most) {
                        if !self.one(ctl, &stack(writer, number), over) {
                            return;
                        }
                        acknowledged.fetch_add(1, Ordering::SeqCst);
                    }
                })
            };
            let writers: Vec<_> = (0..WRITERS).map(writer).collect();
            while ended.is_none() && writers.iter().any(|writer| !writer.is_finished()) {
                ended = scheduler.ended_soon();
            }
            // Whoever waits for an answer now would wait for nothing.
            over.store(true, Ordering::SeqCst);
        });
        (acknowledged.into_inner(), ended.or_else(|| scheduler.ended_soon()))
    }

    /// One write; whether it was acknowledged.
    #[track_caller]
    fn one(&self, ctl: &Ctl, stack: &str, over: &AtomicBool) -> bool {
        let value = self.value.fetch_add(1, Ordering::SeqCst) % REPLICAS_MAX + 1;
        self.ledger.lock().expect("the ledger").attempt(stack, value);
        let follower = ctl.spawn(&["scale", "--detach", &format!("{stack}/web={value}")]);
        let Some(answer) = follower.finish_unless(|| over.load(Ordering::SeqCst)) else {
            return false;
        };
        match answer.code {
            0 => self.ledger.lock().expect("the ledger").acknowledge(stack, value),
            3 | 4 => {}
            _ => panic!("neither done nor refused nor unanswered: {answer}"),
        }
        answer.code == 0
    }

    /// Every way in which what is there contradicts what was acknowledged.
    pub fn contradictions(&self, found: &BTreeMap<String, Found>) -> Vec<String> {
        self.ledger.lock().expect("the ledger").contradictions(found)
    }

    /// Panics when what is there contradicts what was acknowledged.
    #[track_caller]
    pub fn check(&self, found: &BTreeMap<String, Found>) {
        self.ledger.lock().expect("the ledger").check(found);
    }
}

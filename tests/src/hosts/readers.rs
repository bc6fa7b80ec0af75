//! Clients of every scheduler that write and read one register, and remember what they were told.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Instant,
};

use super::Cluster;
use crate::{
    ctl::Ctl,
    register::{Call, Deed, linearize},
};

/// The register: a label of this node, another one each time some begin.
const NODE: &str = "host-2";
static REGISTERS: AtomicU64 = AtomicU64::new(0);

#[derive(Debug)]
struct Notes {
    register: String,
    began: Instant,
    calls: Mutex<Vec<Call>>,
    last: AtomicU64,
    over: AtomicBool,
}

impl Notes {
    /// Never 0, which is before everything.
    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX).max(1)
    }

    fn note(&self, call: Call) {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).push(call);
    }
}

/// Two clients of each scheduler, one that writes and one that reads, each of which was told of no other.
#[derive(Debug)]
pub struct Readers {
    notes: Arc<Notes>,
    clients: Vec<JoinHandle<()>>,
}

impl Readers {
    /// Begins, with clients of the schedulers on the first so many hosts.
    pub fn of(cluster: &Cluster, schedulers: u32) -> Self {
        let register = format!("register-{}", REGISTERS.fetch_add(1, Ordering::SeqCst));
        let notes = Arc::new(Notes {
            register,
            began: Instant::now(),
            calls: Mutex::default(),
            last: AtomicU64::default(),
            over: AtomicBool::default(),
        });
        let client = |(number, writes): (u32, bool)| {
            let directory = super::operator().join(format!("reader-{number}-{writes}"));
            let ctl = Ctl::new(cluster.ctl_of(number).context, &directory);
            let notes = Arc::clone(&notes);
            thread::spawn(move || {
                while !notes.over.load(Ordering::SeqCst) {
                    if writes { write(&ctl, &notes) } else { read(&ctl, &notes) }
                }
            })
        };
        let all = (1..=schedulers).flat_map(|number| [(number, true), (number, false)]);
        let clients = all.map(client).collect();
        Self { notes, clients }
    }

    /// Stops, and finds an order of what was told in which it could have happened; how many calls were
    /// answered.
    #[track_caller]
    pub fn finish(mut self) -> usize {
        self.stop();
        let calls = self.notes.calls.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(why) = linearize(&calls) {
            panic!("no order explains what was told: {why}\n{calls:#?}");
        }
        calls.iter().filter(|call| call.to.is_some()).count()
    }

    fn stop(&mut self) {
        self.notes.over.store(true, Ordering::SeqCst);
        for client in self.clients.drain(..) {
            let ended = client.join();
            // Whoever panics already has the first cause.
            assert!(ended.is_ok() || thread::panicking(), "a client met what it may not meet");
        }
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.stop();
    }
}

fn write(ctl: &Ctl, notes: &Notes) {
    let value = notes.last.fetch_add(1, Ordering::SeqCst) + 1;
    let from = notes.now();
    let label = format!("{}={value}", notes.register);
    let answer = ctl.run(&["node", "label", NODE, &label, "--timeout", "5s"]);
    assert!(matches!(answer.code, 0 | 3 | 4), "not done, refused or unanswered: {answer}");
    let to = (answer.code == 0).then(|| notes.now());
    notes.note(Call { from, to, deed: Deed::Write(value) });
}

fn read(ctl: &Ctl, notes: &Notes) {
    let from = notes.now();
    let answer = ctl.run(&["-o", "json", "node", "ls", "--timeout", "5s"]);
    let to = notes.now();
    match answer.code {
        0 => {}
        3 | 4 => return,
        _ => panic!("neither answered nor refused nor unanswered: {answer}"),
    }
    let listed = answer.json();
    let row = listed.as_array().into_iter().flatten().find(|row| row["name"] == NODE);
    let held = row.and_then(|row| row["labels"][&notes.register].as_str()?.parse().ok());
    notes.note(Call { from, to: Some(to), deed: Deed::Read(held) });
}

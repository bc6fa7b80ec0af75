//! What a test may demand of the machine, how many tests may load it at once, and what a run that was
//! cut off left behind.

use std::{
    env,
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    sync::{Condvar, Mutex, OnceLock, PoisonError},
};

use crate::engine::Engine;

/// Clusters at once. Starting containers is the engine's bottleneck: more of them only make every
/// one slower, until bounds that are generous for one are not.
const WORLDS_AT_ONCE: usize = 3;

static FREE: Mutex<usize> = Mutex::new(WORLDS_AT_ONCE);
static FREED: Condvar = Condvar::new();

/// The clusters of this person's test runs that were not swept yet, one id per line. Its lock is held
/// while a run lasts: stacks of the same name on one engine are for one run at a time.
fn roll() -> &'static File {
    static ROLL: OnceLock<File> = OnceLock::new();
    ROLL.get_or_init(|| {
        let who = env::var("USER").unwrap_or_else(|_| "somebody".to_owned());
        let path = env::temp_dir().join(format!("siso-tests-{who}.clusters"));
        let opened = OpenOptions::new().create(true).read(true).append(true).open(&path);
        let mut roll = opened.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        if roll.try_lock().is_err() {
            let _ =
                writeln!(io::stderr(), "waiting for another run of these tests on this machine");
            roll.lock().expect("the lock of test runs");
        }
        let mut clusters = String::new();
        roll.read_to_string(&mut clusters).expect("the clusters of earlier runs");
        if let Ok(engine) = Engine::of_this_machine() {
            clusters.lines().for_each(|cluster| engine.sweep(cluster));
            roll.set_len(0).expect("the clusters of earlier runs are forgotten");
        }
        roll
    })
}

/// Notes a cluster that a later run shall sweep when this one is cut off.
pub(crate) fn enrol(cluster: &str) {
    let mut roll = roll();
    writeln!(roll, "{cluster}").expect("the cluster is noted");
}

/// The right to run one cluster; given back on drop.
#[derive(Debug)]
pub(crate) struct Permit(());

impl Permit {
    /// Waits for its turn.
    pub(crate) fn take() -> Self {
        roll();
        let free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
        let mut free =
            FREED.wait_while(free, |free| *free == 0).unwrap_or_else(PoisonError::into_inner);
        *free -= 1;
        Self(())
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        *FREE.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        FREED.notify_one();
    }
}

/// Returns `found`, or says that `test` is skipped because of what is missing; panics instead when
/// the environment variable `demand` is `1`.
#[track_caller]
pub fn required<T>(test: &str, demand: &str, found: Result<T, String>) -> Option<T> {
    match found {
        Ok(found) => Some(found),
        Err(missing) if env::var(demand).is_ok_and(|value| value == "1") => {
            panic!("{missing}, and {demand}=1 demands it")
        }
        Err(missing) => {
            // Past libtest's capture: a skipped test must be seen without being asked for.
            let _ = writeln!(io::stderr(), "skipped: {test}: {missing} ({demand}=1 demands it)");
            None
        }
    }
}

//! Durable writes: as many as one client, and sixty-four, can have made one after the other.
//!
//! Everybody's client is the same library, every client has a connection of its own, and all wait for
//! the answer to one write before they ask for the next.

mod etcd;
mod siso;
mod tls;

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

pub(crate) use etcd::{PutRequest, PutResponse};

use crate::{
    figure::{Report, Wanted, median},
    ground::Ground,
    say,
    way::Way,
};

/// Clients at once.
const CROWDS: [usize; 2] = [1, 64];
/// Before a measurement counts.
const WARM_UP: Duration = Duration::from_millis(500);
/// How long each measurement lasts.
const LASTS: Duration = Duration::from_secs(3);

/// One client that writes.
pub(crate) trait Writer: Send + 'static {
    /// Makes one durable write and waits for its answer.
    fn write(&mut self) -> impl Future<Output = ()> + Send;
}

/// What a crowd of clients got done.
#[derive(Debug, Default)]
struct Done {
    per_second: Vec<f64>,
    /// Milliseconds.
    p50: Vec<f64>,
    /// Milliseconds.
    p99: Vec<f64>,
}

impl Done {
    /// Adds a measurement: `took` are the times of its writes.
    fn add(&mut self, mut took: Vec<Duration>, lasted: Duration) {
        took.sort_unstable();
        let at = |percent: usize| {
            let index = (took.len() * percent / 100).min(took.len().saturating_sub(1));
            took.get(index).map_or(f64::NAN, |took| took.as_secs_f64() * 1e3)
        };
        self.p50.push(at(50));
        self.p99.push(at(99));
        let count = u32::try_from(took.len()).map_or(f64::INFINITY, f64::from);
        self.per_second.push(count / lasted.as_secs_f64());
    }
}

/// Lets the writers write for a while; answers how long each write took.
async fn drive<W: Writer>(writers: Vec<W>) -> (Vec<Duration>, Duration) {
    let begin = Instant::now() + WARM_UP;
    let end = begin + LASTS;
    let crowd = writers.into_iter().map(|mut writer| {
        tokio::spawn(async move {
            let mut took = Vec::new();
            while Instant::now() < end {
                let asked = Instant::now();
                writer.write().await;
                let answered = Instant::now();
                if asked >= begin && answered <= end {
                    took.push(answered - asked);
                }
            }
            took
        })
    });
    let crowd: Vec<_> = crowd.collect();
    let mut all = Vec::new();
    for client in crowd {
        all.extend(client.await.expect("a client that writes"));
    }
    (all, LASTS)
}

/// Who is measured.
struct Contestant {
    name: &'static str,
    done: [Done; 2],
}

impl Contestant {
    fn new(name: &'static str) -> Self {
        Self { name, done: Default::default() }
    }

    fn turn<W: Writer>(
        &mut self,
        runtime: &tokio::runtime::Runtime,
        connect: impl Fn(usize) -> Vec<W>,
    ) {
        for (crowd, done) in CROWDS.into_iter().zip(&mut self.done) {
            let (took, lasted) = runtime.block_on(async { drive(connect(crowd)).await });
            done.add(took, lasted);
        }
    }

    fn report(&self, report: &mut Report) {
        for (crowd, done) in CROWDS.into_iter().zip(&self.done) {
            let clients = if crowd == 1 { "client" } else { "clients" };
            let what = |figure: &str| format!("{}, {crowd} {clients}{figure}", self.name);
            report.add("writes", (what(""), "writes/s"), done.per_second.clone(), None);
            report.add("writes", (what(", p50"), "ms"), done.p50.clone(), None);
            report.add("writes", (what(", p99"), "ms"), done.p99.clone(), None);
        }
    }
}

/// Measures in turns, round by round: whatever else the machine does hits everybody.
pub(crate) fn measure(report: &mut Report, rounds: usize, etcd: Option<&Path>) {
    say("durable writes");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let ground = match Ground::with_own_engine("bench-writes") {
        Ok(ground) => ground,
        Err(missing) => {
            return report.remark(format!("writes: not measured, since {missing}"));
        }
    };
    let scratch = tempfile::tempdir().expect("a directory");
    let plain = etcd.map(|program| etcd::Etcd::start(program, scratch.path(), None));
    let keys = Arc::new(tls::Keys::new());
    let secure =
        etcd.map(|program| etcd::Etcd::start(program, scratch.path(), Some(Arc::clone(&keys))));
    let mut ours = Contestant::new("siso, mutual TLS");
    let mut theirs = [Contestant::new("etcd, mutual TLS"), Contestant::new("etcd, no TLS")];
    let cluster = Way::of(&ground.world);
    for round in 1..=rounds {
        say(&format!("round {round} of {rounds}"));
        // Whoever comes first finds another disk than who comes last.
        for turn in (0..3).map(|place| (place + round) % 3) {
            match turn {
                0 => ours.turn(&runtime, |crowd| siso::writers(&cluster, crowd)),
                other => {
                    let index = other - 1;
                    if let Some(etcd) = [&secure, &plain][index] {
                        theirs[index].turn(&runtime, |crowd| etcd.writers(crowd));
                    }
                }
            }
        }
    }
    ours.report(report);
    if etcd.is_none() {
        return report.remark("etcd: not measured, its program was not given");
    }
    for contestant in &theirs {
        contestant.report(report);
    }
    for contestant in &theirs {
        for (index, crowd) in CROWDS.into_iter().enumerate() {
            let pairs = ours.done[index].per_second.iter().zip(&contestant.done[index].per_second);
            let ratios: Vec<f64> = pairs.map(|(ours, theirs)| ours / theirs).collect();
            let what = format!("siso : {}, {crowd} at once", contestant.name);
            report.add("writes", (what, ""), ratios, Some(Wanted::AtLeast(1.0)));
        }
    }
    let value = etcd::VALUE_BYTES;
    report.remark(format!(
        "a write of Siso is `sisoctl node label` with a value the label never had; one of etcd puts {value} \
         bytes under a key of the client's own"
    ));
    let slowest = median(&ours.done[0].p99);
    say(&format!("a single client of ours waits at most {slowest:.2} ms in 99 of 100 cases"));
}

//! One machine with everything an agent may have in its care, on an engine of its own, and what an
//! honest witness knows of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::Path,
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    own_engine::OwnEngine,
    wait::{PATIENT, PROMPT, wait_until},
    witness::{Deed, Witness},
    world::World,
};

/// Nobody asks for anything of it. Each container notes its starts in a file of its own, which only
/// its removal takes away.
const KEPT: &str = "
name: kept
services:
  db:
    image: siso/test:1
    command: [sh, -c, 'echo s >> /starts; echo s >> /data/starts; exec sleep 1000000']
    mem_limit: 16m
    stop_grace_period: 1s
    volumes: [data:/data]
    healthcheck: { test: [CMD, test, -s, /data/starts], interval: 2s }
  web:
    image: siso/test:1
    command: [sh, -c, 'echo s >> /starts; exec sleep 1000000']
    mem_limit: 16m
    stop_grace_period: 1s
    depends_on: { db: { condition: service_healthy } }
    healthcheck: { test: [CMD, test, -e, /starts], interval: 2s }
    deploy: { replicas: 2 }
  job:
    image: siso/test:1
    command: [sh, -c, 'echo s >> /starts']
    mem_limit: 16m
volumes:
  data:
";
/// Scaled, restarted and rolled out; the second service must never run twice at once.
const MOVED: &str = "
name: moved
services:
  web:
    image: siso/test:1
    command: [sh, -c, 'echo s >> /starts; exec sleep 1000000']
    mem_limit: 16m
    stop_grace_period: 1s
    environment: { VERSION: 'V' }
    deploy: { replicas: COUNT }
  store:
    image: siso/test:1
    command: [sh, -c, 'echo s >> /starts; exec sleep 1000000']
    mem_limit: 16m
    stop_grace_period: 1s
    environment: { VERSION: 'V' }
    volumes: [data:/data]
volumes:
  data:
";
/// Comes and goes.
const PASSING: &str = "
name: passing
services:
  web:
    image: siso/test:1
    command: [sh, -c, 'echo s >> /starts; exec sleep 1000000']
    mem_limit: 16m
    stop_grace_period: 1s
    deploy: { replicas: 2 }
  job:
    image: siso/test:1
    command: [sh, -c, 'echo s >> /starts; sleep 1']
    mem_limit: 16m
";
/// What is told of a container whose command runs, and whose engine does not know.
const LOST_SIGHT: &str = "engine lost sight of it";
/// Services that write to a volume.
const WRITERS: &[&str] = &["kept/db/1", "moved/store/1"];
const FEW: u64 = 1;
const MANY: u64 = 3;

/// What is asked while something crashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// Nothing.
    Calm,
    /// A stack is applied, or removed when it is there.
    Pass,
    /// A service gets more replicas, or fewer when it has many.
    Scale,
    /// Every container of a stack is replaced by a new version.
    Rollout,
    /// Every container of a service is replaced by its like.
    Restart,
}

/// In turn. As many as share no divisor with the number of ways to crash.
pub(super) const TASKS: &[Task] =
    &[Task::Calm, Task::Pass, Task::Scale, Task::Rollout, Task::Pass, Task::Restart, Task::Scale];

/// What is seen of one container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Stack, service and slot.
    pub place: String,
    /// Its first process runs.
    pub running: bool,
    /// It ran, and does not any more.
    pub ended: bool,
    /// When it was last started, by the engine.
    pub started: String,
    /// How often it was started, by itself.
    pub starts: usize,
}

/// See the module.
#[derive(Debug)]
pub struct Ward {
    witness: Witness,
    /// The cluster.
    pub world: World,
    /// Its engine.
    pub own: OwnEngine,
    strangers: Vec<String>,
    replicas: u64,
    version: u64,
    passing: bool,
    _directory: TempDir,
}

fn place(labels: impl Fn(&str) -> String) -> String {
    ["siso.stack", "siso.service", "siso.slot"].map(labels).join("/")
}

impl Ward {
    /// Starts an engine and a cluster on it, and waits until everything runs. The error says what the
    /// machine lacks.
    #[track_caller]
    pub fn start(name: &str, live_restore: bool) -> Result<Self, String> {
        let directory = tempfile::Builder::new().prefix("siso-ward-").tempdir();
        let directory = directory.map_err(|error| error.to_string())?;
        let own = OwnEngine::start(directory.path(), live_restore)?;
        let witness = Witness::of(own.engine());
        // One that looks like ours, but for its cluster; one that is nobody's; one that was never started.
        let like_ours = json!({
            "siso.cluster": "00000000-0000-4000-8000-000000000000", "siso.stack": "kept",
            "siso.service": "web", "siso.slot": "1", "siso.epoch": "1", "siso.task": "1",
        });
        let strangers = vec![
            own.engine().make_stranger("siso-kept-web-1-e9", &like_ours, true),
            own.engine().make_stranger("stranger", &json!({}), true),
            own.engine().make_stranger("unborn", &json!({}), false),
        ];
        let world = World::on_engine(name, own.engine());
        let mut ward = Self {
            witness,
            world,
            own,
            strangers,
            replicas: FEW,
            version: 0,
            passing: false,
            _directory: directory,
        };
        ward.world.apply(KEPT).expect(0);
        ward.roll_out();
        ward.settle("everything runs");
        Ok(ward)
    }

    fn roll_out(&mut self) {
        let text = MOVED.replace("COUNT", &self.replicas.to_string());
        let text = text.replace("'V'", &format!("'{}'", self.version));
        self.world.apply_with(&["--detach"], &text).expect(0);
    }

    /// Asks for it; how many containers have to be made for it.
    #[track_caller]
    pub fn ask(&mut self, task: Task) -> usize {
        let made = match task {
            Task::Calm => 0,
            Task::Pass if self.passing => {
                let words = ["stack", "rm", "passing", "--yes", "--volumes", "--detach"];
                self.world.ctl.run(&words).expect(0);
                self.passing = false;
                0
            }
            Task::Pass => {
                self.world.apply_with(&["--detach"], PASSING).expect(0);
                self.passing = true;
                3
            }
            Task::Scale => {
                let before = self.replicas;
                self.replicas = FEW + MANY - before;
                let target = format!("moved/web={}", self.replicas);
                self.world.ctl.run(&["scale", "--detach", &target]).expect(0);
                self.replicas.saturating_sub(before)
            }
            Task::Rollout => {
                self.version += 1;
                self.roll_out();
                self.replicas + 1
            }
            Task::Restart => {
                self.world.ctl.run(&["restart", "--detach", "moved/web"]).expect(0);
                self.replicas
            }
        };
        usize::try_from(made).expect("few")
    }

    /// Whether this was asked to take away the container of this place, or to replace it.
    pub fn goes(&self, task: Task, place: &str) -> bool {
        let few = || (1..=FEW).any(|slot| place == format!("moved/web/{slot}"));
        match task {
            Task::Calm => false,
            Task::Pass => place.starts_with("passing/"),
            Task::Scale => place.starts_with("moved/web/") && !few(),
            Task::Rollout => place.starts_with("moved/"),
            Task::Restart => place.starts_with("moved/web/"),
        }
    }

    /// What has to be there, and whether it runs.
    fn wanted(&self) -> BTreeMap<String, bool> {
        let places = |service: &str, count: u64, runs| {
            let service = service.to_owned();
            (1..=count).map(move |slot| (format!("{service}/{slot}"), runs))
        };
        let mut wanted: BTreeMap<_, _> = places("kept/web", 2, true).collect();
        wanted.extend(places("kept/db", 1, true));
        wanted.extend(places("kept/job", 1, false));
        wanted.extend(places("moved/web", self.replicas, true));
        wanted.extend(places("moved/store", 1, true));
        if self.passing {
            wanted.extend(places("passing/web", 2, true));
            wanted.extend(places("passing/job", 1, false));
        }
        wanted
    }

    /// Every container of the cluster, by id.
    #[track_caller]
    pub fn containers(&self) -> BTreeMap<String, Seen> {
        let engine = self.own.engine();
        let seen = |row: Value| {
            let id = row["Id"].as_str().expect("its id").to_owned();
            let label = |name: &str| row["Labels"][name].as_str().unwrap_or("?").to_owned();
            let shown = engine.inspect(&id);
            let started = shown["State"]["StartedAt"].as_str().unwrap_or_default().to_owned();
            // Past the engine, whose own way to read a file is a process each time.
            let layer = shown["GraphDriver"]["Data"]["UpperDir"].as_str().unwrap_or("/nowhere");
            let starts = fs::read_to_string(Path::new(layer).join("starts")).unwrap_or_default();
            let (place, starts) = (place(label), starts.lines().count());
            let (running, ended) = (row["State"] == "running", row["State"] == "exited");
            (id, Seen { place, running, ended, started, starts })
        };
        engine.containers(self.world.cluster()).into_iter().map(seen).collect()
    }

    /// The containers, when they are exactly those that are wanted and `ps` agrees.
    #[track_caller]
    pub fn settled(&self) -> Result<BTreeMap<String, Seen>, String> {
        let wanted = self.wanted();
        let listed = self.own.engine().containers(self.world.cluster());
        // One look at the list tells mostly that more cannot be asked yet.
        let runs = listed.iter().filter(|row| row["State"] == "running");
        let label =
            |row: &Value, name: &str| row["Labels"][name].as_str().unwrap_or("?").to_owned();
        let mut runs: Vec<_> = runs.map(|row| place(|name| label(row, name))).collect();
        runs.sort();
        if !runs.iter().eq(wanted.iter().filter(|(_, runs)| **runs).map(|(place, _)| place)) {
            return Err(format!("wanted: {wanted:?}, {runs:?} run"));
        }
        let mut containers = self.containers();
        let rows = self.world.ctl.json(&["ps"]);
        let rows = rows.as_array().expect("a list of tasks");
        // A replacement that was given up rests for its logs.
        if self.given_up() > 0 {
            let listed: BTreeSet<_> =
                rows.iter().filter_map(|row| row["container"].as_str()).collect();
            containers.retain(|id, seen| !seen.ended || listed.contains(id.as_str()));
        }
        let found: BTreeMap<_, _> =
            containers.values().map(|seen| (seen.place.clone(), seen.running)).collect();
        let ready = rows.iter().filter(|row| row["ready"] == true).count();
        let running = wanted.values().filter(|runs| **runs).count();
        // One that was only made yet has not ended either.
        let decided = containers.values().all(|seen| seen.running || seen.ended);
        let all = containers.len() == wanted.len() && found == wanted && decided;
        let over = rows.iter().filter(|row| row["state"] == "stopped").count();
        if all && ready == running && ready + over == rows.len() && rows.len() == wanted.len() {
            return Ok(containers);
        }
        let mut story = String::new();
        for seen in containers.values() {
            let _ = writeln!(story, "  {seen:?}");
        }
        for row in rows {
            let _ = writeln!(story, "  {row}");
        }
        Err(format!("wanted: {wanted:?}, {ready} of {running} ready\n{story}"))
    }

    /// Waits for that.
    #[track_caller]
    pub fn settle(&self, after: &str) -> BTreeMap<String, Seen> {
        wait_until(&format!("all is as wanted after {after}"), PATIENT, || self.settled())
    }

    /// How many replacements the cluster has given up so far.
    #[track_caller]
    pub fn given_up(&self) -> usize {
        let events = self.world.events();
        events.iter().filter(|event| event["kind"] == "rollout").count()
    }

    /// The restarts that the cluster tells of each container.
    #[track_caller]
    pub fn told_restarts(&self) -> BTreeMap<String, usize> {
        let rows = self.world.ctl.json(&["ps"]);
        let told = |row: &Value| {
            let restarts = usize::try_from(row["restarts"].as_u64()?).ok()?;
            Some((row["container"].as_str()?.to_owned(), restarts))
        };
        rows.as_array().into_iter().flatten().filter_map(told).collect()
    }

    /// How often the volume in the keeping of `kept/db` was written to by a start.
    #[track_caller]
    pub fn data(&self) -> usize {
        let containers = self.containers();
        let db = containers.iter().find(|(_, seen)| seen.place == "kept/db/1").expect("db");
        self.own.engine().file(db.0, "/data/starts").expect("its data").lines().count()
    }

    /// Containers that ran without the engine's knowledge, as is told of them.
    #[track_caller]
    pub fn lost_sight(&self) -> Vec<String> {
        let rows = self.world.ctl.json(&["ps"]);
        let told = |row: &&Value| row["error"].as_str().is_some_and(|why| why.contains(LOST_SIGHT));
        let ids = rows.as_array().into_iter().flatten().filter(told);
        ids.filter_map(|row| row["container"].as_str()).map(str::to_owned).collect()
    }

    /// Panics when two containers of one writer have processes at once, whatever the engine says.
    #[track_caller]
    pub fn no_writer_twice(&self, after: &str) {
        let label = |deed: &Deed, name: &str| deed.labels.get(name).cloned().unwrap_or_default();
        let mut writers: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for deed in self.deeds() {
            writers.entry(place(|name| label(&deed, name))).or_default().insert(deed.container);
        }
        for writer in WRITERS {
            let alive = Self::alive(writers.get(*writer).into_iter().flatten());
            assert!(alive.len() <= 1, "{after}: {writer} runs as {alive:?} at once");
        }
    }

    /// Those of these containers that the system itself has processes of, whatever the engine says. One
    /// that only waits to become a container's command does not count.
    pub fn alive<'a>(ids: impl Iterator<Item = &'a String>) -> BTreeSet<&'a str> {
        let processes = fs::read_dir("/proc").expect("/proc").flatten();
        let groups = |process: fs::DirEntry| {
            let line = fs::read(process.path().join("cmdline")).ok()?;
            let waits = line.starts_with(b"runc\0init");
            fs::read_to_string(process.path().join("cgroup")).ok().filter(|_| !waits)
        };
        let groups: String = processes.filter_map(groups).collect();
        ids.map(String::as_str).filter(|id| groups.contains(id)).collect()
    }

    /// Panics unless the processes of all containers there ever were are those of the running ones.
    #[track_caller]
    pub fn no_ghosts(&self, containers: &BTreeMap<String, Seen>, after: &str) {
        let ever: BTreeSet<_> = self.deeds().into_iter().map(|deed| deed.container).collect();
        let known = containers.keys().chain(&ever);
        wait_until(&format!("what runs is what the engine shows after {after}"), PROMPT, || {
            let alive = Self::alive(known.clone());
            let running = containers.iter().filter(|(_, seen)| seen.running);
            let running: BTreeSet<_> = running.map(|(id, _)| id.as_str()).collect();
            if alive == running { Ok(()) } else { Err(format!("{alive:?}, not {running:?}")) }
        });
    }

    /// What is seen of containers that are none of ours.
    pub fn strangers(&self) -> Vec<(String, Value, Value)> {
        let seen = |id: &String| {
            let shown = self.own.engine().inspect(id);
            (shown["Name"].to_string(), shown["State"].clone(), shown["Config"].clone())
        };
        self.strangers.iter().map(seen).collect()
    }

    /// What the cluster's containers went through, in its order.
    pub fn deeds(&self) -> Vec<Deed> {
        let ours = |deed: &Deed| {
            deed.labels.get("siso.cluster").is_some_and(|cluster| cluster == self.world.cluster())
        };
        self.witness.deeds().into_iter().filter(ours).collect()
    }

    /// How often this happened to them.
    pub fn deeds_of(&self, action: &str) -> usize {
        self.deeds().iter().filter(|deed| deed.action == action).count()
    }
}

/// What contradicts that every task was made and started once at most, and that no writer ran twice at
/// once. Over the life of one engine.
pub(super) fn wrong(deeds: &[Deed]) -> Vec<String> {
    let mut wrong = Vec::new();
    let (mut counts, mut writing) = (BTreeMap::new(), BTreeMap::new());
    for deed in deeds {
        let label = |name: &str| deed.labels.get(name).cloned().unwrap_or_default();
        let Deed { action, container, .. } = deed;
        let (place, task) = (place(label), label("siso.task"));
        if action == "create" || action == "start" {
            let count: &mut u32 = counts.entry((action.clone(), task.clone())).or_default();
            *count += 1;
            if *count > 1 {
                wrong.push(format!("{action} of {place}, task {task}, number {count}"));
            }
        }
        if WRITERS.contains(&place.as_str()) {
            if action == "start"
                && let Some(other) = writing.insert(place.clone(), container.clone())
            {
                wrong.push(format!("{place}: {container} starts while {other} runs"));
            }
            if action == "die" {
                writing.remove(&place);
            }
        }
    }
    wrong
}

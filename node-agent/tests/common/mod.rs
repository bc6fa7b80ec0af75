//! What several test programs share.

#![allow(dead_code, reason = "each test program uses a part")]

use std::{
    collections::BTreeMap,
    fmt::Debug,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use model::{
    Assignment, Bytes, Desired, Epoch, ServiceName, ServiceSpec, StackName, TaskId, VolumeName,
    assignment::AssignedVolume,
    spec::{Mount, MountSource},
};
use tokio::time::{Instant, sleep};

/// Far beyond what anything takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);
const LOOK: Duration = Duration::from_millis(20);

/// Waits until `look` answers; panics with its last refusal.
#[track_caller]
pub(crate) fn until<T, E: Debug, F: Future<Output = Result<T, E>>>(
    what: impl Into<String>,
    mut look: impl FnMut() -> F,
) -> impl Future<Output = T> {
    let (what, caller) = (what.into(), std::panic::Location::caller());
    async move {
        let end = Instant::now() + PATIENCE;
        loop {
            match look().await {
                Ok(found) => return found,
                Err(last) if Instant::now() > end => panic!("{caller}: not {what}: {last:?}"),
                Err(_) => sleep(LOOK).await,
            }
        }
    }
}

/// A cluster id no other test has; its first eight characters, which names on the engine end in, are
/// no other test's either.
pub(crate) fn unique(name: &str) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{:06x}{:02x}-{name}", std::process::id() & 0x00ff_ffff, count & 0xff)
}

/// An ordinary small service of this command.
pub(crate) fn spec(image: &str, command: &[&str]) -> ServiceSpec {
    let mut spec = ServiceSpec::new(image);
    spec.command = Some(command.iter().map(|word| (*word).to_owned()).collect());
    spec.resources.memory_limit = Bytes::mib(32);
    spec.resources.reserved.memory = Bytes::mib(16);
    spec.stop_grace_ms = 1_000;
    spec
}

/// A task of the stack `stack`, wanted running.
pub(crate) fn assignment(stack: &str, task: u64, spec: ServiceSpec) -> Assignment {
    Assignment {
        task: TaskId::new(task),
        stack: StackName::new(stack).expect("a stack's name"),
        service: ServiceName::new("web").expect("a service's name"),
        slot: u32::try_from(task).expect("a small number"),
        epoch: Epoch(1),
        desired: Desired::Run,
        spec: Arc::new(spec),
        volumes: BTreeMap::new(),
    }
}

/// Mounts a named volume at `/data`.
pub(crate) fn with_volume(mut task: Assignment, engine_name: &str, must_exist: bool) -> Assignment {
    let name = VolumeName::new("data").expect("a volume's name");
    let source = MountSource::Volume { name: name.clone(), no_copy: false };
    let mut spec = ServiceSpec::clone(&task.spec);
    spec.mounts.push(Mount { source, target: "/data".to_owned(), read_only: false });
    task.spec = Arc::new(spec);
    let engine_name = engine_name.to_owned();
    task.volumes.insert(name, AssignedVolume { engine_name, external: false, must_exist });
    task
}

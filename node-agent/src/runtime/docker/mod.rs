//! The Docker Engine through its API, and the only place that names the library for it.
//!
//! One request, one limit of time: a stopped daemon accepts connections and never answers.

mod body;
mod connection;
mod create;
mod exec;
mod image;
mod login;
mod lost;
mod refusal;
mod shown;
mod text;

use std::{future::Future, net::IpAddr, time::Duration};

use bollard::{
    Docker,
    models::ContainerStateStatusEnum,
    query_parameters::{
        EventsOptions, InspectContainerOptions, ListContainersOptions, ListNetworksOptions,
        LogsOptions, RemoveContainerOptions, RemoveImageOptions, RemoveVolumeOptions,
        StartContainerOptions, StatsOptions, StopContainerOptions,
    },
};
use futures::{
    StreamExt as _, TryStreamExt as _,
    stream::{self, BoxStream},
};
use model::{Bytes, MilliCpu, spec::Port};
use tokio::time::{Instant, timeout};

pub use connection::{BadEndpoint, DockerEngine};

use super::{
    Container, ContainerId, EngineEvent, EngineFacts, Exec, ExecId, ExecRequest, LogLine, LogQuery,
    Look, Network, OnProgress, Order, PullError, Runtime, RuntimeError,
};
use crate::{inventory, ports};
use connection::{absent_is_fine, trouble};

/// For requests that only read or change a record: milliseconds on a busy machine.
const QUICK: Duration = Duration::from_secs(10);
/// For the look at a container whose time is over, and beyond its grace period for its end.
const HURRIED: Duration = Duration::from_secs(2);
/// For making, starting and removing a container: disks and networks take part.
const SLOW: Duration = Duration::from_mins(2);
/// The engine's own grace period when a container names none.
const ENGINE_GRACE: i64 = 10;
/// Containers inspected at once: enough to hide latency, too few to load the engine.
const INSPECTED_AT_ONCE: usize = 4;

const LABEL_CLUSTER: &str = "siso.cluster";
const LABEL_NODE: &str = "siso.node";
const LABEL_TASK: &str = "siso.task";
const LABEL_STACK: &str = "siso.stack";
const LABEL_SERVICE: &str = "siso.service";
const LABEL_SLOT: &str = "siso.slot";
const LABEL_EPOCH: &str = "siso.epoch";
/// On containers of strict singletons: their grace period in milliseconds.
const LABEL_LEASE: &str = "siso.lease";
const LABEL_NETWORK: &str = "siso.network";

/// The answer, unless it takes longer than `limit`.
async fn within<T>(
    limit: Duration,
    request: impl Future<Output = Result<T, bollard::errors::Error>>,
) -> Result<T, RuntimeError> {
    match timeout(limit, request).await {
        Ok(answer) => answer.map_err(trouble),
        Err(late) => Err(RuntimeError::Unreachable { cause: Box::new(late) }),
    }
}

/// A filter for what carries all of these labels.
fn labelled(labels: &[(&str, &str)]) -> std::collections::HashMap<String, Vec<String>> {
    let pairs = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    [("label".to_owned(), pairs)].into()
}

/// As the engine shows it.
async fn shown(
    docker: &Docker,
    cluster: &str,
    name: &str,
) -> Result<Option<Container>, RuntimeError> {
    let request = docker.inspect_container(name, None::<InspectContainerOptions>);
    match within(QUICK, request).await {
        Ok(shown) => Ok(shown::container(cluster, shown)),
        Err(RuntimeError::Absent { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What it comes to that a container was not stopped of which no process is seen: an engine that answers may
/// have them in another machine.
fn unless_gone(error: RuntimeError) -> Result<(), RuntimeError> {
    match error {
        RuntimeError::Unreachable { .. } => Ok(()),
        told => Err(told),
    }
}

impl DockerEngine {
    /// Stops a container with its own grace period or this one.
    async fn end(&self, id: &ContainerId, grace: Option<Duration>) -> Result<(), RuntimeError> {
        let docker = self.client().await?;
        let request = docker.inspect_container(&id.0, None::<InspectContainerOptions>);
        let limit = if grace.is_some() { HURRIED } else { QUICK };
        let shown = match within(limit, request).await {
            Ok(shown) => shown,
            Err(error) => return absent_is_fine(Err(error)),
        };
        let state = shown.state.as_ref().and_then(|state| state.status);
        // The container carries its own grace period, so that it is known without the task.
        let config = shown.config.unwrap_or_default();
        let own = config.stop_timeout.unwrap_or(ENGINE_GRACE);
        let own = Duration::from_secs(u64::try_from(own).unwrap_or_default());
        if shown::is_still(state) {
            let signal = config.stop_signal.as_deref();
            return lost::end(id, grace.unwrap_or(own), signal).await.map(drop);
        }
        if state == Some(ContainerStateStatusEnum::PAUSED) {
            within(QUICK, docker.unpause_container(&id.0)).await?;
        }
        // Whole seconds, and never more than was asked for.
        let seconds = |grace: Duration| i32::try_from(grace.as_secs()).unwrap_or(i32::MAX);
        let options = grace
            .map(|grace| StopContainerOptions { t: Some(seconds(grace)), ..Default::default() });
        let limit = grace.unwrap_or(own) + SLOW;
        let stop = docker.stop_container(&id.0, options);
        absent_is_fine(within(limit, stop).await)
    }
}

impl Runtime for DockerEngine {
    async fn facts(&self) -> Result<EngineFacts, RuntimeError> {
        let docker = self.client().await?;
        let shown = within(QUICK, docker.info()).await?;
        let cores = u64::try_from(shown.ncpu.unwrap_or_default()).unwrap_or_default();
        self.remember_cores(cores);
        Ok(EngineFacts {
            memory: Bytes(u64::try_from(shown.mem_total.unwrap_or_default()).unwrap_or_default()),
            cpu: MilliCpu::cores(cores),
            arch: text::architecture(shown.architecture.as_deref().unwrap_or_default()),
            os: shown.os_type.unwrap_or_default(),
            engine: format!("docker {}", shown.server_version.unwrap_or_default()),
            root: shown.docker_root_dir.unwrap_or_default().into(),
        })
    }

    async fn look(&self, cluster: &str) -> Result<Look, RuntimeError> {
        let docker = self.client().await?;
        let filters = Some(labelled(&[(LABEL_CLUSTER, cluster)]));
        let all =
            ListContainersOptions { all: true, filters: filters.clone(), ..Default::default() };
        let listed = within(QUICK, docker.list_containers(Some(all))).await?;
        let ids = listed.into_iter().filter_map(|row| row.id);
        let mut containers: Vec<Container> = stream::iter(ids)
            .map(|id| {
                let docker = &docker;
                async move { shown(docker, cluster, &id).await }
            })
            .buffered(INSPECTED_AT_ONCE)
            .try_filter_map(|found| async move { Ok(found) })
            .try_collect()
            .await?;
        lost::find(&docker, cluster, &mut containers).await?;
        let listed = docker.list_networks(Some(ListNetworksOptions { filters }));
        let network = |row: bollard::models::Network| {
            let stack = row.labels?.remove(LABEL_STACK)?;
            Some(Network { id: row.id?, stack })
        };
        let networks = within(QUICK, listed).await?.into_iter().filter_map(network).collect();
        Ok(Look { containers, networks })
    }

    async fn inspect(
        &self,
        cluster: &str,
        id: &ContainerId,
    ) -> Result<Option<Container>, RuntimeError> {
        let docker = self.client().await?;
        let mut found = shown(&docker, cluster, &id.0).await?;
        lost::find(&docker, cluster, found.as_mut_slice()).await?;
        Ok(found)
    }

    fn events(&self, cluster: &str) -> BoxStream<'static, Result<EngineEvent, RuntimeError>> {
        let mut filters = labelled(&[(LABEL_CLUSTER, cluster)]);
        filters.insert("type".to_owned(), vec!["container".to_owned()]);
        let actions = ["start", "kill", "die", "oom", "health_status", "destroy"];
        filters.insert("event".to_owned(), actions.map(str::to_owned).to_vec());
        let engine = self.handle();
        let opened = async move {
            let docker = engine.client().await?;
            // What the engine still remembers (its last 256 events) is told first: an end that came
            // while nobody listened is witnessed all the same.
            let since = Some("1".to_owned());
            let wanted = EventsOptions { since, filters: Some(filters), ..Default::default() };
            let happened = docker.events(Some(wanted)).map_err(trouble);
            let happened = happened.try_filter_map(|message| async { Ok(shown::event(message)) });
            // The request for events is on its way when the ping is: its answer proves a listener.
            let ping = async move { within(QUICK, docker.ping()).await };
            let listening = stream::once(ping).map_ok(|_| EngineEvent::Listening);
            Ok(stream::select(happened, listening))
        };
        stream::once(opened).try_flatten().boxed()
    }

    async fn image_id(&self, image: &str) -> Result<Option<String>, RuntimeError> {
        let docker = self.client().await?;
        match within(QUICK, docker.inspect_image(image)).await {
            Ok(shown) => Ok(Some(shown.id.unwrap_or_default())),
            Err(RuntimeError::Absent { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn remove_image(&self, id: &str) -> Result<bool, RuntimeError> {
        let docker = self.client().await?;
        let request = docker.remove_image(id, None::<RemoveImageOptions>, None);
        match within(SLOW, request).await {
            Ok(_) | Err(RuntimeError::Absent { .. }) => Ok(true),
            Err(RuntimeError::Refused { message }) => {
                tracing::debug!(id, message, "the image stays");
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    async fn disk(&self) -> Result<(Bytes, Bytes), RuntimeError> {
        Ok(inventory::disk(&self.facts().await?.root))
    }

    async fn pull(&self, image: &str, progress: OnProgress) -> Result<(), PullError> {
        let docker = self.client().await.map_err(PullError::Engine)?;
        let login = match self.login(image) {
            Ok(login) => login,
            // Most images need none, so it is tried without; a refusal then points at the login.
            Err(error) => {
                tracing::warn!(image, error = &error as &dyn std::error::Error, "no login");
                None
            }
        };
        image::pull(&docker, (image, login), &progress).await
    }

    fn is_port_taken(&self, port: &Port) -> bool {
        ports::is_taken(port)
    }

    async fn create(&self, order: &Order) -> Result<ContainerId, RuntimeError> {
        let docker = self.client().await?;
        create::create(self, &docker, order).await
    }

    async fn start(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        let docker = self.client().await?;
        let started = docker.start_container(&id.0, None::<StartContainerOptions>);
        within(SLOW, started).await.map_err(|error| refusal::of_start(id, error))
    }

    async fn stop(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        self.end(id, None).await
    }

    async fn stop_within(&self, id: &ContainerId, grace: Duration) -> Result<(), RuntimeError> {
        let began = Instant::now();
        let asked = timeout(grace + HURRIED, self.end(id, Some(grace))).await;
        if matches!(asked, Ok(Ok(()))) {
            return Ok(());
        }
        // Whoever waits for its end waits no longer because an engine is gone, hangs or refuses.
        let ended = lost::end(id, grace.saturating_sub(began.elapsed()), None).await?;
        match asked {
            Ok(Err(error)) if !ended => unless_gone(error),
            _ => Ok(()),
        }
    }

    async fn remove(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        let docker = self.client().await?;
        let with_anonymous_volumes = RemoveContainerOptions { v: true, ..Default::default() };
        let request = docker.remove_container(&id.0, Some(with_anonymous_volumes));
        absent_is_fine(within(SLOW, request).await)
    }

    async fn remove_network(&self, id: &str) -> Result<(), RuntimeError> {
        let docker = self.client().await?;
        absent_is_fine(within(SLOW, docker.remove_network(id)).await)
    }

    async fn remove_volume(&self, cluster: &str, name: &str) -> Result<bool, RuntimeError> {
        let docker = self.client().await?;
        let found = match within(QUICK, docker.inspect_volume(name)).await {
            Ok(found) => found,
            Err(error) => return absent_is_fine(Err(error)).map(|()| true),
        };
        if found.labels.get(LABEL_CLUSTER).is_none_or(|owner| owner != cluster) {
            tracing::warn!(volume = name, "left as it is: this cluster did not make it");
            return Ok(false);
        }
        let request = docker.remove_volume(name, None::<RemoveVolumeOptions>);
        absent_is_fine(within(SLOW, request).await).map(|()| true)
    }

    async fn memory_used(&self, id: &ContainerId) -> Result<Option<Bytes>, RuntimeError> {
        let docker = self.client().await?;
        let once = StatsOptions { stream: false, one_shot: true };
        let mut answers = docker.stats(&id.0, Some(once));
        match within(QUICK, async { answers.next().await.transpose() }).await {
            Ok(stats) => Ok(stats.and_then(shown::memory_used)),
            Err(RuntimeError::Absent { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn logs(
        &self,
        id: &ContainerId,
        query: LogQuery,
    ) -> BoxStream<'static, Result<LogLine, RuntimeError>> {
        let since = query.since.unwrap_or_default();
        let options = LogsOptions {
            follow: query.follow,
            stdout: true,
            stderr: true,
            // Whole seconds are all the engine's interface takes; the rest is dropped below.
            since: i32::try_from(since.0 / 1000).unwrap_or(i32::MAX),
            timestamps: true,
            tail: query.tail.map_or_else(|| "all".to_owned(), |lines| lines.to_string()),
            ..Default::default()
        };
        let (engine, id) = (self.handle(), id.0.clone());
        let opened = async move {
            let docker = engine.client().await?;
            Ok(docker.logs(&id, Some(options)).map_err(trouble))
        };
        let lines = stream::once(opened).try_flatten();
        lines
            .map_ok(text::log_line)
            .try_filter(move |line| std::future::ready(line.at >= since))
            .boxed()
    }

    async fn exec(&self, id: &ContainerId, request: &ExecRequest) -> Result<Exec, RuntimeError> {
        exec::exec(&self.client().await?, id, request).await
    }

    async fn resize(&self, exec: &ExecId, width: u16, height: u16) -> Result<(), RuntimeError> {
        let docker = self.client().await?;
        let size = bollard::exec::ResizeExecOptions { height, width };
        within(QUICK, docker.resize_exec(&exec.0, size)).await
    }

    async fn exit_code(&self, exec: &ExecId) -> Result<Option<i64>, RuntimeError> {
        let docker = self.client().await?;
        let shown = within(QUICK, docker.inspect_exec(&exec.0)).await?;
        Ok(if shown.running == Some(true) { None } else { shown.exit_code })
    }

    async fn address(&self, id: &ContainerId) -> Result<Option<IpAddr>, RuntimeError> {
        let docker = self.client().await?;
        let shown = within(QUICK, docker.inspect_container(&id.0, None)).await?;
        Ok(text::address(&shown))
    }

    async fn end_exec(&self, exec: &ExecId) -> Result<(), RuntimeError> {
        exec::end(&self.client().await?, exec).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_that_was_refused_is_none_because_no_process_is_seen() {
        let refused = RuntimeError::Refused { message: "no".to_owned() };
        assert!(unless_gone(refused).is_err());
        assert!(unless_gone(RuntimeError::Unreachable { cause: "gone".into() }).is_ok());
    }
}

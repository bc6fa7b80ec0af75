//! The way to the cluster: one channel, tried again while a new leader is elected, and answers in the
//! words of `model`.

mod reads;
mod streams;
mod writes;

use std::{
    error::Error as _,
    fmt,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use proto::{
    transport::{
        ANSWER_BYTES_MAX, AUTHORITIES_HEADER, LastWords, SCHEDULERS_HEADER, Tell, TransportError,
        channel_telling,
    },
    v1::control_client::ControlClient,
};
pub use streams::{
    Answers, DrainNow, ExecInput, ForwardInput, RelayOutput, Rollout, ServiceNote, Watch, WatchView,
};
use tokio::time::{Instant, sleep, timeout};
use tonic::{Code, Request, Response, Status, transport::Channel};
pub use writes::Written;

use crate::{
    args::Global,
    context::{self, Context},
    endpoints::Endpoints,
    error::{Blame, Error},
    output::{Out, amount::nearest},
    renewal::Renewal,
};

/// How long one answer may take unless `--timeout` says otherwise.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long one endpoint may take to accept a connection, so that the next one gets its turn.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long and how often an unreachable cluster is asked again: an election ends within two seconds.
const RETRY_DELAYS: [Duration; 4] = [
    Duration::from_millis(100),
    Duration::from_millis(300),
    Duration::from_millis(600),
    Duration::from_secs(1),
];
/// How long one of several schedulers may take to answer before another one is asked: one that is cut
/// off from the others takes connections, and waits for an election that does not come. Twice as long
/// the next time: the answer may take its time, whoever is asked.
const ATTEMPT_LIMIT: Duration = Duration::from_secs(3);
/// Pauses between attempts to resume a stream.
const RESUME_PAUSE: Duration = Duration::from_millis(500);

/// A cluster and who asks it.
#[derive(Clone)]
pub struct Client {
    /// For each endpoint a way that begins with it.
    ways: Vec<ControlClient<Channel>>,
    /// Which of them is gone next.
    turn: Arc<AtomicUsize>,
    endpoints: Endpoints,
    last_words: LastWords,
    renewal: Renewal,
    file: PathBuf,
    answer_timeout: Duration,
    cluster: Option<String>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("endpoints", &self.endpoints).finish_non_exhaustive()
    }
}

impl Client {
    /// Chooses the context and prepares the channel; nothing is sent before the first question.
    pub fn connect(global: &Global, out: &mut Out) -> Result<Self, Error> {
        let (file, context) = context::load(global)?;
        if context::is_exposed(&file) {
            let shown = file.display();
            out.note(&format!(
                "warning: others can read {shown}, which holds a key: chmod 600 {shown}"
            ));
        }
        Self::with_context(file, context, global)
    }

    /// The cluster that made its certificate, as the certificates of its nodes name it.
    pub fn cluster(&self) -> Option<&str> {
        self.cluster.as_deref()
    }

    /// `HOST:PORT` of the schedulers.
    pub fn endpoints(&self) -> Vec<String> {
        self.endpoints.all()
    }

    /// Keeps what was learned of schedulers, and says which were passed over.
    pub fn settle(&self, out: &mut Out) {
        for note in self.endpoints.settle() {
            out.note(&format!("note: {}", crate::output::safe::line(&note)));
        }
    }

    /// The same with a context at hand.
    pub fn with_context(file: PathBuf, context: Context, global: &Global) -> Result<Self, Error> {
        let renewal = Renewal::new(&file, Some(context.clone()));
        let Context { endpoints, authorities, certificate, key, .. } = context;
        let cluster = x509_parser::pem::parse_x509_pem(certificate.as_bytes())
            .ok()
            .and_then(|(_, pem)| proto::transport::peer_of(&pem.contents).ok())
            .map(|peer| peer.cluster);
        let identity = proto::transport::Identity { authorities, certificate, key };
        let answer_timeout = global.timeout.map_or(ANSWER_TIMEOUT, |timeout| timeout.0);
        let connect_timeout = CONNECT_TIMEOUT.min(answer_timeout);
        let endpoints = Endpoints::load(&file, endpoints);
        let last_words = LastWords::default();
        let tell: Tell = {
            let endpoints = endpoints.clone();
            Arc::new(move |answers: &str, failures: &[TransportError]| {
                endpoints.passed_over(answers, failures);
            })
        };
        let way = |endpoints: Vec<String>| {
            let (tell, words) = (Arc::clone(&tell), last_words.clone());
            let channel = channel_telling(&endpoints, &identity, connect_timeout, tell, words);
            let client =
                |channel| ControlClient::new(channel).max_decoding_message_size(ANSWER_BYTES_MAX);
            channel.map(client)
        };
        let unusable = |error| {
            Error::input(format!("the context file {} cannot be used: {error}", file.display()))
                .hint("a scheduler writes one as DATA_DIR/admin.yaml; copy it whole")
        };
        let ways = turns(&endpoints.all()).into_iter().map(way).collect::<Result<_, _>>();
        let ways = ways.map_err(unusable)?;
        Ok(Self {
            ways,
            turn: Arc::default(),
            endpoints,
            last_words,
            renewal,
            file,
            answer_timeout,
            cluster,
        })
    }

    /// A client of a cluster that is reached in another way.
    #[cfg(test)]
    pub(crate) fn through(channel: Channel, answer_timeout: Duration) -> Self {
        let file = PathBuf::from("/nonexistent/admin.yaml");
        let endpoints = Endpoints::load(&file, vec!["mini-1:7400".to_owned()]);
        let ways = vec![ControlClient::new(channel)];
        let (last_words, renewal) = (LastWords::default(), Renewal::new(&file, None));
        let (turn, cluster) = (Arc::default(), None);
        Self { ways, turn, endpoints, last_words, renewal, file, answer_timeout, cluster }
    }

    /// The way whose turn it is.
    fn control(&self) -> ControlClient<Channel> {
        let turn = self.turn.load(Ordering::Relaxed) % self.ways.len();
        self.ways[turn].clone()
    }

    fn try_another(&self) {
        self.turn.fetch_add(1, Ordering::Relaxed);
    }

    /// Asks until there is an answer or the time is up. Every question may be asked again: reads
    /// change nothing, and writes carry a request id that makes them happen once.
    async fn ask<Q: Clone, A>(
        &self,
        question: Q,
        call: impl AsyncFn(ControlClient<Channel>, Request<Q>) -> Result<Response<A>, Status>,
    ) -> Result<A, Error> {
        let deadline = Instant::now() + self.answer_timeout;
        let mut delays = RETRY_DELAYS.into_iter();
        let mut patience = ATTEMPT_LIMIT;
        let mut refused: Option<Status> = None;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let limit = if self.ways.len() > 1 { left.min(patience) } else { left };
            let attempt = timeout(limit, call(self.control(), Request::new(question.clone())));
            let status = match attempt.await {
                Ok(Ok(answer)) => {
                    // Whoever refused before is not what goes wrong later.
                    drop(self.last_words.take());
                    let told = answer.metadata().get(SCHEDULERS_HEADER);
                    if let Some(told) = told.and_then(|told| told.to_str().ok()) {
                        self.endpoints.hear(told);
                    }
                    let told = answer.metadata().get(AUTHORITIES_HEADER);
                    if let Some(told) = told.and_then(|told| told.to_str().ok()) {
                        self.renewal.hear(told);
                    }
                    return Ok(answer.into_inner());
                }
                Ok(Err(status)) => status,
                Err(_) if limit < left => {
                    patience = patience.saturating_mul(2);
                    self.try_another();
                    continue;
                }
                // Who was answered before knows more than that there was no answer any more.
                Err(_) => {
                    return Err(refused.map_or_else(|| self.silent(), |last| self.failure(last)));
                }
            };
            match delays.next() {
                Some(delay) if is_passing(&status) && Instant::now() + delay < deadline => {
                    self.try_another();
                    refused = Some(status);
                    sleep(delay).await;
                }
                _ => return Err(self.failure(status)),
            }
        }
    }

    fn silent(&self) -> Error {
        let waited = crate::args::Span(self.answer_timeout);
        self.how_to_reach(Error::unreachable(format!("no answer from the cluster within {waited}")))
    }

    fn failure(&self, status: Status) -> Error {
        if status.source().is_some() {
            let why = self.last_words.take().unwrap_or_else(|| cause(&status));
            let mut unnamed = self.endpoints.all();
            unnamed.retain(|endpoint| !why.contains(endpoint.as_str()));
            let at = if unnamed.is_empty() {
                String::new()
            } else {
                format!(" at {}", unnamed.join(", "))
            };
            return self
                .how_to_reach(Error::unreachable(format!("cannot reach the cluster{at}: {why}")));
        }
        let error = Error::from(status);
        if error.blame() == Some(Blame::Unreachable) && !error.has_hint() {
            // A scheduler answered, so the way to the cluster is not what is wrong.
            return error.hint("try again; `sisoctl status` says what is wrong");
        }
        error
    }

    fn how_to_reach(&self, error: Error) -> Error {
        error.hint(format!(
            "check that a scheduler runs there, or see what is wrong with `sisoctl doctor` (context: {})",
            self.file.display()
        ))
    }

    /// The same error, with the nearest name when it was about a stack or service that is not there.
    pub async fn with_nearest(&self, error: Error, stack: &str, service: Option<&str>) -> Error {
        if error.has_hint() || error.blame() != Some(Blame::Input) {
            return error;
        }
        let Ok(stacks) = self.stacks().await else { return error };
        if !stacks.iter().any(|row| row.stack == stack) {
            let names: Vec<String> = stacks.into_iter().map(|row| row.stack).collect();
            return suggest(error, stack, "stack", &names);
        }
        let (Some(service), Ok(tasks)) = (service, self.tasks(Some(stack)).await) else {
            return error;
        };
        let mut names: Vec<String> = tasks.into_iter().map(|row| row.service).collect();
        names.sort();
        names.dedup();
        if names.iter().any(|name| name == service) {
            error
        } else {
            suggest(error, service, "service", &names)
        }
    }
}

/// The endpoints, beginning with each of them in turn; none of none, which is refused as such.
fn turns(endpoints: &[String]) -> Vec<Vec<String>> {
    let turn = |first: usize| {
        let mut turned = endpoints.to_vec();
        turned.rotate_left(first);
        turned
    };
    (0..endpoints.len().max(1)).map(turn).collect()
}

/// Whether asking again soon may help: the connection broke, or nobody leads at the moment. What a
/// scheduler answered has no source.
fn is_passing(status: &Status) -> bool {
    status.code() == Code::Unavailable || status.source().is_some()
}

/// The innermost cause: the outer ones only say that the transport failed.
fn cause(status: &Status) -> String {
    let mut cause = status.message().to_owned();
    let mut source = status.source();
    while let Some(error) = source {
        cause = error.to_string();
        source = error.source();
    }
    cause
}

/// The same error with the nearest of the names there are, or with all of them.
pub fn suggest(error: Error, name: &str, noun: &str, names: &[String]) -> Error {
    match nearest(name, names.iter().map(String::as_str)) {
        Some(near) => error.hint(format!("did you mean `{near}`?")),
        None if names.is_empty() => error.hint(format!("there is no {noun} yet")),
        None => error.hint(format!("there are: {}", names.join(", "))),
    }
}

/// A wire message in the words of `model`.
fn believe<M, W>(message: W) -> Result<M, Error>
where
    M: TryFrom<W>,
    M::Error: fmt::Display,
{
    message.try_into().map_err(|error: M::Error| {
        Error::cluster(format!("the scheduler's answer cannot be read: {error}"))
            .hint("it may be of another version: compare `sisoctl version`")
    })
}

/// The same for a list.
fn believe_all<M, W>(messages: Vec<W>) -> Result<Vec<M>, Error>
where
    M: TryFrom<W>,
    M::Error: fmt::Display,
{
    messages.into_iter().map(believe).collect()
}

fn missing(what: &str) -> Error {
    Error::cluster(format!("the scheduler's answer lacks {what}"))
        .hint("it may be of another version: compare `sisoctl version`")
}

/// 128 random bits that name one write, however often it is asked.
fn request_id() -> Vec<u8> {
    rand::random::<u128>().to_be_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scheduler_is_the_first_to_be_asked_once() {
        let endpoints = ["a:1", "b:1", "c:1"].map(str::to_owned);
        let firsts = turns(&endpoints).into_iter().map(|turn| turn.concat());
        assert_eq!(firsts.collect::<Vec<_>>(), ["a:1b:1c:1", "b:1c:1a:1", "c:1a:1b:1"]);
        assert_eq!(turns(&[]), [Vec::<String>::new()]);
    }
}

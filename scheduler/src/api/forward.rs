//! Whoever asks a scheduler that does not lead is answered by the one that does: it passes the call on.
//!
//! **Invariant:** who calls is what the certificate of the first connection says. It travels in a
//! header that is believed from schedulers only, and a call is passed on once.

use std::{
    future::Future,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http_body_util::Full;
use hyper::{HeaderMap, Request, Response, body::Frame, header::HeaderName, http::HeaderValue};
use model::token::Role;
use parking_lot::Mutex;
use proto::transport::{self, Identity, Peer};
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::{Code, Status, body::Body, metadata::MetadataValue, transport::Channel};
use tower::{Layer, Service};

use crate::{
    listener::Caller,
    log::{OwnFace, ReplicatedLog, SHUT_OUT, Standing},
};

/// Calls between schedulers are for the one they are made to.
const REPLICA: &str = "/siso.v1.Replica/";
/// Answered by whoever is asked when the leader is gone: without a majority there never is another one.
const SCHEDULERS_CALL: &str = "/siso.v1.Control/ListSchedulers";
/// Who called the scheduler that passes a call on: `ROLE ID`, behind a `-` when the certificate has
/// ended, or nothing for a caller without one.
const CALLER: HeaderName = HeaderName::from_static("siso-caller");
/// The address of whoever that was.
const CALLER_ADDRESS: HeaderName = HeaderName::from_static("siso-caller-address");
/// Tells people where the schedulers are, with commas between.
const SCHEDULERS: HeaderName = HeaderName::from_static(transport::SCHEDULERS_HEADER);
/// To a finished handshake with the leader.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a call waits while nobody leads: longer than an election takes.
const ELECTION_TIMEOUT: Duration = Duration::from_secs(5);

/// The way to whoever leads.
pub(crate) struct Forward {
    log: Arc<dyn ReplicatedLog>,
    cluster: String,
    face: OwnFace,
    /// Ends what is passed on when the scheduler stops.
    stop: CancellationToken,
    /// The connections to the leader, where it is, and the face shown there.
    open: Mutex<Vec<Option<Open>>>,
}

type Open = (String, Arc<Identity>, Channel);

/// Connections to the leader: one for strangers, one for people, the rest for nodes. Whoever fills one
/// up, or does not read from it, holds up nobody of another kind.
const LANES: usize = 10;

fn lane(caller: &Caller) -> usize {
    let Some(peer) = &caller.peer else { return 0 };
    if peer.role != Role::Node {
        return 1;
    }
    let bytes = peer.id.bytes().map(usize::from);
    2 + bytes.fold(0, |sum: usize, byte| sum.wrapping_mul(31).wrapping_add(byte)) % (LANES - 2)
}

impl Forward {
    pub(crate) fn new(
        log: Arc<dyn ReplicatedLog>,
        cluster: String,
        face: OwnFace,
        stop: CancellationToken,
    ) -> Self {
        Self { log, cluster, face, stop, open: Mutex::new(vec![None; LANES]) }
    }

    /// Where the schedulers are, for people: theirs may be gone the next time.
    fn whereabouts(&self, caller: &Caller) -> Option<HeaderValue> {
        caller.peer.as_ref().filter(|peer| peer.role == Role::Admin)?;
        let standing = self.log.standing();
        let voters = standing.borrow().voters.clone();
        let addresses: Vec<_> = voters.into_iter().map(|(_, address)| address).collect();
        HeaderValue::try_from(addresses.join(",")).ok()
    }

    /// Refuses a scheduler that may take part no longer, whatever its certificate says.
    fn check_member(&self, by: &Caller) -> Result<(), Status> {
        let Some(peer) = by.peer.as_ref().filter(|peer| peer.role == Role::Scheduler) else {
            return Ok(());
        };
        let number: u64 = peer.id.parse().unwrap_or(0);
        let why = self.log.cluster().why_shut_out(number);
        why.map_or(Ok(()), |why| Err(shut_out(&why)))
    }

    /// Where the leader is; `None` when it is this scheduler, or nobody.
    async fn leader(&self) -> Option<String> {
        let mut standing = self.log.standing();
        let known = standing.wait_for(|standing| {
            standing.leads() || standing.leader_address().is_some() || standing.failed.is_some()
        });
        let known = timeout(ELECTION_TIMEOUT, known).await.ok()?.ok()?;
        known.leader_address().filter(|_| !known.leads()).map(str::to_owned)
    }

    fn channel(&self, address: String, lane: usize) -> Result<Channel, Status> {
        let face = self.face.load_full();
        let mut open = self.open.lock();
        let Some(open) = open.get_mut(lane) else { return Err(Status::internal("no such lane")) };
        if let Some((held, shown, channel)) = &*open
            && *held == address
            && Arc::ptr_eq(shown, &face)
        {
            return Ok(channel.clone());
        }
        let endpoint = std::slice::from_ref(&address);
        let channel = transport::channel(endpoint, &face, CONNECT_TIMEOUT)
            .map_err(|error| Status::unavailable(error.to_string()))?;
        *open = Some((address, face, channel.clone()));
        Ok(channel)
    }
}

/// Tells a scheduler that it may take part no longer, so that it stops by itself.
fn shut_out(why: &str) -> Status {
    let mut status = Status::permission_denied(why);
    status.metadata_mut().insert(SHUT_OUT, MetadataValue::from_static("1"));
    status
}

fn write_caller(caller: &Caller) -> HeaderValue {
    let words = caller.peer.as_ref().map_or_else(String::new, |peer| {
        let ended = if caller.expired { "-" } else { "" };
        format!("{ended}{} {}", peer.role.as_str(), peer.id)
    });
    // Ids are plain words; one that is none of ours is nobody.
    HeaderValue::try_from(words).unwrap_or_else(|_| HeaderValue::from_static(""))
}

fn read_caller(words: &str, cluster: &str, address: SocketAddr) -> Option<Caller> {
    if words.is_empty() {
        return Some(Caller { address, peer: None, expired: false });
    }
    let live = words.strip_prefix('-');
    let (role, id) = live.unwrap_or(words).split_once(' ')?;
    let role = [Role::Node, Role::Admin].into_iter().find(|known| known.as_str() == role)?;
    let peer = Peer { cluster: cluster.to_owned(), role, id: id.to_owned() };
    Some(Caller { address, peer: Some(Arc::new(peer)), expired: live.is_some() })
}

/// Who calls, by whom the call was passed on if it was. Afterwards the header is gone.
fn caller_of(headers: &mut HeaderMap, caller: &Caller, cluster: &str) -> (Option<Caller>, bool) {
    let said = headers.remove(CALLER);
    let address = headers.remove(CALLER_ADDRESS);
    let by_scheduler = caller.peer.as_ref().is_some_and(|peer| peer.role == Role::Scheduler);
    match said {
        Some(words) if by_scheduler && !caller.expired => {
            let words = words.to_str().ok();
            // A scheduler of the version before does not say.
            let address = address.and_then(|said| said.to_str().ok()?.parse().ok());
            let address = address.unwrap_or(caller.address);
            (words.and_then(|words| read_caller(words, cluster, address)), true)
        }
        _ => (Some(caller.clone()), false),
    }
}

/// Passes calls on that another scheduler has to answer.
#[derive(Clone)]
pub(crate) struct ForwardLayer(pub(crate) Arc<Forward>);

impl<S> Layer<S> for ForwardLayer {
    type Service = Forwarding<S>;

    fn layer(&self, inner: S) -> Forwarding<S> {
        Forwarding { inner, forward: Arc::clone(&self.0) }
    }
}

/// See [`ForwardLayer`].
#[derive(Clone)]
pub(crate) struct Forwarding<S> {
    inner: S,
    forward: Arc<Forward>,
}

impl<S> Service<Request<Body>> for Forwarding<S>
where
    S: Service<Request<Body>, Response = Response<Body>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Send,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let forward = Arc::clone(&self.forward);
        let Some(by) = request.extensions().get::<Caller>().cloned() else {
            return Box::pin(self.inner.call(request));
        };
        if let Err(refused) = forward.check_member(&by) {
            tracing::warn!(address = %by.address, why = refused.message(), "a call was refused");
            return Box::pin(async move { Ok(refused.into_http()) });
        }
        let (caller, passed_on) = caller_of(request.headers_mut(), &by, &forward.cluster);
        let Some(caller) = caller else {
            let refused = Status::unauthenticated("the call was passed on for nobody known");
            return Box::pin(async move { Ok(refused.into_http()) });
        };
        request.extensions_mut().insert(caller.clone());
        let path = request.uri().path();
        let here = path.starts_with(REPLICA) || forward.log.standing().borrow().leads();
        let instead = (path == SCHEDULERS_CALL && !passed_on).then(|| same_without_words(&request));
        let told = if passed_on { None } else { forward.whereabouts(&caller) };
        if here {
            let answer = self.inner.call(request);
            return Box::pin(async move { Ok(tell(answer.await?, told)) });
        }
        if passed_on {
            let refused = Status::unavailable("this scheduler does not lead (any more)");
            return Box::pin(async move { Ok(refused.into_http()) });
        }
        // The one that is ready is this one.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        Box::pin(async move {
            let Some(leader) = forward.leader().await else {
                return Ok(tell(inner.call(request).await?, told));
            };
            request.headers_mut().insert(CALLER, write_caller(&caller));
            if let Ok(address) = HeaderValue::try_from(caller.address.to_string()) {
                request.headers_mut().insert(CALLER_ADDRESS, address);
            }
            let stop = forward.stop.clone();
            Ok(match forward.channel(leader, lane(&caller)) {
                Ok(channel) => {
                    let answer = stop.run_until_cancelled(pass_on(channel, request)).await;
                    let answer = answer.unwrap_or_else(|| stopping().into_http());
                    if let Some(instead) = instead.filter(|_| is_unavailable(&answer)) {
                        return Ok(tell(inner.call(instead).await?, told));
                    }
                    if answer.headers().contains_key(SHUT_OUT) {
                        // It was this scheduler that was refused, not whoever asks.
                        let text = "this scheduler was removed from the cluster: ask another";
                        return Ok(tell(Status::unavailable(text).into_http(), told));
                    }
                    let answer =
                        answer.map(|body| Body::new(Passed::new(body, stop.cancelled_owned())));
                    tell(answer, told)
                }
                Err(refused) => refused.into_http(),
            })
        })
    }
}

/// The same call with an empty message.
fn same_without_words(request: &Request<Body>) -> Request<Body> {
    /// Not compressed, no bytes (gRPC's length-prefixed message).
    const EMPTY: [u8; 5] = [0; 5];
    let mut same = Request::new(Body::new(Full::new(bytes::Bytes::from_static(&EMPTY))));
    *same.method_mut() = request.method().clone();
    *same.uri_mut() = request.uri().clone();
    *same.version_mut() = request.version();
    *same.headers_mut() = request.headers().clone();
    *same.extensions_mut() = request.extensions().clone();
    same
}

fn is_unavailable(answer: &Response<Body>) -> bool {
    let code = answer.headers().get("grpc-status");
    code.is_some_and(|code| Code::from_bytes(code.as_bytes()) == Code::Unavailable)
}

fn tell(mut answer: Response<Body>, schedulers: Option<HeaderValue>) -> Response<Body> {
    if let Some(schedulers) = schedulers {
        answer.headers_mut().insert(SCHEDULERS, schedulers);
    }
    answer
}

async fn pass_on(mut channel: Channel, request: Request<Body>) -> Response<Body> {
    let failed = |error: tonic::transport::Error| {
        let text = format!("the leader cannot be reached: {}", story(&error));
        Status::unavailable(text).into_http()
    };
    if let Err(error) = std::future::poll_fn(|context| channel.poll_ready(context)).await {
        return failed(error);
    }
    channel.call(request).await.unwrap_or_else(failed)
}

fn stopping() -> Status {
    Status::unavailable("the scheduler stops")
}

/// What the leader sends to whoever called, for as long as this scheduler does not stop: a stream that
/// is passed on would hold up its end.
struct Passed {
    body: Body,
    stopped: Pin<Box<WaitForCancellationFutureOwned>>,
    ended: bool,
}

impl Passed {
    fn new(body: Body, stopped: WaitForCancellationFutureOwned) -> Self {
        Self { body, stopped: Box::pin(stopped), ended: false }
    }
}

impl hyper::body::Body for Passed {
    type Data = bytes::Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Status>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        if self.stopped.as_mut().poll(context).is_ready() {
            self.ended = true;
            let mut trailers = HeaderMap::new();
            // Fixed words are good headers.
            drop(stopping().add_header(&mut trailers));
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.body.is_end_stream()
    }
}

/// An error with its causes, which tonic does not show.
fn story(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    text
}

impl Standing {
    /// Where the leader is reached, when one is known.
    fn leader_address(&self) -> Option<&str> {
        let voter = self.voters.iter().find(|(id, _)| Some(*id) == self.leader);
        voter.map(|(_, address)| address.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(role: Option<Role>, expired: bool) -> Caller {
        let peer =
            role.map(|role| Arc::new(Peer { cluster: "c".to_owned(), role, id: "n3".to_owned() }));
        Caller { address: "10.0.0.1:1".parse().unwrap(), peer, expired }
    }

    #[test]
    fn who_calls_survives_being_passed_on() {
        for (role, expired) in [
            (None, false),
            (Some(Role::Admin), false),
            (Some(Role::Node), false),
            (Some(Role::Node), true),
        ] {
            let (first, by) = (caller(role, expired), caller(Some(Role::Scheduler), false));
            let address = HeaderValue::from_static("10.9.9.9:9");
            let mut headers =
                HeaderMap::from_iter([(CALLER, write_caller(&first)), (CALLER_ADDRESS, address)]);
            let (read, passed_on) = caller_of(&mut headers, &by, "c");
            let read = read.unwrap();
            assert!(passed_on && headers.is_empty());
            assert_eq!((read.peer, read.expired), (first.peer, first.expired));
            assert_eq!(read.address, "10.9.9.9:9".parse().unwrap());
        }
    }

    #[test]
    fn only_schedulers_speak_for_others() {
        for role in [None, Some(Role::Node), Some(Role::Admin)] {
            let liar = caller(role, false);
            let mut headers = HeaderMap::new();
            headers.insert(CALLER, HeaderValue::from_static("admin root"));
            headers.insert(CALLER_ADDRESS, HeaderValue::from_static("10.9.9.9:9"));
            let (read, passed_on) = caller_of(&mut headers, &liar, "c");
            let read = read.unwrap();
            assert_eq!((read.peer, read.address), (liar.peer, liar.address));
            assert!(!passed_on && headers.is_empty());
        }
        let ended = caller(Some(Role::Scheduler), true);
        let mut headers = HeaderMap::new();
        headers.insert(CALLER, HeaderValue::from_static("admin root"));
        assert_eq!(caller_of(&mut headers, &ended, "c").0.unwrap().peer, ended.peer);
    }
}

//! Whoever asks a scheduler that does not lead is answered by the one that does: it passes the call on.
//!
//! **Invariant:** who calls is what the certificate of the first connection says. It travels in a
//! header that is believed from schedulers only, and a call is passed on once.

use std::{
    future::Future,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    HeaderMap, Request, Response,
    body::{Frame, SizeHint},
    header::HeaderName,
    http::HeaderValue,
};
use model::{
    story,
    token::{Hex, Role, unhex},
};
use parking_lot::Mutex;
use proto::transport::{self, Identity, Peer};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status, body::Body, metadata::MetadataValue, transport::Channel};
use tower::{Layer, Service};

use crate::{
    clock,
    listener::Caller,
    log::{ReplicatedLog, SHUT_OUT, Standing},
    pki::{Fingerprint, Keys, View, fingerprint},
};

/// Calls between schedulers are for the one they are made to.
const REPLICA: &str = "/siso.v1.Replica/";
/// Answered by whoever is asked when the leader is gone: without a majority there never is another one.
const SCHEDULERS_CALL: &str = "/siso.v1.Control/ListSchedulers";
/// Who called the scheduler that passes a call on: `ROLE ID`, behind a `-` when the certificate has
/// ended, or nothing for a caller without one.
const CALLER: HeaderName = HeaderName::from_static("siso-caller");
/// The fingerprint of the authority of its certificate, in hexadecimal.
const CALLER_AUTHORITY: HeaderName = HeaderName::from_static("siso-caller-authority");
/// The address of whoever that was.
const CALLER_ADDRESS: HeaderName = HeaderName::from_static("siso-caller-address");
/// Tells people where the schedulers are, with commas between.
const SCHEDULERS: HeaderName = HeaderName::from_static(transport::SCHEDULERS_HEADER);
/// Tells people the fingerprints of the authorities, the one that signs first.
const AUTHORITIES: HeaderName = HeaderName::from_static(transport::AUTHORITIES_HEADER);
/// To a finished handshake with the leader.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a call waits while nobody leads: longer than an election takes.
const ELECTION_TIMEOUT: Duration = Duration::from_secs(5);
/// The same when somebody asks how the schedulers are: that nobody leads is what they want to know.
const LOOK_TIMEOUT: Duration = Duration::from_secs(1);

/// The way to whoever leads.
pub(crate) struct Forward {
    log: Arc<dyn ReplicatedLog>,
    cluster: String,
    keys: Arc<Keys>,
    /// Ends what is passed on when the scheduler stops.
    stop: CancellationToken,
    /// The connections to the leader, where it is, and the face shown there.
    open: Mutex<Vec<Option<Open>>>,
}

type Open = (String, Arc<Identity>, Channel);

/// Connections to the leader: one for strangers, one for people, the rest for nodes; and the same once
/// more for what flows until somebody stops reading, and for forwarded connections, where programs do. Whoever fills
/// one up, or does not read from it, holds up nobody of another kind.
const LANES: usize = 3 * KINDS;
const KINDS: usize = 10;
/// Calls that carry logs and what is typed.
const FLOWING: [&str; 3] =
    ["/siso.v1.Agent/Relay", "/siso.v1.Control/Logs", "/siso.v1.Control/Exec"];
const FORWARDED: &str = "/siso.v1.Control/PortForward";

fn lane(caller: &Caller, path: &str) -> usize {
    let first = match path {
        FORWARDED => 2 * KINDS,
        path if FLOWING.contains(&path) => KINDS,
        _ => 0,
    };
    let Some(peer) = &caller.peer else { return first };
    if peer.role != Role::Node {
        return first + 1;
    }
    let bytes = peer.id.bytes().map(usize::from);
    let sum = bytes.fold(0, |sum: usize, byte| sum.wrapping_mul(31).wrapping_add(byte));
    first + 2 + sum % (KINDS - 2)
}

impl Forward {
    pub(crate) fn new(
        log: Arc<dyn ReplicatedLog>,
        cluster: String,
        keys: Arc<Keys>,
        stop: CancellationToken,
    ) -> Self {
        Self { log, cluster, keys, stop, open: Mutex::new(vec![None; LANES]) }
    }

    /// Where the schedulers are, for people: theirs may be gone the next time.
    fn whereabouts(&self, caller: &Caller) -> Option<Told> {
        caller.peer.as_ref().filter(|peer| peer.role == Role::Admin)?;
        let standing = self.log.standing();
        let voters = standing.borrow().voters.clone();
        let addresses: Vec<_> = voters.into_iter().map(|(_, address)| address).collect();
        let schedulers = HeaderValue::try_from(addresses.join(",")).ok()?;
        Some(Told { schedulers, authorities: authorities(&self.keys.view()) })
    }

    /// Notes whose context was used, with a certificate of which authority.
    fn note(&self, caller: &Caller) {
        let admin = caller.peer.as_ref().filter(|peer| peer.role == Role::Admin && !caller.expired);
        if let (Some(peer), Some(authority)) = (admin, caller.authority) {
            self.keys.context_used((&peer.id, caller.address.ip()), authority, clock::now());
        }
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

    /// Why whoever is on the other side of a connection is answered nothing else: there is no place for it, or
    /// it may take part no longer.
    fn refuses(&self, by: &Caller) -> Option<Status> {
        if let Some(why) = &by.turned_away {
            let text = format!("{why}\nhint: try another scheduler, or later");
            return Some(Status::resource_exhausted(text));
        }
        let refused = self.check_member(by).err()?;
        tracing::warn!(address = %by.address, why = refused.message(), "a call was refused");
        Some(refused)
    }

    /// Where the leader is, within `limit`; `None` when it is this scheduler, or nobody.
    async fn leader(&self, limit: Duration) -> Option<String> {
        let mut standing = self.log.standing();
        let known = standing.wait_for(|standing| {
            standing.leads() || standing.leader_address().is_some() || standing.failed.is_some()
        });
        let known = timeout(limit, known).await.ok()?.ok()?;
        known.leader_address().filter(|_| !known.leads()).map(str::to_owned)
    }

    /// Returns once what was passed on to who leads at `address` is answered no longer: somebody else
    /// leads, for a leader without power ends no connection by itself; or this scheduler stops, which a
    /// stream that is passed on would hold up.
    async fn ended(&self, address: String) -> Status {
        let other = |standing: &Standing| {
            let another = |known: &str| known != address;
            standing.leads() || standing.leader_address().is_some_and(another)
        };
        let mut standing = self.log.standing();
        tokio::select! {
            // When the log is gone, nobody leads here.
            _ = standing.wait_for(other) => {
                Status::unavailable("the scheduler that led does not lead any more")
            }
            () = self.stop.cancelled() => Status::unavailable("the scheduler stops"),
        }
    }

    fn channel(&self, address: String, lane: usize) -> Result<Channel, Status> {
        let face = self.keys.face().load_full();
        let mut open = self.open.lock();
        let Some(open) = open.get_mut(lane) else { return Err(Status::internal("no such lane")) };
        if let Some((held, shown, channel)) = &*open
            && *held == address
            && Arc::ptr_eq(shown, &face)
        {
            return Ok(channel.clone());
        }
        let endpoint = std::slice::from_ref(&address);
        let channel = transport::watched_channel(endpoint, &face, CONNECT_TIMEOUT)
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

/// The fingerprints of the authorities, the one that signs first; `None` while none was replaced.
fn authorities(view: &View) -> Option<HeaderValue> {
    let signs = view.certificate(view.issuing).filter(|_| view.step > 0)?;
    let others = view.trusted.iter().map(|(_, certificate)| certificate);
    let all = std::iter::once(signs).chain(others.filter(|other| *other != signs));
    let all: Vec<_> = all.map(|one| Hex(&fingerprint(one)).to_string()).collect();
    HeaderValue::try_from(all.join(",")).ok()
}

fn write_caller(caller: &Caller) -> HeaderValue {
    let words = caller.peer.as_ref().map_or_else(String::new, |peer| {
        let ended = if caller.expired { "-" } else { "" };
        format!("{ended}{} {}", peer.role.as_str(), peer.id)
    });
    // Ids are plain words; one that is none of ours is nobody.
    HeaderValue::try_from(words).unwrap_or_else(|_| HeaderValue::from_static(""))
}

fn read_caller(
    words: &str,
    cluster: &str,
    (address, authority): (SocketAddr, Option<Fingerprint>),
) -> Option<Caller> {
    if words.is_empty() {
        return Some(Caller {
            address,
            peer: None,
            expired: false,
            authority: None,
            turned_away: None,
        });
    }
    let live = words.strip_prefix('-');
    let (role, id) = live.unwrap_or(words).split_once(' ')?;
    let role = [Role::Node, Role::Admin].into_iter().find(|known| known.as_str() == role)?;
    let peer = Peer { cluster: cluster.to_owned(), role, id: id.to_owned() };
    let (peer, expired) = (Some(Arc::new(peer)), live.is_some());
    Some(Caller { address, peer, expired, authority, turned_away: None })
}

/// Who calls, by whom the call was passed on if it was. Afterwards the header is gone.
fn caller_of(headers: &mut HeaderMap, caller: &Caller, cluster: &str) -> (Option<Caller>, bool) {
    let said = headers.remove(CALLER);
    let address = headers.remove(CALLER_ADDRESS);
    let authority = headers.remove(CALLER_AUTHORITY);
    let by_scheduler = caller.peer.as_ref().is_some_and(|peer| peer.role == Role::Scheduler);
    match said {
        Some(words) if by_scheduler && !caller.expired => {
            let words = words.to_str().ok();
            // A scheduler of the version before does not say.
            let address = address.and_then(|said| said.to_str().ok()?.parse().ok());
            let address = address.unwrap_or(caller.address);
            let authority = authority.and_then(|said| unhex(said.to_str().ok()?));
            (words.and_then(|words| read_caller(words, cluster, (address, authority))), true)
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
        if let Some(refused) = forward.refuses(&by) {
            return Box::pin(async move { Ok(refused.into_http()) });
        }
        let (caller, passed_on) = caller_of(request.headers_mut(), &by, &forward.cluster);
        let Some(caller) = caller else {
            let refused = Status::unauthenticated("the call was passed on for nobody known");
            return Box::pin(async move { Ok(refused.into_http()) });
        };
        if let Some(authority) =
            caller.authority.filter(|authority| !forward.keys.trusts(authority))
        {
            let authority = Hex(&authority).to_string();
            tracing::warn!(address = %caller.address, authority, "a call was refused");
            let refused =
                Status::unauthenticated("the authority of the certificate is trusted no more");
            return Box::pin(async move { Ok(refused.into_http()) });
        }
        request.extensions_mut().insert(caller.clone());
        let path = request.uri().path();
        let here = path.starts_with(REPLICA) || forward.log.standing().borrow().leads();
        let instead = (path == SCHEDULERS_CALL && !passed_on).then(|| same_without_words(&request));
        let told = if passed_on { None } else { forward.whereabouts(&caller) };
        if here {
            forward.note(&caller);
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
            let limit = if instead.is_some() { LOOK_TIMEOUT } else { ELECTION_TIMEOUT };
            let Some(leader) = forward.leader(limit).await else {
                return Ok(tell(inner.call(request).await?, told));
            };
            request.headers_mut().insert(CALLER, write_caller(&caller));
            if let Ok(address) = HeaderValue::try_from(caller.address.to_string()) {
                request.headers_mut().insert(CALLER_ADDRESS, address);
            }
            if let Some(authority) = caller.authority
                && let Ok(authority) = HeaderValue::try_from(Hex(&authority).to_string())
            {
                request.headers_mut().insert(CALLER_AUTHORITY, authority);
            }
            let lane = lane(&caller, request.uri().path());
            Ok(match forward.channel(leader.clone(), lane) {
                Ok(channel) => {
                    let ended = async move { forward.ended(leader).await };
                    let answer = pass_on(channel, request, Box::pin(ended)).await;
                    if let Some(instead) = instead.filter(|_| is_unavailable(&answer)) {
                        return Ok(tell(inner.call(instead).await?, told));
                    }
                    if answer.headers().contains_key(SHUT_OUT) {
                        // It was this scheduler that was refused, not whoever asks.
                        let text = "this scheduler was removed from the cluster: ask another";
                        return Ok(tell(Status::unavailable(text).into_http(), told));
                    }
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
    let mut same = Request::new(Body::new(Full::new(Bytes::from_static(&EMPTY))));
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

/// What people are told besides the answer.
struct Told {
    schedulers: HeaderValue,
    authorities: Option<HeaderValue>,
}

fn tell(mut answer: Response<Body>, told: Option<Told>) -> Response<Body> {
    if let Some(Told { schedulers, authorities }) = told {
        answer.headers_mut().insert(SCHEDULERS, schedulers);
        authorities.and_then(|told| answer.headers_mut().insert(AUTHORITIES, told));
    }
    answer
}

/// Why what was passed on is answered no longer, as soon as it is.
type Ended = Pin<Box<dyn Future<Output = Status> + Send>>;

async fn pass_on(channel: Channel, request: Request<Body>, mut ended: Ended) -> Response<Body> {
    let answered = tokio::select! {
        answered = answer_of(channel, request) => answered,
        why = &mut ended => return why.into_http(),
    };
    answered.map(|body| Body::new(Until { body, ended: Some(ended) }))
}

/// An answer that ends when there is a reason for it, which its caller is told.
struct Until<B> {
    body: B,
    /// `None` once that is told.
    ended: Option<Ended>,
}

impl<B> hyper::body::Body for Until<B>
where
    B: hyper::body::Body<Data = Bytes, Error = Status> + Unpin,
{
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Self { body, ended } = &mut *self;
        let Some(reason) = ended else { return Poll::Ready(None) };
        // What has arrived is told first.
        if let Poll::Ready(frame) = Pin::new(body).poll_frame(context) {
            return Poll::Ready(frame);
        }
        let why = ready!(reason.as_mut().poll(context));
        *ended = None;
        let mut trailers = HeaderMap::new();
        // Fixed words are good headers.
        drop(why.add_header(&mut trailers));
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.ended.is_none() || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

async fn answer_of(mut channel: Channel, request: Request<Body>) -> Response<Body> {
    let failed = |error: tonic::transport::Error| {
        let text = format!("the leader cannot be reached: {}", story(&error));
        Status::unavailable(text).into_http()
    };
    if let Err(error) = std::future::poll_fn(|context| channel.poll_ready(context)).await {
        return failed(error);
    }
    channel.call(request).await.unwrap_or_else(failed)
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
        let authority = Some([7; 32]);
        Caller {
            address: "10.0.0.1:1".parse().unwrap(),
            peer,
            expired,
            authority,
            turned_away: None,
        }
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
            let authority = HeaderValue::try_from("07".repeat(32)).unwrap();
            let mut headers = HeaderMap::from_iter([
                (CALLER, write_caller(&first)),
                (CALLER_ADDRESS, address),
                (CALLER_AUTHORITY, authority),
            ]);
            let (read, passed_on) = caller_of(&mut headers, &by, "c");
            let read = read.unwrap();
            assert!(passed_on && headers.is_empty());
            assert_eq!((&read.peer, read.expired), (&first.peer, first.expired));
            assert_eq!(read.authority, first.peer.and(first.authority));
            assert_eq!(read.address, "10.9.9.9:9".parse().unwrap());
        }
    }

    #[tokio::test]
    async fn an_answer_ends_when_somebody_else_leads() {
        use http_body_util::BodyExt as _;
        let (frames, receiver) = tokio::sync::mpsc::channel(2);
        let (elected, election) = tokio::sync::oneshot::channel::<()>();
        let stream = tokio_stream::wrappers::ReceiverStream::new(receiver);
        let body = http_body_util::StreamBody::new(stream);
        let ended: Ended = Box::pin(async move {
            drop(election.await);
            Status::unavailable("another leads")
        });
        let mut body = Until { body, ended: Some(ended) };
        frames.send(Ok(Frame::data(Bytes::from_static(b"one")))).await.unwrap();
        let first = body.frame().await.unwrap().unwrap();
        assert_eq!(first.into_data().unwrap(), "one");
        elected.send(()).unwrap();
        let trailers = body.frame().await.unwrap().unwrap().into_trailers().unwrap();
        let ended = Status::from_header_map(&trailers).unwrap();
        assert_eq!(ended.code(), Code::Unavailable, "{ended}");
        assert!(body.frame().await.is_none());
    }

    #[test]
    fn only_schedulers_speak_for_others() {
        for role in [None, Some(Role::Node), Some(Role::Admin)] {
            let liar = caller(role, false);
            let mut headers = HeaderMap::new();
            headers.insert(CALLER, HeaderValue::from_static("admin root"));
            headers.insert(CALLER_ADDRESS, HeaderValue::from_static("10.9.9.9:9"));
            headers.insert(CALLER_AUTHORITY, HeaderValue::from_static("ff"));
            let (read, passed_on) = caller_of(&mut headers, &liar, "c");
            let read = read.unwrap();
            assert_eq!((read.peer, read.address), (liar.peer, liar.address));
            assert_eq!(read.authority, liar.authority);
            assert!(!passed_on && headers.is_empty());
        }
        let ended = caller(Some(Role::Scheduler), true);
        let mut headers = HeaderMap::new();
        headers.insert(CALLER, HeaderValue::from_static("admin root"));
        assert_eq!(caller_of(&mut headers, &ended, "c").0.unwrap().peer, ended.peer);
    }

    #[test]
    fn what_flows_has_lanes_of_its_own() {
        for role in [None, Some(Role::Admin), Some(Role::Node)] {
            let caller = caller(role, false);
            let asks = lane(&caller, "/siso.v1.Agent/Session");
            let flows = FLOWING.map(|path| lane(&caller, path));
            assert!(asks < KINDS && flows.iter().all(|lane| (KINDS..LANES).contains(lane)));
        }
    }
}

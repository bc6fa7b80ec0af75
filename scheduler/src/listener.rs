//! The one port: accepts connections, ends their TLS, knows who is on the other side.
//!
//! **Invariant:** whoever stalls holds up only itself. Every handshake runs in its own task with a
//! time limit, and the number of connections is limited, for each kind of caller by itself ([`Places`]).

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, SystemTime},
};

use futures::{FutureExt as _, future::BoxFuture};
use model::token::Role;
use proto::transport::{self, Peer};
use rustls::pki_types::CertificateDer;
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::{Sleep, sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Connected;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::{
    operators::Removed,
    pki::{Fingerprint, Keys},
    places::{Kind, Place, Places, Seat},
    refusals::{Refusals, Refused, words},
};

/// From the first byte to the end of the TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection that was refused is kept for its other side to hear why.
const LINGER: Duration = Duration::from_secs(1);
/// From the handshake to the first complete words of HTTP/2. Later silence is found by its pings.
const PREFACE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection may last whose client may do nothing but join.
const STRANGER_LIFE: Duration = Duration::from_mins(1);
/// And one for which there is no place: long enough to ask once and hear so.
const TURNED_AWAY_LIFE: Duration = Duration::from_secs(5);
/// What a client says first in HTTP/2 (RFC 9113 §3.4).
const PREFACE_BYTES: usize = 24;
/// Finds connections whose other side vanished without a word.
const TCP_KEEPALIVE: Duration = Duration::from_secs(15);
/// Connections with a finished handshake waiting to be served.
const BACKLOG: usize = 64;
/// After an accept failed for want of files or memory.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Who is on the other side of a connection.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    /// Its address.
    pub(crate) address: SocketAddr,
    /// Who its certificate says it is; `None` without a certificate.
    pub(crate) peer: Option<Arc<Peer>>,
    /// Whether that certificate has ended: good for renewal only.
    pub(crate) expired: bool,
    /// Who signed it; `None` when a scheduler that passes the call on does not say.
    pub(crate) authority: Option<Fingerprint>,
    /// Why there is no place for it: whatever it asks is answered with this.
    pub(crate) turned_away: Option<Arc<str>>,
}

impl Caller {
    /// The name of the operator it is.
    fn operator(&self) -> Option<&str> {
        let peer = self.peer.as_ref().filter(|peer| peer.role == Role::Admin);
        peer.map(|peer| peer.id.as_str())
    }

    /// Takes a place, for so long; the error says why it is not even told that there is none. Whoever may do
    /// nothing is a stranger: without a certificate, or with one of an operator who was removed.
    fn sit(
        &mut self,
        places: &Places,
        removed: &Removed,
    ) -> Result<(Option<Duration>, Place), String> {
        let shut_out = self.operator().is_some_and(|name| removed.has(name));
        let peer = self.peer.as_ref().filter(|_| !shut_out);
        let kind = Kind::of(peer.map(|peer| peer.role));
        match places.seat(kind) {
            Seat::Own(place) => Ok(((kind == Kind::Stranger).then_some(STRANGER_LIFE), place)),
            Seat::Told(place, why) => {
                self.turned_away = Some(why.into());
                Ok((Some(TURNED_AWAY_LIFE), place))
            }
            Seat::None(why) => Err(why),
        }
    }
}

/// One accepted connection.
pub(crate) struct Connection {
    stream: TlsStream<TcpStream>,
    caller: Caller,
    /// When the connection ends: if the client has not said its first words by then, or in any case
    /// for a stranger.
    end: Option<Pin<Box<Sleep>>>,
    /// The client is nobody any more: the authority of its certificate is trusted no more, or its operator
    /// was removed.
    distrusted: Option<BoxFuture<'static, ()>>,
    heard: usize,
    /// How long it may last from its first words on.
    life: Option<Duration>,
    _place: Place,
}

impl Connection {
    fn new(
        stream: TlsStream<TcpStream>,
        (caller, distrusted): (Caller, Option<BoxFuture<'static, ()>>),
        (life, place): (Option<Duration>, Place),
    ) -> Self {
        let end = Some(Box::pin(sleep(PREFACE_TIMEOUT)));
        Self { stream, caller, end, distrusted, heard: 0, life, _place: place }
    }
}

impl Connected for Connection {
    type ConnectInfo = Caller;

    fn connect_info(&self) -> Caller {
        self.caller.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(end) = &mut self.end
            && end.as_mut().poll(context).is_ready()
        {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        if let Some(distrusted) = &mut self.distrusted
            && distrusted.as_mut().poll(context).is_ready()
        {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        let silent = self.heard < PREFACE_BYTES;
        self.heard = self.heard.saturating_add(buffer.filled().len() - before);
        if silent && self.heard >= PREFACE_BYTES {
            self.end = self.life.map(|life| Box::pin(sleep(life)));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

/// Accepts until `stop`; connections that passed TLS come out of the stream. `cluster` is the only
/// cluster whose certificates count; why others are refused stands in the log, not in the answer.
pub(crate) fn accept(
    listener: TcpListener,
    keys: Arc<Keys>,
    (cluster, places): (String, Arc<Places>),
    (removed, refusals): (Removed, Refusals),
    stop: CancellationToken,
) -> ReceiverStream<io::Result<Connection>> {
    let (sender, receiver) = mpsc::channel(BACKLOG);
    let accepting = async move {
        let (cluster, tls): (Arc<str>, _) = (cluster.into(), keys.tls());
        loop {
            let (tcp, address) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    sleep(ACCEPT_RETRY).await;
                    continue;
                }
            };
            let Some(entry) = places.enter(address.ip()) else {
                tell(&refusals, address, &"too many have not said yet who they are");
                continue;
            };
            let Some(handshaking) = places.handshake().await else { return };
            let acceptor = TlsAcceptor::from(tls.load_full());
            let (sender, cluster) = (sender.clone(), Arc::clone(&cluster));
            let keys = Arc::clone(&keys);
            let (places, removed, refusals) =
                (Arc::clone(&places), removed.clone(), refusals.clone());
            tokio::spawn(async move {
                let shaken = tokio::select! {
                    shaken = handshake(tcp, address, acceptor, (&cluster, &keys)) => shaken,
                    () = entry.cut.cancelled() => {
                        Err(io::Error::other("it stood still, and others came"))
                    }
                };
                drop((entry, handshaking));
                match shaken {
                    Ok((stream, mut caller, trust)) => {
                        let seat = caller.sit(&places, &removed);
                        let (life, place) = match seat {
                            Ok(seat) => seat,
                            Err(why) => return tell(&refusals, address, &why),
                        };
                        if let Some(why) = &caller.turned_away {
                            tell(&refusals, address, why);
                        }
                        let cut = trust.map(|trust| cut(caller.clone(), trust, removed).boxed());
                        let connection = Connection::new(stream, (caller, cut), (life, place));
                        // The server is gone when nobody receives.
                        drop(sender.send(Ok(connection)).await);
                    }
                    Err(error) => tell(&refusals, address, &error),
                }
            });
        }
    };
    tokio::spawn(stop.run_until_cancelled_owned(accepting));
    ReceiverStream::new(receiver)
}

/// Returns once the client is nobody any more. One whose operator was removed before it came is heard, and
/// told so.
async fn cut(caller: Caller, trust: CancellationToken, removed: Removed) {
    match caller.operator().filter(|name| !removed.has(name)) {
        Some(name) => {
            let name = name.to_owned();
            tokio::select! {
                () = trust.cancelled() => {}
                () = removed.once(name) => {}
            }
        }
        None => trust.cancelled().await,
    }
}

fn tell(refusals: &Refusals, address: SocketAddr, error: &dyn std::fmt::Display) {
    if let Some(untold) = refusals.note(Refused::Connection) {
        let error = error.to_string();
        tracing::warn!(%address, error = words(&error), untold, "a connection was refused");
    }
}

async fn handshake(
    tcp: TcpStream,
    address: SocketAddr,
    acceptor: TlsAcceptor,
    (cluster, keys): (&str, &Keys),
) -> io::Result<(TlsStream<TcpStream>, Caller, Option<CancellationToken>)> {
    transport::tune(&tcp)?;
    let keepalive = TcpKeepalive::new().with_time(TCP_KEEPALIVE).with_interval(TCP_KEEPALIVE);
    SockRef::from(&tcp).set_tcp_keepalive(&keepalive)?;
    let handshake = timeout(HANDSHAKE_TIMEOUT, acceptor.accept(tcp).into_fallible());
    let stream = match handshake.await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))? {
        Ok(stream) => stream,
        Err((error, tcp)) => {
            // Whether it was heard out or not, this is why.
            let _ = timeout(LINGER, hear_out(tcp)).await;
            return Err(error);
        }
    };
    let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
    let mut caller = caller(address, certificate, cluster)?;
    let Some(certificate) = certificate else { return Ok((stream, caller, None)) };
    // It may have been given up while this handshake was on its way.
    let signer = keys.signer(certificate).ok_or_else(|| {
        io::Error::other("its certificate is of an authority that is trusted no more")
    })?;
    caller.authority = Some(signer.0);
    Ok((stream, caller, Some(signer.1)))
}

/// Says nothing more and reads what still comes. Closed with something unread, the other side's system
/// would throw away the alert that says why.
async fn hear_out(mut tcp: TcpStream) {
    let mut unheard = [0; 1024];
    // An end of any kind is one.
    let _ = tcp.shutdown().await;
    while matches!(tcp.read(&mut unheard).await, Ok(1..)) {}
}

fn caller(
    address: SocketAddr,
    certificate: Option<&CertificateDer<'_>>,
    cluster: &str,
) -> io::Result<Caller> {
    let Some(certificate) = certificate else {
        return Ok(Caller {
            address,
            peer: None,
            expired: false,
            authority: None,
            turned_away: None,
        });
    };
    let peer = transport::peer_of(certificate).map_err(io::Error::other)?;
    if peer.cluster != cluster {
        return Err(io::Error::other("its certificate belongs to another cluster"));
    }
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(io::Error::other)?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let end = u64::try_from(parsed.validity().not_after.timestamp()).unwrap_or(0);
    let expired = now.as_secs() > end;
    let peer = Some(Arc::new(peer));
    Ok(Caller { address, peer, expired, authority: None, turned_away: None })
}

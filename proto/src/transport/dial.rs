//! One TLS connection to the first scheduler that answers.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::{StreamExt as _, stream::FuturesUnordered};
use model::token::Role;
use rustls::{ClientConfig, client::Resumption, pki_types::ServerName};
use tokio::{
    net::TcpStream,
    time::{sleep, timeout},
};
use tokio_rustls::TlsConnector;

use super::{
    Identity, SERVER_NAME, TransportError, peer_of,
    pinned::Pinned,
    socket::tune,
    stream::{LastWords, Stream},
};

/// The longest address: a DNS name has at most 253 characters, a port 5.
const ENDPOINT_MAX: usize = 260;
/// How long an endpoint is waited for before the next one is dialled beside it. A machine without power
/// refuses nobody, and whoever dials it first would learn so only at the limit. More than a handshake
/// takes between countries.
const HEAD_START: Duration = Duration::from_millis(300);

/// How long a connection may take before another one to the same endpoint is begun beside it: a first
/// packet that is lost costs TCP a second, the second one two more (RFC 6298), and whoever has eight
/// seconds until it counts as gone cannot wait for the third.
const AGAIN: Duration = Duration::from_secs(1);
/// How often that is done: none is left to chance where a fifth of all packets is lost, and an endpoint
/// that is not there hardly notices.
const AGAIN_MAX: u32 = 3;

/// Told which endpoint answers and why those before it did not, when there are some.
pub type Tell = Arc<dyn Fn(&str, &[TransportError]) + Send + Sync>;

/// Dials schedulers, the one that worked last first.
pub(super) struct Dialer {
    endpoints: Vec<String>,
    /// Index of the endpoint to begin with.
    preferred: AtomicUsize,
    connector: Connector,
    /// For each endpoint: name resolution, TCP and TLS together.
    limit: Duration,
    tell: Option<Tell>,
    last_words: LastWords,
}

impl std::fmt::Debug for Dialer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dialer").field("endpoints", &self.endpoints).finish_non_exhaustive()
    }
}

struct Connector(TlsConnector);

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connector")
    }
}

impl Dialer {
    pub(super) fn new(
        endpoints: &[String],
        config: ClientConfig,
        limit: Duration,
    ) -> Result<Self, TransportError> {
        if endpoints.is_empty() {
            return Err(TransportError::NoEndpoint);
        }
        endpoints.iter().try_for_each(|endpoint| check(endpoint))?;
        Ok(Self {
            endpoints: endpoints.to_vec(),
            preferred: AtomicUsize::new(0),
            connector: Connector(TlsConnector::from(Arc::new(config))),
            limit,
            tell: None,
            last_words: LastWords::default(),
        })
    }

    pub(super) fn telling(self, tell: Tell, last_words: LastWords) -> Self {
        Self { tell: Some(tell), last_words, ..self }
    }

    /// Connects to the endpoint that is the first to answer as a scheduler, and remembers it. They are
    /// dialled one after the other, each once the one before has failed or had its head start.
    pub(super) async fn dial(&self) -> Result<Stream, TransportError> {
        let count = self.endpoints.len();
        let first = self.preferred.load(Ordering::Relaxed);
        let mut waiting = (first..count).chain(0..first.min(count));
        let (mut racing, mut failures) = (FuturesUnordered::new(), Vec::new());
        loop {
            let next = waiting.next();
            if let Some((index, endpoint)) =
                next.and_then(|index| Some((index, self.endpoints.get(index)?)))
            {
                racing.push(async move { (index, self.dial_within(endpoint).await) });
            }
            let answer = tokio::select! {
                answer = racing.next() => answer,
                () = sleep(HEAD_START), if next.is_some() => continue,
            };
            match answer {
                Some((index, Ok(stream))) => {
                    self.preferred.store(index, Ordering::Relaxed);
                    if let Some(tell) = self.tell.as_ref().filter(|_| !failures.is_empty()) {
                        let answers = self.endpoints.get(index).map_or("", String::as_str);
                        tell(answers, &failures);
                    }
                    return Ok(stream);
                }
                Some((_, Err(failure))) => failures.push(failure),
                None => break,
            }
        }
        match failures.pop() {
            Some(only) if failures.is_empty() => Err(only),
            Some(last) => {
                failures.push(last);
                Err(TransportError::AllFailed(failures))
            }
            None => Err(TransportError::NoEndpoint),
        }
    }

    async fn dial_within(&self, endpoint: &str) -> Result<Stream, TransportError> {
        let late =
            |_| TransportError::TimedOut { endpoint: endpoint.to_owned(), limit: self.limit };
        timeout(self.limit, self.dial_again(endpoint)).await.map_err(late)?
    }

    /// The first of several attempts that succeeds, each begun beside those before it.
    async fn dial_again(&self, endpoint: &str) -> Result<Stream, TransportError> {
        let mut racing = FuturesUnordered::new();
        racing.push(self.dial_one(endpoint));
        let mut more = AGAIN_MAX;
        loop {
            let answer = tokio::select! {
                Some(answer) = racing.next() => answer,
                () = sleep(AGAIN), if more > 0 => {
                    more = more.saturating_sub(1);
                    racing.push(self.dial_one(endpoint));
                    continue;
                }
            };
            // What refuses one refuses all; only when others are under way they may still tell otherwise.
            if answer.is_ok() || racing.is_empty() {
                return answer;
            }
        }
    }

    async fn dial_one(&self, endpoint: &str) -> Result<Stream, TransportError> {
        let failed = |cause| TransportError::Connect { endpoint: endpoint.to_owned(), cause };
        let tcp = TcpStream::connect(endpoint).await.map_err(failed)?;
        tune(&tcp).map_err(failed)?;
        let name = ServerName::try_from(SERVER_NAME)
            .map_err(|error| failed(std::io::Error::other(error)))?;
        let tls = self
            .connector
            .0
            .connect(name, tcp)
            .await
            .map_err(|cause| TransportError::of_handshake(endpoint, cause))?;
        let certificate = tls.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let peer = peer_of(certificate.map_or(&[][..], |certificate| certificate))?;
        if peer.role != Role::Scheduler {
            let why = format!("its certificate is that of the {} {}", peer.role.as_str(), peer.id);
            return Err(TransportError::Untrusted { endpoint: endpoint.to_owned(), why });
        }
        Ok(Stream::new(tls, endpoint, self.last_words.clone()))
    }
}

fn check(endpoint: &str) -> Result<(), TransportError> {
    let is_good = endpoint.len() <= ENDPOINT_MAX
        && endpoint.rsplit_once(':').is_some_and(|(host, port)| {
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
            let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
            let host_is_good = match bracketed {
                Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
                None => !host.is_empty() && host.chars().all(plain),
            };
            host_is_good && port.parse::<u16>().is_ok_and(|port| port > 0)
        });
    if is_good { Ok(()) } else { Err(TransportError::BadEndpoint(endpoint.to_owned())) }
}

/// Mutual TLS: believes the authorities of `identity` and presents its certificate.
pub(super) fn mutual(identity: &Identity) -> Result<ClientConfig, TransportError> {
    let config = builder()?
        .with_root_certificates(identity.roots()?)
        .with_client_auth_cert(identity.chain()?, identity.private_key()?)
        .map_err(|error| TransportError::Identity {
            what: "certificate with its key",
            why: error.to_string(),
        })?;
    Ok(finish(config))
}

/// TLS without a certificate of one's own: believes only the authority with this hash.
pub(super) fn pinned(authority_sha256: [u8; 32]) -> Result<ClientConfig, TransportError> {
    let verifier = Pinned::new(authority_sha256, provider());
    let config = builder()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(finish(config))
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

type Builder = rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>;

fn builder() -> Result<Builder, TransportError> {
    ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| TransportError::Identity { what: "TLS setup", why: error.to_string() })
}

fn finish(mut config: ClientConfig) -> ClientConfig {
    config.alpn_protocols = vec![b"h2".to_vec()];
    // A resumed session would keep a certificate that was renewed or refused since.
    config.resumption = Resumption::disabled();
    config
}

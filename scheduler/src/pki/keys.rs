//! The keys of a scheduler, and what follows from them for every connection.
//!
//! **Invariant:** what is in force lies on the disk before it is in force, and nothing goes back: a view of
//! the log that is older than the one on the disk changes nothing. A scheduler that starts reads its log
//! from others, and must be believed by them before it knows what they agreed on.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use arc_swap::ArcSwap;
use model::{RequestId, Timestamp};
use parking_lot::Mutex;
use proto::transport;
use rustls::pki_types::CertificateDer;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{
    Authority, Fingerprint, OwnIdentity, PkiError, TlsSettings,
    contexts::{Contexts, SeenContext},
    fingerprint, hash_secret, own,
    ring::{self, Ring},
};
use crate::log::OwnFace;

pub(crate) use ring::View;

/// See the module.
pub(crate) struct Keys {
    directory: PathBuf,
    /// What certificates call the cluster.
    cluster: String,
    /// What is shown to whoever connects, and to whom this scheduler connects.
    server: OwnIdentity,
    client: OwnIdentity,
    ring: ArcSwap<Ring>,
    /// One change at a time.
    changing: Mutex<()>,
    tls: TlsSettings,
    face: OwnFace,
    /// What the two are made of.
    made_of: Mutex<Option<MadeOf>>,
    /// The step all of it is in force for.
    in_force: watch::Sender<Option<u64>>,
    /// For each authority that is trusted what ends with it.
    ends: Mutex<BTreeMap<Fingerprint, CancellationToken>>,
    contexts: Contexts,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys").field("cluster", &self.cluster).finish_non_exhaustive()
    }
}

/// Certificates shown, and the authorities believed.
#[derive(PartialEq, Eq)]
struct MadeOf {
    server: String,
    client: String,
    trusted: String,
}

impl Keys {
    /// Those in `directory`, of the scheduler with this number, which is reached by `host`.
    pub(crate) fn open(
        directory: &Path,
        cluster: &str,
        (scheduler, host): (u64, &str),
    ) -> Result<Self, PkiError> {
        let ring = Ring::open(directory, cluster)?;
        let own = |stem| OwnIdentity::scheduler(directory, stem, scheduler, host);
        let (server, client) = (own("scheduler"), own("client"));
        let (tls, face, made_of) = make(&ring, &server, &client)?;
        let keys = Self {
            directory: directory.to_owned(),
            cluster: cluster.to_owned(),
            server,
            client,
            in_force: watch::Sender::new(Some(ring.view.step)),
            ring: ArcSwap::from_pointee(ring),
            changing: Mutex::default(),
            tls: Arc::new(ArcSwap::from_pointee(tls)),
            face: Arc::new(ArcSwap::from_pointee(face)),
            made_of: Mutex::new(Some(made_of)),
            ends: Mutex::default(),
            contexts: Contexts::default(),
        };
        keys.end_what_is_trusted_no_more();
        Ok(keys)
    }

    /// Those a scheduler that joins was given lie in `directory` from now on.
    pub(crate) fn adopt(
        directory: &Path,
        cluster: &str,
        given: &proto::v1::Authorities,
    ) -> Result<(), PkiError> {
        let damaged = |what| PkiError::Damaged { path: ring::path(directory), what };
        let (mut trusted, mut keys) = (Vec::new(), Vec::new());
        for one in &given.trusted {
            let authority = Authority::read(cluster, &one.key, &one.certificate);
            let authority = authority.map_err(damaged)?;
            trusted.push((one.number, authority.certificate().clone()));
            keys.push(Arc::new(authority));
        }
        let (step, issuing, presented) = (given.step, given.issuing, given.presented);
        let view = View { step, issuing, presented, trusted };
        if view.certificate(issuing).is_none() || view.certificate(presented).is_none() {
            return Err(damaged("what was given is not whole".to_owned()));
        }
        Ring { view, keys, former: Vec::new() }.write(directory)
    }

    /// The TLS of those who connect.
    pub(crate) fn tls(&self) -> TlsSettings {
        Arc::clone(&self.tls)
    }

    /// What is shown to those this scheduler connects to.
    pub(crate) fn face(&self) -> OwnFace {
        Arc::clone(&self.face)
    }

    /// What is in force.
    pub(crate) fn view(&self) -> View {
        self.ring.load().view.clone()
    }

    /// Tells when another step is in force.
    pub(crate) fn changes(&self) -> watch::Receiver<Option<u64>> {
        self.in_force.subscribe()
    }

    /// The step that is in force, and whether all keys it asks for are here.
    pub(crate) fn stand(&self) -> (u64, bool) {
        let ring = self.ring.load();
        let step = ring.view.step;
        (step, *self.in_force.borrow() == Some(step) && self.missing().is_empty())
    }

    /// The authority that signs; `None` while its key is not here.
    pub(crate) fn issuing(&self) -> Option<Arc<Authority>> {
        let ring = self.ring.load();
        ring.key(ring.view.certificate(ring.view.issuing)?).cloned()
    }

    /// The authority that join tokens name: the one whose certificate is shown.
    pub(crate) fn presented(&self) -> Option<Arc<Authority>> {
        let ring = self.ring.load();
        ring.key(ring.view.certificate(ring.view.presented)?).cloned()
    }

    /// All authorities that are trusted, as PEM.
    pub(crate) fn trusted_pem(&self) -> String {
        trusted_pem(&self.ring.load())
    }

    /// What a scheduler that joins is given besides the authority that is shown; `None` while none was
    /// replaced, or as long as a key is missing here.
    pub(crate) fn for_another(&self) -> Option<proto::v1::Authorities> {
        let ring = self.ring.load();
        let View { step, issuing, presented, trusted } = &ring.view;
        let one = |(number, certificate): &(u64, CertificateDer<'static>)| {
            let authority = ring.key(certificate)?;
            Some(proto::v1::Authority {
                number: *number,
                certificate: authority.pem().to_owned(),
                key: authority.key_pem(),
            })
        };
        let trusted = trusted.iter().map(one).collect::<Option<_>>()?;
        let (step, issuing, presented) = (*step, *issuing, *presented);
        (step > 0).then_some(proto::v1::Authorities { step, issuing, presented, trusted })
    }

    /// The secret of the token that this request made, and the authority it was made with: asked again
    /// later, another one may be shown.
    pub(crate) fn token_secret(
        &self,
        request: RequestId,
        hash: &[u8; 32],
    ) -> Option<([u8; 32], Fingerprint)> {
        let ring = self.ring.load();
        ring.keys.iter().find_map(|authority| {
            let secret = authority.token_secret(request);
            (hash_secret(&secret) == *hash).then(|| (secret, authority.fingerprint()))
        })
    }

    /// Whether an authority of this cluster has, or had, this fingerprint.
    pub(crate) fn knows(&self, authority: &Fingerprint) -> bool {
        let ring = self.ring.load();
        let mut trusted = ring.view.trusted.iter();
        trusted.any(|(_, certificate)| fingerprint(certificate) == *authority)
            || ring.former.contains(authority)
    }

    /// Whether certificates of this authority are believed.
    pub(crate) fn trusts(&self, authority: &Fingerprint) -> bool {
        self.ends.lock().contains_key(authority)
    }

    /// Who signed a certificate that TLS found good, and what tells that this is trusted no more. `None`
    /// when that is so already.
    pub(crate) fn signer(&self, certificate: &[u8]) -> Option<(Fingerprint, CancellationToken)> {
        let signer = fingerprint(self.ring.load().view.signer(certificate)?);
        let end = self.ends.lock().get(&signer).cloned()?;
        Some((signer, end))
    }

    /// The key of the authority with this fingerprint, for another scheduler and nobody else.
    pub(crate) fn key_of(&self, authority: &[u8]) -> Option<String> {
        let ring = self.ring.load();
        let held = ring.keys.iter().find(|held| held.fingerprint() == authority);
        held.map(|held| held.key_pem())
    }

    /// Certificates that are trusted and whose keys are not here.
    pub(crate) fn missing(&self) -> Vec<CertificateDer<'static>> {
        let ring = self.ring.load();
        let trusted = ring.view.trusted.iter().map(|(_, certificate)| certificate);
        trusted.filter(|certificate| ring.key(certificate).is_none()).cloned().collect()
    }

    /// Takes the key of a certificate that is trusted.
    pub(crate) fn add(&self, certificate: &CertificateDer<'_>, key: &str) -> Result<(), PkiError> {
        {
            let _turn = self.changing.lock();
            let authority = Authority::read(&self.cluster, key, &ring::pem(certificate));
            let damaged = |what| PkiError::Damaged { path: ring::path(&self.directory), what };
            let mut ring = Ring::clone(&self.ring.load());
            ring.keys.push(Arc::new(authority.map_err(damaged)?));
            ring.write(&self.directory)?;
            self.ring.store(Arc::new(ring));
        }
        self.refresh()
    }

    /// An authority that is to take the place of the one there is; its key lies on the disk. Asked again
    /// before it is trusted, it is the same.
    pub(crate) fn prepare(&self) -> Result<Arc<Authority>, PkiError> {
        let _turn = self.changing.lock();
        let mut ring = Ring::clone(&self.ring.load());
        if let Some(waiting) = ring.waiting().next() {
            return Ok(Arc::clone(waiting));
        }
        let another = Arc::new(Authority::another(&self.cluster)?);
        ring.keys.push(Arc::clone(&another));
        ring.write(&self.directory)?;
        self.ring.store(Arc::new(ring));
        Ok(another)
    }

    /// Puts in force what the log says, if that is news.
    pub(crate) fn take(&self, view: View) -> Result<(), PkiError> {
        {
            let _turn = self.changing.lock();
            let ring = self.ring.load();
            if view.step > ring.view.step {
                let (step, trusted) = (view.step, view.trusted.len());
                let ring = ring.with(view);
                ring.write(&self.directory)?;
                self.ring.store(Arc::new(ring));
                tracing::info!(step, trusted, "what is said of authorities was put in force");
            }
        }
        self.refresh()
    }

    /// Makes new certificates where the old ones are too old, or not of the authority they should be of;
    /// new connections get them. Ends connections of authorities that are trusted no more.
    pub(crate) fn refresh(&self) -> Result<(), PkiError> {
        let _turn = self.changing.lock();
        let ring = self.ring.load_full();
        let (tls, face, made_of) = make(&ring, &self.server, &self.client)?;
        let mut before = self.made_of.lock();
        if before.as_ref() != Some(&made_of) {
            self.tls.store(Arc::new(tls));
            self.face.store(Arc::new(face));
            *before = Some(made_of);
        }
        drop(before);
        self.end_what_is_trusted_no_more();
        let step = Some(ring.view.step);
        self.in_force.send_if_modified(|known| std::mem::replace(known, step) != step);
        Ok(())
    }

    fn end_what_is_trusted_no_more(&self) {
        let ring = self.ring.load();
        let trusted: Vec<_> =
            ring.view.trusted.iter().map(|(_, certificate)| fingerprint(certificate)).collect();
        let mut ends = self.ends.lock();
        ends.retain(|known, end| {
            let stays = trusted.contains(known);
            if !stays {
                end.cancel();
            }
            stays
        });
        for authority in trusted {
            ends.entry(authority).or_default();
        }
    }

    /// A person's context was used.
    pub(crate) fn context_used(&self, who: (&str, IpAddr), authority: Fingerprint, at: Timestamp) {
        self.contexts.used(who, authority, at);
    }

    /// A person's context got another certificate in the place of one of this authority.
    pub(crate) fn context_renewed(&self, who: (&str, IpAddr), authority: Fingerprint) {
        self.contexts.renewed(who, authority);
    }

    /// The contexts this scheduler has seen.
    pub(crate) fn contexts(&self) -> Vec<SeenContext> {
        self.contexts.seen()
    }
}

fn trusted_pem(ring: &Ring) -> String {
    ring.view.trusted.iter().map(|(_, certificate)| ring::pem(certificate)).collect()
}

/// What follows from a ring: the TLS of those who connect, and the face shown to others.
fn make(
    ring: &Ring,
    server: &OwnIdentity,
    client: &OwnIdentity,
) -> Result<(rustls::ServerConfig, transport::Identity, MadeOf), PkiError> {
    let View { issuing, presented, trusted, .. } = &ring.view;
    let key = |number| ring.key(ring.view.certificate(number)?);
    let lost = || PkiError::Issue("the key of the cluster's authority is not here".to_owned());
    let shown = key(*presented).ok_or_else(lost)?;
    let presents = server.of_now(shown)?;
    let tls = own::tls(&presents, shown, trusted.iter().map(|(_, certificate)| certificate))?;
    let called = match key(*issuing).filter(|_| issuing != presented) {
        Some(signs) => client.of_now(signs)?,
        None => presents.clone(),
    };
    let authorities = trusted_pem(ring);
    let made_of = MadeOf {
        server: presents.certificate,
        client: called.certificate.clone(),
        trusted: authorities.clone(),
    };
    let (certificate, key) = (called.certificate, called.key);
    Ok((tls, transport::Identity { authorities, certificate, key }, made_of))
}

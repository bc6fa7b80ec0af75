//! The authorities a scheduler holds, in one file, so that what is trusted, who signs and the keys are
//! always of one kind. A cluster in which none was replaced has `ca.key` and `ca.crt` instead.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use model::token::{Hex, unhex};
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use scheduler_core::cluster::{Authorities, FIRST_AUTHORITY};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::{Authority, Fingerprint, PkiError, authority::seal, fingerprint};
use crate::files;

/// The file, beside the directory's other keys.
const FILE: &str = "authorities";
/// The files of a cluster in which none was replaced.
const FIRST: [&str; 2] = ["ca.key", "ca.crt"];
/// Former authorities that are remembered, to know a token of theirs: one is replaced every few years.
const FORMER_MAX: usize = 16;
/// Where the key begins behind a certificate.
const KEY: &str = "-----BEGIN PRIVATE KEY-----";

/// What the log says of authorities, as far as connections need it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct View {
    /// Counts what changed.
    pub(crate) step: u64,
    /// The number of the one that signs.
    pub(crate) issuing: u64,
    /// The number of the one whose certificates are shown.
    pub(crate) presented: u64,
    /// Those that are trusted with their numbers, the newest last.
    pub(crate) trusted: Vec<(u64, CertificateDer<'static>)>,
}

impl From<&Authorities> for View {
    fn from(held: &Authorities) -> Self {
        let trusted = held.trusted.iter();
        Self {
            step: held.step,
            issuing: held.issuing(),
            presented: held.presented(),
            trusted: trusted
                .map(|one| (one.number, CertificateDer::from(one.certificate.clone())))
                .collect(),
        }
    }
}

impl View {
    /// That of a cluster with the authority it was founded with.
    fn founded(authority: &Authority) -> Self {
        let trusted = vec![(FIRST_AUTHORITY, authority.certificate().clone())];
        Self { step: 0, issuing: FIRST_AUTHORITY, presented: FIRST_AUTHORITY, trusted }
    }

    /// The certificate of this number.
    pub(crate) fn certificate(&self, number: u64) -> Option<&CertificateDer<'static>> {
        self.trusted.iter().find(|(known, _)| *known == number).map(|(_, certificate)| certificate)
    }

    /// The one that signed this certificate, which TLS has found to be of one of them: names are no two
    /// authorities'.
    pub(crate) fn signer(&self, certificate: &[u8]) -> Option<&CertificateDer<'static>> {
        let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
        let signed = |authority: &CertificateDer<'_>| {
            X509Certificate::from_der(authority)
                .is_ok_and(|(_, authority)| authority.subject() == certificate.issuer())
        };
        self.trusted.iter().map(|(_, authority)| authority).find(|authority| signed(authority))
    }
}

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Ring {
    pub(super) view: View,
    /// Those whose keys are here: of the trusted ones, and of one that is to become trusted.
    pub(super) keys: Vec<Arc<Authority>>,
    /// Those that were trusted once.
    pub(super) former: Vec<Fingerprint>,
}

impl Ring {
    /// What lies in `directory`.
    pub(super) fn open(directory: &Path, cluster: &str) -> Result<Self, PkiError> {
        let path = directory.join(FILE);
        match super::read(&path)? {
            Some(text) => parse(&text, cluster).map_err(|what| PkiError::Damaged { path, what }),
            None => Authority::open(directory, cluster).map(Self::founded),
        }
    }

    /// That of a cluster with the authority it was founded with.
    pub(super) fn founded(authority: Authority) -> Self {
        let view = View::founded(&authority);
        Self { view, keys: vec![Arc::new(authority)], former: Vec::new() }
    }

    /// Makes it what lies in `directory`, durably. Keys of authorities that are trusted no more are gone
    /// then.
    pub(super) fn write(&self, directory: &Path) -> Result<(), PkiError> {
        let path = directory.join(FILE);
        let file = |cause| PkiError::File { path: directory.into(), cause };
        files::make_private_directory(directory).map_err(file)?;
        super::write(&path, &seal(&self.text()))?;
        // From here on nobody reads these.
        for left in FIRST.map(|name| directory.join(name)) {
            if let Err(cause) = std::fs::remove_file(&left)
                && cause.kind() != std::io::ErrorKind::NotFound
            {
                return Err(PkiError::File { path: left, cause });
            }
        }
        Ok(())
    }

    fn text(&self) -> String {
        let View { step, issuing, presented, trusted } = &self.view;
        let mut text = format!("step: {step}\nissuing: {issuing}\npresented: {presented}\n");
        let mut part = |words: std::fmt::Arguments<'_>| {
            // Writing to a string cannot fail.
            let _ = text.write_fmt(words);
        };
        for former in &self.former {
            part(format_args!("former: {}\n", Hex(former)));
        }
        for (number, certificate) in trusted {
            let key = self.key(certificate).map_or_else(String::new, |key| key.key_pem());
            part(format_args!("authority: {number}\n{}{key}", pem(certificate)));
        }
        for waiting in self.waiting() {
            part(format_args!("authority: 0\n{}{}", waiting.pem(), waiting.key_pem()));
        }
        text
    }

    /// The authority of this certificate, if its key is here.
    pub(super) fn key(&self, certificate: &CertificateDer<'_>) -> Option<&Arc<Authority>> {
        self.keys.iter().find(|authority| authority.certificate() == certificate)
    }

    /// Those whose keys are here and that are not trusted yet.
    pub(super) fn waiting(&self) -> impl Iterator<Item = &Arc<Authority>> {
        self.keys.iter().filter(|key| {
            !self.view.trusted.iter().any(|(_, certificate)| certificate == key.certificate())
        })
    }

    /// The same once `view` is in force.
    pub(super) fn with(&self, view: View) -> Self {
        let trusts = |view: &View, certificate: &CertificateDer<'_>| {
            view.trusted.iter().any(|(_, trusted)| trusted == certificate)
        };
        let gone = self.view.trusted.iter().map(|(_, certificate)| certificate);
        let gone = gone.filter(|certificate| !trusts(&view, certificate)).map(|it| fingerprint(it));
        let mut former: Vec<_> = self.former.iter().copied().chain(gone).collect();
        former.drain(..former.len().saturating_sub(FORMER_MAX));
        // One that waits was proposed, or is about to be: this view may be of before.
        let stays = |key: &&Arc<Authority>| {
            let certificate = key.certificate();
            trusts(&view, certificate) || !trusts(&self.view, certificate)
        };
        let keys = self.keys.iter().filter(stays).cloned().collect();
        Self { view, keys, former }
    }
}

/// A certificate as PEM.
pub(crate) fn pem(certificate: &CertificateDer<'_>) -> String {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    /// RFC 7468 §2.
    const LINE: usize = 64;
    let text = STANDARD.encode(certificate);
    let lines = text.as_bytes().chunks(LINE).map(|line| String::from_utf8_lossy(line) + "\n");
    let body: String = lines.collect();
    format!("-----BEGIN CERTIFICATE-----\n{body}-----END CERTIFICATE-----\n")
}

/// Reads what [`Ring::write`] wrote; in words what is wrong with it.
fn parse(text: &str, cluster: &str) -> Result<Ring, String> {
    let sealed = text.rsplit_once("checksum: ").map(|(text, _)| text);
    let inner = sealed.filter(|inner| seal(inner) == text).ok_or("its checksum is wrong")?;
    let mut blocks = inner.split("authority: ");
    let head = blocks.next().unwrap_or_default();
    let values = |key: &'static str| {
        let lines = head.lines().filter_map(|line| line.split_once(": "));
        lines.filter(move |(known, _)| *known == key).map(|(_, value)| value)
    };
    let number = |key| {
        let value = values(key).next().and_then(|value| value.parse().ok());
        value.ok_or_else(|| format!("{key} is missing"))
    };
    let former = values("former").map(|hex| unhex(hex).ok_or("former: no hash"));
    let former = former.collect::<Result<_, _>>()?;
    let (mut trusted, mut keys) = (Vec::new(), Vec::new());
    for block in blocks {
        let (number, rest) = block.split_once('\n').ok_or("an authority is cut short")?;
        let number: u64 = number.parse().map_err(|_| "an authority has no number")?;
        let (pem, key) = rest.split_at(rest.find(KEY).unwrap_or(rest.len()));
        let certificate =
            CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|error| error.to_string())?;
        if number > 0 {
            trusted.push((number, certificate));
        }
        if !key.is_empty() {
            keys.push(Arc::new(Authority::read(cluster, key, pem)?));
        }
    }
    let (step, issuing, presented) = (number("step")?, number("issuing")?, number("presented")?);
    if trusted.is_empty() {
        return Err("no authority is in it".to_owned());
    }
    Ok(Ring { view: View { step, issuing, presented, trusted }, keys, former })
}

/// Where the ring lies in `directory`.
pub(super) fn path(directory: &Path) -> PathBuf {
    directory.join(FILE)
}

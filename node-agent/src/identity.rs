//! Who this agent is in its cluster: key, certificate and authorities in one private file, so that
//! they are always of one kind.

use std::{
    io,
    path::{Path, PathBuf},
};

use model::{NodeId, Timestamp, token::Role};
use proto::transport::{self, TransportError};
use rcgen::{CertificateParams, KeyPair};
use thiserror::Error;
use x509_parser::pem::Pem;

use crate::file;

const FILE: &str = "identity.pem";
const JOINING: &str = "joining.pem";
/// A key, a certificate and a few authorities are a few kilobytes.
const MAX_BYTES: u64 = 1 << 20;
const KEY: &str = "PRIVATE KEY";
const CERTIFICATE: &str = "CERTIFICATE";
const REQUEST: &str = "CERTIFICATE REQUEST";

/// A member's identity.
#[derive(Debug, Clone)]
pub struct Member {
    /// The cluster.
    pub cluster: String,
    /// The node.
    pub node: NodeId,
    /// From when the certificate is valid.
    pub valid_from: Timestamp,
    /// Until when.
    pub valid_until: Timestamp,
    /// What is presented to schedulers.
    pub identity: transport::Identity,
}

/// A key and the request to sign it, kept until there is a certificate: a request that is repeated
/// must be the same for the scheduler to know it.
pub struct Candidate {
    /// The key, PEM.
    pub key: String,
    /// The request, DER.
    pub request: Vec<u8>,
}

/// The key does not appear.
impl std::fmt::Debug for Candidate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Candidate")
    }
}

/// Why an identity cannot be used.
#[derive(Debug, Error)]
pub enum IdentityError {
    /// Its file cannot be read or written.
    #[error("{} cannot be used", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        cause: io::Error,
    },
    /// It is not one.
    #[error("the agent's identity is damaged: {why}")]
    Damaged {
        /// What is wrong with it.
        why: String,
    },
    /// The certificate names somebody else.
    #[error("the agent's certificate cannot be used")]
    Peer(#[source] TransportError),
    /// A key cannot be made.
    #[error("a key cannot be made")]
    Key(#[source] rcgen::Error),
}

impl Member {
    /// A member from what it presents; the certificate says who that is.
    pub fn new(identity: transport::Identity) -> Result<Self, IdentityError> {
        let damaged = |why: String| IdentityError::Damaged { why };
        let (_, pem) = x509_parser::pem::parse_x509_pem(identity.certificate.as_bytes())
            .map_err(|error| damaged(error.to_string()))?;
        let certificate = pem.parse_x509().map_err(|error| damaged(error.to_string()))?;
        let peer = transport::peer_of(&pem.contents).map_err(IdentityError::Peer)?;
        if peer.role != Role::Node {
            return Err(damaged(format!("it is a {}, not a node", peer.role.as_str())));
        }
        let node = peer.id.parse().map_err(|_| damaged(format!("`{}` is no node", peer.id)))?;
        let time = |seconds: i64| Timestamp(u64::try_from(seconds).unwrap_or_default() * 1000);
        let validity = certificate.validity();
        Ok(Self {
            cluster: peer.cluster,
            node,
            valid_from: time(validity.not_before.timestamp()),
            valid_until: time(validity.not_after.timestamp()),
            identity,
        })
    }

    /// The member whose directory this is; `None` before it has joined.
    pub fn load(directory: &Path) -> Result<Option<Self>, IdentityError> {
        let Some(parts) = read(&directory.join(FILE))? else { return Ok(None) };
        let mut certificates = parts.iter().filter(|(label, _)| label == CERTIFICATE);
        let missing = |what: &str| IdentityError::Damaged { why: format!("{what} is missing") };
        let (_, certificate) = certificates.next().ok_or_else(|| missing("the certificate"))?;
        let authorities: String = certificates.map(|(_, text)| text.as_str()).collect();
        let key = parts.iter().find(|(label, _)| label == KEY);
        let (_, key) = key.ok_or_else(|| missing("the key"))?;
        let identity =
            transport::Identity { authorities, certificate: certificate.clone(), key: key.clone() };
        Self::new(identity).map(Some)
    }

    /// Writes it durably; a candidate that it came from is gone then.
    pub fn store(&self, directory: &Path) -> Result<(), IdentityError> {
        let transport::Identity { authorities, certificate, key } = &self.identity;
        let lines = [key, certificate, authorities].map(|part| part.trim_end());
        write(&directory.join(FILE), &(lines.join("\n") + "\n"))?;
        // A leftover is replaced at the next join.
        let _ = std::fs::remove_file(directory.join(JOINING));
        Ok(())
    }

    /// The same member, trusting these authorities (PEM).
    pub(crate) fn trusting(&self, authorities: String) -> Self {
        let identity = transport::Identity { authorities, ..self.identity.clone() };
        Self { identity, ..self.clone() }
    }

    /// When half of the certificate's life is over.
    pub fn renew_at(&self) -> Timestamp {
        let life = self.valid_until.millis_since(self.valid_from);
        self.valid_from.plus_millis(life / 2)
    }
}

impl Candidate {
    /// A new key with its request.
    pub fn generate() -> Result<Self, IdentityError> {
        let key = KeyPair::generate().map_err(IdentityError::Key)?;
        let params = CertificateParams::new(Vec::new()).map_err(IdentityError::Key)?;
        let request = params.serialize_request(&key).map_err(IdentityError::Key)?;
        Ok(Self { key: key.serialize_pem(), request: request.der().to_vec() })
    }

    /// The candidate of a join that was begun here, else a new one, kept for the next time.
    pub fn of(directory: &Path) -> Result<Self, IdentityError> {
        let path = directory.join(JOINING);
        if let Ok(Some(parts)) = read(&path) {
            let find = |wanted: &str| parts.iter().find(|(label, _)| label == wanted);
            if let (Some((_, key)), Some((_, request))) = (find(KEY), find(REQUEST))
                && let Ok((_, request)) = x509_parser::pem::parse_x509_pem(request.as_bytes())
            {
                return Ok(Self { key: key.clone(), request: request.contents });
            }
        }
        let key = KeyPair::generate().map_err(IdentityError::Key)?;
        let params = CertificateParams::new(Vec::new()).map_err(IdentityError::Key)?;
        let request = params.serialize_request(&key).map_err(IdentityError::Key)?;
        let text = request.pem().map_err(IdentityError::Key)?;
        let candidate = Self { key: key.serialize_pem(), request: request.der().to_vec() };
        write(&path, &format!("{}\n{text}", candidate.key.trim_end()))?;
        Ok(candidate)
    }
}

fn write(path: &Path, text: &str) -> Result<(), IdentityError> {
    let io = |cause| IdentityError::Io { path: path.to_owned(), cause };
    file::replace(path, text.as_bytes()).map_err(io)
}

/// The parts of a PEM file with their labels.
fn read(path: &Path) -> Result<Option<Vec<(String, String)>>, IdentityError> {
    let io = |cause| IdentityError::Io { path: path.to_owned(), cause };
    let Some(bytes) = file::read(path, MAX_BYTES).map_err(io)? else { return Ok(None) };
    let text = String::from_utf8(bytes).unwrap_or_default();
    let mut parts = Vec::new();
    for pem in Pem::iter_from_buffer(text.as_bytes()) {
        let label = pem.map_err(|error| IdentityError::Damaged { why: error.to_string() })?.label;
        let (begin, end) = (format!("-----BEGIN {label}-----"), format!("-----END {label}-----"));
        let nth = parts.iter().filter(|(other, _)| *other == label).count();
        let part = text.split(&begin).nth(nth + 1).and_then(|rest| rest.split(&end).next());
        let part = part.map(|body| format!("{begin}{body}{end}\n"));
        parts.push((label, part.unwrap_or_default()));
    }
    Ok(Some(parts))
}

#[cfg(test)]
mod tests;

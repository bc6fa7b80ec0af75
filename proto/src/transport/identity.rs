//! Who is at an end of a connection: what a process presents, and what a certificate says.

use std::fmt;

use model::token::Role;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use sha2::{Digest as _, Sha256};
use x509_parser::{
    extensions::GeneralName,
    prelude::{FromDer as _, X509Certificate},
};

use super::TransportError;

/// The scheme of the URI that names a certificate's holder.
const SCHEME: &str = "siso://";
/// The longest such URI: a cluster's id, a role and a name are far shorter.
const URI_MAX: usize = 512;

/// What a process presents to a scheduler, and whom it believes. All PEM.
#[derive(Clone)]
pub struct Identity {
    /// The cluster's authorities: one, or two while one replaces the other.
    pub authorities: String,
    /// The process's own certificate.
    pub certificate: String,
    /// Its private key.
    pub key: String,
}

/// The key does not appear.
impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("authorities", &self.authorities)
            .field("certificate", &self.certificate)
            .finish_non_exhaustive()
    }
}

impl Identity {
    pub(super) fn roots(&self) -> Result<rustls::RootCertStore, TransportError> {
        let what = "cluster's authority";
        let mut roots = rustls::RootCertStore::empty();
        for authority in certificates(what, &self.authorities)? {
            roots
                .add(authority)
                .map_err(|error| TransportError::Identity { what, why: error.to_string() })?;
        }
        Ok(roots)
    }

    pub(super) fn chain(&self) -> Result<Vec<CertificateDer<'static>>, TransportError> {
        certificates("certificate", &self.certificate)
    }

    pub(super) fn private_key(&self) -> Result<PrivateKeyDer<'static>, TransportError> {
        // The parser's words quote the key.
        PrivateKeyDer::from_pem_slice(self.key.as_bytes()).map_err(|_| TransportError::Identity {
            what: "private key",
            why: "it is damaged".to_owned(),
        })
    }
}

fn certificates(
    what: &'static str,
    pem: &str,
) -> Result<Vec<CertificateDer<'static>>, TransportError> {
    let bad = |why: String| TransportError::Identity { what, why };
    let found: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|error| bad(error.to_string()))?;
    if found.is_empty() { Err(bad("there is no certificate in it".to_owned())) } else { Ok(found) }
}

/// SHA-256 of each authority's certificate, in their order.
pub fn fingerprints(authorities: &str) -> Result<Vec<[u8; 32]>, TransportError> {
    let certificates = certificates("cluster's authority", authorities)?;
    Ok(certificates.iter().map(|certificate| Sha256::digest(certificate).into()).collect())
}

/// Which of the authorities signed the certificate, as a position among them: the one whose name it
/// gives. Whether it did is for TLS to check.
pub fn issuer_of(certificate: &str, authorities: &str) -> Result<Option<usize>, TransportError> {
    let what = "certificate";
    let bad = |why: String| TransportError::Identity { what, why };
    let own = certificates(what, certificate)?;
    let own = own.first().map_or(&[][..], |own| own);
    let (_, own) = X509Certificate::from_der(own).map_err(|error| bad(error.to_string()))?;
    let authorities = certificates("cluster's authority", authorities)?;
    Ok(authorities.iter().position(|authority| {
        X509Certificate::from_der(authority)
            .is_ok_and(|(_, authority)| authority.subject() == own.issuer())
    }))
}

/// Who a certificate says its holder is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// The cluster's id.
    pub cluster: String,
    /// What it is in that cluster.
    pub role: Role,
    /// `n3` of a node, the raft id of a scheduler, the name of an admin.
    pub id: String,
}

/// The URI that names a certificate's holder: `siso://CLUSTER/ROLE/ID`.
pub fn identity_uri(cluster: &str, role: Role, id: &str) -> String {
    format!("{SCHEME}{cluster}/{}/{id}", role.as_str())
}

/// Reads the holder from a certificate (DER): it must have exactly one URI of [`identity_uri`]'s
/// form. Whether the certificate is genuine is for TLS to check, not for this.
pub fn peer_of(certificate: &[u8]) -> Result<Peer, TransportError> {
    let bad = |why: &str| TransportError::NoPeer(why.to_owned());
    let (_, parsed) = X509Certificate::from_der(certificate)
        .map_err(|error| TransportError::NoPeer(error.to_string()))?;
    let names = parsed
        .subject_alternative_name()
        .map_err(|error| TransportError::NoPeer(error.to_string()))?
        .ok_or_else(|| bad("it has no alternative name"))?;
    let mut uris = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => uri.strip_prefix(SCHEME),
        _ => None,
    });
    match (uris.next(), uris.next()) {
        (Some(path), None) => read_path(path),
        (None, _) => Err(bad("it has no siso:// URI")),
        (Some(_), Some(_)) => Err(bad("it has several siso:// URIs")),
    }
}

fn read_path(path: &str) -> Result<Peer, TransportError> {
    let bad = || {
        let shown: String = path.chars().take(URI_MAX).collect();
        TransportError::NoPeer(format!("`{SCHEME}{shown}` is not siso://CLUSTER/ROLE/ID"))
    };
    if path.len() > URI_MAX {
        return Err(bad());
    }
    let parts: Vec<&str> = path.split('/').collect();
    let [cluster, role, id] = parts.as_slice() else { return Err(bad()) };
    if cluster.is_empty() || id.is_empty() {
        return Err(bad());
    }
    let role = match *role {
        "node" => Role::Node,
        "scheduler" => Role::Scheduler,
        "admin" => Role::Admin,
        _ => return Err(bad()),
    };
    Ok(Peer { cluster: (*cluster).to_owned(), role, id: (*id).to_owned() })
}

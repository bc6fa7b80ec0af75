//! Who is who: the cluster's certificate authority, the certificates it issues, and join tokens.
//!
//! **Invariant:** a certificate says only what the cluster decided: role and id come from the log,
//! never from the request that asks to be signed.

mod authority;
mod contexts;
mod keys;
mod own;
mod ring;
mod tokens;
mod verifier;

#[cfg(test)]
mod tests;

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use sha2::{Digest as _, Sha256};
use thiserror::Error;

use crate::files;

pub(crate) use authority::{Authority, Holder, KeyAndCertificate, SigningRequest};
pub(crate) use contexts::SeenContext;
pub(crate) use keys::{Keys, View};
pub(crate) use own::{OwnIdentity, TlsSettings};
pub(crate) use ring::pem;
pub(crate) use tokens::{TokenRefusal, check_token, hash_secret};

/// How long a machine's certificate lasts. It is renewed from half of that.
pub(crate) const MACHINE_LIFE: Duration = Duration::from_hours(30 * 24);
/// How long a person's certificate lasts: its file is carried to laptops, where nothing renews it.
pub(crate) const ADMIN_LIFE: Duration = Duration::from_hours(365 * 24);
/// How long the authority lasts.
const AUTHORITY_LIFE: Duration = Duration::from_hours(10 * 365 * 24);
/// Certificates begin this long ago: clocks of machines that were off are behind.
const BACKDATED: Duration = Duration::from_hours(1);

/// What goes wrong with keys and certificates.
#[derive(Debug, Error)]
pub enum PkiError {
    /// A file cannot be read or written.
    #[error("cannot use {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// A file holds something else than it should.
    #[error("{} is damaged: {what}", path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A member's authority is gone.
    #[error(
        "{} is missing: this cluster's authority is lost, and a new one would lock out every machine \
         and person; restore the directory from a backup",
        path.display()
    )]
    Lost {
        /// Which file.
        path: PathBuf,
    },
    /// A request to be signed is not one.
    #[error("the certificate request cannot be used: {0}")]
    Request(String),
    /// A certificate could not be made.
    #[error("cannot make a certificate: {0}")]
    Issue(String),
    /// TLS refuses what was made.
    #[error("TLS cannot be set up: {0}")]
    Tls(String),
}

/// SHA-256 of an authority's certificate (DER).
pub(crate) type Fingerprint = [u8; 32];

/// The fingerprint of this certificate.
pub(crate) fn fingerprint(certificate: &[u8]) -> Fingerprint {
    Sha256::digest(certificate).into()
}

fn read(path: &Path) -> Result<Option<String>, PkiError> {
    files::read(path).map_err(|cause| PkiError::File { path: path.into(), cause })
}

fn write(path: &Path, text: &str) -> Result<(), PkiError> {
    files::write_private(path, text).map_err(|cause| PkiError::File { path: path.into(), cause })
}

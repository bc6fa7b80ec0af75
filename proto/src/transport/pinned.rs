//! Trust by a hash: whoever joins has no authority on file yet, only its SHA-256 in the join token.

use std::sync::Arc;

use rustls::{
    CertificateError, DigitallySignedStruct, Error, OtherError, PeerIncompatible, RootCertStore,
    SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use sha2::{Digest as _, Sha256};
use thiserror::Error as ThisError;

/// The authority with the expected hash is not in what the server presented.
#[derive(Debug, ThisError)]
#[error(
    "it does not present the certificate authority named by the join token; the token is of \
     another cluster, damaged, or made before the cluster's authority was replaced, or somebody stands \
     between"
)]
pub(super) struct WrongAuthority;

/// Requires the presented chain to contain the authority with this hash, and then all the usual
/// checks with that authority as the only root.
#[derive(Debug)]
pub(super) struct Pinned {
    authority_sha256: [u8; 32],
    provider: Arc<CryptoProvider>,
}

impl Pinned {
    pub(super) fn new(authority_sha256: [u8; 32], provider: Arc<CryptoProvider>) -> Self {
        Self { authority_sha256, provider }
    }
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let authority = intermediates
            .iter()
            .find(|certificate| Sha256::digest(certificate)[..] == self.authority_sha256)
            .ok_or_else(|| CertificateError::Other(OtherError(Arc::new(WrongAuthority))))?;
        let mut roots = RootCertStore::empty();
        roots.add(authority.clone().into_owned())?;
        WebPkiServerVerifier::builder_with_provider(roots.into(), Arc::clone(&self.provider))
            .build()
            .map_err(|error| Error::General(error.to_string()))?
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::ServerDoesNotSupportTls12Or13.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

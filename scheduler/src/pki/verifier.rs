//! Which client certificates pass the door.

use std::{sync::Arc, time::Duration};

use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore,
    SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, UnixTime},
    server::{
        WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::PkiError;

/// For how long after its end a certificate still passes, to be renewed and for nothing else: a
/// machine that was off for months comes back without anyone's help.
const RENEWAL_GRACE: Duration = Duration::from_hours(365 * 24);

/// The usual checks against the cluster's authority, but the end of a certificate does not shut the
/// door: every service behind it refuses an ended certificate, except for renewal.
#[derive(Debug)]
struct Verifier {
    usual: Arc<dyn ClientCertVerifier>,
}

/// Passes clients with a certificate of one of the `authorities`, and clients without any.
pub(super) fn verifier<'a>(
    authorities: impl Iterator<Item = &'a CertificateDer<'static>>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, PkiError> {
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots.add(authority.clone()).map_err(|error| PkiError::Tls(error.to_string()))?;
    }
    let usual = WebPkiClientVerifier::builder_with_provider(roots.into(), Arc::clone(provider))
        .allow_unauthenticated()
        .build()
        .map_err(|error| PkiError::Tls(error.to_string()))?;
    Ok(Arc::new(Verifier { usual }))
}

/// The last second of the certificate's life.
fn end(certificate: &CertificateDer<'_>) -> Option<UnixTime> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let seconds = u64::try_from(parsed.validity().not_after.timestamp()).ok()?;
    Some(UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
}

impl ClientCertVerifier for Verifier {
    fn client_auth_mandatory(&self) -> bool {
        self.usual.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.usual.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let refused = match self.usual.verify_client_cert(certificate, intermediates, now) {
            Err(error) => error,
            verified => return verified,
        };
        let expired = matches!(
            refused,
            Error::InvalidCertificate(
                CertificateError::Expired | CertificateError::ExpiredContext { .. }
            )
        );
        let Some(end) = end(certificate).filter(|_| expired) else { return Err(refused) };
        if now.as_secs().saturating_sub(end.as_secs()) > RENEWAL_GRACE.as_secs() {
            return Err(refused);
        }
        self.usual.verify_client_cert(certificate, intermediates, end)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.usual.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.usual.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.usual.supported_verify_schemes()
    }
}

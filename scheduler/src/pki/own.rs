//! The certificates this scheduler keeps for itself, and the TLS it speaks.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use model::token::Role;
use proto::transport;
use rcgen::{KeyPair, PublicKeyData as _};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::{NoServerSessionStorage, ParsedCertificate},
};
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use super::{Authority, Holder, KeyAndCertificate, MACHINE_LIFE, PkiError, verifier};
use crate::{files, story};

/// A certificate that ends sooner serves nobody.
const LEAST_LEFT: Duration = Duration::from_mins(1);

/// The TLS settings in use; looked up for each connection, so that a renewed certificate is used at
/// once and open connections live on.
pub(crate) type TlsSettings = Arc<ArcSwap<ServerConfig>>;

/// A certificate that is kept in files and made anew when it is old or names the wrong addresses.
#[derive(Debug)]
pub(crate) struct OwnIdentity {
    holder: Holder,
    names: Vec<String>,
    key: PathBuf,
    certificate: PathBuf,
}

impl OwnIdentity {
    /// The identity of `holder`, who is called by `names`, kept in `directory` as `STEM.key` and
    /// `STEM.crt`.
    pub(crate) fn new(directory: &Path, stem: &str, holder: Holder, names: Vec<String>) -> Self {
        let path = |extension| directory.join(format!("{stem}.{extension}"));
        Self { holder, names, key: path("key"), certificate: path("crt") }
    }

    /// The identity of scheduler `id`, reached by the host `advertised`, kept as `STEM.key` and `STEM.crt`.
    pub(crate) fn scheduler(directory: &Path, stem: &str, id: u64, advertised: &str) -> Self {
        let holder = Holder { role: Role::Scheduler, id: id.to_string() };
        let mut names = vec![transport::SERVER_NAME.to_owned()];
        if advertised != transport::SERVER_NAME {
            names.push(advertised.to_owned());
        }
        Self::new(directory, stem, holder, names)
    }

    /// What the files hold if that is good for half of `life` yet, else something new. The second
    /// value tells whether it is new. What is new and cannot be written down waits for the next time, as long as
    /// what the files hold is good at all.
    pub(crate) fn current(
        &self,
        authority: &Authority,
        life: Duration,
    ) -> Result<(KeyAndCertificate, bool), PkiError> {
        let held = match (super::read(&self.key)?, super::read(&self.certificate)?) {
            (Some(key), Some(certificate)) => Some(KeyAndCertificate { key, certificate }),
            _ => None,
        };
        let good_for = |left| held.clone().filter(|held| self.is_good(held, authority, left));
        if let Some(held) = good_for(life / 2) {
            return Ok((held, false));
        }
        let issued = authority.issue(&self.holder, &self.names)?;
        let files = [(&*self.key, &*issued.key), (&*self.certificate, &*issued.certificate)];
        let Err(cause) = files::write_all_private(&files) else { return Ok((issued, true)) };
        let error = PkiError::File { path: self.certificate.clone(), cause };
        let Some(held) = good_for(LEAST_LEFT) else { return Err(error) };
        tracing::error!(
            error = story(&error),
            "a new certificate cannot be kept: the one there is serves on"
        );
        Ok((held, false))
    }

    /// Whether the two belong together, and are what the authority made of them: damaged ones are
    /// replaced, for nobody is told of them but those they are shown to. It must be good for `least` yet.
    fn is_good(&self, held: &KeyAndCertificate, authority: &Authority, least: Duration) -> bool {
        let Ok(key) = KeyPair::from_pem(&held.key) else { return false };
        let Ok(der) = CertificateDer::from_pem_slice(held.certificate.as_bytes()) else {
            return false;
        };
        let Ok((_, certificate)) = X509Certificate::from_der(&der) else { return false };
        let Ok((_, issuer)) = X509Certificate::from_der(authority.certificate()) else {
            return false;
        };
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let left = u64::try_from(certificate.validity().not_after.timestamp())
            .unwrap_or(0)
            .saturating_sub(now.as_secs());
        let begun = u64::try_from(certificate.validity().not_before.timestamp())
            .is_ok_and(|begin| begin <= now.as_secs());
        // What TLS will not take is no certificate, whatever else reads it.
        begun
            && ParsedCertificate::try_from(&der).is_ok()
            && left >= least.as_secs()
            && certificate.issuer() == issuer.subject()
            && certificate.verify_signature(Some(issuer.public_key())).is_ok()
            && certificate.public_key().subject_public_key.data == key.der_bytes()
            && transport::peer_of(&der).is_ok_and(|peer| authority.says(&peer, &self.holder))
            && self.is_named_in(&certificate)
    }

    fn is_named_in(&self, certificate: &X509Certificate<'_>) -> bool {
        let Ok(Some(alternatives)) = certificate.subject_alternative_name() else { return false };
        let alternatives = &alternatives.value.general_names;
        self.names.iter().all(|name| {
            alternatives.iter().any(|alternative| match alternative {
                GeneralName::DNSName(dns) => *dns == name,
                GeneralName::IPAddress(bytes) => is_address(bytes, name),
                _ => false,
            })
        })
    }

    /// The same for a machine's life.
    pub(super) fn of_now(&self, authority: &Authority) -> Result<KeyAndCertificate, PkiError> {
        self.current(authority, MACHINE_LIFE).map(|(held, _)| held)
    }
}

fn is_address(bytes: &[u8], name: &str) -> bool {
    name.parse::<std::net::IpAddr>().is_ok_and(|address| match address {
        std::net::IpAddr::V4(address) => bytes == address.octets(),
        std::net::IpAddr::V6(address) => bytes == address.octets(),
    })
}

/// The TLS a scheduler speaks who shows `identity`, which `authority` signed, and believes the `trusted`.
pub(super) fn tls<'a>(
    identity: &KeyAndCertificate,
    authority: &Authority,
    trusted: impl Iterator<Item = &'a CertificateDer<'static>>,
) -> Result<ServerConfig, PkiError> {
    let failed = |error: &dyn std::fmt::Display| PkiError::Tls(error.to_string());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let clients = verifier::verifier(trusted, &provider)?;
    let certificate = CertificateDer::from_pem_slice(identity.certificate.as_bytes())
        .map_err(|error| failed(&error))?;
    // What is wrong with a key is told without the parser's words: they quote it.
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes())
        .map_err(|_| PkiError::Tls("the private key is damaged".to_owned()))?;
    // The authority is sent along, so that who joins can compare it with the token's hash of it.
    let chain = vec![certificate, authority.certificate().clone()];
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| failed(&error))?
        .with_client_cert_verifier(clients)
        .with_single_cert(chain, key)
        .map_err(|error| failed(&error))?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    // A resumed session would keep an identity that was renewed or removed since.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

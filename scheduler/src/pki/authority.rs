//! The cluster's certificate authority and what it signs.

use std::{
    net::IpAddr,
    path::Path,
    time::{Duration, SystemTime},
};

use model::{
    RequestId,
    token::{Hex, Role},
};
use proto::transport;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKey,
    PublicKeyData, SanType, SerialNumber,
};
use rustls::pki_types::{CertificateDer, CertificateSigningRequestDer, pem::PemObject as _};
use sha2::{Digest as _, Sha256};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::files;

use super::{
    ADMIN_LIFE, AUTHORITY_LIFE, BACKDATED, Fingerprint, MACHINE_LIFE, PkiError, fingerprint,
};

/// Largest request to be signed: a P-256 one has about 300 bytes, an RSA one about 1,500.
const REQUEST_BYTES_MAX: usize = 16 << 10;

/// Begins the line behind the authority's certificate.
const CHECKSUM: &str = "checksum: ";

/// Whom a certificate is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Holder {
    pub(crate) role: Role,
    /// `n3`, a scheduler's number, or an admin's name.
    pub(crate) id: String,
}

/// A key and the certificate for it, as PEM.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct KeyAndCertificate {
    pub(crate) key: String,
    pub(crate) certificate: String,
}

/// A request to be signed. Nothing but the key is taken from it.
#[derive(Debug)]
pub(crate) struct SigningRequest {
    key: PublicKey,
}

impl SigningRequest {
    /// Reads PKCS#10 in DER, and proves that whoever made it holds the private half of its key.
    pub(crate) fn read(request: &[u8]) -> Result<Self, PkiError> {
        if request.len() > REQUEST_BYTES_MAX {
            return Err(PkiError::Request(format!("it is larger than {REQUEST_BYTES_MAX} bytes")));
        }
        let request = CertificateSigningRequestDer::from(request);
        CertificateSigningRequestParams::from_der(&request)
            .map(|request| Self { key: request.public_key })
            .map_err(|error| PkiError::Request(error.to_string()))
    }

    /// The bytes of the public key.
    pub(crate) fn key(&self) -> &[u8] {
        self.key.der_bytes()
    }
}

/// Signs for one cluster.
pub(crate) struct Authority {
    cluster: String,
    pem: String,
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").field("cluster", &self.cluster).finish_non_exhaustive()
    }
}

#[allow(clippy::needless_pass_by_value, reason = "the form `map_err` asks for")]
fn issue_error(error: rcgen::Error) -> PkiError {
    PkiError::Issue(error.to_string())
}

impl Authority {
    /// The authority of a cluster that is being founded: its key and certificate lie in `directory`,
    /// or are made there.
    pub(crate) fn found(directory: &Path, cluster: &str) -> Result<Self, PkiError> {
        let file = |cause| PkiError::File { path: directory.into(), cause };
        files::make_private_directory(directory).map_err(file)?;
        Self::make(directory, cluster)
    }

    /// Another authority for a cluster, which lies nowhere yet. Its name is no other's: who signed a
    /// certificate is told from the name in it.
    pub(crate) fn another(cluster: &str) -> Result<Self, PkiError> {
        let key = KeyPair::generate().map_err(issue_error)?;
        let name = format!("siso cluster {cluster} {}", Hex(&rand::random::<[u8; 8]>()));
        let pem = authority_params(&name)?.self_signed(&key).map_err(issue_error)?.pem();
        Self::of(cluster, key, pem).map_err(PkiError::Issue)
    }

    /// The authority with this key and certificate; in words what is wrong with them.
    pub(crate) fn read(cluster: &str, key: &str, pem: &str) -> Result<Self, String> {
        let key = KeyPair::from_pem(key).map_err(|_| "its key is damaged".to_owned())?;
        Self::of(cluster, key, pem.to_owned())
    }

    /// The authority of a cluster that was founded: its key and certificate lie in `directory`.
    pub(crate) fn open(directory: &Path, cluster: &str) -> Result<Self, PkiError> {
        for path in [directory.join("ca.key"), directory.join("ca.crt")] {
            if super::read(&path)?.is_none() {
                return Err(PkiError::Lost { path });
            }
        }
        Self::make(directory, cluster)
    }

    /// The authority another scheduler of the cluster gave this one; it lies in `directory` from now on.
    pub(crate) fn adopt(
        directory: &Path,
        cluster: &str,
        (key, pem): (&str, &str),
    ) -> Result<Self, PkiError> {
        let file = |cause| PkiError::File { path: directory.into(), cause };
        files::make_private_directory(directory).map_err(file)?;
        super::write(&directory.join("ca.key"), key)?;
        super::write(&directory.join("ca.crt"), &seal(pem))?;
        Self::make(directory, cluster)
    }

    fn make(directory: &Path, cluster: &str) -> Result<Self, PkiError> {
        let (key_path, path) = (directory.join("ca.key"), directory.join("ca.crt"));
        let key = if let Some(text) = super::read(&key_path)? {
            KeyPair::from_pem(&text)
                .map_err(|error| PkiError::Damaged { path: key_path, what: error.to_string() })?
        } else {
            let key = KeyPair::generate().map_err(issue_error)?;
            super::write(&key_path, &key.serialize_pem())?;
            key
        };
        let damaged = |what: String| PkiError::Damaged { path: path.clone(), what };
        let pem = if let Some(text) = super::read(&path)? {
            unseal(&text).ok_or_else(|| damaged("its checksum is wrong".to_owned()))?
        } else {
            let name = format!("siso cluster {cluster}");
            let pem = authority_params(&name)?.self_signed(&key).map_err(issue_error)?.pem();
            super::write(&path, &seal(&pem))?;
            pem
        };
        Self::of(cluster, key, pem).map_err(damaged)
    }

    fn of(cluster: &str, key: KeyPair, pem: String) -> Result<Self, String> {
        let certificate =
            CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|error| error.to_string())?;
        let (_, parsed) =
            X509Certificate::from_der(&certificate).map_err(|error| error.to_string())?;
        if parsed.public_key().subject_public_key.data != key.der_bytes() {
            return Err("it belongs to another key than that beside it".to_owned());
        }
        if parsed.verify_signature(None).is_err() {
            return Err("its signature is wrong".to_owned());
        }
        let issuer =
            Issuer::from_ca_cert_der(&certificate, key).map_err(|error| error.to_string())?;
        Ok(Self { cluster: cluster.to_owned(), pem, certificate, issuer })
    }

    /// The authority's certificate, as PEM: what others trust.
    pub(crate) fn pem(&self) -> &str {
        &self.pem
    }

    /// The authority's key, as PEM: for another scheduler of the cluster, and nobody else.
    pub(crate) fn key_pem(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// The authority's certificate, as DER.
    pub(crate) fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// Whether a certificate of this authority that says `peer` is one for `holder`.
    pub(crate) fn says(&self, peer: &transport::Peer, holder: &Holder) -> bool {
        (&peer.cluster, peer.role, &peer.id) == (&self.cluster, holder.role, &holder.id)
    }

    /// SHA-256 of the authority's certificate, as join tokens carry it.
    pub(crate) fn fingerprint(&self) -> Fingerprint {
        fingerprint(&self.certificate)
    }

    /// The secret of the token that `request` asks for. The same request asked again must answer the
    /// same token, and no secret is ever stored: so it is derived from what only the authority knows.
    pub(crate) fn token_secret(&self, request: RequestId) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(b"siso join token 1\0");
        hash.update(Sha256::digest(self.issuer.key().serialized_der()));
        hash.update(request.0.to_be_bytes());
        hash.finalize().into()
    }

    /// A new key with a certificate for `holder`, who is also called by `names` (DNS names or
    /// addresses).
    pub(crate) fn issue(
        &self,
        holder: &Holder,
        names: &[String],
    ) -> Result<KeyAndCertificate, PkiError> {
        let key = KeyPair::generate().map_err(issue_error)?;
        let certificate = self.sign(&key, holder, names)?;
        Ok(KeyAndCertificate { key: key.serialize_pem(), certificate })
    }

    /// The certificate, as PEM, for the key of a request.
    pub(crate) fn sign_request(
        &self,
        request: &SigningRequest,
        holder: &Holder,
    ) -> Result<String, PkiError> {
        self.sign(&request.key, holder, &[])
    }

    fn sign(
        &self,
        key: &impl PublicKeyData,
        holder: &Holder,
        names: &[String],
    ) -> Result<String, PkiError> {
        let text = |text: &str| text.try_into().map_err(issue_error);
        let uri = transport::identity_uri(&self.cluster, holder.role, &holder.id);
        let mut params = CertificateParams::default();
        params.distinguished_name = name(&format!("siso {} {}", holder.role.as_str(), holder.id));
        params.subject_alt_names = vec![SanType::URI(text(&uri)?)];
        for name in names {
            params.subject_alt_names.push(match name.parse::<IpAddr>() {
                Ok(address) => SanType::IpAddress(address),
                Err(_) => SanType::DnsName(text(name)?),
            });
        }
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = match holder.role {
            Role::Scheduler => {
                vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth]
            }
            Role::Node | Role::Admin => vec![ExtendedKeyUsagePurpose::ClientAuth],
        };
        params.use_authority_key_identifier_extension = true;
        let life = match holder.role {
            Role::Admin => ADMIN_LIFE,
            Role::Node | Role::Scheduler => MACHINE_LIFE,
        };
        limit(&mut params, life);
        let certificate = params.signed_by(key, &self.issuer).map_err(issue_error)?;
        Ok(certificate.pem())
    }
}

/// The certificate with a line behind it that tells whether it was changed: its signature does not
/// cover every byte of it, and tokens name its hash.
pub(super) fn seal(pem: &str) -> String {
    format!("{pem}{CHECKSUM}{:08x}\n", crc32c::crc32c(pem.as_bytes()))
}

/// The certificate in a file that [`seal`] made, or an earlier version that sealed none.
fn unseal(text: &str) -> Option<String> {
    let (pem, _) = text.split_once(CHECKSUM).unwrap_or((text, ""));
    let ends = pem.ends_with("-----END CERTIFICATE-----\n")
        || pem.ends_with("-----END CERTIFICATE-----\r\n");
    (ends && (text == pem || text == seal(pem))).then(|| pem.to_owned())
}

fn authority_params(common: &str) -> Result<CertificateParams, PkiError> {
    let mut params = CertificateParams::new(Vec::new()).map_err(issue_error)?;
    params.distinguished_name = name(common);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    limit(&mut params, AUTHORITY_LIFE);
    Ok(params)
}

fn name(common: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common);
    name
}

fn limit(params: &mut CertificateParams, life: Duration) {
    let now = SystemTime::now();
    params.not_before = (now - BACKDATED).into();
    params.not_after = (now + life).into();
    params.serial_number = Some(SerialNumber::from_slice(&rand::random::<[u8; 16]>()));
}

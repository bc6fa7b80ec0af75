//! Keys and certificates for those who have none of their own.

use std::{fs, path::Path, sync::Arc};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName},
};
use tokio_rustls::TlsConnector;

/// The address in the server's certificate.
const ADDRESS: &str = "127.0.0.1";

/// One authority, a server and a client it vouches for.
pub(super) struct Keys {
    authority: String,
    server: (String, String),
    client: Arc<ClientConfig>,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys")
    }
}

impl Keys {
    pub(super) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let authority = CertifiedIssuer::self_signed(params, key).expect("an authority");
        let vouch_for = |purpose| {
            let names = vec![ADDRESS.to_owned()];
            let mut params = CertificateParams::new(names).expect("a name");
            params.extended_key_usages = vec![purpose];
            let key = KeyPair::generate().expect("a key");
            let certificate = params.signed_by(&key, &authority).expect("a certificate");
            (certificate, key)
        };
        let (server, server_key) = vouch_for(ExtendedKeyUsagePurpose::ServerAuth);
        let (client, client_key) = vouch_for(ExtendedKeyUsagePurpose::ClientAuth);
        let mut roots = RootCertStore::empty();
        roots.add(authority.der().clone()).expect("an authority");
        let chain: Vec<CertificateDer<'static>> = vec![client.der().clone()];
        let key = PrivateKeyDer::try_from(client_key.serialize_der()).expect("a key");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("TLS")
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key);
        let mut config = config.expect("TLS of a client");
        config.alpn_protocols = vec![b"h2".to_vec()];
        Self {
            authority: authority.pem(),
            server: (server.pem(), server_key.serialize_pem()),
            client: Arc::new(config),
        }
    }

    /// Writes what a server needs and answers the flags of etcd that name it.
    pub(super) fn write(&self, directory: &Path) -> Vec<String> {
        let (certificate, key) = &self.server;
        let files = [
            ("--trusted-ca-file", "authority.pem", &self.authority),
            ("--cert-file", "server.pem", certificate),
            ("--key-file", "server.key", key),
        ];
        let mut flags = vec!["--client-cert-auth".to_owned()];
        for (flag, name, text) in files {
            let path = directory.join(name);
            fs::write(&path, text).expect("a file for the server");
            flags.extend([flag.to_owned(), path.display().to_string()]);
        }
        flags
    }

    pub(super) fn client(&self) -> (TlsConnector, ServerName<'static>) {
        let name = ServerName::try_from(ADDRESS).expect("a name");
        (TlsConnector::from(Arc::clone(&self.client)), name)
    }
}

//! A context while the cluster's authority is being replaced: every answer tells which authorities there
//! are, and a context that does not trust them, or whose certificate is of an older one, is written anew.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use model::token::unhex;
use proto::transport;
use rcgen::{CertificateParams, KeyPair};

use crate::{
    context::{self, Context},
    error::Error,
};

/// Authorities that are told of: a cluster has two at most.
const TOLD_MAX: usize = 4;

/// What was told of authorities, and the context it is compared with. Clones share what is told.
#[derive(Debug, Clone)]
pub struct Renewal {
    file: PathBuf,
    context: Option<Arc<Context>>,
    told: Arc<Mutex<Vec<[u8; 32]>>>,
}

/// A key and what asks for a certificate of it.
pub struct Candidate {
    key: String,
    /// PKCS#10, DER.
    pub request: Vec<u8>,
}

/// The key does not appear.
impl std::fmt::Debug for Candidate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Candidate")
    }
}

impl Renewal {
    /// That of a context and its file; without a context nothing is ever renewed.
    pub fn new(file: &Path, context: Option<Context>) -> Self {
        Self { file: file.to_owned(), context: context.map(Arc::new), told: Arc::default() }
    }

    /// An answer said that these are the authorities: fingerprints with commas between, the one that signs
    /// first.
    pub fn hear(&self, told: &str) {
        let told: Option<Vec<_>> = told.split(',').take(TOLD_MAX).map(unhex).collect();
        if let (Some(told), Ok(mut held)) = (told, self.told.lock()) {
            *held = told;
        }
    }

    /// Whether the context has to be written anew.
    pub fn is_due(&self) -> bool {
        let told = self.told.lock().map(|told| told.clone()).unwrap_or_default();
        let Some((signs, context)) = told.first().zip(self.context.as_ref()) else { return false };
        let Ok(trusted) = transport::fingerprints(&context.authorities) else { return false };
        let own = transport::issuer_of(&context.certificate, &context.authorities).ok().flatten();
        let sorted = |mut list: Vec<[u8; 32]>| {
            list.sort_unstable();
            list
        };
        own.and_then(|at| trusted.get(at)) != Some(signs)
            || sorted(trusted.clone()) != sorted(told.clone())
    }

    /// A new key with its request.
    pub fn candidate() -> Result<Candidate, Error> {
        let cannot = |error: rcgen::Error| Error::cluster(format!("cannot make a key: {error}"));
        let key = KeyPair::generate().map_err(cannot)?;
        let params = CertificateParams::new(Vec::new()).map_err(cannot)?;
        let request = params.serialize_request(&key).map_err(cannot)?;
        Ok(Candidate { key: key.serialize_pem(), request: request.der().to_vec() })
    }

    /// Writes the context with what was answered: whom to trust, and a certificate for the candidate's key
    /// where one was needed. Answers the file.
    pub fn keep(
        &self,
        candidate: Candidate,
        certificate: String,
        authorities: String,
    ) -> Result<PathBuf, Error> {
        let Some(context) = &self.context else { return Ok(self.file.clone()) };
        let own = (context.certificate.clone(), context.key.clone());
        let (certificate, key) =
            if certificate.is_empty() { own } else { (certificate, candidate.key) };
        let renewed = Context { authorities, certificate, key, ..Context::clone(context) };
        let text = text(&renewed);
        // What cannot be read back must not replace what can.
        context::parse(&self.file, &text)?;
        // A link stays one.
        let file = fs::canonicalize(&self.file).unwrap_or_else(|_| self.file.clone());
        context::write_private(&file, &text)?;
        Ok(file)
    }
}

impl Renewal {
    /// Writes a context for somebody else: with the candidate's key, and their certificate and whom to trust
    /// as they were answered.
    pub fn hand_over(
        &self,
        file: &Path,
        candidate: Candidate,
        (certificate, authorities): (String, String),
        endpoints: Vec<String>,
    ) -> Result<(), Error> {
        let Some(own) = &self.context else {
            return Err(Error::input("there is no context to make another one of"));
        };
        let cluster = own.cluster.clone();
        let text =
            text(&Context { cluster, endpoints, authorities, certificate, key: candidate.key });
        context::parse(file, &text)?;
        context::write_private(file, &text)
    }
}

/// A context file as schedulers write it.
fn text(context: &Context) -> String {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let mut text = format!("cluster: {}\nendpoints:\n", quoted(&context.cluster));
    // Writing to a string cannot fail.
    for endpoint in &context.endpoints {
        let _ = writeln!(text, "  - {}", quoted(endpoint));
    }
    for (key, block) in [
        ("authorities", &context.authorities),
        ("certificate", &context.certificate),
        ("key", &context.key),
    ] {
        let _ = writeln!(text, "{key}: |");
        for line in block.lines() {
            let _ = writeln!(text, "  {line}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use model::token::Hex;
    use rcgen::{BasicConstraints, CertifiedIssuer, DistinguishedName, DnType, IsCa};

    use super::*;

    type Issuer = CertifiedIssuer<'static, KeyPair>;

    fn authority(name: &str) -> Issuer {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    }

    fn certificate(signer: &Issuer) -> String {
        let params = CertificateParams::new(Vec::new()).unwrap();
        params.signed_by(&KeyPair::generate().unwrap(), signer).unwrap().pem()
    }

    fn context(signer: &Issuer, trusts: &[&Issuer]) -> Context {
        Context {
            cluster: "c1".to_owned(),
            endpoints: vec!["mini-1:7400".to_owned(), "[::1]:7400".to_owned()],
            authorities: trusts.iter().map(|one| one.pem()).collect(),
            certificate: certificate(signer),
            key: KeyPair::generate().unwrap().serialize_pem(),
        }
    }

    fn told(signs: &Issuer, others: &[&Issuer]) -> String {
        let all = std::iter::once(&signs)
            .chain(others.iter())
            .map(|one| Hex(&transport::fingerprints(&one.pem()).unwrap()[0]).to_string());
        all.collect::<Vec<_>>().join(",")
    }

    #[test]
    fn a_context_is_written_anew_when_it_trusts_or_is_signed_by_others_than_told() {
        let (old, new) = (authority("old"), authority("new"));
        let check = |context: Context, told: &str, due: bool| {
            let renewal = Renewal::new(Path::new("/nonexistent"), Some(context));
            assert!(!renewal.is_due(), "nothing was told");
            renewal.hear(told);
            assert_eq!(renewal.is_due(), due);
        };
        check(context(&old, &[&old]), &told(&old, &[]), false);
        check(context(&old, &[&old]), &told(&old, &[&new]), true);
        check(context(&old, &[&old, &new]), &told(&old, &[&new]), false);
        check(context(&old, &[&new, &old]), &told(&new, &[&old]), true);
        check(context(&new, &[&old, &new]), &told(&new, &[&old]), false);
        check(context(&new, &[&old, &new]), &told(&new, &[]), true);
        check(context(&new, &[&new]), &told(&new, &[]), false);
        check(context(&old, &[&old]), "no hash", false);
    }

    #[test]
    fn a_renewed_context_is_read_back_and_private_and_a_link_to_it_stays_one() {
        let directory = tempfile::tempdir().unwrap();
        let (old, new) = (authority("old"), authority("new"));
        let held = context(&old, &[&old]);
        let (file, link) = (directory.path().join("home.yaml"), directory.path().join("link.yaml"));
        context::write_private(&file, &text(&held)).unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let renewal = Renewal::new(&link, Some(held.clone()));
        let candidate = Renewal::candidate().unwrap();
        let key = candidate.key.clone();
        renewal.keep(candidate, certificate(&new), new.pem()).unwrap();
        let read = |file: &Path| context::parse(file, &fs::read_to_string(file).unwrap()).unwrap();
        let plain = |text: &str| text.replace('\r', "").trim_end().to_owned();
        let renewed = read(&file);
        assert_eq!((renewed.cluster, renewed.endpoints), (held.cluster, held.endpoints));
        assert_eq!(plain(&renewed.key), plain(&key));
        assert_eq!(plain(&renewed.authorities), plain(&new.pem()));
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        // Only whom to trust: the certificate and its key stay.
        let renewal = Renewal::new(&file, Some(read(&file)));
        let both = old.pem() + &new.pem();
        renewal.keep(Renewal::candidate().unwrap(), String::new(), both.clone()).unwrap();
        let again = read(&file);
        assert_eq!((plain(&again.key), plain(&again.authorities)), (plain(&key), plain(&both)));
        // Nonsense replaces nothing.
        assert!(renewal.keep(Renewal::candidate().unwrap(), "x".to_owned(), both).is_err());
        assert_eq!(plain(&read(&file).certificate), plain(&again.certificate));
    }
}

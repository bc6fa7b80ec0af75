//! Whom this agent trusts and who signs for it, as schedulers tell while one authority takes the place of
//! another.

use proto::{transport, v1};

use crate::identity::Member;

/// Authorities an agent is told of: a cluster has two at most.
const TRUSTED_MAX: usize = 4;
/// One certificate, as PEM.
const CERTIFICATE_BYTES_MAX: usize = 16 << 10;

/// What a scheduler told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Told {
    issuing: u64,
    /// Each with its number.
    trusted: Vec<(u64, String)>,
    fingerprints: Vec<[u8; 32]>,
}

/// What a member has to do to be as it was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Want {
    /// Trust others.
    Trust,
    /// Get a certificate of the one that signs.
    Renew,
    /// Nothing.
    Nothing,
}

impl Told {
    /// Reads it; in words why it cannot be used.
    pub(crate) fn read(message: v1::Authorities) -> Result<Self, String> {
        let count = message.trusted.len();
        if !(1..=TRUSTED_MAX).contains(&count) {
            return Err(format!("{count} authorities, 1 to {TRUSTED_MAX} there can be"));
        }
        let (mut trusted, mut fingerprints) = (Vec::new(), Vec::new());
        for v1::Authority { number, certificate, .. } in message.trusted {
            if certificate.len() > CERTIFICATE_BYTES_MAX {
                return Err(format!("a certificate larger than {CERTIFICATE_BYTES_MAX} bytes"));
            }
            let of_one = transport::fingerprints(&certificate).map_err(|bad| bad.to_string())?;
            let [fingerprint] = of_one[..] else {
                return Err("several certificates in the place of one".to_owned());
            };
            fingerprints.push(fingerprint);
            trusted.push((number, certificate));
        }
        if !trusted.iter().any(|(number, _)| *number == message.issuing) {
            return Err("the one that signs is not among them".to_owned());
        }
        fingerprints.sort_unstable();
        Ok(Self { issuing: message.issuing, trusted, fingerprints })
    }

    /// All of them, as PEM.
    pub(crate) fn pem(&self) -> String {
        let parts: Vec<_> =
            self.trusted.iter().map(|(_, certificate)| certificate.trim_end()).collect();
        parts.join("\n") + "\n"
    }

    /// What this member has to do.
    pub(crate) fn want(&self, member: &Member) -> Want {
        if !self.is_trusted_by(member) {
            Want::Trust
        } else if self.signer(member) == Some(self.issuing) {
            Want::Nothing
        } else {
            Want::Renew
        }
    }

    /// The number of the authority that signed this member's certificate, when the member trusts all it
    /// was told of.
    pub(crate) fn held_by(&self, member: &Member) -> Option<u64> {
        self.is_trusted_by(member).then(|| self.signer(member)).flatten()
    }

    fn is_trusted_by(&self, member: &Member) -> bool {
        let held = transport::fingerprints(&member.identity.authorities);
        held.is_ok_and(|mut held| {
            held.sort_unstable();
            held == self.fingerprints
        })
    }

    fn signer(&self, member: &Member) -> Option<u64> {
        let signed = transport::issuer_of(&member.identity.certificate, &self.pem());
        signed.ok().flatten().and_then(|at| self.trusted.get(at)).map(|(number, _)| *number)
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{
        BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa,
        KeyPair, SanType,
    };

    use super::*;

    type Issuer = CertifiedIssuer<'static, KeyPair>;

    fn authority(name: &str) -> Issuer {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    }

    fn member(signer: &Issuer, trusts: &[&Issuer]) -> Member {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.subject_alt_names = vec![SanType::URI("siso://c1/node/n3".try_into().unwrap())];
        Member::new(transport::Identity {
            authorities: trusts.iter().map(|one| one.pem()).collect(),
            certificate: params.signed_by(&key, signer).unwrap().pem(),
            key: key.serialize_pem(),
        })
        .unwrap()
    }

    fn told(issuing: u64, trusted: &[(u64, &Issuer)]) -> v1::Authorities {
        let trusted = trusted.iter().map(|(number, one)| v1::Authority {
            number: *number,
            certificate: one.pem(),
            key: String::new(),
        });
        v1::Authorities { step: 1, issuing, presented: 1, trusted: trusted.collect() }
    }

    #[test]
    fn a_member_trusts_first_and_then_has_its_certificate_renewed() {
        let (old, new) = (authority("old"), authority("new"));
        let check = |told: v1::Authorities, member: &Member, want, held| {
            let told = Told::read(told).unwrap();
            assert_eq!((told.want(member), told.held_by(member)), (want, held));
        };
        let both = [(1, &old), (2, &new)];
        check(told(1, &both), &member(&old, &[&old]), Want::Trust, None);
        check(told(1, &both), &member(&old, &[&new, &old]), Want::Nothing, Some(1));
        check(told(2, &both), &member(&old, &[&old]), Want::Trust, None);
        check(told(2, &both), &member(&old, &[&old, &new]), Want::Renew, Some(1));
        check(told(2, &both), &member(&new, &[&old, &new]), Want::Nothing, Some(2));
        check(told(2, &both[1..]), &member(&new, &[&old, &new]), Want::Trust, None);
        check(told(2, &both[1..]), &member(&new, &[&new]), Want::Nothing, Some(2));
        check(told(2, &both[1..]), &member(&old, &[&new]), Want::Renew, None);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let old = authority("old");
        let refused = |told: v1::Authorities, says: &str| {
            let why = Told::read(told).unwrap_err();
            assert!(why.contains(says), "{why}");
        };
        refused(told(1, &[]), "0 authorities");
        refused(told(1, &[(1, &old); 5]), "5 authorities");
        refused(told(3, &[(1, &old)]), "not among them");
        let mut bad = told(1, &[(1, &old)]);
        bad.trusted[0].certificate = "x".repeat(20 << 10);
        refused(bad.clone(), "larger than");
        bad.trusted[0].certificate = "x".to_owned();
        refused(bad.clone(), "no certificate in it");
        bad.trusted[0].certificate = old.pem() + &old.pem();
        refused(bad, "several");
    }
}

use std::{fs, os::unix::fs::PermissionsExt as _};

use rcgen::{BasicConstraints, CertifiedIssuer, IsCa, SanType};

use super::*;

const DAY: u64 = 24 * 3_600_000;

/// A member certificate as an authority signs it, valid for these days from 2026-01-01.
fn identity(uri: &str) -> transport::Identity {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
    params.not_before = rcgen::date_time_ymd(2026, 1, 1);
    params.not_after = rcgen::date_time_ymd(2026, 1, 31);
    let certificate = params.signed_by(&key, &authority).unwrap();
    transport::Identity {
        authorities: authority.pem(),
        certificate: certificate.pem(),
        key: key.serialize_pem(),
    }
}

#[test]
fn a_member_is_read_back_from_its_private_file() {
    let directory = tempfile::tempdir().unwrap();
    assert!(Member::load(directory.path()).unwrap().is_none());
    let member = Member::new(identity("siso://c1/node/n3")).unwrap();
    assert_eq!((member.cluster.as_str(), member.node), ("c1", NodeId::new(3)));
    member.store(directory.path()).unwrap();
    let mode = fs::metadata(directory.path().join(FILE)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let read = Member::load(directory.path()).unwrap().unwrap();
    assert_eq!((read.cluster, read.node), (member.cluster, member.node));
    let trimmed = |text: &str| text.trim().replace('\r', "");
    assert_eq!(trimmed(&read.identity.key), trimmed(&member.identity.key));
    assert_eq!(trimmed(&read.identity.certificate), trimmed(&member.identity.certificate));
    assert_eq!(trimmed(&read.identity.authorities), trimmed(&member.identity.authorities));
}

#[test]
fn a_certificate_is_renewed_from_half_its_life_on() {
    let member = Member::new(identity("siso://c1/node/n3")).unwrap();
    assert_eq!(member.renew_at(), member.valid_from.plus_millis(15 * DAY));
}

#[test]
fn somebody_elses_certificate_makes_no_member() {
    for uri in ["siso://c1/admin/root", "siso://c1/node/three", "https://c1/node/n3"] {
        assert!(Member::new(identity(uri)).is_err(), "{uri}");
    }
}

#[test]
fn a_damaged_file_is_an_error_and_not_a_new_join() {
    let directory = tempfile::tempdir().unwrap();
    let member = Member::new(identity("siso://c1/node/n3")).unwrap();
    member.store(directory.path()).unwrap();
    let path = directory.path().join(FILE);
    let whole = fs::read_to_string(&path).unwrap();
    for cut in [0, 10, whole.len() / 2] {
        fs::write(&path, &whole[..cut]).unwrap();
        assert!(Member::load(directory.path()).is_err(), "cut after {cut} bytes");
    }
}

#[test]
fn a_join_that_is_repeated_asks_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let first = Candidate::of(directory.path()).unwrap();
    let second = Candidate::of(directory.path()).unwrap();
    assert_eq!(first.request, second.request);
    let member = Member::new(identity("siso://c1/node/n3")).unwrap();
    member.store(directory.path()).unwrap();
    let other = Candidate::of(directory.path()).unwrap();
    assert_ne!(first.request, other.request, "a member's old request is gone");
}

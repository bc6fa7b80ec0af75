use std::{os::unix::fs::PermissionsExt as _, time::SystemTime};

use model::{
    RequestId, Timestamp, TokenId,
    token::{Role, Token},
};
use proto::transport;
use rcgen::{CertificateParams, DistinguishedName, DnType, IsCa, KeyPair, SanType};
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::*;

const CLUSTER: &str = "0123456789abcdef0123456789abcdef";

fn der(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
}

fn node(id: &str) -> Holder {
    Holder { role: Role::Node, id: id.to_owned() }
}

/// A request that asks for far more than it may get.
fn greedy_request(key: &KeyPair) -> Vec<u8> {
    let mut params = CertificateParams::new(vec![transport::SERVER_NAME.to_owned()]).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "admin");
    let admin = transport::identity_uri(CLUSTER, Role::Admin, "root");
    params.subject_alt_names.push(SanType::URI(admin.as_str().try_into().unwrap()));
    params.is_ca = IsCa::NoCa;
    params.serialize_request(key).unwrap().der().to_vec()
}

#[test]
fn a_signed_request_gets_the_name_the_cluster_decided_and_nothing_it_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::found(dir.path(), CLUSTER).unwrap();
    let key = KeyPair::generate().unwrap();
    let request = SigningRequest::read(&greedy_request(&key)).unwrap();
    let pem = authority.sign_request(&request, &node("n3")).unwrap();
    let certificate = der(&pem);
    let peer = transport::peer_of(&certificate).unwrap();
    assert_eq!((peer.cluster.as_str(), peer.role, peer.id.as_str()), (CLUSTER, Role::Node, "n3"));
    let (_, parsed) = X509Certificate::from_der(&certificate).unwrap();
    let names = parsed.subject_alternative_name().unwrap().unwrap().value;
    assert_eq!(names.general_names.len(), 1, "{names:?}");
    assert_eq!(parsed.subject().to_string(), "CN=siso node n3");
    assert!(!parsed.is_ca());
    assert_eq!(parsed.public_key().subject_public_key.data, key.public_key_raw());
    let life = parsed.validity().not_after.timestamp() - parsed.validity().not_before.timestamp();
    let expected = MACHINE_LIFE + BACKDATED;
    assert_eq!(u64::try_from(life).unwrap(), expected.as_secs());
}

#[test]
fn a_request_that_does_not_prove_its_key_is_refused() {
    let request = greedy_request(&KeyPair::generate().unwrap());
    for position in [0, request.len() / 2, request.len() - 3] {
        let mut damaged = request.clone();
        damaged[position] ^= 1;
        let refused = SigningRequest::read(&damaged);
        assert!(matches!(refused, Err(PkiError::Request(_))), "byte {position}");
    }
    for damaged in [&[][..], b"hello", &vec![0x30; 1 << 20]] {
        assert!(SigningRequest::read(damaged).is_err());
    }
}

#[test]
fn an_authority_is_made_once_and_its_key_is_private() {
    let dir = tempfile::tempdir().unwrap();
    let first = Authority::found(dir.path(), CLUSTER).unwrap();
    let second = Authority::open(dir.path(), CLUSTER).unwrap();
    assert_eq!(first.fingerprint(), second.fingerprint());
    let request = RequestId(7);
    assert_eq!(first.token_secret(request), second.token_secret(request));
    assert_ne!(first.token_secret(request), first.token_secret(RequestId(8)));
    let mode = std::fs::metadata(dir.path().join("ca.key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_damaged_authority_is_refused_and_not_replaced() {
    let damage = |file: &str, text: &str| {
        let dir = tempfile::tempdir().unwrap();
        let key = KeyPair::generate().unwrap().serialize_pem();
        Authority::found(dir.path(), CLUSTER).unwrap();
        let text = if text == "another key" { key.as_str() } else { text };
        std::fs::write(dir.path().join(file), text).unwrap();
        let refused = Authority::open(dir.path(), CLUSTER).unwrap_err();
        assert!(matches!(refused, PkiError::Damaged { .. }), "{refused}");
        assert_eq!(std::fs::read_to_string(dir.path().join(file)).unwrap(), text);
    };
    damage("ca.key", "");
    damage("ca.key", "another key");
    damage("ca.crt", "");
    damage("ca.crt", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
}

#[test]
fn the_own_certificate_is_kept_until_it_is_old_or_names_the_wrong_address() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::found(dir.path(), CLUSTER).unwrap();
    let check = |host: &str, life, is_new: bool| {
        let identity = OwnIdentity::scheduler(dir.path(), "scheduler", 1, host);
        assert_eq!(identity.current(&authority, life).unwrap().1, is_new, "{host}");
    };
    check("10.0.0.1", MACHINE_LIFE, true);
    check("10.0.0.1", MACHINE_LIFE, false);
    check("10.0.0.2", MACHINE_LIFE, true);
    check("mini-1.tail.net", MACHINE_LIFE, true);
    check("mini-1.tail.net", MACHINE_LIFE, false);
    check("::1", MACHINE_LIFE, true);
    check("::1", MACHINE_LIFE, false);
    check("::1", MACHINE_LIFE * 3, true);
    std::fs::write(dir.path().join("scheduler.crt"), "").unwrap();
    check("::1", MACHINE_LIFE, true);
    let other = tempfile::tempdir().unwrap();
    let stranger = Authority::found(other.path(), "another").unwrap();
    let identity = OwnIdentity::scheduler(dir.path(), "scheduler", 1, "::1");
    assert!(identity.current(&stranger, MACHINE_LIFE).unwrap().1, "of another authority");
}

#[test]
fn an_admin_certificate_says_admin() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::found(dir.path(), CLUSTER).unwrap();
    let holder = Holder { role: Role::Admin, id: "admin".to_owned() };
    let admin = OwnIdentity::new(dir.path(), "admin", holder, Vec::new());
    let (identity, _) = admin.current(&authority, ADMIN_LIFE).unwrap();
    let peer = transport::peer_of(&der(&identity.certificate)).unwrap();
    assert_eq!((peer.role, peer.id.as_str()), (Role::Admin, "admin"));
}

fn token(role: Role, secret: &[u8], expires_at: u64) -> Token {
    Token {
        id: TokenId::new(1),
        role,
        secret_hash: hash_secret(secret),
        created_at: Timestamp(0),
        expires_at: Timestamp(expires_at),
        used_at: None,
        ended_at: None,
    }
}

#[test]
fn a_token_opens_for_its_secret_its_role_and_its_time_only() {
    let secret = [7; 32];
    let mut changed = secret;
    changed[31] ^= 1;
    let valid = token(Role::Node, &secret, 1000);
    let check = |token: Option<&Token>, secret: &[u8], now, expected| {
        assert_eq!(check_token(token, secret, Role::Node, Timestamp(now)), expected);
    };
    check(Some(&valid), &secret, 999, Ok(()));
    check(Some(&valid), &secret, 1000, Err(TokenRefusal::Expired));
    check(Some(&valid), &changed, 999, Err(TokenRefusal::Unknown));
    check(Some(&valid), &[], 999, Err(TokenRefusal::Unknown));
    check(None, &secret, 999, Err(TokenRefusal::Unknown));
    let scheduler = token(Role::Scheduler, &secret, 1000);
    check(
        Some(&scheduler),
        &secret,
        999,
        Err(TokenRefusal::WrongRole { of: Role::Scheduler, wanted: Role::Node }),
    );
    // Who does not know the secret does not learn what the token is for.
    check(Some(&scheduler), &changed, 999, Err(TokenRefusal::Unknown));
}

#[test]
fn an_authority_that_is_gone_is_not_made_anew() {
    for gone in ["ca.key", "ca.crt"] {
        let dir = tempfile::tempdir().unwrap();
        Authority::found(dir.path(), CLUSTER).unwrap();
        std::fs::remove_file(dir.path().join(gone)).unwrap();
        let refused = Authority::open(dir.path(), CLUSTER).unwrap_err();
        assert!(matches!(&refused, PkiError::Lost { path } if path.ends_with(gone)), "{refused}");
        assert!(!dir.path().join(gone).exists());
    }
}

#[test]
fn an_authority_with_any_bit_flipped_is_refused_or_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::found(dir.path(), CLUSTER).unwrap();
    let secret = authority.token_secret(RequestId(7));
    for file in ["ca.key", "ca.crt"] {
        let path = dir.path().join(file);
        let whole = std::fs::read(&path).unwrap();
        for position in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[position] ^= 1 << (position % 8);
            std::fs::write(&path, flipped).unwrap();
            // Line breaks and unused bits of the last letter of a key mean nothing.
            if let Ok(read) = Authority::open(dir.path(), CLUSTER) {
                assert_eq!(read.pem(), authority.pem(), "{file}, byte {position}");
                assert_eq!(read.token_secret(RequestId(7)), secret, "{file}, byte {position}");
            }
        }
        std::fs::write(&path, whole).unwrap();
    }
}

#[test]
fn the_certificate_of_an_authority_of_an_earlier_version_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::found(dir.path(), CLUSTER).unwrap();
    std::fs::write(dir.path().join("ca.crt"), authority.pem()).unwrap();
    let read = Authority::open(dir.path(), CLUSTER).unwrap();
    assert_eq!(read.fingerprint(), authority.fingerprint());
}

#[test]
fn an_own_certificate_or_key_with_any_bit_flipped_is_made_anew_or_means_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::found(dir.path(), CLUSTER).unwrap();
    let own = OwnIdentity::scheduler(dir.path(), "scheduler", 1, "mini-1");
    let shown = |own: &OwnIdentity| {
        let identity = own.of_now(&authority)?;
        own::tls(&identity, &authority, std::iter::once(authority.certificate()))
    };
    let (first, _) = own.current(&authority, MACHINE_LIFE).unwrap();
    for (file, whole) in [("scheduler.key", &first.key), ("scheduler.crt", &first.certificate)] {
        for position in (0..whole.len()).step_by(3) {
            let mut flipped = whole.clone().into_bytes();
            flipped[position] ^= 1 << (position % 7);
            std::fs::write(dir.path().join("scheduler.key"), &first.key).unwrap();
            std::fs::write(dir.path().join("scheduler.crt"), &first.certificate).unwrap();
            std::fs::write(dir.path().join(file), flipped).unwrap();
            let Ok((now, _)) = own.current(&authority, MACHINE_LIFE) else { continue };
            shown(&own).unwrap_or_else(|error| panic!("{file}, byte {position}: {error}"));
            let certificate = der(&now.certificate);
            let (_, certificate) = X509Certificate::from_der(&certificate).unwrap();
            let key = KeyPair::from_pem(&now.key).unwrap();
            assert_eq!(certificate.public_key().subject_public_key.data, key.public_key_raw());
        }
    }
}

fn keys(directory: &Path) -> Keys {
    Keys::open(directory, CLUSTER, (1, "10.0.0.1")).unwrap()
}

/// What the log says when `step` steps were made from the authority of `first` to that of `next`.
fn view(step: u64, first: &Authority, next: &Authority) -> View {
    let both = vec![(1, first.certificate().clone()), (2, next.certificate().clone())];
    let (issuing, presented) = match step {
        0 | 1 => (1, 1),
        2 => (2, 1),
        _ => (2, 2),
    };
    let trusted = if step == 4 { both[1..].to_vec() } else { both };
    View { step, issuing, presented, trusted }
}

#[test]
fn keys_follow_the_log_from_one_authority_to_another_and_never_back() {
    let dir = tempfile::tempdir().unwrap();
    let first = Authority::found(dir.path(), CLUSTER).unwrap();
    let held = keys(dir.path());
    assert_eq!(held.stand(), (0, true));
    let next = held.prepare().unwrap();
    assert_eq!(held.prepare().unwrap().fingerprint(), next.fingerprint(), "asked again");
    // Nobody is told of it yet; it lies on the disk, for its owner only.
    assert!(!held.trusted_pem().contains(next.pem()) && !held.trusts(&next.fingerprint()));
    let mode = std::fs::metadata(dir.path().join("authorities")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let held = keys(dir.path());
    let signed_by = |authority: &Authority| {
        let holder = Holder { role: Role::Node, id: "n1".to_owned() };
        der(&authority.issue(&holder, &[]).unwrap().certificate)
    };
    let end = held.signer(&signed_by(&first)).unwrap().1;
    assert!(held.signer(&signed_by(&next)).is_none());
    let shown = |held: &Keys| {
        let face = held.face().load_full();
        let signer = held.view().signer(&der(&face.certificate)).cloned().unwrap();
        (held.issuing().unwrap().fingerprint(), held.presented().unwrap().fingerprint(), signer)
    };
    let [one, two] = [&first, &*next].map(Authority::fingerprint);
    for (step, issuing, presented) in [(1, one, one), (2, two, one), (3, two, two)] {
        let newer = view(step, &first, &next);
        held.take(newer.clone()).unwrap();
        assert_eq!(held.stand(), (step, true));
        let signs = if issuing == one { &first } else { &*next };
        let expected = (issuing, presented, signs.certificate().clone());
        assert_eq!(shown(&held), expected, "step {step}");
        // A scheduler that starts knows an older log; it goes on from its disk.
        let again = keys(dir.path());
        again.take(view(step - 1, &first, &next)).unwrap();
        assert_eq!((again.view(), shown(&again)), (newer, expected));
        assert!(
            held.signer(&signed_by(&first)).is_some() && held.signer(&signed_by(&next)).is_some()
        );
        assert!(!end.is_cancelled());
    }
    // One that is about to take its place is kept, whatever is put in force meanwhile.
    let third = held.prepare().unwrap();
    held.take(view(4, &first, &next)).unwrap();
    assert_eq!(held.prepare().unwrap().fingerprint(), third.fingerprint());
    assert!(end.is_cancelled() && held.signer(&signed_by(&first)).is_none());
    assert!(held.signer(&signed_by(&next)).is_some());
    let text = std::fs::read_to_string(dir.path().join("authorities")).unwrap();
    assert!(!text.contains(first.key_pem().trim()), "its key is gone");
    assert!(!dir.path().join("ca.key").exists());
    assert!(held.knows(&one) && held.knows(&two) && !held.knows(&[9; 32]));
}

#[test]
fn a_certificate_that_ended_passes_to_be_renewed_while_one_authority_takes_the_place_of_another() {
    let dir = tempfile::tempdir().unwrap();
    let first = Authority::found(dir.path(), CLUSTER).unwrap();
    let next = Authority::another(CLUSTER).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let trusted = [first.certificate().clone(), next.certificate().clone()];
    let both = verifier::verifier(trusted.iter(), &provider).unwrap();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let day = Duration::from_hours(24);
    for authority in [&first, &next] {
        let signer = KeyPair::from_pem(&authority.key_pem()).unwrap();
        let signer = rcgen::Issuer::from_ca_cert_pem(authority.pem(), signer).unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
        params.not_before = (SystemTime::now() - day).into();
        params.not_after = (SystemTime::now() + day).into();
        let ended = params.signed_by(&KeyPair::generate().unwrap(), &signer).unwrap();
        let passes = |days: u32| {
            let at = rustls::pki_types::UnixTime::since_unix_epoch(now + day * days);
            both.verify_client_cert(ended.der(), &[], at).is_ok()
        };
        assert_eq!([0, 100, 360, 400].map(passes), [true, true, true, false]);
    }
}

#[test]
fn a_scheduler_without_a_key_trusts_and_says_that_it_is_not_ready() {
    let dir = tempfile::tempdir().unwrap();
    let first = Authority::found(dir.path(), CLUSTER).unwrap();
    let next = Authority::another(CLUSTER).unwrap();
    let held = keys(dir.path());
    held.take(view(1, &first, &next)).unwrap();
    assert_eq!(held.stand(), (1, false));
    let missing = held.missing();
    assert_eq!(missing, [next.certificate().clone()]);
    assert!(held.for_another().is_none() && held.key_of(&next.fingerprint()).is_none());
    let other = Authority::another(CLUSTER).unwrap();
    let refused = held.add(&missing[0], &other.key_pem()).unwrap_err();
    assert!(matches!(refused, PkiError::Damaged { .. }), "{refused}");
    held.add(&missing[0], &next.key_pem()).unwrap();
    assert_eq!(held.stand(), (1, true));
    // Another one that joins is given both.
    let given = held.for_another().unwrap();
    let joined = tempfile::tempdir().unwrap();
    Keys::adopt(joined.path(), CLUSTER, &given).unwrap();
    let joined = Keys::open(joined.path(), CLUSTER, (2, "10.0.0.2")).unwrap();
    assert_eq!((joined.view(), joined.stand()), (held.view(), (1, true)));
}

#[test]
fn a_disk_that_takes_nothing_leaves_what_is_in_force_and_it_is_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let first = Authority::found(dir.path(), CLUSTER).unwrap();
    let held = keys(dir.path());
    let next = Authority::another(CLUSTER).unwrap();
    // Where the file is written beside its place lies something that cannot be replaced.
    let beside = dir.path().join("authorities.tmp");
    std::fs::create_dir(&beside).unwrap();
    assert!(held.prepare().is_err() && held.take(view(1, &first, &next)).is_err());
    assert_eq!(held.stand(), (0, true));
    assert!(!held.trusts(&next.fingerprint()));
    std::fs::remove_dir(&beside).unwrap();
    held.take(view(1, &first, &next)).unwrap();
    assert_eq!(held.stand(), (1, false));
}

#[test]
fn a_damaged_ring_is_refused_and_not_replaced() {
    let dir = tempfile::tempdir().unwrap();
    Authority::found(dir.path(), CLUSTER).unwrap();
    keys(dir.path()).prepare().unwrap();
    let path = dir.path().join("authorities");
    let text = std::fs::read_to_string(&path).unwrap();
    for at in [0, 8, text.len() / 2, text.len() - 2] {
        let mut damaged = text.clone().into_bytes();
        damaged[at] ^= 1;
        std::fs::write(&path, &damaged).unwrap();
        let refused = Keys::open(dir.path(), CLUSTER, (1, "a")).unwrap_err();
        assert!(matches!(refused, PkiError::Damaged { .. }), "{refused}");
        assert_eq!(std::fs::read(&path).unwrap(), damaged);
    }
}

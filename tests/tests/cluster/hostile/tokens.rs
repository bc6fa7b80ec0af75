//! Join tokens that are not what they were, and clusters that are not what they say.

use std::{
    fs,
    io::{self, Read},
    net::TcpListener,
    path::Path,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use model::token::{Hex, JoinToken, Role};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer},
};
use sha2::{Digest as _, Sha256};
use siso_tests::{Daemon, PATIENT, World, wait_until};

use super::caller::{join, token};

/// The one kind of text after which a joining program asks again instead of ending.
const SILENCE: Duration = Duration::from_secs(20);

/// A program that wants to join with this text for a token.
#[track_caller]
fn joiner(world: &World, name: &str, role: Role, text: &str, at: &str) -> Daemon {
    let file = world.write(&format!("{name}.token"), text);
    let mut arguments = world.agent_arguments(&format!("{name}-data"), &file);
    let program = if role == Role::Node { "siso-agent" } else { "siso-scheduler" };
    if role == Role::Scheduler {
        let data = world.path(&format!("{name}-data")).display().to_string();
        let flags = ["--data-dir", &data, "--listen", "127.0.0.1:0", "--metrics-listen"];
        let more = ["127.0.0.1:0", "--join", at, "--token-file", &file];
        arguments = flags.into_iter().chain(more).map(str::to_owned).collect();
    }
    for (flag, value) in [("--scheduler", at), ("--name", name)] {
        // Names are unique among nodes: a refusal must be the token's.
        if let Some(index) = arguments.iter().position(|argument| argument == flag) {
            value.clone_into(&mut arguments[index + 1]);
        }
    }
    Daemon::new(name, siso_tests::program(program), arguments, &world.path(""))
}

/// The same token with another last digit in its part of this number.
fn changed(token: &JoinToken, part: usize) -> String {
    let text = token.to_string();
    let mut parts: Vec<_> = text.split('.').map(str::to_owned).collect();
    let last = parts[part].pop().expect("a digit");
    parts[part].push(if last == '1' { '2' } else { '1' });
    parts.join(".")
}

/// Whether a text stands in any file below a directory.
fn stands_in(directory: &Path, text: &str) -> bool {
    let held = |path: &Path| {
        fs::read(path)
            .is_ok_and(|bytes| bytes.windows(text.len()).any(|part| part == text.as_bytes()))
    };
    let entries = fs::read_dir(directory).expect("a directory").flatten().map(|entry| entry.path());
    entries.into_iter().any(|path| if path.is_dir() { stands_in(&path, text) } else { held(&path) })
}

#[test]
fn a_token_is_good_whole_fresh_once_and_for_what_it_was_made() {
    let world = World::scheduler_only("token-table");
    let node = || token(&world, "node");
    let used = node();
    join(&world, &used, "mini-1").expect("the first use");
    let revoked = node();
    world.ctl.run(&["token", "revoke", &revoked.id.to_string()]).expect(0);
    let short = world.ctl.run(&["token", "create", "--role", "node", "--ttl", "1s"]).expect(0);
    let expired: JoinToken = short.stdout.trim().parse().expect("a token");
    wait_until("a token has expired", PATIENT, || {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let now = now.expect("after 1970").as_millis();
        if now > u128::from(expired.expires_at.0) { Ok(()) } else { Err(now.to_string()) }
    });
    let (fresh, scheduler) = (node(), token(&world, "scheduler"));
    let (n, s) = (Role::Node, Role::Scheduler);
    let both = format!("{fresh}\n{used}\n");
    let relabelled = fresh.to_string().replacen(".node.", ".scheduler.", 1);
    let table: &[(&str, Role, String, &JoinToken, &str)] = &[
        ("another-secret", n, changed(&fresh, 5), &fresh, "not valid"),
        ("another-secret-of-a-scheduler", s, changed(&scheduler, 5), &scheduler, "not valid"),
        ("another-id", n, changed(&fresh, 2), &fresh, "not valid"),
        ("another-authority", n, changed(&fresh, 4), &fresh, "no scheduler of the token's cluster"),
        ("cut-short", n, fresh.to_string().split_at(100).0.to_owned(), &fresh, "token"),
        ("two-at-once", n, both, &fresh, "token"),
        ("nothing", n, String::new(), &fresh, "token"),
        ("used", n, used.to_string(), &used, "used"),
        ("revoked", n, revoked.to_string(), &revoked, "not valid"),
        ("expired", n, expired.to_string(), &expired, "expired"),
        ("of-a-scheduler", n, scheduler.to_string(), &scheduler, "for joining as a scheduler"),
        ("of-a-node", s, fresh.to_string(), &fresh, "for joining as node"),
        ("relabelled", s, relabelled, &fresh, "for joining as node"),
    ];
    for (what, role, text, whose, says) in table {
        let mut joiner = joiner(&world, what, *role, text, &world.endpoint());
        joiner.start();
        let status = joiner.wait_ended();
        assert!(!status.success(), "{what}: {}", joiner.story());
        let said = joiner.output("stderr") + &joiner.output("stdout");
        assert!(said.contains(says), "{what}: {says:?} is not said: {said}");
        let secret = Hex(&whose.secret).to_string();
        let log = world.scheduler.output("stderr");
        assert!(!said.contains(&secret) && !log.contains(&secret), "{what}: a log has the secret");
        let kept = stands_in(&world.path("scheduler"), &secret);
        assert!(!kept, "{what}: the scheduler keeps the secret");
    }
    assert_eq!(world.ctl.json(&["node", "ls"]).as_array().map(Vec::len), Some(1));
    let log = world.scheduler.output("stderr");
    for reason in ["not valid", "expired", "used", "for joining as node"] {
        assert!(log.contains(reason), "the log does not say {reason:?}: {log}");
    }
    join(&world, &fresh, "mini-2").expect("what others did with a token does not use it up");
    world.expect_unharmed();
}

/// A listener with the face of a scheduler, vouched for by an authority of its own, that writes down
/// every byte somebody trusts it with.
struct Impostor {
    address: String,
    authority: [u8; 32],
    heard: Arc<Mutex<Vec<u8>>>,
    greeted: Arc<Mutex<usize>>,
}

impl Impostor {
    fn of(world: &World) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let key = KeyPair::generate().expect("a key");
        let authority = CertifiedIssuer::self_signed(params, key).expect("an authority");
        let uri = proto::transport::identity_uri(world.cluster(), Role::Scheduler, "1");
        let names = vec![proto::transport::SERVER_NAME.to_owned()];
        let mut params = CertificateParams::new(names).expect("a name");
        params.subject_alt_names.push(SanType::URI(uri.as_str().try_into().expect("plain")));
        let key = KeyPair::generate().expect("a key");
        let face = params.signed_by(&key, &authority).expect("a certificate");
        let chain: Vec<CertificateDer<'static>> = vec![face.der().clone(), authority.der().clone()];
        let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("TLS")
            .with_no_client_auth()
            .with_single_cert(chain, key);
        let mut config = config.expect("a server");
        config.alpn_protocols = vec![b"h2".to_vec()];
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let impostor = Self {
            address: listener.local_addr().expect("its address").to_string(),
            authority: Sha256::digest(authority.der()).into(),
            heard: Arc::default(),
            greeted: Arc::default(),
        };
        let (heard, greeted) = (Arc::clone(&impostor.heard), Arc::clone(&impostor.greeted));
        let config = Arc::new(config);
        thread::spawn(move || {
            for tcp in listener.incoming().flatten() {
                *greeted.lock().expect("a count") += 1;
                let _ = tcp.set_read_timeout(Some(SILENCE));
                let connection = ServerConnection::new(Arc::clone(&config)).expect("TLS");
                let mut stream = StreamOwned::new(connection, tcp);
                let mut bytes = [0; 4096];
                loop {
                    match stream.read(&mut bytes) {
                        Ok(0) => break,
                        Ok(count) => heard.lock().expect("bytes").extend(&bytes[..count]),
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                        Err(_) => break,
                    }
                }
            }
        });
        impostor
    }

    fn knows(&self, secret: &str) -> bool {
        let heard = self.heard.lock().expect("bytes");
        heard.windows(secret.len()).any(|part| part == secret.as_bytes())
    }
}

#[test]
fn an_impostor_between_a_joining_program_and_its_cluster_learns_nothing() {
    let world = World::scheduler_only("impostor");
    let impostor = Impostor::of(&world);
    for (name, role) in [("agent-astray", Role::Node), ("scheduler-astray", Role::Scheduler)] {
        let token = token(&world, role.as_str());
        let secret = Hex(&token.secret).to_string();
        let mut joiner = joiner(&world, name, role, &token.to_string(), &impostor.address);
        joiner.start();
        assert!(!joiner.wait_ended().success(), "{name}");
        let said = joiner.output("stderr");
        assert!(said.contains("does not present the certificate authority"), "{name}: {said}");
        assert!(*impostor.greeted.lock().expect("a count") > 0, "{name} went elsewhere");
        assert!(impostor.heard.lock().expect("bytes").is_empty(), "{name} spoke to it");
        // To a token that names this authority it would have listened.
        let believing = JoinToken { authority: impostor.authority, ..token };
        let believer = format!("{name}-believing");
        let mut joiner =
            self::joiner(&world, &believer, role, &believing.to_string(), &impostor.address);
        joiner.start();
        wait_until("the impostor hears the secret", PATIENT, || {
            if impostor.knows(&secret) { Ok(()) } else { Err(joiner.story()) }
        });
        joiner.kill9();
        impostor.heard.lock().expect("bytes").clear();
    }
    world.expect_unharmed();
}

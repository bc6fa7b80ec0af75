//! A word that is nowhere else is put wherever people put secrets, and looked for everywhere.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    thread,
};

use siso_tests::{PATIENT, World, get, wait_until};

const ENVIRONMENT: &str = "canary-of-the-environment-7c1f";
const VARIABLE: &str = "canary-of-a-variable-7c2f";
const LABEL: &str = "canary-of-a-label-7c3f";
const OPTION: &str = "canary-of-an-option-7c4f";
const ADDRESS: &str = "canary-of-an-address-7c5f";
const NEXT: &str = "canary-of-the-next-revision-7c6f";
const LOGIN: &str = "canary-of-a-login-7c7f";
/// `somebody:` and [`LOGIN`] in base64.
const LOGIN_PACKED: &str = "c29tZWJvZHk6Y2FuYXJ5LW9mLWEtbG9naW4tN2M3Zg==";
/// What the log has to hold, since every scheduler and machine has to know it.
const KEPT: [&str; 6] = [ENVIRONMENT, VARIABLE, LABEL, OPTION, ADDRESS, NEXT];

/// Every file below a directory.
fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).expect("a directory").flatten().map(|entry| entry.path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("a file").permissions().mode() & 0o777
}

fn holds(path: &Path, word: &str) -> bool {
    // Files come and go while the programs run.
    let bytes = fs::read(path).unwrap_or_default();
    bytes.windows(word.len()).any(|part| part == word.as_bytes())
}

/// A registry that lets nobody in, and what it was shown.
fn registry() -> (SocketAddr, Arc<Mutex<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    let shown: Arc<Mutex<String>> = Arc::default();
    let seen = Arc::clone(&shown);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let head = refuse(stream).unwrap_or_default();
            seen.lock().expect("what was shown").push_str(&head);
        }
    });
    (address, shown)
}

fn refuse(mut stream: TcpStream) -> Option<String> {
    let mut lines = BufReader::new(stream.try_clone().ok()?);
    // A greeting of TLS is tried first.
    if *lines.fill_buf().ok()?.first()? == 0x16 {
        return None;
    }
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if lines.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let answer = "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"r\"\r\n\
                  Content-Type: application/json\r\nContent-Length: 46\r\nConnection: close\r\n\r\n\
                  {\"errors\":[{\"code\":\"UNAUTHORIZED\",\"detail\":1}]}";
    stream.write_all(answer.as_bytes()).ok()?;
    Some(head)
}

fn stack(environment: &str) -> String {
    format!(
        "
name: keeper
services:
  web:
    image: siso/test:1
    command: [sh, -c, 'sleep 1000000', app, --password, '{OPTION}', 'db://me:{ADDRESS}@host/x']
    mem_limit: 16m
    environment: {{PLAIN: '{environment}', FILLED: '${{FILLED}}'}}
    labels: {{note: '{LABEL}'}}
    deploy: {{labels: {{note: '{LABEL}'}}}}
    healthcheck: {{test: [CMD, 'true', '--token={OPTION}'], interval: 1s}}
"
    )
}

/// Both programs at their most talkative short of the libraries' own.
fn talkative(world: &mut World, logins: &str) {
    let level = ["--log-level".to_owned(), "debug".to_owned()];
    world.agent.stop();
    world.scheduler.stop();
    world.scheduler.arguments.extend(level.clone());
    world.agent.arguments.extend(level);
    world.agent.arguments.extend(["--registry-logins".to_owned(), logins.to_owned()]);
    world.start_scheduler();
    world.start_agent();
}

/// Everything that is shown to whoever may ask, with where it was shown.
fn told(world: &World, next: &str) -> Vec<(String, String)> {
    let mut told = Vec::new();
    let file = world.write("next.yaml", next);
    let (plan, whatif) = (format!("plan {file}"), format!("whatif apply {file}"));
    for line in [
        &plan,
        &whatif,
        "ps",
        "ps -a keeper",
        "stack ls",
        "stack history keeper",
        "events",
        "status",
        "placement",
        "explain keeper/web.1",
        "explain fetcher/web.1",
        "advise",
        "whatif lose mini-1",
        "rebalance",
        "node ls",
        "node show mini-1",
        "scheduler ls",
        "operator ls",
        "authority ls",
        "token ls",
        "logs keeper",
        "doctor",
        "version",
    ] {
        for output in [&[][..], &["-o", "json"]] {
            let words: Vec<_> = output.iter().copied().chain(line.split(' ')).collect();
            let answer = world.ctl.run(&words);
            assert_ne!(answer.code, 2, "there is no such command: {answer}");
            told.push((words.join(" "), answer.stdout + &answer.stderr));
        }
    }
    for flags in [&["--dry-run"][..], &["--dry-run", "-o", "json"]] {
        let answer = world.apply_with(flags, next).expect(0);
        told.push((format!("apply {flags:?}"), answer.stdout + &answer.stderr));
    }
    for (whose, address) in
        [("scheduler", world.scheduler_metrics()), ("agent", world.agent_metrics())]
    {
        for path in ["/metrics", "/healthz"] {
            let text = get(&address, path).expect("an answer").text();
            told.push((format!("{path} of the {whose}"), text));
        }
    }
    for (whose, daemon) in [("scheduler", &world.scheduler), ("agent", &world.agent)] {
        let said = daemon.output("stdout") + &daemon.output("stderr");
        told.push((format!("what the {whose} logs"), said));
        for file in ["cmdline", "environ"] {
            let bytes = fs::read(format!("/proc/{}/{file}", daemon.pid())).expect("a process");
            told.push((format!("{file} of the {whose}"), String::from_utf8_lossy(&bytes).into()));
        }
    }
    told
}

#[test]
fn a_secret_in_a_stack_is_kept_where_it_must_be_and_shown_nowhere() {
    let Some(mut world) = World::new("canaries") else { return };
    let (registry, shown) = registry();
    let logins = format!("{{\"auths\": {{\"{registry}\": {{\"auth\": \"{LOGIN_PACKED}\"}}}}}}");
    let logins = world.write("logins.json", &logins);
    talkative(&mut world, &logins);
    world.write(".env", &format!("FILLED={VARIABLE}\n"));
    world.apply(&stack(ENVIRONMENT)).expect(0);
    world.apply(&stack(NEXT)).expect(0);
    let fetcher =
        format!("name: fetcher\nservices: {{web: {{image: '{registry}/x:1', mem_limit: 16m}}}}\n");
    world.apply_with(&["--detach"], &fetcher).expect(0);
    wait_until("the registry was shown the login", PATIENT, || {
        let shown = shown.lock().expect("what was shown");
        if shown.contains(LOGIN_PACKED) { Ok(()) } else { Err(shown.clone()) }
    });
    world.wait_task("fetcher", "was refused", |task| {
        task["error"].as_str().is_some_and(|error| error.contains("denies access"))
    });
    // What is looked for is there to be found: the container has it.
    let inspected = world.engine.inspect(&world.container("keeper", "web")).to_string();
    for word in [NEXT, VARIABLE, LABEL, OPTION, ADDRESS] {
        assert!(inspected.contains(word), "{word} did not reach the container");
    }
    for (place, text) in told(&world, &stack(ENVIRONMENT)) {
        for word in KEPT.into_iter().chain([LOGIN, LOGIN_PACKED]) {
            assert!(!text.contains(word), "{place} shows {word}: {text}");
        }
    }
    let everything = files(&world.path("scheduler")).into_iter().chain(files(&world.path("agent")));
    let mut kept = Vec::new();
    for path in everything {
        for word in KEPT {
            if holds(&path, word) {
                let name = path.strip_prefix(world.path("")).expect("a file of this test");
                let name = name.display().to_string();
                let may =
                    ["scheduler/log/", "agent/ledger"].iter().any(|may| name.starts_with(may));
                assert!(may, "{word} stands in {name}");
                assert_eq!(mode(&path), 0o600, "{name} holds {word}");
                kept.push((word, name));
            }
        }
        for word in [LOGIN, LOGIN_PACKED] {
            assert!(!holds(&path, word), "{word} stands in {}", path.display());
        }
    }
    for word in KEPT {
        assert!(kept.iter().any(|(held, _)| *held == word), "{word} is not found where it is kept");
    }
    for directory in ["scheduler", "agent"] {
        assert_eq!(mode(&world.path(directory)) & 0o077, 0, "{directory} is open to others");
    }
    world.expect_unharmed();
}

#[test]
fn a_key_stands_in_its_own_file_only_and_is_its_owners() {
    let Some(world) = World::new("keys") else { return };
    world.apply(&stack(ENVIRONMENT).replace("${FILLED}", "")).expect(0);
    let everything: Vec<_> =
        files(&world.path("scheduler")).into_iter().chain(files(&world.path("agent"))).collect();
    let private = |path: &&PathBuf| holds(path, "PRIVATE KEY-----");
    let mut owners = Vec::new();
    for path in everything.iter().filter(private) {
        assert_eq!(mode(path), 0o600, "{}", path.display());
        let text = fs::read_to_string(path).expect("text");
        let key = text.split("PRIVATE KEY-----").nth(1).expect("a key").trim();
        owners.push((path.clone(), key.lines().next().expect("a line").trim().to_owned()));
    }
    assert!(
        owners.len() >= 4,
        "the authority's, the scheduler's, the person's, the node's: {owners:?}"
    );
    for (place, text) in told(&world, &stack(NEXT).replace("${FILLED}", "")) {
        for (path, key) in &owners {
            assert!(!text.contains(key), "{place} shows the key of {}", path.display());
        }
    }
    world.expect_unharmed();
}

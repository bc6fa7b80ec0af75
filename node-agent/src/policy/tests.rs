use std::os::unix::fs::{PermissionsExt as _, symlink};

use model::spec::{Mount, Privileges};
use tempfile::TempDir;

use super::*;

/// A policy with one allowed root, and an agent directory beside it.
struct Ground {
    directory: TempDir,
    policy: Policy,
}

impl Ground {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        for name in ["root", "outside", "agent"] {
            fs::create_dir(path(name)).unwrap();
        }
        fs::write(path("engine.sock"), "").unwrap();
        let policy = Policy {
            allowed: Vec::new(),
            bind_roots: vec![path("root")],
            socket: Some(path("engine.sock")),
            data_dir: path("agent"),
        };
        Self { directory, policy }
    }

    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    fn bind(&self, path: &str, create: bool) -> Result<Permit, Refusal> {
        let mut spec = ServiceSpec::new("a");
        let source = MountSource::Bind { path: path.to_owned(), create };
        spec.mounts = vec![Mount { source, target: "/x".to_owned(), read_only: false }];
        self.policy.check_beside(&spec, &[])
    }

    /// Binds `name` and expects the refusal to say these words; no words mean it is permitted.
    #[track_caller]
    fn check(&self, name: &str, words: &[&str]) {
        let answer = self.bind(&self.path(name), false);
        match answer {
            Ok(_) => assert!(words.is_empty(), "{name} was permitted"),
            Err(refusal) => {
                let said = refusal.to_string();
                assert!(!words.is_empty(), "{name}: {said}");
                for word in words {
                    assert!(said.contains(word), "{name}: {said}");
                }
            }
        }
    }
}

#[test]
fn a_privilege_is_refused_and_the_flag_that_permits_it_is_named() {
    let check = |change: fn(&mut Privileges), needs: Capability| {
        let mut spec = ServiceSpec::new("a");
        change(&mut spec.privileges);
        let refusal = Policy::default().check(&spec).unwrap_err();
        assert!(refusal.to_string().contains(&format!("--allow {}`", needs.as_str())), "{refusal}");
        let all: Vec<_> = Capability::ALL.to_vec();
        let others = all.iter().copied().filter(|allowed| *allowed != needs).collect();
        let others = Policy { allowed: others, ..Policy::default() };
        assert_eq!(others.check(&spec), Err(refusal), "another permission does not permit it");
        let permitted = Policy { allowed: vec![needs], ..Policy::default() };
        assert!(permitted.check(&spec).is_ok(), "{needs:?}");
    };
    check(|p| p.privileged = true, Capability::Privileged);
    check(|p| p.cap_add = vec!["SYS_ADMIN".to_owned()], Capability::Capabilities);
    check(|p| p.devices = vec!["/dev/mem".to_owned()], Capability::Devices);
    check(|p| p.host_network = true, Capability::HostNamespaces);
    check(|p| p.host_pid = true, Capability::HostNamespaces);
    check(|p| p.host_ipc = true, Capability::HostNamespaces);
    check(|p| p.host_userns = true, Capability::HostNamespaces);
    check(|p| p.security_opt = vec!["seccomp:unconfined".to_owned()], Capability::SecurityOpt);
}

#[test]
fn what_the_scheduler_is_told_permits_what_the_agent_permits() {
    let ground = Ground::new();
    let link = ground.directory.path().join("link");
    symlink(ground.path("root"), &link).unwrap();
    let policy = Policy {
        allowed: vec![Capability::EngineSocket],
        bind_roots: vec![link],
        ..ground.policy.clone()
    };
    let told = policy.told().unwrap();
    for (path, permitted) in [
        ("root", true),
        ("link", true),
        ("root/x", true),
        ("outside", false),
        ("engine.sock", true),
    ] {
        let mut spec = ServiceSpec::new("a");
        let source = MountSource::Bind { path: ground.path(path), create: true };
        spec.mounts = vec![Mount { source, target: "/x".to_owned(), read_only: false }];
        assert_eq!(told.lacks(&spec).is_empty(), permitted, "{path}: {told:?}");
        assert_eq!(policy.check(&spec).is_ok(), permitted, "{path}");
    }
    let many = (0..=PATHS_MAX).map(|n| PathBuf::from(format!("/no-such-{n}")));
    assert_eq!(Policy { bind_roots: many.collect(), ..Policy::default() }.told(), None);
}

#[test]
fn an_ordinary_service_is_permitted() {
    assert_eq!(Policy::default().check(&ServiceSpec::new("a")), Ok(Permit::default()));
}

#[test]
fn a_bind_is_permitted_below_an_allowed_root_only() {
    let ground = Ground::new();
    fs::create_dir(ground.path("root/data")).unwrap();
    ground.check("root/data", &[]);
    ground.check("root", &[]);
    ground.check("outside", &["--allow-bind", "outside"]);
    ground.check("", &["--allow-bind"]);
    ground.check("root/../outside", &["`..`", "--allow-bind"]);
    ground.check("root/absent", &["not"]);
    for path in ["/", "/etc", "relative", ""] {
        assert!(ground.bind(path, false).is_err(), "{path}");
    }
}

#[test]
fn without_a_root_no_bind_is_permitted() {
    let mut ground = Ground::new();
    ground.policy.bind_roots.clear();
    ground.check("root", &["--allow-bind"]);
}

#[test]
fn a_link_that_leads_out_of_the_root_is_refused_and_one_inside_is_resolved() {
    let ground = Ground::new();
    fs::create_dir(ground.path("root/data")).unwrap();
    symlink(ground.path("outside"), ground.path("root/out")).unwrap();
    symlink(ground.path("root/data"), ground.path("root/in")).unwrap();
    symlink(ground.path("nothing"), ground.path("root/dangling")).unwrap();
    ground.check("root/out", &["leads to", "outside"]);
    assert!(ground.bind(&ground.path("root/dangling"), true).is_err());
    let inside = ground.path("root/in");
    let real = ground.bind(&inside, false).unwrap().binds.remove(&inside).unwrap();
    assert_eq!(real, Path::new(&ground.path("root/data")).canonicalize().unwrap());
}

#[test]
fn a_path_through_a_directory_that_others_can_change_is_refused() {
    let ground = Ground::new();
    fs::create_dir_all(ground.path("root/shared/data")).unwrap();
    let open = fs::Permissions::from_mode(0o777);
    fs::set_permissions(ground.path("root/shared"), open).unwrap();
    ground.check("root/shared/data", &["others can write", "shared"]);
    // The end of the path may be anybody's: its content is what the container is given.
    ground.check("root/shared", &[]);
}

#[test]
fn a_missing_directory_is_made_when_asked_and_only_where_permitted() {
    let ground = Ground::new();
    assert!(ground.bind(&ground.path("root/new/deep"), true).is_ok());
    assert!(Path::new(&ground.path("root/new/deep")).is_dir());
    assert!(ground.bind(&ground.path("outside/new"), true).is_err());
    assert!(!Path::new(&ground.path("outside/new")).exists());
}

#[test]
fn the_engines_socket_needs_its_own_permission_even_inside_a_root() {
    let mut ground = Ground::new();
    ground.policy.bind_roots.push(ground.directory.path().to_owned());
    ground.check("engine.sock", &["--allow engine-socket"]);
    ground.policy.data_dir = "/nonexistent/agent".into();
    ground.check("", &["--allow engine-socket"]);
    ground.policy.allowed.push(Capability::EngineSocket);
    ground.check("engine.sock", &[]);
    ground.policy.bind_roots.clear();
    ground.check("engine.sock", &[]);
}

#[test]
fn the_agents_own_directory_is_never_mounted() {
    let mut ground = Ground::new();
    ground.policy.bind_roots.push(ground.directory.path().to_owned());
    ground.policy.allowed = Capability::ALL.to_vec();
    ground.check("agent", &["agent's key"]);
    ground.check("", &["agent's key"]);
}

#[test]
fn a_label_of_ours_is_refused() {
    let mut spec = ServiceSpec::new("a");
    spec.labels.insert("siso.task".to_owned(), "t1".to_owned());
    assert!(matches!(Policy::default().check(&spec), Err(Refusal::ReservedLabel { .. })));
}

#[test]
fn a_bind_never_lies_within_a_path_that_another_task_can_write_to() {
    let ground = Ground::new();
    fs::create_dir_all(ground.path("root/a/b")).unwrap();
    symlink(ground.path("root/a"), ground.path("root/link")).unwrap();
    let check = |ours: (&str, bool), theirs: (&str, bool), refused: bool| {
        let mut spec = ServiceSpec::new("a");
        let source = MountSource::Bind { path: ground.path(ours.0), create: true };
        spec.mounts = vec![Mount { source, target: "/x".to_owned(), read_only: !ours.1 }];
        let (task, path) = (TaskId::new(7), ground.path(theirs.0).into());
        let answer =
            ground.policy.check_beside(&spec, &[Neighbour { task, path, writes: theirs.1 }]);
        let nested = matches!(&answer, Err(Refusal::BindNested { other, .. }) if *other == task);
        assert_eq!(nested, refused, "{ours:?} beside {theirs:?}: {answer:?}");
        assert_eq!(answer.is_err(), refused, "{answer:?}");
    };
    let (reads, writes) = (false, true);
    check(("root/a/b", reads), ("root/a", writes), true);
    check(("root/a/b", writes), ("root/link", writes), true);
    check(("root/a", writes), ("root/a/b", reads), true);
    check(("root/a", reads), ("root/a/b", writes), false);
    check(("root/a/b", writes), ("root/a", reads), false);
    check(("root/a", writes), ("root/a", writes), false);
    check(("root/a/new", writes), ("root/a", writes), true);
    assert!(!Path::new(&ground.path("root/a/new")).exists(), "made although refused");
    check(("root/ab", writes), ("root/a", writes), false);
}

#[test]
fn a_container_is_not_started_where_its_paths_lead_elsewhere_now() {
    let ground = Ground::new();
    for name in ["root/a", "root/b"] {
        fs::create_dir(ground.path(name)).unwrap();
    }
    let link = ground.path("root/link");
    symlink(ground.path("root/a"), &link).unwrap();
    let made: Vec<_> = ground.bind(&link, false).unwrap().binds.into_values().collect();
    assert_eq!(ground.bind(&link, false).unwrap().still_holds(&made), Ok(()));
    fs::remove_file(&link).unwrap();
    symlink(ground.path("root/b"), &link).unwrap();
    let moved = ground.bind(&link, false).unwrap().still_holds(&made);
    assert!(matches!(moved, Err(Refusal::BindMoved { .. })), "{moved:?}");
}

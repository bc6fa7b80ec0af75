use super::*;

const FILE: &str = "\
cluster: 5f2c
endpoints: [\"mini-1:7400\", \"10.0.0.2:7400\"]
authorities: |
  -----BEGIN CERTIFICATE-----
  AA==
  -----END CERTIFICATE-----
certificate: |
  -----BEGIN CERTIFICATE-----
  AA==
  -----END CERTIFICATE-----
key: |
  -----BEGIN PRIVATE KEY-----
  c2VjcmV0
  -----END PRIVATE KEY-----
";

struct World {
    home: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let world = Self { home: tempfile::tempdir().unwrap() };
        fs::write(world.path("admin.yaml"), FILE).unwrap();
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn store(&self) -> Store {
        Store::at(self.path("siso"))
    }

    fn mode(&self, name: &str) -> u32 {
        fs::metadata(self.path(name)).unwrap().permissions().mode() & 0o777
    }
}

#[track_caller]
fn refused(result: Result<impl std::fmt::Debug, Error>) -> String {
    let error = result.unwrap_err();
    assert_eq!(error.exit_code(), 1);
    let Error::Told { message, hint, .. } = error else { panic!("{error:?}") };
    format!("{message}\nhint: {}", hint.unwrap_or_default())
}

#[test]
fn a_context_is_kept_for_its_owner_only_and_the_first_becomes_current() {
    let world = World::new();
    let store = world.store();
    let added = store.add("home", &world.path("admin.yaml")).unwrap();
    assert_eq!(added, Added { replaced: false, current: true });
    assert_eq!(world.mode("siso/contexts/home.yaml"), 0o600);
    assert_eq!(world.mode("siso/contexts"), 0o700);
    assert_eq!(world.mode("siso"), 0o700);
    let added = store.add("lab", &world.path("admin.yaml")).unwrap();
    assert_eq!(added, Added { replaced: false, current: false });
    let added = store.add("home", &world.path("admin.yaml")).unwrap();
    assert_eq!(added, Added { replaced: true, current: true });
    assert_eq!(store.current().unwrap().as_deref(), Some("home"));
    store.choose("lab").unwrap();
    assert_eq!(store.current().unwrap().as_deref(), Some("lab"));
    let rows: Vec<_> =
        store.list().unwrap().into_iter().map(|row| (row.name, row.current)).collect();
    assert_eq!(rows, [("home".to_owned(), false), ("lab".to_owned(), true)]);
}

#[test]
fn a_file_that_was_open_to_all_is_closed_when_it_is_replaced() {
    let world = World::new();
    let store = world.store();
    store.add("home", &world.path("admin.yaml")).unwrap();
    let file = world.path("siso/contexts/home.yaml");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(is_exposed(&file));
    store.add("home", &world.path("admin.yaml")).unwrap();
    assert!(!is_exposed(&file));
}

#[test]
fn a_context_that_is_missing_says_what_to_do() {
    let world = World::new();
    let store = world.store();
    assert_eq!(
        refused(store.path_to_use(None)),
        format!("no cluster is chosen: there is no current context\nhint: {ADD_ONE}")
    );
    assert_eq!(
        refused(store.choose("home")),
        format!("there is no context `home`\nhint: {ADD_ONE}")
    );
    store.add("home", &world.path("admin.yaml")).unwrap();
    assert_eq!(
        refused(store.path_to_use(Some("hmoe"))),
        "there is no context `hmoe`\nhint: did you mean `home`?"
    );
    fs::remove_file(world.path("siso/contexts/home.yaml")).unwrap();
    assert_eq!(
        refused(store.path_to_use(None)),
        "the current context `home` is gone\nhint: choose another one with `sisoctl context use NAME`"
    );
}

#[test]
fn a_name_cannot_lead_out_of_the_directory() {
    let world = World::new();
    for name in ["", "..", "../x", "a/b", ".hidden", "a\nb", "ü", &"x".repeat(64)] {
        refused(world.store().add(name, &world.path("admin.yaml")));
        refused(world.store().choose(name));
        refused(world.store().path_to_use(Some(name)));
    }
    fs::create_dir_all(world.path("siso")).unwrap();
    fs::write(world.path("siso/current"), "../../admin\n").unwrap();
    refused(world.store().path_to_use(None));
}

#[test]
fn what_is_no_context_file_is_refused_without_showing_its_key() {
    let world = World::new();
    for (wrong, why) in [
        ("", "is not a context file"),
        ("cluster: x\n", "missing field"),
        (
            &FILE.replace("endpoints: [\"mini-1:7400\", \"10.0.0.2:7400\"]", "endpoints: []"),
            "no endpoint",
        ),
        (&FILE.replace("-----BEGIN PRIVATE", "PRIVATE"), "`key` is not in PEM form"),
        (&FILE.replace("cluster: 5f2c", "cluster: [c2VjcmV0"), "is not a context file"),
    ] {
        fs::write(world.path("wrong.yaml"), wrong).unwrap();
        let told = refused(world.store().add("home", &world.path("wrong.yaml")));
        assert!(told.contains(why), "{told}");
        assert!(!told.contains("c2VjcmV0"), "{told}");
    }
    assert!(world.store().names().unwrap().is_empty());
}

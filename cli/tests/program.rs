//! The built program, run as a person or a script runs it, where no cluster is needed.

#![allow(clippy::unwrap_used, reason = "a test ends where its assumption does")]

use std::{
    fs,
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Output, Stdio},
};

use serde_json::Value;

const STACK: &str = "\
name: shop
services:
  db:
    image: postgres:16
    ports: [\"${PORT:-8080}:5432\"]
    volumes: [data:/var/lib/postgresql/data]
    deploy: { resources: { limits: { memory: 2G }, reservations: { memory: 512M } } }
  web:
    image: web:1
    mem_limit: 1g
    depends_on: [db]
    deploy: { replicas: 2 }
volumes: { data: {} }
";
const NODES: &str = "nodes: [{ name: mini-1, memory: 2GiB, cpus: 8 }]\n";

/// A directory of its own, which is also home.
struct World(tempfile::TempDir);

struct Answer {
    code: i32,
    stdout: String,
    stderr: String,
}

impl World {
    fn new() -> Self {
        let world = Self(tempfile::tempdir().unwrap());
        world.write("stack.yaml", STACK);
        world.write("nodes.yaml", NODES);
        world
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sisoctl"));
        command.args(line.split_whitespace()).current_dir(self.0.path());
        command.env_clear().env("HOME", self.0.path()).stdin(Stdio::null());
        command
    }

    fn run(&self, line: &str) -> Answer {
        answer(self.command(line).output().unwrap())
    }

    fn run_with_input(&self, line: &str, input: &[u8]) -> Answer {
        let mut command = self.command(line);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // A program that has read enough closes its end.
        let _ = child.stdin.take().unwrap().write_all(input);
        answer(child.wait_with_output().unwrap())
    }

    #[track_caller]
    fn json(&self, line: &str) -> Value {
        let answer = self.run(line);
        assert_eq!(answer.code, 0, "{line}: {}", answer.stderr);
        serde_json::from_str(&answer.stdout).unwrap()
    }

    /// Fails with `code`, says every one of `words` and prints no data.
    #[track_caller]
    fn refused(&self, line: &str, code: i32, words: &[&str]) {
        let answer = self.run(line);
        assert_eq!(answer.code, code, "{line}: {}", answer.stderr);
        for word in words {
            assert!(
                answer.stderr.contains(word),
                "{line} does not say {word:?}: {}",
                answer.stderr
            );
        }
        assert_eq!(answer.stdout, "", "{line}");
    }
}

fn answer(output: Output) -> Answer {
    Answer {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

#[test]
fn a_plan_on_imagined_machines_needs_no_cluster() {
    let world = World::new();
    let plan = world.json("-o json plan --nodes nodes.yaml");
    assert_eq!((&plan["stack"], &plan["unplaced"]), (&"shop".into(), &1.into()));
    let places: Vec<_> = plan["placements"].as_array().unwrap().iter().collect();
    assert_eq!(places.len(), 3);
    let homeless = places.iter().find(|place| place["node"].is_null()).unwrap();
    let verdict = &homeless["verdicts"][0];
    assert_eq!((&verdict["fits"], &verdict["resource"]), (&false.into(), &"memory".into()));
    let amount = |name: &str| verdict[name].as_u64().unwrap();
    assert_eq!(amount("short"), amount("needed") - amount("free"));
    assert!(!homeless["fixes"].as_array().unwrap().is_empty());
    let node = &plan["nodes"][0];
    assert_eq!(node["allocatable"], 2_u64 << 30);
    assert_eq!(node["reserved_after"], 2_u64 << 30);
}

#[test]
fn quiet_says_data_and_errors_only() {
    let world = World::new();
    world.write(
        "warned.yaml",
        "services:\n  web: { image: 'a:1', environment: { KEY: $NOT_SET } }\n",
    );
    let verbs = ["plan --nodes nodes.yaml", "config", "whatif add x=1GiB --nodes nodes.yaml -f"];
    for verb in verbs {
        let said = |flags: &str| {
            let answer = world.run(&format!("{verb} warned.yaml {flags}"));
            assert_eq!(answer.code, 0, "{verb}: {}", answer.stderr);
            (answer.stdout.contains("warning"), answer.stderr)
        };
        let (_, loud) = said("");
        assert!(!loud.is_empty(), "{verb}: nothing to be quiet about");
        assert_eq!(said("-q"), (false, String::new()), "{verb}");
    }
}

#[test]
fn what_would_be_is_told_of_imagined_machines_as_well() {
    let world = World::new();
    world.write(
        "machines.yaml",
        "nodes: [{ name: a, memory: 2GiB, cpus: 8 }, { name: b, memory: 1GiB }]\n\
         current: { web: [b, a], db: a }\n",
    );
    let lost = world.json("-o json whatif lose a --nodes machines.yaml -f stack.yaml");
    let place = |at: usize| {
        let placement = &lost["placements"][at];
        (placement["service"].clone(), placement["from"].clone(), placement["node"].clone())
    };
    assert_eq!(place(0), ("db".into(), "a".into(), Value::Null), "{lost:#}");
    assert_eq!(place(1), ("web".into(), "a".into(), Value::Null), "{lost:#}");
    assert_eq!((&lost["stack"], &lost["unplaced"]), (&Value::Null, &2.into()));
    let more = world.json("-o json whatif lose a add c=1GiB --nodes machines.yaml -f stack.yaml");
    assert_eq!((&more["placements"][1]["node"], &more["unplaced"]), (&"c".into(), &1.into()));
    let nodes = "--nodes machines.yaml -f stack.yaml";
    let text = world.run("whatif lose a --nodes machines.yaml -f stack.yaml");
    let row = "a      lost";
    assert!(text.stdout.lines().any(|line| line.starts_with(row)), "{}", text.stdout);
    for (line, said) in [
        ("whatif lose c", "`c` is none of the nodes"),
        ("whatif lose c", "did you mean `a`?"),
        ("whatif add c", "write NAME=SIZE"),
        ("whatif mislay a", "`mislay` is no supposition"),
        ("whatif lose a add", "`add` is no supposition on its own"),
    ] {
        world.refused(&format!("{line} {nodes}"), 1, &[said]);
    }
}

#[test]
fn devices_and_disk_are_reserved_on_imagined_machines_as_memory_is() {
    let world = World::new();
    world.write(
        "gpu.yaml",
        "name: llm\nservices:\n  big:\n    image: a:1\n    mem_limit: 64m\n    gpus: [{count: 2}]\n  small:\n    image: a:1\n    mem_limit: 64m\n    deploy:\n      replicas: 2\n      resources:\n        reservations:\n          generic_resources:\n            - discrete_resource_spec: {kind: gpu, value: 1}\n            - discrete_resource_spec: {kind: disk, value: 20GiB}\n",
    );
    world.write(
        "machines.yaml",
        "nodes: [{ name: a, memory: 2GiB, generic: { gpu: 3, disk: 30GiB } }, { name: b, memory: 1GiB }]\n",
    );
    let plan = world.json("-o json plan --nodes machines.yaml -f gpu.yaml");
    assert_eq!(plan["unplaced"], 1, "{plan:#}");
    let homeless = plan["placements"].as_array().unwrap().iter().find(|one| one["node"].is_null());
    let homeless = homeless.unwrap();
    assert_eq!(homeless["generic"], serde_json::json!({"disk": 20_u64 << 30, "gpu": 1}));
    let verdict = &homeless["verdicts"][0];
    assert_eq!((&verdict["resource"], &verdict["node"]), (&"generic".into(), &"a".into()));
    assert_eq!(verdict["reason"], "needs 20.0 GiB disk, 10.0 GiB free");
    assert_eq!(verdict["short"], 10_u64 << 30);
    let words = world.run("plan --nodes machines.yaml -f gpu.yaml").stdout;
    for said in [
        "GENERIC",
        "2 gpu",
        "20.0 GiB disk and 1 gpu",
        "b: needs 20.0 GiB disk, 0 free: it offers none",
    ] {
        assert!(words.contains(said), "{said}: {words}");
    }
    let more = world.json(
        "-o json whatif add c=1GiB,generic=gpu=1,generic=disk=20GiB apply gpu.yaml --nodes machines.yaml",
    );
    assert_eq!(more["unplaced"], 0, "{more:#}");
}

#[test]
fn a_plan_in_words_shows_what_does_not_fit() {
    let world = World::new();
    let answer = world.run("plan --nodes nodes.yaml");
    assert_eq!(answer.code, 0, "{}", answer.stderr);
    insta::assert_snapshot!(answer.stdout);
}

#[test]
fn the_normalised_stack_is_a_stack_file_again() {
    let world = World::new();
    let config = world.run("config");
    assert_eq!(config.code, 0, "{}", config.stderr);
    world.write("again.yaml", &config.stdout);
    assert_eq!(world.run("config again.yaml").stdout, config.stdout);
    let json = world.json("config again.yaml --format json");
    assert_eq!(json["services"]["db"]["ports"][0]["published"], "8080");
    assert_eq!(world.json("-o json config"), json);
}

#[test]
fn variables_come_from_the_environment_and_files() {
    let world = World::new();
    let published = |line: &str, variable: Option<&str>| {
        let mut command = world.command(line);
        command.envs(variable.map(|value| ("PORT", value)));
        let output = answer(command.output().unwrap());
        let json: Value = serde_json::from_str(&output.stdout).unwrap();
        json["services"]["db"]["ports"][0]["published"].as_str().unwrap().to_owned()
    };
    world.write("other.env", "PORT=83\n");
    assert_eq!(published("config --format json", None), "8080");
    world.write(".env", "PORT=81\n");
    assert_eq!(published("config --format json", None), "81");
    assert_eq!(published("config --format json --env-file other.env", None), "83");
    assert_eq!(published("config --format json", Some("82")), "82");
}

#[test]
fn standard_input_is_a_stack_file_of_at_most_a_mebibyte() {
    let world = World::new();
    let answer = world.run_with_input("config - -p named", STACK.as_bytes());
    assert_eq!(answer.code, 0, "{}", answer.stderr);
    assert!(answer.stdout.starts_with("name: named\n"), "{}", answer.stdout);
    let large = format!("{STACK}# {}\n", "x".repeat(1 << 20));
    let answer = world.run_with_input("config -", large.as_bytes());
    assert_eq!(answer.code, 1);
    assert!(answer.stderr.contains("<stdin>"), "{}", answer.stderr);
}

#[test]
fn a_mistake_in_a_file_is_1_with_its_place_and_what_was_meant() {
    let world = World::new();
    world.write("wrong.yaml", "services:\n  web:\n    imag: a\n");
    for line in ["apply wrong.yaml", "plan wrong.yaml --nodes nodes.yaml", "config -f wrong.yaml"] {
        world.refused(line, 1, &["wrong.yaml:3:5", "imag: a", "hint: did you mean `image`?"]);
    }
    world.write("nodes-wrong.yaml", "nodes: [{ name: mini-1, memroy: 2GiB }]\n");
    world.refused("plan --nodes nodes-wrong.yaml", 1, &["nodes-wrong.yaml:1:", "memory"]);
    world.refused("plan none.yaml", 1, &["none.yaml", "nodes.yaml"]);
    let answer = world.run("-o json apply wrong.yaml");
    let error: Value = serde_json::from_str(&answer.stderr).unwrap();
    assert_eq!((&error["code"], &error["hint"]), (&1.into(), &"did you mean `image`?".into()));
    assert_eq!(error["diagnostics"][0]["line"], 3);
}

#[test]
fn a_wrong_command_line_is_2() {
    let world = World::new();
    world.refused("stauts", 2, &["status"]);
    world.refused("-o xml ps", 2, &["xml"]);
    world.refused("node", 2, &["Usage"]);
    world.refused("up -d", 2, &["no verb `up`", "hint: `sisoctl apply"]);
}

#[test]
fn without_a_context_each_verb_says_how_to_get_one() {
    let world = World::new();
    for line in ["ps", "status", "apply", "plan", "logs shop", "node ls", "token ls"] {
        world.refused(line, 1, &["no cluster is chosen", "sisoctl context add"]);
    }
    world.refused("--context-file none.yaml ps", 1, &["none.yaml"]);
    world.refused("--context home ps", 1, &["home"]);
}

fn context_file(world: &World) {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::default().self_signed(&key).unwrap();
    let block = |text: String| format!("  {}\n", text.trim_end().replace('\n', "\n  "));
    let (certificate, key) = (block(certificate.pem()), block(key.serialize_pem()));
    let text = format!(
        "cluster: 5f2c\nendpoints: [\"127.0.0.1:1\"]\nauthorities: |\n{certificate}\
         certificate: |\n{certificate}key: |\n{key}"
    );
    world.write("admin.yaml", &text);
    let private = fs::Permissions::from_mode(0o600);
    fs::set_permissions(world.path("admin.yaml"), private).unwrap();
}

#[test]
fn a_cluster_that_does_not_answer_is_4_and_names_where_it_was_sought() {
    let world = World::new();
    context_file(&world);
    for line in ["ps", "apply", "exec shop/web -- true", "events -f"] {
        world.refused(
            &format!("--context-file admin.yaml --timeout 1s {line}"),
            4,
            &["127.0.0.1:1", "sisoctl doctor"],
        );
    }
    let version = world.json("--context-file admin.yaml --timeout 1s -o json version");
    assert_eq!(version["scheduler"], Value::Null);
    assert_eq!(version["client"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn contexts_are_kept_below_the_configuration_directory() {
    let world = World::new();
    context_file(&world);
    let added = world.run("context add home --file admin.yaml");
    assert_eq!((added.code, added.stdout.as_str()), (0, ""), "{}", added.stderr);
    let kept = world.path(".config/siso/contexts/home.yaml");
    assert_eq!(fs::metadata(&kept).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(world.run("context ls -q").stdout, "home\n");
    let listed = world.json("context ls -o json");
    assert_eq!((&listed[0]["name"], &listed[0]["current"]), (&"home".into(), &true.into()));
    world.refused("context use hoem", 1, &["did you mean `home`?"]);

    let elsewhere = |line: &str| {
        let mut command = world.command(line);
        command.env("XDG_CONFIG_HOME", world.path("xdg"));
        answer(command.output().unwrap())
    };
    assert_eq!(elsewhere("context ls -o json").stdout, "[]\n");
    assert_eq!(elsewhere("context add lab --file admin.yaml").code, 0);
    assert!(world.path("xdg/siso/contexts/lab.yaml").is_file());
}

#[test]
fn a_key_that_others_can_read_is_worth_a_word() {
    let world = World::new();
    context_file(&world);
    fs::set_permissions(world.path("admin.yaml"), fs::Permissions::from_mode(0o644)).unwrap();
    world.refused("--context-file admin.yaml --timeout 1s ps", 4, &["chmod 600"]);
}

#[test]
fn the_doctor_works_without_a_cluster() {
    let world = World::new();
    let engine = format!("unix://{}", world.path("no-engine.sock").display());
    let answer = world.run(&format!("doctor -o json --docker-host {engine} --data-dir ."));
    assert_eq!(answer.code, 3, "an engine that is not there fails: {}", answer.stderr);
    let findings: Value = serde_json::from_str(&answer.stdout).unwrap();
    let findings = findings.as_array().unwrap();
    let of = |check: &str| findings.iter().find(|finding| finding["check"] == check).unwrap();
    assert_eq!(of("engine")["result"], "fail");
    assert!(of("engine")["fix"].is_string());
    assert_eq!(of("cluster")["result"], "skip");
    for check in ["memory", "data disk", "port 7400", "port 7401", "port 7480", "port 7481"] {
        assert!(of(check)["detail"].is_string(), "{check}");
    }
}

#[test]
fn every_shell_gets_its_script() {
    let world = World::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let answer = world.run(&format!("completion {shell}"));
        assert_eq!(answer.code, 0, "{}", answer.stderr);
        assert!(answer.stdout.contains("placement"), "{shell}");
    }
}

#[test]
fn a_reader_that_had_enough_is_no_failure() {
    let world = World::new();
    let mut command = world.command("completion bash");
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take());
    let answer = answer(child.wait_with_output().unwrap());
    assert_eq!((answer.code, answer.stderr.as_str()), (0, ""));
}

#[test]
fn the_teams_stack_fits_one_imagined_mini() {
    let world = World::new();
    let stacks = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/stacks");
    let line = format!(
        "plan {} --nodes {} -o json",
        stacks.join("siso.yaml").display(),
        stacks.join("minis.yaml").display()
    );
    let plan = world.json(&line);
    assert_eq!(plan["unplaced"], 0);
    assert_eq!(plan["nodes"].as_array().map(Vec::len), Some(1));
    assert!(plan["nodes"][0]["free_after"].as_u64().unwrap() > 0);
}

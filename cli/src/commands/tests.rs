//! Verbs against a cluster that answers as told: what is asked, in which order, and what is said.

mod automatic;
mod rebalance;

use std::collections::{BTreeMap, VecDeque};

use clap::Parser as _;
use model::view::{NodeGeneric, NodeRow, TaskRow};
use proto::v1::{self as pb, relay_frame::Frame};
use tonic::Status;

use super::{Outcome, ask};
use crate::{
    args::Args,
    error::Error,
    output::Look,
    testing::{
        cluster::{FakeCluster, Script},
        draining, node, plan, stay, streams, task, unplaced,
    },
};

const STACK: &str = "name: shop\nservices: { web: { image: web } }\n";

fn once<A>(answer: A) -> VecDeque<Result<A, Status>> {
    VecDeque::from([Ok(answer)])
}

fn watch(revision: u64, settled: bool, tasks: &[TaskRow]) -> pb::WatchReply {
    pb::WatchReply {
        revision: 1,
        tasks: tasks.iter().cloned().map(Into::into).collect(),
        rollout: Some(pb::Rollout {
            settled,
            stack_revision: revision,
            exists: true,
            ..pb::Rollout::default()
        }),
        drain: None,
    }
}

fn starting() -> TaskRow {
    TaskRow { state: "starting".to_owned(), health: None, ready: false, ..task("web", 1) }
}

/// A cluster that takes a stack: it was planned as new, the leader acts, and it settles after a step.
fn takes_a_stack(changed: bool) -> Script {
    let mut planned = plan();
    planned.placements.clear();
    planned.unplaced = 0;
    if !changed {
        planned.changes.retain(|change| change.service == "postgres");
    }
    let views = [(false, vec![]), (false, vec![starting()]), (true, vec![task("web", 1)])];
    let views = views.into_iter().map(|(settled, tasks)| Ok(watch(4, settled, &tasks))).collect();
    Script {
        plan: once(planned.clone().into()),
        apply: once(pb::ApplyReply { revision: 4, changed, plan: Some(planned.into()) }),
        watch: once(views),
        ..Script::default()
    }
}

struct Told {
    ended: Result<Outcome, Error>,
    stdout: String,
    stderr: String,
    cluster: FakeCluster,
}

impl Told {
    fn code(&self) -> u8 {
        match &self.ended {
            Ok(Outcome::Done) => 0,
            Ok(Outcome::Found) => 3,
            Ok(Outcome::Remote(code)) => *code,
            Err(error) => error.exit_code(),
        }
    }
}

/// Runs a command line against a cluster; `STACK` in it is a stack file.
async fn run(script: Script, line: &str) -> Told {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("stack.yaml");
    std::fs::write(&file, STACK).unwrap();
    let line = line.replace("STACK", &file.display().to_string());
    let args = Args::try_parse_from(std::iter::once("sisoctl").chain(line.split_whitespace()));
    let args = args.unwrap();
    let look = Look { format: args.global.output, quiet: args.global.quiet, ..Look::plain() };
    let (mut out, stdout, stderr) = streams(look);
    let (cluster, client) = FakeCluster::new(script);
    let ended = ask(args.command, &args.global, &mut out, |_| Ok(client)).await;
    if let Err(error) = &ended {
        error.report(&mut out);
    }
    Told { ended, stdout: stdout.text_lossy(), stderr: stderr.text_lossy(), cluster }
}

#[tokio::test]
async fn apply_plans_applies_and_follows_to_the_end() {
    let told = run(takes_a_stack(true), "apply STACK").await;
    assert_eq!(told.code(), 0, "{}", told.stderr);
    assert_eq!(told.cluster.asked(), ["plan", "apply", "watch"]);
    assert!(told.stdout.starts_with("shop revision 4: 1 to create"), "{}", told.stdout);
    assert!(told.stdout.ends_with("shop revision 4: 1 of 1 task ready\n"), "{}", told.stdout);
    assert!(
        told.stderr.contains("web.1 on mini-1: starting\nweb.1 on mini-1: healthy\n"),
        "{}",
        told.stderr
    );
}

#[tokio::test]
async fn applying_what_is_there_says_that_nothing_is_to_change() {
    let told = run(takes_a_stack(false), "apply STACK").await;
    assert_eq!(told.code(), 0, "{}", told.stderr);
    assert_eq!(told.stdout, "shop: nothing to change\n");
}

#[tokio::test]
async fn a_dry_run_only_plans() {
    let told = run(takes_a_stack(true), "apply STACK --dry-run -o json").await;
    assert_eq!(told.cluster.asked(), ["plan"]);
    let json: serde_json::Value = serde_json::from_str(&told.stdout).unwrap();
    assert_eq!(json["changes"][0]["action"], "create");
}

#[tokio::test]
async fn the_json_of_apply_is_its_plan_with_how_it_ended() {
    let told = run(takes_a_stack(true), "apply STACK -q -o json").await;
    let json: serde_json::Value = serde_json::from_str(&told.stdout).unwrap();
    assert_eq!((&json["stack"], &json["applied"]["changed"]), (&"shop".into(), &true.into()));
    assert_eq!(json["applied"]["end"]["ready"], 1);
    assert_eq!(told.stderr, "");
}

#[tokio::test]
async fn a_detached_apply_does_not_wait() {
    let told = run(takes_a_stack(true), "apply STACK -d -q").await;
    assert_eq!(told.cluster.asked(), ["plan", "apply"]);
    assert!(told.stdout.contains("sisoctl ps shop"), "{}", told.stdout);
}

#[tokio::test]
async fn what_fits_nowhere_ends_with_3_amounts_and_fixes() {
    let mut script = takes_a_stack(true);
    let pending =
        TaskRow { node: None, state: "pending".to_owned(), ready: false, ..task("neo4j", 1) };
    let mut last = watch(4, true, &[task("web", 1), pending]);
    let note =
        pb::ServiceNote { service: "neo4j".to_owned(), why: "replica 1 is pending".to_owned() };
    last.rollout.as_mut().unwrap().failed.push(note);
    script.watch = once(vec![Ok(last)]);
    let explained = pb::ExplainView {
        placement: Some(unplaced("neo4j", 1).into()),
        state: "pending".to_owned(),
        ..pb::ExplainView::default()
    };
    script.explain = once(pb::ExplainReply { explanations: vec![explained] });
    let told = run(script, "apply STACK -q").await;
    assert_eq!(told.code(), 3);
    insta::assert_snapshot!(told.stderr, @r"
    error: shop is not complete: 1 of 2 tasks ready
      neo4j.1 is pending, it fits nowhere:
        mini-1: needs 2.0 GiB, 1.3 GiB free, short 716.8 MiB
        mini-2: needs 2.0 GiB, 1.3 GiB free, short 716.8 MiB
        fix: lower the memory reservation of neo4j to 1.3 GiB

    hint: what runs goes on; the rest starts by itself as soon as there is room
    ");
}

#[tokio::test]
async fn a_task_that_fails_ends_with_3_and_its_reason() {
    let mut script = takes_a_stack(true);
    let why = "replica 1 failed: exited with code 9".to_owned();
    let mut last =
        watch(4, true, &[TaskRow { state: "failed".to_owned(), ready: false, ..task("web", 1) }]);
    last.rollout.as_mut().unwrap().failed.push(pb::ServiceNote { service: "web".to_owned(), why });
    script.watch = once(vec![Ok(last)]);
    let told = run(script, "apply STACK -q").await;
    assert_eq!(told.code(), 3);
    insta::assert_snapshot!(told.stderr, @r"
    error: shop did not become ready: 0 of 1 task ready
      web: replica 1 failed: exited with code 9

    hint: see what it wrote: `sisoctl logs shop/web`
    ");
}

#[tokio::test]
async fn a_write_without_an_answer_is_asked_again_under_the_same_id() {
    let mut script = takes_a_stack(true);
    script.scale = VecDeque::from([
        Err(Status::unavailable("no leader")),
        Err(Status::unavailable("no leader")),
        Ok(pb::WriteReply { revision: 4, changed: true }),
    ]);
    let told = run(script, "scale shop/web=1 -q").await;
    assert_eq!(told.code(), 0, "{}", told.stderr);
    assert_eq!(told.cluster.asked(), ["scale", "scale", "scale", "watch"]);
    let asked = told.cluster.0.lock().unwrap().asked.clone();
    assert_eq!(asked[0].1.len(), 16);
    assert!(asked[1].1 == asked[0].1 && asked[2].1 == asked[0].1);
}

#[tokio::test]
async fn a_refusal_is_not_asked_again() {
    let refused = Err(Status::failed_precondition("stack `shop` is being removed"));
    let script = Script { scale: VecDeque::from([refused]), ..Script::default() };
    let told = run(script, "scale shop/web=1").await;
    assert_eq!((told.code(), told.cluster.asked()), (3, vec!["scale"]));
}

#[tokio::test]
async fn a_stream_that_breaks_is_resumed() {
    let mut script = takes_a_stack(true);
    script.watch = VecDeque::from([
        Ok(vec![
            Ok(watch(4, false, &[starting()])),
            Err(Status::unavailable("the scheduler stops")),
        ]),
        Err(Status::unavailable("no leader")),
        Ok(vec![Ok(watch(4, true, &[task("web", 1)]))]),
    ]);
    let told = run(script, "apply STACK -q").await;
    assert_eq!(told.code(), 0, "{}", told.stderr);
    assert_eq!(told.cluster.asked(), ["plan", "apply", "watch", "watch", "watch"]);
}

#[tokio::test]
async fn who_waits_in_vain_is_told_what_is_missing_and_that_the_cluster_goes_on() {
    let mut script = takes_a_stack(true);
    script.watch = once(vec![Ok(watch(4, false, &[starting()]))]);
    let told = run(script, "apply STACK -q --timeout 300ms").await;
    assert_eq!(told.code(), 3);
    for words in ["shop is not ready after 300ms", "web.1: starting", "goes on", "sisoctl ps shop"]
    {
        assert!(told.stderr.contains(words), "{words}: {}", told.stderr);
    }
}

#[tokio::test]
async fn removing_waits_until_all_is_gone() {
    let stopping = TaskRow { desired: "stop".to_owned(), ..task("web", 1) };
    let script = Script {
        remove: once(pb::WriteReply { revision: 5, changed: true }),
        watch: once(vec![
            Ok(watch(5, false, &[stopping])),
            Ok(pb::WatchReply {
                rollout: Some(pb::Rollout::default()),
                ..pb::WatchReply::default()
            }),
        ]),
        ..Script::default()
    };
    let told = run(script, "stack rm shop -q").await;
    assert_eq!((told.code(), told.stdout.as_str()), (0, "shop is removed; its volumes stay\n"));
    assert_eq!(told.stderr, "");
}

#[tokio::test]
async fn who_removes_a_stack_is_told_how_to_see_and_remove_its_volumes_later() {
    let script = || Script {
        remove: once(pb::WriteReply { revision: 5, changed: true }),
        ..Script::default()
    };
    let told = run(script(), "stack rm shop -d").await;
    for words in ["`sisoctl stack rm shop --volumes`", "label=siso.stack=shop"] {
        assert!(told.stderr.contains(words), "{words}: {}", told.stderr);
    }
    let told = run(script(), "stack rm shop -d --volumes").await;
    assert!(!told.stderr.contains("siso.stack"), "{}", told.stderr);
}

#[tokio::test]
async fn what_was_before_a_write_is_not_told_as_its_progress() {
    let crashing = TaskRow {
        error: Some("exited with code 3".to_owned()),
        state: "starting".to_owned(),
        ready: false,
        ..task("web", 1)
    };
    let stopping =
        TaskRow { desired: "stop".to_owned(), state: "stopping".to_owned(), ..crashing.clone() };
    let gone = pb::WatchReply { rollout: Some(pb::Rollout::default()), ..Default::default() };
    let views = [watch(5, false, &[crashing]), watch(5, false, &[stopping]), gone];
    let script = Script {
        remove: once(pb::WriteReply { revision: 5, changed: true }),
        watch: once(views.into_iter().map(Ok).collect()),
        ..Script::default()
    };
    let told = run(script, "stack rm shop --volumes").await;
    assert_eq!((told.code(), told.stderr.as_str()), (0, "web.1 on mini-1: stopping\n"));
}

#[tokio::test]
async fn an_unknown_name_is_the_persons_mistake_and_the_nearest_is_named() {
    let stack = |name: &str| pb::StackRow { stack: name.to_owned(), ..pb::StackRow::default() };
    let script = |why: &str| Script {
        explain: VecDeque::from([Err(Status::not_found(why))]),
        stacks: once(pb::ListStacksReply { stacks: vec![stack("shop"), stack("siso")] }),
        tasks: once(pb::ListTasksReply { tasks: vec![task("postgres", 1).into()] }),
        ..Script::default()
    };
    let told = run(script("there is no stack `shpo`"), "explain shpo/postgres").await;
    assert_eq!(told.code(), 1);
    assert!(told.stderr.ends_with("hint: did you mean `shop`?\n"), "{}", told.stderr);
    let told = run(script("stack `shop` has no service `postgers`"), "explain shop/postgers").await;
    assert!(told.stderr.ends_with("hint: did you mean `postgres`?\n"), "{}", told.stderr);
    let told = run(script("stack `shop` has no service `redis`"), "explain shop/redis").await;
    assert!(told.stderr.ends_with("hint: there are: postgres\n"), "{}", told.stderr);
}

#[tokio::test]
async fn a_remote_command_gives_its_streams_and_its_exit_code() {
    let script = Script {
        exec: vec![
            Frame::Stdout(b"out\n".to_vec()),
            Frame::Stderr(b"err\n".to_vec()),
            Frame::ExitCode(7),
        ],
        ..Script::default()
    };
    let told = run(script, "exec shop/web -- sh").await;
    assert_eq!((told.code(), told.stdout.as_str(), told.stderr.as_str()), (7, "out\n", "err\n"));
    let lost = run(Script::default(), "exec shop/web -- sh").await;
    assert_eq!(lost.code(), 4, "{}", lost.stderr);
    let script =
        Script { exec: vec![Frame::Error("no such file: sh".to_owned())], ..Script::default() };
    assert_eq!(run(script, "exec shop/web -- sh").await.code(), 3);
}

#[tokio::test]
async fn a_log_that_cannot_be_read_does_not_hide_the_others() {
    let entry = |service: &str| pb::LogEntry {
        service: service.to_owned(),
        replica: 1,
        node: "mini-2".to_owned(),
        ..pb::LogEntry::default()
    };
    let line = pb::LogLine { text: b"hello".to_vec(), ..pb::LogLine::default() };
    let entries = vec![
        Ok(pb::LogEntry { error: Some("the agent is gone".to_owned()), ..entry("db") }),
        Ok(pb::LogEntry { line: Some(line), ..entry("web") }),
    ];
    let told = run(Script { logs: once(entries), ..Script::default() }, "logs shop").await;
    assert_eq!((told.code(), told.stdout.as_str()), (3, "web.1 | hello\n"));
    assert!(told.stderr.contains("db.1 on mini-2: the agent is gone"), "{}", told.stderr);
}

#[tokio::test]
async fn a_list_without_rows_is_an_empty_list_or_a_friendly_line() {
    let script = || Script { tasks: once(pb::ListTasksReply::default()), ..Script::default() };
    assert_eq!(run(script(), "ps -o json").await.stdout, "[]\n");
    let told = run(script(), "ps").await;
    assert_eq!((told.stdout.as_str(), told.code()), ("", 0));
    assert!(told.stderr.contains("sisoctl apply"), "{}", told.stderr);
    let some = Script {
        tasks: once(pb::ListTasksReply { tasks: vec![task("web", 1).into()] }),
        ..Script::default()
    };
    assert_eq!(run(some, "ps -q").await.stdout, "t-web-1\n");
    assert_eq!(run(script(), "ps shop").await.cluster.asked(), ["tasks"]);
    assert_eq!(run(script(), "ps -a shop").await.cluster.asked(), ["all tasks"]);
}

fn nodes(labels: &[(&str, &str)]) -> VecDeque<Result<pb::ListNodesReply, Status>> {
    let labels = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let node = NodeRow { labels, ..node("mini-1") };
    once(pb::ListNodesReply { nodes: vec![node.into()] })
}

#[tokio::test]
async fn what_else_a_machine_has_a_number_of_is_shown_with_what_is_reserved() {
    let kind = |capacity, reserved| NodeGeneric { capacity, reserved };
    let generic = [("disk", kind(200 << 30, 20 << 30)), ("gpu", kind(2, 1))];
    let generic: BTreeMap<_, _> =
        generic.into_iter().map(|(name, held)| (name.to_owned(), held)).collect();
    let script = || Script {
        nodes: once(pb::ListNodesReply {
            nodes: vec![NodeRow { generic: generic.clone(), ..node("mini-1") }.into()],
        }),
        tasks: once(pb::ListTasksReply { tasks: vec![] }),
        ..Script::default()
    };
    let told = run(script(), "node show mini-1").await;
    for line in ["disk: 20.0 GiB of 200.0 GiB reserved", "gpu: 1 of 2 reserved"] {
        assert!(told.stdout.contains(line), "{line}: {}", told.stdout);
    }
    let told = run(script(), "-o json node ls").await;
    let said: serde_json::Value = serde_json::from_str(&told.stdout).unwrap();
    assert_eq!(said[0]["generic"]["gpu"], serde_json::json!({"capacity": 2, "reserved": 1}));
}

#[tokio::test]
async fn labels_are_shown_as_they_are_afterwards() {
    let labelled = |changed| Script {
        label: once(pb::WriteReply { revision: 7, changed }),
        nodes: nodes(&[("disk", "ssd"), ("role", "database")]),
        ..Script::default()
    };
    let told = run(labelled(true), "node label mini-1 role=database zone-").await;
    assert_eq!((told.code(), told.stdout.as_str()), (0, "mini-1: disk=ssd, role=database\n"));
    assert_eq!(told.cluster.asked(), ["label", "nodes"]);
    let told = run(labelled(false), "node label mini-1 role=database").await;
    let same = "mini-1: disk=ssd, role=database (nothing to change)\n";
    assert_eq!((told.code(), told.stdout.as_str()), (0, same));
    let told = run(labelled(true), "-o json node label mini-1 role=database").await;
    let said: serde_json::Value = serde_json::from_str(&told.stdout).unwrap();
    let labels = serde_json::json!({"disk": "ssd", "role": "database"});
    assert_eq!((&said["changed"], &said["labels"]), (&true.into(), &labels));

    let told = run(labelled(true), "node label mini-1 role=database role-").await;
    assert_eq!(told.code(), 1);
    assert!(told.stderr.contains("label `role` stands there twice"), "{}", told.stderr);
    assert!(told.cluster.asked().is_empty(), "nothing was changed");
    let refused = VecDeque::from([Err(Status::not_found("there is no node `mini-2`"))]);
    let unknown = Script { label: refused, nodes: nodes(&[]), ..Script::default() };
    let told = run(unknown, "node label mini-2 role=database").await;
    assert_eq!(told.code(), 1);
    assert!(told.stderr.contains("did you mean `mini-1`?"), "{}", told.stderr);
}

#[tokio::test]
async fn a_machine_that_still_has_something_is_not_removed() {
    let refused = "node `mini-1` still has 1 volume (shop_data)\nhint: forget them";
    let removes = VecDeque::from([
        Err(Status::failed_precondition(refused)),
        Ok(pb::WriteReply { revision: 9, changed: true }),
    ]);
    let told = run(Script { remove_node: removes, ..Script::default() }, "node rm mini-1").await;
    assert_eq!(told.code(), 3);
    assert!(told.stderr.contains("1 volume (shop_data)\n\nhint: forget them"), "{}", told.stderr);
    let removes = once(pb::WriteReply { revision: 9, changed: true });
    let script = Script { remove_node: removes, ..Script::default() };
    let told = run(script, "node rm mini-1 --yes --with-volumes").await;
    assert_eq!(told.code(), 0, "{}", told.stderr);
    assert!(told.stdout.starts_with("mini-1 is removed"), "{}", told.stdout);
}

/// A drain that comes along in these steps: what runs of `web`, whether it ended, what is left.
fn drains(steps: &[(TaskRow, bool, &[&str])]) -> Script {
    let steps = steps.iter().map(|(row, ended, left)| {
        let stays = left.iter().map(|service| stay(service).into()).collect();
        let drain = Some(pb::Drain { ended: *ended, stays });
        Ok(pb::WatchReply { drain, tasks: vec![row.clone().into()], ..pb::WatchReply::default() })
    });
    let mut plan = draining();
    plan.moves.truncate(1);
    plan.stays.retain(|_| steps.len() > 3);
    Script {
        plan_drain: once(plan.into()),
        drain: once(pb::WriteReply { revision: 9, changed: true }),
        watch: once(steps.collect()),
        ..Script::default()
    }
}

fn moved(state: &str, ready: bool) -> TaskRow {
    let node = Some("mini-2".to_owned());
    let (task_id, state) = ("t-new".to_owned(), state.to_owned());
    TaskRow { task: task_id, node, state, ready, health: None, epoch: 2, ..task("web", 1) }
}

#[tokio::test]
async fn a_drain_shows_where_everything_goes_and_follows_until_it_is_there() {
    let steps = [
        (task("web", 1), false, &[][..]),
        (moved("starting", false), true, &[]),
        (moved("running", true), true, &[]),
    ];
    let told = run(drains(&steps), "node drain mini-1").await;
    assert_eq!(told.code(), 0, "{}", told.stderr);
    assert_eq!(told.cluster.asked(), ["plan drain", "drain", "watch"]);
    assert!(told.stdout.contains("shop/web.1   mini-2"), "{}", told.stdout);
    let end = "mini-1 is drained: 1 task moved, nothing new is placed there\n";
    assert!(told.stdout.ends_with(end), "{}", told.stdout);
    assert!(told.stderr.contains("shop/web.1 on mini-2: running"), "{}", told.stderr);

    let told = run(drains(&steps), "node drain mini-1 --dry-run").await;
    assert_eq!((told.code(), told.cluster.asked()), (0, vec!["plan drain"]));
    let told = run(drains(&steps), "node drain mini-1 --detach -o json").await;
    let said: serde_json::Value = serde_json::from_str(&told.stdout).unwrap();
    assert_eq!((&said["moves"][0]["to"], &said["changed"]), (&"mini-2".into(), &true.into()));
}

#[tokio::test]
async fn what_is_left_on_a_drained_machine_is_told_with_its_reason() {
    let steps = [
        (task("web", 1), false, &["postgres"][..]),
        (moved("starting", false), false, &["postgres"]),
        (moved("running", true), false, &["postgres"]),
        (moved("running", true), true, &["postgres"]),
    ];
    let told = run(drains(&steps), "node drain mini-1").await;
    assert_eq!(told.code(), 3);
    for words in [
        "mini-1 is not drained: 1 task left there, 1 task moved",
        "shop/postgres.1 stays: its volume `data` lives on mini-1",
        "sisoctl node uncordon mini-1",
    ] {
        assert!(told.stderr.contains(words), "{words}: {}", told.stderr);
    }
    let steps = [(task("web", 1), false, &["web"][..]), (task("web", 1), true, &["web"])];
    let told = run(drains(&steps), "node drain mini-1 -o json").await;
    assert_eq!(told.code(), 3);
    let said: serde_json::Value = serde_json::from_str(&told.stdout).unwrap();
    assert_eq!(
        (&said["end"]["moved"], &said["end"]["left"][0]["service"]),
        (&0.into(), &"web".into())
    );
}

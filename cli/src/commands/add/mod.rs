//! `node add`: makes another machine a node over the user's own `ssh`.
//!
//! Everything that could stand in the way is looked at before anything is changed, and told at once. What
//! is done can be done again: a second run mends what a first one left.

mod probe;
mod remote;
mod settings;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::Timestamp;
use model::{NodeName, token::Role};
use serde::Serialize;
use tokio::time::{Instant, sleep};

use self::{
    probe::{Finding, Probe, Told, arch_of, cluster, findings, remarks},
    remote::{Remote, last_lines},
    settings::{CHOSEN, Settings},
};
use crate::{
    args::{Global, NodeAdd, Span},
    client::Client,
    error::Error,
    output::{Out, json},
};

/// An agent joins within ten seconds of its start; the rest is for a slow machine.
const READY_LIMIT: Duration = Duration::from_mins(1);
/// A node that was ready before counts as ready for 3 s more, whatever became of its agent. After this it is the agent
/// that was just started that keeps it so.
const SETTLED_AFTER: Duration = Duration::from_secs(6);
/// Between two looks whether it is ready.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// The token is used within seconds; a machine that takes longer gets a new one.
const TOKEN_LIFE: Duration = Duration::from_mins(10);
/// Larger than any build of the agent.
const PROGRAM_BYTES: u64 = 512 << 20;

const PROGRAM: &str = "/usr/local/bin/siso-agent";
const SETTINGS: &str = "/etc/siso/agent.env";
const TOKEN: &str = "/etc/siso/agent.token";
const UNIT: &str = "/etc/systemd/system/siso-agent.service";
const UNIT_TEXT: &str = include_str!("../../../../deploy/systemd/siso-agent.service");

/// What was made, for scripts.
#[derive(Debug, Serialize)]
struct Added<'a> {
    name: &'a str,
    id: &'a str,
    host: &'a str,
    state: &'a str,
}

/// Carries out `node add`.
pub async fn run(
    args: &NodeAdd,
    client: &Client,
    global: &Global,
    out: &mut Out,
) -> Result<(), Error> {
    let remote = Remote::new(&args.ssh, &args.target)?;
    let target = &args.target.0;
    out.note(&format!("{target}: looking at the machine"));
    let probe = look(&remote).await?;
    let program = check(args, &probe, out)?;
    check_cluster(target, &probe, client)?;
    let held = held(target, &probe)?;
    let name = name(args, &probe, &held)?;
    // A member knows where its schedulers are.
    let known = probe.member && args.scheduler.is_none() && held.get("SISO_SCHEDULER").is_some();
    let scheduler = if known { None } else { Some(scheduler(args, client)?) };
    let nodes = client.nodes().await?;
    if nodes.iter().any(|node| node.name == name) && !probe.member {
        return Err(Error::cluster(format!("there is a node `{name}` already"))
            .hint(format!("choose another with --name, or remove it: sisoctl node rm {name}")));
    }
    if probe.member && !args.flags.label.is_empty() {
        out.note(&format!(
            "warning: {target} was a member before, and labels count when joining: `sisoctl node label {name} \
             NAME=VALUE` changes them"
        ));
    }
    let remote = remote.with_root(probe.root);
    let program = read_program(&program, &probe)?;
    out.note(&format!("{target}: installing siso-agent as {name}"));
    remote.put(PROGRAM, "0755", &program).await?;
    tell_kept(args, &held, out);
    let settings = settings(args, &probe, (&name, scheduler.as_deref()), held);
    remote.put(SETTINGS, "0600", settings.text().as_bytes()).await?;
    remote.put(UNIT, "0644", UNIT_TEXT.as_bytes()).await?;
    // A member needs no token, and one that is not used is one too many.
    if !probe.member {
        let token = client.create_token(Role::Node, TOKEN_LIFE).await?;
        let id = token.id.parse();
        let given = remote.put(TOKEN, "0600", format!("{}\n", token.token).as_bytes()).await;
        if let (Err(_), Ok(id)) = (&given, id) {
            // It may lie there half written; what cannot be revoked ends by itself.
            let _ = client.revoke_token(id).await;
        }
        given?;
    }
    remote.as_root("systemctl daemon-reload").await?;
    remote.as_root("systemctl enable siso-agent").await?;
    remote.as_root("systemctl restart siso-agent").await?;
    out.note(&format!("{target}: started, waiting until {name} is ready"));
    let limit = global.timeout.map_or(READY_LIMIT, |timeout| timeout.0);
    // Who waits for less is told what is so by then.
    let settle = if probe.member { SETTLED_AFTER.min(limit) } else { Duration::ZERO };
    let node = wait_ready(&name, (&remote, args), client, (settle, limit)).await?;
    if out.is_json() {
        let added = Added { name: &name, id: &node.id, host: target, state: &node.state };
        return json::document(out, &added);
    }
    let offers = node.memory.allocatable;
    out.data_line(&format!("{name} is ready: {offers} of memory for services"))
}

/// Where the agent finds the cluster. What this machine calls itself is of no use there.
fn scheduler(args: &NodeAdd, client: &Client) -> Result<String, Error> {
    if let Some(scheduler) = &args.scheduler {
        return Ok(scheduler.clone());
    }
    let endpoints = client.endpoints();
    let local = |endpoint: &&String| {
        let host = endpoint.rsplit_once(':').map_or(endpoint.as_str(), |(host, _)| host);
        let host = host.trim_matches(['[', ']']);
        host == "localhost"
            || host
                .parse::<std::net::IpAddr>()
                .is_ok_and(|ip| ip.is_loopback() || ip.is_unspecified())
    };
    if let Some(own) = endpoints.iter().find(local) {
        return Err(Error::input(format!(
            "the context names the scheduler {own}, which another machine cannot reach"
        ))
        .hint("say how it is reached from there: --scheduler HOST:7400"));
    }
    Ok(endpoints.join(","))
}

async fn look(remote: &Remote) -> Result<Probe, Error> {
    let answer = remote.script(probe::SCRIPT).await?;
    probe::read(&answer).map_err(|why| {
        Error::cluster(format!("the machine's answer cannot be read: {why}"))
            .details(last_lines(&answer))
            .hint("a login there that prints or starts something of its own may be in the way")
    })
}

/// A member of another cluster stays that: its agent would go on there, as what it is.
fn check_cluster(target: &str, probe: &Probe, client: &Client) -> Result<(), Error> {
    let (Some(there), Some(here)) = (cluster(probe), client.cluster()) else { return Ok(()) };
    if there == here {
        return Ok(());
    }
    Err(Error::cluster(format!(
        "{target} is a member of another cluster, {there}: nothing was changed"
    ))
    .hint(format!(
        "remove it there (sisoctl node rm), then let it forget that: ssh {target} 'sudo systemctl stop siso-agent && \
         sudo mv /var/lib/siso/agent /var/lib/siso/agent.old', and run this again"
    )))
}

/// The agent's program for that machine, unless something stands in the way.
fn check(args: &NodeAdd, probe: &Probe, out: &mut Out) -> Result<PathBuf, Error> {
    let now = u64::try_from(Timestamp::now().as_second()).unwrap_or_default();
    let mut found = findings(probe, now);
    let program = program(args, probe);
    if let (Err(finding), "Linux") = (&program, probe.os.as_str()) {
        found.push(finding.clone());
    }
    for remark in remarks(probe, now) {
        out.note(&format!("warning: {remark}"));
    }
    match program {
        Ok(program) if found.is_empty() => Ok(program),
        _ => {
            let lines = found
                .iter()
                .flat_map(|Finding { what, fix }| [what.clone(), format!("  fix: {fix}")]);
            let target = &args.target.0;
            Err(Error::cluster(format!("{target} cannot become a node: nothing was changed"))
                .details(lines.collect())
                .hint("mend that and run this again"))
        }
    }
}

/// The file with the agent for that machine: the one that was named, or one beside this program.
fn program(args: &NodeAdd, probe: &Probe) -> Result<PathBuf, Finding> {
    let arch = &probe.arch;
    let own = std::env::current_exe().ok();
    let beside = own.as_deref().and_then(Path::parent).into_iter().flat_map(|folder| {
        [folder.join(format!("siso-agent-linux-{arch}")), folder.join("siso-agent")]
    });
    let candidates: Vec<PathBuf> = match &args.agent {
        Some(file) => vec![file.clone()],
        None => beside.collect(),
    };
    let built_for = |file: &PathBuf| arch_of(&start_of(file)) == Some(arch.as_str());
    candidates.iter().find(|file| built_for(file)).cloned().ok_or_else(|| {
        let tried: Vec<String> = candidates
            .iter()
            .map(|file| {
                let is = match (file.exists(), arch_of(&start_of(file))) {
                    (false, _) => "is not there".to_owned(),
                    (true, Some(other)) => format!("is for linux {other}"),
                    (true, None) => "is no program for Linux".to_owned(),
                };
                format!("{} {is}", file.display())
            })
            .collect();
        Finding {
            what: format!("there is no siso-agent for linux {arch} here: {}", tried.join(", ")),
            fix: format!(
                "unpack the release for linux {arch} and name its siso-agent with --agent FILE"
            ),
        }
    })
}

/// Enough of a file to see what it is.
fn start_of(file: &Path) -> Vec<u8> {
    use std::io::Read as _;
    let mut start = Vec::new();
    if let Ok(file) = std::fs::File::open(file) {
        // What cannot be read is no program.
        let _ = file.take(64).read_to_end(&mut start);
    }
    start
}

fn read_program(file: &Path, probe: &Probe) -> Result<Vec<u8>, Error> {
    use std::io::Read as _;
    let mut program = Vec::new();
    let read = std::fs::File::open(file)
        .and_then(|file| file.take(PROGRAM_BYTES).read_to_end(&mut program));
    match read {
        Ok(_) if arch_of(&program) == Some(probe.arch.as_str()) => Ok(program),
        Ok(_) => Err(Error::input(format!("{} changed while it was read", file.display()))),
        Err(error) => Err(Error::input(format!("cannot read {}: {error}", file.display()))),
    }
}

/// The node's name: as told, as its settings say, else the machine's, as its agent would choose it.
fn name(args: &NodeAdd, probe: &Probe, held: &Settings) -> Result<String, Error> {
    let before = held.get("SISO_NAME").filter(|name| !name.is_empty());
    if let Some(name) = &args.name {
        if let Some(before) = before.filter(|before| probe.member && *before != name.as_str()) {
            let target = &args.target.0;
            return Err(Error::input(format!("{target} is the node `{before}` already"))
                .hint("a node keeps its name: leave --name out"));
        }
        return Ok(name.to_string());
    }
    if let Some(before) = before {
        let bad = |error| Error::input(format!("SISO_NAME in {SETTINGS} there: {error}"));
        return NodeName::new(before).map(|name| name.to_string()).map_err(bad);
    }
    let first = probe.host.split('.').next().unwrap_or_default().to_ascii_lowercase();
    let allowed = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let name: String = first.chars().map(allowed).collect();
    NodeName::new(name.trim_matches('-')).map(|name| name.to_string()).map_err(|error| {
        Error::input(format!("the machine's name `{}` makes no node name: {error}", probe.host))
            .hint("give it one with --name")
    })
}

/// The agent's settings: what stands there, but for what is named here or has to be. A machine that is no
/// member joins this cluster, whatever its settings said of another.
fn settings(
    args: &NodeAdd,
    probe: &Probe,
    (name, scheduler): (&str, Option<&str>),
    held: Settings,
) -> Settings {
    let mut settings = held;
    let named = [
        ("SISO_DATA_DIR", "/var/lib/siso/agent", false),
        ("SISO_SCHEDULER", scheduler.unwrap_or_default(), scheduler.is_some()),
        ("SISO_TOKEN_FILE", TOKEN, !probe.member),
        ("SISO_NAME", name, true),
    ];
    for (key, value, named) in named {
        if named || settings.get(key).is_none() {
            settings.set(key, value);
        }
    }
    for (key, value) in args.flags.settings() {
        settings.set(key, &value);
    }
    settings
}

/// What stands in the agent's settings there.
fn held(target: &str, probe: &Probe) -> Result<Settings, Error> {
    let Told::Text(text) = &probe.told else { return Ok(Settings::new()) };
    Settings::read(text).map_err(|why| {
        Error::cluster(format!("cannot read {SETTINGS} of {target}: {why}")).hint(format!(
            "mend it there, or move it away: ssh {target} sudo mv {SETTINGS} {SETTINGS}.old"
        ))
    })
}

/// Says which settings are kept as they are.
fn tell_kept(args: &NodeAdd, held: &Settings, out: &mut Out) {
    let named = args.flags.settings();
    let own = |key: &&str| !CHOSEN.contains(key) && named.iter().all(|(named, _)| named != key);
    let mut kept: Vec<&str> = held.names().filter(own).collect();
    kept.dedup();
    if !kept.is_empty() {
        let target = &args.target.0;
        out.note(&format!("{target}: {SETTINGS} keeps {} as it is", kept.join(", ")));
    }
}

async fn wait_ready(
    name: &str,
    (remote, args): (&Remote, &NodeAdd),
    client: &Client,
    (settle, limit): (Duration, Duration),
) -> Result<model::view::NodeRow, Error> {
    let began = Instant::now();
    loop {
        let nodes = client.nodes().await?;
        let node = nodes.into_iter().find(|node| node.name == name);
        let ready = node.filter(|node| node.state == "ready" && node.engine_ready);
        if let Some(node) = ready.filter(|_| began.elapsed() >= settle)
            && remote.as_root("systemctl is-active siso-agent").await.is_ok()
        {
            return Ok(node);
        }
        if began.elapsed() >= limit {
            break;
        }
        sleep(LOOK_EVERY).await;
    }
    // Its own words say best what is wrong; without them there is still the hint.
    let said = remote.as_root("journalctl -u siso-agent -n 15 --no-pager -o cat").await;
    let waited = Span(limit);
    Err(Error::cluster(format!("{name} is not ready after {waited}: its agent was installed and started"))
        .details(last_lines(&said.unwrap_or_default()))
        .hint(format!(
            "check that the machine reaches the scheduler (--scheduler), then run this again; its log: ssh {} \
             journalctl -u siso-agent",
            args.target.0
        )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{args::Args, output::Look, testing::streams};
    use clap::Parser as _;

    fn args(more: &[&str]) -> NodeAdd {
        let line = ["sisoctl", "node", "add", "me@mini-2"].into_iter().chain(more.iter().copied());
        match Args::try_parse_from(line).unwrap().command {
            crate::args::Command::Node(crate::args::Node::Add(args)) => *args,
            other => panic!("{other:?}"),
        }
    }

    fn probe(host: &str, member: &str, told: &str) -> Probe {
        let text = format!("arch x86_64\nos Linux\nhost {host}\nroot self\nengine 1\n");
        let told = told.lines().fold(String::new(), |held, line| held + "setting " + line + "\n");
        let told = if told.is_empty() { told } else { told + "told yes\n" };
        probe::read(&format!("{text}member {member}\n{told}")).unwrap()
    }

    #[test]
    fn the_settings_are_what_the_unit_reads() {
        let args = args(&[
            "--label",
            "role=database",
            "--label",
            "disk=fast ssd",
            "--memory-budget",
            "14GiB",
            "--reserve-memory=1GiB",
            "--generic=gpu=2,disk=200GiB",
            "--allow=devices",
            "--allow",
            "privileged",
            "--allow-bind=/srv/my data",
        ]);
        let told = ("mini-2", Some("mini-1:7400"));
        let text = settings(&args, &probe("x", "no", ""), told, Settings::new()).text();
        insta::assert_snapshot!(text, @r#"
        # Made by sisoctl node add.
        SISO_DATA_DIR=/var/lib/siso/agent
        SISO_SCHEDULER=mini-1:7400
        SISO_TOKEN_FILE=/etc/siso/agent.token
        SISO_NAME=mini-2
        SISO_LABEL="role=database,disk=fast ssd"
        SISO_MEMORY_BUDGET=14GiB
        SISO_RESERVE_MEMORY=1GiB
        SISO_GENERIC=gpu=2,disk=200GiB
        SISO_ALLOW=devices,privileged
        SISO_ALLOW_BIND="/srv/my data"
        "#);
        assert!(UNIT_TEXT.contains(SETTINGS) && UNIT_TEXT.contains(PROGRAM));
    }

    #[test]
    fn what_a_person_set_there_stays_unless_it_is_named_again() {
        let own = "SISO_DATA_DIR=/srv/siso\nSISO_SCHEDULER=mini-1:7400\nSISO_TOKEN_FILE=/root/t\n\
                   # For the camera.\nSISO_ALLOW=devices\nSISO_MEMORY_BUDGET=8GiB\n";
        let after = |member: &str, scheduler, more: &[&str]| {
            let (args, probe) = (args(more), probe("mini-2", member, own));
            let held = held("mini-2", &probe).unwrap();
            settings(&args, &probe, ("mini-2", scheduler), held).text()
        };
        assert_eq!(after("yes", None, &[]), format!("{own}SISO_NAME=mini-2\n"));
        let budget = after("yes", None, &["--memory-budget", "9GiB", "--name", "mini-2"]);
        let expected = own.replace("8GiB", "9GiB");
        assert_eq!(budget, format!("{expected}SISO_NAME=mini-2\n"));
        // Who joins needs to know where, and where the token was put.
        let joins = after("no", Some("mini-3:7400"), &[]);
        let expected = own.replace("mini-1:", "mini-3:").replace("/root/t", TOKEN);
        assert_eq!(joins, format!("{expected}SISO_NAME=mini-2\n"));

        let (mut out, _, said) = streams(Look::plain());
        let probe = probe("mini-2", "yes", own);
        tell_kept(&args(&["--allow", "privileged"]), &held("mini-2", &probe).unwrap(), &mut out);
        let kept = "me@mini-2: /etc/siso/agent.env keeps SISO_MEMORY_BUDGET as it is\n";
        assert_eq!(said.text(), kept);
    }

    #[test]
    fn a_machine_is_named_as_its_settings_say_or_as_its_agent_would_name_it() {
        let named = |more: &[&str], probe: &Probe| {
            name(&args(more), probe, &held("x", probe).unwrap()).map_err(|error| error.to_string())
        };
        assert_eq!(named(&[], &probe("Mini_2.local", "no", "")).unwrap(), "mini-2");
        assert_eq!(named(&["--name", "db-1"], &probe("x", "no", "")).unwrap(), "db-1");
        assert!(named(&[], &probe("---", "no", "")).is_err());
        let before = |member: &str| probe("x", member, "SISO_NAME=db-1");
        assert_eq!(named(&[], &before("yes")).unwrap(), "db-1");
        assert_eq!(named(&["--name", "db-1"], &before("yes")).unwrap(), "db-1");
        assert_eq!(named(&["--name", "db-2"], &before("no")).unwrap(), "db-2");
        let refused = named(&["--name", "db-2"], &before("yes")).unwrap_err();
        assert!(refused.contains("is the node `db-1` already"), "{refused}");
    }

    #[test]
    fn a_target_cannot_be_taken_for_a_flag_of_ssh() {
        for bad in ["-oProxyCommand=x", "", "a b", "@host", "user@", "a@b@c"] {
            let line = ["sisoctl", "node", "add", "--", bad];
            assert!(Args::try_parse_from(line).is_err(), "{bad}");
        }
        for good in ["mini-2", "me@mini-2", "root@10.0.0.2", "me@fd00::2"] {
            assert!(Args::try_parse_from(["sisoctl", "node", "add", good]).is_ok(), "{good}");
        }
    }
}

//! `node add`: makes another machine a node over the user's own `ssh`.
//!
//! Everything that could stand in the way is looked at before anything is changed, and told at once. What
//! is done can be done again: a second run mends what a first one left.

mod probe;
mod remote;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::Timestamp;
use model::{NodeName, token::Role};
use serde::Serialize;
use tokio::time::{Instant, sleep};

use self::{
    probe::{Finding, Probe, arch_of, findings, remarks},
    remote::{Remote, last_lines},
};
use crate::{
    args::{Global, NodeAdd, Span},
    client::Client,
    error::Error,
    output::{Out, json},
};

/// An agent joins within ten seconds of its start; the rest is for a slow machine.
const READY_LIMIT: Duration = Duration::from_mins(1);
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
    let scheduler = scheduler(args, client)?;
    let remote = Remote::new(&args.ssh, &args.target)?;
    let target = &args.target.0;
    out.note(&format!("{target}: looking at the machine"));
    let probe = look(&remote).await?;
    let program = check(args, &probe, out)?;
    let name = name(args, &probe)?;
    let nodes = client.nodes().await?;
    if nodes.iter().any(|node| node.name == name) && !probe.member {
        return Err(Error::cluster(format!("there is a node `{name}` already"))
            .hint(format!("choose another with --name, or remove it: sisoctl node rm {name}")));
    }
    if probe.member && !args.label.is_empty() {
        out.note(&format!(
            "warning: {target} was a member before, and labels count when joining: `sisoctl node label {name} \
             NAME=VALUE` changes them"
        ));
    }
    let remote = remote.with_root(probe.root);
    let program = read_program(&program, &probe)?;
    out.note(&format!("{target}: installing siso-agent as {name}"));
    remote.put(PROGRAM, "0755", &program).await?;
    remote.put(SETTINGS, "0600", settings(args, &name, &scheduler).as_bytes()).await?;
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
    let node = wait_ready(&name, (&remote, args), client, limit).await?;
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

/// The node's name: as told, else the machine's, as its agent would choose it.
fn name(args: &NodeAdd, probe: &Probe) -> Result<String, Error> {
    if let Some(name) = &args.name {
        return Ok(name.to_string());
    }
    let first = probe.host.split('.').next().unwrap_or_default().to_ascii_lowercase();
    let allowed = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let name: String = first.chars().map(allowed).collect();
    NodeName::new(name.trim_matches('-')).map(|name| name.to_string()).map_err(|error| {
        Error::input(format!("the machine's name `{}` makes no node name: {error}", probe.host))
            .hint("give it one with --name")
    })
}

/// The agent's settings as its service unit reads them.
fn settings(args: &NodeAdd, name: &str, scheduler: &str) -> String {
    let labels: Vec<String> =
        args.label.iter().map(|label| format!("{}={}", label.0, label.1)).collect();
    let mut lines = vec![
        "# Made by sisoctl node add.".to_owned(),
        "SISO_DATA_DIR=/var/lib/siso/agent".to_owned(),
        format!("SISO_SCHEDULER={scheduler}"),
        format!("SISO_TOKEN_FILE={TOKEN}"),
        format!("SISO_NAME={name}"),
    ];
    if !labels.is_empty() {
        lines.push(format!("SISO_LABEL=\"{}\"", labels.join(",")));
    }
    if let Some(budget) = &args.memory_budget {
        lines.push(format!("SISO_MEMORY_BUDGET={budget}"));
    }
    lines.join("\n") + "\n"
}

async fn wait_ready(
    name: &str,
    (remote, args): (&Remote, &NodeAdd),
    client: &Client,
    limit: Duration,
) -> Result<model::view::NodeRow, Error> {
    let until = Instant::now() + limit;
    loop {
        let nodes = client.nodes().await?;
        let node = nodes.into_iter().find(|node| node.name == name);
        if let Some(node) = node.filter(|node| node.state == "ready" && node.engine_ready) {
            return Ok(node);
        }
        if Instant::now() >= until {
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
    use crate::args::Args;
    use clap::Parser as _;

    fn args(more: &[&str]) -> NodeAdd {
        let line = ["sisoctl", "node", "add", "me@mini-2"].into_iter().chain(more.iter().copied());
        match Args::try_parse_from(line).unwrap().command {
            crate::args::Command::Node(crate::args::Node::Add(args)) => args,
            other => panic!("{other:?}"),
        }
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
        ]);
        let text = settings(&args, "mini-2", "mini-1:7400");
        insta::assert_snapshot!(text, @r#"
        # Made by sisoctl node add.
        SISO_DATA_DIR=/var/lib/siso/agent
        SISO_SCHEDULER=mini-1:7400
        SISO_TOKEN_FILE=/etc/siso/agent.token
        SISO_NAME=mini-2
        SISO_LABEL="role=database,disk=fast ssd"
        SISO_MEMORY_BUDGET=14GiB
        "#);
        assert!(UNIT_TEXT.contains(SETTINGS) && UNIT_TEXT.contains(PROGRAM));
    }

    #[test]
    fn a_machine_is_named_as_its_agent_would_name_it() {
        let probe = |host: &str| {
            let text = format!("arch x86_64\nos Linux\nhost {host}\nroot self\nengine 1\n");
            probe::read(&text).unwrap()
        };
        assert_eq!(name(&args(&[]), &probe("Mini_2.local")).unwrap(), "mini-2");
        assert_eq!(name(&args(&["--name", "db-1"]), &probe("x")).unwrap(), "db-1");
        let error = name(&args(&[]), &probe("---")).unwrap_err();
        assert_eq!(error.exit_code(), 1);
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

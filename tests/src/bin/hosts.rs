//! Hosts to try things on: `hosts up 3`, then `hosts cut 2`, `hosts status`, … `hosts down`.
//!
//! They stay between two calls, until `down` or the next run of the tests with hosts. Needs root, an
//! engine with the test image, and the programs beside this one.

use std::{
    env,
    io::{self, Write as _},
    process::{Command, ExitCode},
};

#[cfg(target_os = "linux")]
use siso_tests::hosts::{Cluster, Hosts, Shape};

const USAGE: &str = "\
usage: hosts up [HOSTS [SCHEDULERS]]     make hosts with Siso on them; 3 with 3 schedulers
       hosts down                        remove them
       hosts sisoctl ARGUMENT...         the operator's sisoctl
       hosts run COMMAND...              a command at the operator's place in the network
       hosts cut HOST                    pull its plug
       hosts partition HOST...           part these from all others
       hosts one-way FROM TO...          what FROM sends does not reach TO
       hosts loss PERCENT                of all packets sent to any host
       hosts heal                        the links are as before
       hosts power-cut HOST...           at once; what was not synced is lost
       hosts boot HOST...                start them again
       hosts kill|crash|pause|resume|start|stop HOST UNIT
                                         UNIT is engine, scheduler or agent; a crashed one is started
                                         again, a killed or stopped one is not
       hosts freeze|thaw HOST            everything on it
       hosts clock HOST SHIFT            such as +30d, for units started since the first shift
       hosts log HOST UNIT               the end of what it has written
";

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    match run(&words.iter().map(String::as_str).collect::<Vec<_>>()) {
        Ok(code) => code,
        Err(why) => {
            // There is nobody else to tell.
            let _ = writeln!(io::stderr(), "hosts: {why}");
            ExitCode::from(2)
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn run(_: &[&str]) -> Result<ExitCode, String> {
    Err("hosts are made of Linux's namespaces".to_owned())
}

#[cfg(target_os = "linux")]
fn run(words: &[&str]) -> Result<ExitCode, String> {
    let (verb, rest) = words.split_first().ok_or(USAGE)?;
    if *verb == "up" {
        return up(rest);
    }
    Hosts::possible()?;
    if *verb == "down" {
        let left = Hosts::existing().map(Hosts::down).unwrap_or_default();
        return if left.is_empty() {
            Ok(ExitCode::SUCCESS)
        } else {
            Err(format!("{} are left", left.join(", ")))
        };
    }
    let Some(mut cluster) = Cluster::existing() else {
        return Err("there are no hosts: hosts up".to_owned());
    };
    if matches!(*verb, "sisoctl" | "run") {
        return Ok(command(&cluster, *verb == "sisoctl", rest));
    }
    let hosts = &mut cluster.hosts;
    match (*verb, rest) {
        ("cut", [one]) => hosts.cut(number(one)?),
        ("partition", group) => hosts.partition(&numbers(group)?),
        ("one-way", [from, to @ ..]) => hosts.one_way(number(from)?, &numbers(to)?),
        ("loss", [percent]) => hosts.loss(number(percent)?),
        ("heal", []) => hosts.heal(),
        ("power-cut", chosen) => hosts.power_cut(&numbers(chosen)?),
        ("boot", chosen) => hosts.boot(&numbers(chosen)?),
        ("freeze", [one]) => hosts.host(number(one)?).freeze(),
        ("thaw", [one]) => hosts.host(number(one)?).thaw(),
        ("clock", [one, shift]) => hosts.host(number(one)?).set_clock(shift)?,
        ("log", [one, unit]) => {
            let story = hosts.host(number(one)?).story(unit);
            io::stdout().write_all(story.as_bytes()).map_err(|error| error.to_string())?;
        }
        ("kill", [one, unit]) => hosts.host(number(one)?).kill(unit),
        ("crash", [one, unit]) => hosts.host(number(one)?).crash(unit),
        ("pause", [one, unit]) => hosts.host(number(one)?).pause(unit),
        ("resume", [one, unit]) => hosts.host(number(one)?).resume(unit),
        ("start", [one, unit]) => hosts.host(number(one)?).start(unit),
        ("stop", [one, unit]) => hosts.host(number(one)?).stop(unit),
        _ => return Err(format!("{}: not understood\n{USAGE}", words.join(" "))),
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(target_os = "linux")]
fn up(rest: &[&str]) -> Result<ExitCode, String> {
    let hosts = rest.first().map_or(Ok(3), |word| number(word))?;
    let schedulers = rest.get(1).map_or(Ok(hosts.min(3)), |word| number(word))?;
    Hosts::possible()?;
    let shape = Shape { hosts, schedulers, ..Shape::default() };
    Cluster::on(Hosts::up(hosts), "hosts", shape).keep();
    Ok(ExitCode::SUCCESS)
}

#[cfg(target_os = "linux")]
fn command(cluster: &Cluster, sisoctl: bool, words: &[&str]) -> ExitCode {
    let mut command = if sisoctl {
        let mut command = Command::new(siso_tests::program("sisoctl"));
        command.arg("--context-file").arg(&cluster.ctl.context).args(words);
        command
    } else {
        let mut command = Command::new("env");
        command.args(words);
        command
    };
    let code = command.status().ok().and_then(|status| status.code());
    ExitCode::from(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}

fn number(word: &str) -> Result<u32, String> {
    word.parse().map_err(|_| format!("{word} is no number"))
}

fn numbers(words: &[&str]) -> Result<Vec<u32>, String> {
    words.iter().map(|word| number(word)).collect()
}

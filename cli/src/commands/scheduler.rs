//! `scheduler`: who decides, and what may be lost.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use model::view::VoterRow;
use serde::Serialize;
use tokio::process::Command;

use super::agreed;
use crate::{
    args::{Scheduler, SchedulerRecover, SchedulerRm},
    client::{Client, Written},
    error::Error,
    output::{
        Out, Tone, json, safe,
        table::{Cell, Table},
    },
};

/// The program that knows a scheduler's directory.
const PROGRAM: &str = "siso-scheduler";

/// Carries out `scheduler`, but for `recover`, which asks no cluster.
pub async fn run(args: &Scheduler, client: &Client, out: &mut Out) -> Result<(), Error> {
    match args {
        Scheduler::Ls => list(client, out).await,
        Scheduler::Rm(args) => remove(args, client, out).await,
        Scheduler::Recover(args) => recover(args, out).await,
    }
}

async fn list(client: &Client, out: &mut Out) -> Result<(), Error> {
    let rows = client.schedulers().await?;
    if out.is_json() {
        return json::document(out, &rows);
    }
    if out.look.quiet {
        return rows.iter().try_for_each(|row| out.data_line(&row.id.to_string()));
    }
    let text = render(&rows, out);
    out.data(&text)
}

/// The schedulers, and what may be lost of them.
pub fn render(rows: &[VoterRow], out: &Out) -> String {
    let mut text = table(rows).render(out);
    let voters = || rows.iter().filter(|row| row.role != "joining");
    let (count, reachable) = (voters().count(), voters().filter(|row| row.reachable).count());
    text.push('\n');
    text.push_str(&survives(count));
    text.push('\n');
    if reachable <= count / 2 && count > 1 {
        text.push_str(&out.paint(
            Tone::Bad,
            &format!(
                "Only {reachable} of {count} can be reached, which is no majority: nothing can be changed. \
                 Bring one back; if they are lost for good: `sisoctl scheduler recover`."
            ),
        ));
        text.push('\n');
    } else if reachable < count {
        let more = (reachable - 1).min(reachable.saturating_sub(count / 2 + 1));
        let line = format!(
            "{reachable} of {count} can be reached: {} may be lost now.",
            if more == 0 { "no more".to_owned() } else { format!("{more} more") }
        );
        text.push_str(&out.paint(Tone::Careful, &line));
        text.push('\n');
    }
    text
}

fn table(rows: &[VoterRow]) -> Table {
    let mut table =
        Table::new(&["SCHEDULER", "ADDRESS", "ROLE", "REACHABLE", "BEHIND", "VERSION", "ERROR"])
            .sparing(&["VERSION"]);
    for row in rows {
        let tone = if row.reachable { Tone::Good } else { Tone::Bad };
        let behind = row.behind.map(|behind| match behind {
            0 => "no".to_owned(),
            1 => "1 entry".to_owned(),
            more => format!("{more} entries"),
        });
        table.row([
            Cell::new(row.id.to_string().as_str()),
            Cell::new(row.address.as_str()),
            Cell::new(row.role.as_str()),
            Cell::new(if row.reachable { "yes" } else { "no" }).tone(tone),
            Cell::new(behind.as_deref().unwrap_or("unknown")),
            Cell::new(row.version.as_deref().unwrap_or("unknown")),
            Cell::remark(row.error.as_deref().unwrap_or_default()),
        ]);
    }
    table
}

/// What so many voters survive: a majority has to be left.
pub fn survives(voters: usize) -> String {
    match voters {
        0 => "No scheduler votes.".to_owned(),
        1 => "One scheduler survives the loss of none: while it is away nothing is decided, and what runs goes \
              on."
            .to_owned(),
        2 => "Two schedulers survive the loss of none, no better than one: each of them is needed."
            .to_owned(),
        3 => "Three schedulers survive the loss of one.".to_owned(),
        5 => "Five schedulers survive the loss of two.".to_owned(),
        count if count % 2 == 0 => format!(
            "{count} schedulers survive the loss of {}, no better than {}.",
            (count - 1) / 2,
            count - 1
        ),
        count => format!("{count} schedulers survive the loss of {}.", (count - 1) / 2),
    }
}

/// What `scheduler rm` did, for scripts.
#[derive(Debug, Serialize)]
struct Removed {
    #[serde(flatten)]
    written: Written,
    /// `null` when the one that was asked is the one that went.
    schedulers: Option<Vec<VoterRow>>,
}

async fn remove(args: &SchedulerRm, client: &Client, out: &mut Out) -> Result<(), Error> {
    let id = args.id;
    if !args.yes && !agreed(&format!("Remove scheduler {id} for good?"), out).await? {
        return Err(
            Error::input("not removed: nothing was changed").hint("answer y, or give --yes")
        );
    }
    let written = client.remove_scheduler(id).await?;
    // It is done, whoever can tell of the rest.
    let schedulers = client.schedulers().await.ok();
    if out.is_json() {
        return json::document(out, &Removed { written, schedulers });
    }
    let said = if written.changed { "is removed" } else { "was removed before" };
    out.data_line(&format!(
        "scheduler {id} {said}; delete its data directory before that machine joins again"
    ))?;
    if let Some(schedulers) = schedulers {
        let voters = schedulers.iter().filter(|row| row.role != "joining").count();
        out.note(&survives(voters));
    }
    Ok(())
}

/// What recovering made, as `siso-scheduler` prints it.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct Recovered {
    cluster: String,
    former: String,
    scheduler: u64,
    left_behind: Vec<LeftBehind>,
    until: Option<String>,
    kept: String,
}

/// A scheduler that cannot come back.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct LeftBehind {
    id: u64,
    address: String,
}

impl Recovered {
    fn read(text: &str) -> Option<Self> {
        let mut read = Self::default();
        for line in text.lines() {
            let (key, value) = line.split_once(": ")?;
            match key {
                "cluster" => value.clone_into(&mut read.cluster),
                "former" => value.clone_into(&mut read.former),
                "scheduler" => read.scheduler = value.parse().ok()?,
                "left-behind" => {
                    let (id, address) = value.split_once(' ')?;
                    let (id, address) = (id.parse().ok()?, address.to_owned());
                    read.left_behind.push(LeftBehind { id, address });
                }
                "until" => read.until = Some(value.to_owned()),
                "kept" => value.clone_into(&mut read.kept),
                // A newer program may say more.
                _ => {}
            }
        }
        (!read.cluster.is_empty()).then_some(read)
    }
}

/// Carries out `scheduler recover`.
pub async fn recover(args: &SchedulerRecover, out: &mut Out) -> Result<(), Error> {
    let directory = &args.data_dir;
    if !args.i_know_others_are_dead && !args.from_backup {
        return Err(Error::input("not recovered: nothing was changed").details(vec![
            format!("This makes {} a new cluster of one scheduler, which knows what this", directory.display()),
            "one knew: what the others agreed on without it is lost, and they can never come back.".to_owned(),
            "Nodes and people stay who they are, and what runs goes on.".to_owned(),
        ])
        .hint(
            "when a majority of the schedulers is lost for good, say so with --i-know-others-are-dead; as long as \
             a majority can be brought back, do that instead; a directory from a backup: --from-backup",
        ));
    }
    let program = args.program.clone().unwrap_or_else(beside);
    let ran = Command::new(&program)
        .arg("--data-dir")
        .arg(directory)
        .arg("--recover")
        .args(args.from_backup.then_some("--from-backup"))
        .stdin(Stdio::null())
        .output()
        .await
        .map_err(|error| {
            Error::input(format!("cannot run {}: {error}", program.display())).hint(
                "run this on the machine of the scheduler, or name its program with --program FILE",
            )
        })?;
    let said = String::from_utf8_lossy(&ran.stderr);
    if !ran.status.success() {
        return Err(refused(&said));
    }
    let recovered = Recovered::read(&String::from_utf8_lossy(&ran.stdout)).ok_or_else(|| {
        Error::cluster(format!("{} answered something else than expected", program.display()))
            .hint("it may be of another version than sisoctl")
    })?;
    if out.is_json() {
        return json::document(out, &recovered);
    }
    let text = told(&recovered);
    out.data(&text)
}

fn told(recovered: &Recovered) -> String {
    let Recovered { cluster, former, scheduler, left_behind, until, kept } = recovered;
    let known = until.as_deref().map_or_else(
        || "no change is known to it".to_owned(),
        |until| format!("the last change it knows of was made at {}", safe::line(until)),
    );
    let names: Vec<_> = left_behind
        .iter()
        .map(|one| format!("{} at {}", one.id, safe::line(&one.address)))
        .collect();
    let left_behind = match names.as_slice() {
        [] => String::new(),
        names => format!("left behind for good: {}\n", names.join(", ")),
    };
    format!(
        "cluster {former} goes on as {cluster}, with scheduler {scheduler}; {known}\n\
         {left_behind}\
         the log from before is kept in {}\n\
         start the scheduler as always; then add others: `sisoctl token create --role scheduler`\n",
        safe::line(kept),
    )
}

/// The words of `siso-scheduler` as an error.
fn refused(said: &str) -> Error {
    // What is logged before it is beside the point.
    let last = said.rsplit_once("siso-scheduler: ").map_or(said, |(_, last)| last).trim_end();
    let (message, hint) = match last.split_once("\nhint: ") {
        Some((message, hint)) => (message, Some(hint)),
        None => (last, None),
    };
    let error = Error::cluster(safe::line(message));
    match hint {
        Some(hint) => error.hint(safe::line(hint)),
        None if message.contains("is used by another") => error.hint(
            "stop the scheduler first (`systemctl stop siso-scheduler`), and start it afterwards",
        ),
        None => error,
    }
}

/// The scheduler's program beside this one, else wherever the shell would find it.
fn beside() -> PathBuf {
    let own = std::env::current_exe().ok();
    let beside = own.as_deref().and_then(Path::parent).map(|directory| directory.join(PROGRAM));
    beside.filter(|path| path.is_file()).unwrap_or_else(|| PathBuf::from(PROGRAM))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{output::Look, testing::streams};

    fn row(id: u64, role: &str, behind: Option<u64>) -> VoterRow {
        let reachable = behind.is_some();
        VoterRow {
            id,
            address: format!("mini-{id}:7400"),
            role: role.to_owned(),
            reachable,
            behind,
            version: reachable.then(|| "0.1.0".to_owned()),
            error: (!reachable).then(|| "no answer".to_owned()),
        }
    }

    #[test]
    fn schedulers_say_who_leads_who_lags_and_what_may_be_lost() {
        let three =
            [row(1, "leader", Some(0)), row(2, "follower", Some(17)), row(3, "follower", None)];
        insta::assert_snapshot!(render(&three, &streams(Look::plain()).0));
        let lost =
            [row(1, "follower", Some(0)), row(2, "follower", None), row(3, "follower", None)];
        let text = render(&lost, &streams(Look::plain()).0);
        assert!(text.contains("Only 1 of 3 can be reached, which is no majority"), "{text}");
    }

    #[test]
    fn the_number_of_voters_says_in_one_sentence_what_it_survives() {
        for (voters, says) in [
            (1, "survives the loss of none"),
            (2, "survive the loss of none, no better than one"),
            (3, "survive the loss of one."),
            (4, "survive the loss of 1, no better than 3."),
            (5, "survive the loss of two."),
            (7, "survive the loss of 3."),
        ] {
            assert!(survives(voters).contains(says), "{}", survives(voters));
        }
    }

    #[test]
    fn what_recovering_made_is_read_from_the_schedulers_lines() {
        let text = "cluster: aa\nformer: bb\nscheduler: 1000004\nleft-behind: 2 b:7400\nleft-behind: 3 c:7400\n\
                    until: 2026-03-01T12:00:00Z\nkept: /var/lib/siso/log-of-bb\n";
        let read = Recovered::read(text).unwrap();
        insta::assert_snapshot!(told(&read));
        assert_eq!(Recovered::read("siso-scheduler ready"), None);
        let in_use = "2026 INFO x\nsiso-scheduler: /d is used by another siso-scheduler\n";
        let error = refused(in_use);
        assert_eq!(error.to_string(), "/d is used by another siso-scheduler");
        assert!(error.has_hint());
        assert_eq!(refused("siso-scheduler: no\nhint: do\n").to_string(), "no");
    }
}

//! One file per verb. Each has a `run` that asks the cluster and a rendering that does not.

pub mod add;
pub mod advise;
pub mod apply;
pub mod authority;
pub mod automatic;
pub mod completion;
pub mod config;
pub mod context;
pub mod doctor;
pub mod drain;
pub mod events;
pub mod exec;
pub mod explain;
pub mod follow;
pub mod logs;
pub mod node;
pub mod operator;
pub mod placement;
pub mod plan;
pub mod port_forward;
pub mod ps;
pub mod rebalance;
pub mod restart;
pub mod scale;
pub mod scheduler;
pub mod stack;
pub mod status;
pub mod token;
pub mod top;
pub mod version;
pub mod what_if;

use std::io::{self, BufRead as _, Write as _};

use crate::{
    args::{Command, Global, Scheduler},
    client::Client,
    error::Error,
    output::Out,
    signals,
};

/// How a command that was carried out ends the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// With 0.
    Done,
    /// With 3: it found something wrong and has told it.
    Found,
    /// With the exit code of a remote command.
    Remote(u8),
}

/// Carries out a command.
pub async fn run(command: Command, global: &Global, out: &mut Out) -> Result<Outcome, Error> {
    match command {
        Command::Config(args) => config::run(&args, out)?,
        Command::Context(args) => context::run(&args, out)?,
        Command::Completion(args) => completion::run(&args, out)?,
        Command::Plan(args) => plan::run(&args, global, out).await?,
        Command::WhatIf(args) => what_if::run(&args, global, out).await?,
        Command::Rebalance(args) if args.nodes.is_some() => {
            if let Some(machines) = &args.nodes {
                rebalance::offline(&args, machines, out)?;
            }
        }
        Command::Version => version::run(global, out).await?,
        Command::Scheduler(Scheduler::Recover(args)) => scheduler::recover(&args, out).await?,
        Command::Doctor(args) => return doctor::run(&args, global, out).await,
        command => {
            // Boxed: one future that holds them all would be as large as the largest.
            let connect = |out: &mut Out| Client::connect(global, out);
            return Box::pin(ask(command, global, out, connect)).await;
        }
    }
    Ok(Outcome::Done)
}

/// Carries out a command that needs a cluster.
async fn ask(
    command: Command,
    global: &Global,
    out: &mut Out,
    connect: impl FnOnce(&mut Out) -> Result<Client, Error>,
) -> Result<Outcome, Error> {
    // What is wrong with the input is told before the cluster is looked for.
    let prepared = match &command {
        Command::Apply(args) => Some(apply::Prepared::read(args, out)?),
        _ => None,
    };
    let client = connect(out)?;
    let outcome = carry_out(command, prepared, &client, global, out).await;
    client.renew_context(out).await;
    client.settle(out);
    outcome
}

async fn carry_out(
    command: Command,
    prepared: Option<apply::Prepared>,
    client: &Client,
    global: &Global,
    out: &mut Out,
) -> Result<Outcome, Error> {
    match command {
        Command::Apply(args) => {
            if let Some(prepared) = prepared {
                apply::run(&args, prepared, client, global, out).await?;
            }
        }
        Command::Ps(args) => ps::run(&args, client, out).await?,
        Command::Top(args) => top::run(&args, client, out).await?,
        Command::Status => status::run(client, out).await?,
        Command::Placement(args) => placement::run(&args, client, out).await?,
        Command::Advise(args) => advise::run(&args, client, out).await?,
        Command::Explain(args) => explain::run(&args, client, out).await?,
        Command::Rebalance(args) => match args.auto {
            Some(wanted) => automatic::run(wanted, args.yes, client, out).await?,
            None => rebalance::run(&args, client, global, out).await?,
        },
        Command::Logs(args) => logs::run(&args, client, out).await?,
        Command::Exec(args) => return exec::run(args, client, out).await,
        Command::PortForward(args) => port_forward::run(&args, client, global, out).await?,
        Command::Events(args) => events::run(&args, client, out).await?,
        Command::Restart(args) => restart::run(&args, client, global, out).await?,
        Command::Scale(args) => scale::run(&args, client, global, out).await?,
        Command::Node(args) => node::run(&args, client, global, out).await?,
        Command::Scheduler(args) => scheduler::run(&args, client, out).await?,
        Command::Stack(args) => stack::run(&args, client, global, out).await?,
        Command::Token(args) => token::run(&args, client, out).await?,
        Command::Authority(args) => authority::run(&args, client, global, out).await?,
        Command::Operator(args) => operator::run(&args, client, out).await?,
        Command::Config(_)
        | Command::Context(_)
        | Command::Completion(_)
        | Command::Plan(_)
        | Command::WhatIf(_)
        | Command::Version
        | Command::Doctor(_) => {}
    }
    Ok(Outcome::Done)
}

/// Asks a yes-or-no question on a terminal; without one the answer is yes, as scripts expect.
async fn agreed(question: &str, out: &Out) -> Result<bool, Error> {
    if !(out.look.stdin_terminal && out.look.stderr_terminal) {
        return Ok(true);
    }
    let question = question.to_owned();
    let (sender, receiver) = tokio::sync::oneshot::channel();
    // A thread of its own: a read from the terminal cannot be called off, a thread can be left.
    std::thread::spawn(move || {
        let mut stderr = io::stderr();
        let asked = write!(stderr, "{question} [y/N] ").and_then(|()| stderr.flush());
        let mut answer = String::new();
        let read = asked.and_then(|()| io::stdin().lock().read_line(&mut answer).map(drop));
        // Nobody waits for an answer any more when the person pressed Ctrl-C.
        let _ = sender.send(read.map(|()| answer));
    });
    tokio::select! {
        answer = receiver => match answer {
            Ok(Ok(answer)) => Ok(matches!(answer.trim(), "y" | "Y" | "yes" | "Yes")),
            _ => Ok(false),
        },
        () = signals::interrupt() => Err(Error::interrupted()),
    }
}

#[cfg(test)]
mod tests;

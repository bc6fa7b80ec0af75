//! Verbs about stacks and what runs of them.

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};
use model::{NodeName, StackName};

use super::{NeverAsks, Ports, RoomSize, ScaleTo, ServiceTarget, Since, Target};

/// Where a stack is read from.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct StackFiles {
    /// Stack files, later ones override earlier ones; `-` is standard input
    /// [default: the first of stack.yaml, compose.yaml, docker-compose.yml, with its override file]
    #[arg(value_name = "FILE", conflicts_with = "file")]
    pub files: Vec<PathBuf>,
    /// The same, as Compose has it; may be given several times
    #[arg(short, long, value_name = "FILE")]
    pub file: Vec<PathBuf>,
    /// The stack's name [default: `name:` of the file, else its directory]
    #[arg(long, short = 'p', visible_alias = "project-name", value_name = "NAME")]
    pub stack: Option<String>,
    /// Include services of this profile; may be given several times
    #[arg(long, value_name = "NAME")]
    pub profile: Vec<String>,
    /// Read variables from this file instead of `.env`; may be given several times
    #[arg(long, value_name = "FILE")]
    pub env_file: Vec<PathBuf>,
    /// What relative paths start from [default: the directory of the first file]
    #[arg(long, value_name = "DIR")]
    pub project_directory: Option<PathBuf>,
}

/// `apply`
#[derive(Debug, clap::Args)]
pub struct Apply {
    /// The stack.
    #[command(flatten)]
    pub stack: StackFiles,
    /// Do not ask; without a terminal nothing is asked
    #[arg(long, short)]
    pub yes: bool,
    /// Show the plan and stop
    #[arg(long)]
    pub dry_run: bool,
    /// Do not wait for the tasks
    #[arg(long, short)]
    pub detach: bool,
}

/// `plan`
#[derive(Debug, clap::Args)]
pub struct Plan {
    /// The stack.
    #[command(flatten)]
    pub stack: StackFiles,
    /// Plan without a cluster, on the machines this file describes
    #[arg(long, value_name = "NODES.yaml")]
    pub nodes: Option<PathBuf>,
}

/// `placement`
#[derive(Debug, clap::Args)]
pub struct Placement {
    /// Write the same as a picture
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
}

/// `whatif`
#[derive(Debug, clap::Args)]
pub struct WhatIf {
    /// `lose NODE`, `drain NODE`, `add NAME=SIZE[,cpus=N][,label=K=V][,arch=A]`, `apply FILE`; may be given several times
    #[arg(required = true, num_args = 2.., value_names = ["SUPPOSITION", "OF"])]
    pub suppositions: Vec<String>,
    /// Imagine it without a cluster, on the machines this file describes
    #[arg(long, value_name = "NODES.yaml")]
    pub nodes: Option<PathBuf>,
    /// With --nodes: a stack that runs on them; may be given several times
    #[arg(short, long, value_name = "FILE", requires = "nodes")]
    pub file: Vec<PathBuf>,
}

/// What is wanted of the automatic mode of `rebalance`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Auto {
    /// Let the cluster make a few moves by itself when tasks are stuck for want of room
    On,
    /// Let it move nothing by itself, as it is from the start
    Off,
    /// Show whether it is on, and what it did last
    Status,
}

/// `rebalance`
#[derive(Debug, clap::Args)]
pub struct Rebalance {
    /// Make the moves, one after the other; stop at the first that fails
    #[arg(long, conflicts_with = "nodes")]
    pub apply: bool,
    /// Instead: free this machine of what can move
    #[arg(long, value_name = "NODE", conflicts_with = "room")]
    pub empty: Option<NodeName>,
    /// Instead: have so much free on one machine: `4GiB`, `4GiB,cpus=2`
    #[arg(long, value_name = "SIZE")]
    pub room: Option<RoomSize>,
    /// With --room: on this machine
    #[arg(long, value_name = "NODE", requires = "room")]
    pub on: Option<NodeName>,
    /// Instead: turn the automatic mode on or off, or show it
    #[arg(
        long,
        value_name = "on|off|status",
        hide_possible_values = true,
        conflicts_with_all = ["apply", "empty", "room", "nodes"]
    )]
    pub auto: Option<Auto>,
    /// With --apply or --auto on: do not ask; without a terminal nothing is asked
    #[arg(long, short)]
    pub yes: bool,
    /// Imagine it without a cluster, on the machines this file describes
    #[arg(long, value_name = "NODES.yaml")]
    pub nodes: Option<PathBuf>,
    /// With --nodes: a stack that runs on them; may be given several times
    #[arg(short, long, value_name = "FILE", requires = "nodes")]
    pub file: Vec<PathBuf>,
}

/// How `config` prints.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum ConfigFormat {
    /// A stack file again.
    #[default]
    Yaml,
    /// The same as JSON.
    Json,
}

/// `config`
#[derive(Debug, clap::Args)]
pub struct Config {
    /// The stack.
    #[command(flatten)]
    pub stack: StackFiles,
    /// Form of the output [default: yaml; json with `-o json`]
    #[arg(long, value_enum, value_name = "yaml|json", hide_possible_values = true)]
    pub format: Option<ConfigFormat>,
}

/// `ps`
#[derive(Debug, clap::Args)]
pub struct Ps {
    /// Only tasks of this stack
    pub stack: Option<StackName>,
    /// Also tasks that failed and were replaced: the last two of each replica
    #[arg(long, short)]
    pub all: bool,
}

/// `top`
#[derive(Debug, clap::Args)]
pub struct Top {
    /// Only tasks of this stack
    pub stack: Option<StackName>,
    /// Show it once, on a terminal too
    #[arg(long)]
    pub once: bool,
}

/// `advise`
#[derive(Debug, clap::Args)]
pub struct Advise {
    /// Only this stack, or this service of it
    #[arg(value_name = "STACK[/SERVICE]", value_parser = parse_service_or_stack)]
    pub target: Option<Target>,
}

/// A stack or a service of it: what replicas have is said of all of them at once.
fn parse_service_or_stack(text: &str) -> Result<Target, String> {
    let target = text.parse::<Target>().map_err(|error| error.to_string())?;
    if target.replica.is_some() {
        return Err(
            "a file speaks of all replicas at once: write STACK or STACK/SERVICE".to_owned()
        );
    }
    Ok(target)
}

/// `explain`
#[derive(Debug, clap::Args)]
pub struct Explain {
    /// A service, or one replica of it
    #[arg(value_name = "STACK/SERVICE[.N]")]
    pub target: ServiceTarget,
    /// What it would take to be on this machine, all of it
    #[arg(long, value_name = "NODE")]
    pub on: Option<NodeName>,
}

/// `logs`
#[derive(Debug, clap::Args)]
pub struct Logs {
    /// A stack, a service, or one replica
    #[arg(value_name = "STACK[/SERVICE[.N]]")]
    pub target: Target,
    /// Go on as more is written
    #[arg(long, short)]
    pub follow: bool,
    /// Only what is newer: `10m`, or a time like `2026-01-31T12:00:00Z`
    #[arg(long, value_name = "TIME")]
    pub since: Option<Since>,
    /// Only the last lines of each task
    #[arg(long, short = 'n', value_name = "LINES")]
    pub tail: Option<u32>,
    /// Only lines that match this regular expression
    #[arg(long, value_name = "RE")]
    pub grep: Option<String>,
    /// Print when each line was written
    #[arg(long, short)]
    pub timestamps: bool,
    /// Do not print which task each line is from
    #[arg(long)]
    pub no_log_prefix: bool,
}

/// `exec`
#[derive(Debug, clap::Args)]
pub struct Exec {
    /// A service, or one replica of it
    #[arg(value_name = "STACK/SERVICE[.N]")]
    pub target: ServiceTarget,
    /// No terminal for the command, even when this is one
    #[arg(long, short = 'T')]
    pub no_tty: bool,
    /// `-i` and `-t` of other tools: a command has a terminal whenever this is one
    #[arg(short = 'i', short_alias = 't', action = clap::ArgAction::Count, hide = true)]
    pub habit: u8,
    /// The command and its arguments; from its first word on, flags are its own
    #[arg(required = true, trailing_var_arg = true, value_name = "CMD")]
    pub command: Vec<String>,
}

/// `port-forward`
#[derive(Debug, clap::Args)]
pub struct PortForward {
    /// A service, or one replica of it
    #[arg(value_name = "STACK/SERVICE[.N]")]
    pub target: ServiceTarget,
    /// A port of this machine and one of the task; the same for both when one is named, any free one here for 0
    #[arg(value_name = "LOCAL:REMOTE")]
    pub ports: Ports,
}

/// `events`
#[derive(Debug, clap::Args)]
pub struct Events {
    /// Only events of this stack
    pub stack: Option<StackName>,
    /// Go on as more happens
    #[arg(long, short)]
    pub follow: bool,
}

/// `restart`
#[derive(Debug, clap::Args)]
pub struct Restart {
    /// A stack, a service, or one replica
    #[arg(value_name = "STACK[/SERVICE[.N]]")]
    pub target: Target,
    /// `--yes`
    #[command(flatten)]
    pub asks: NeverAsks,
    /// Do not wait for the tasks
    #[arg(long, short)]
    pub detach: bool,
}

/// `scale`
#[derive(Debug, clap::Args)]
pub struct Scale {
    /// Services with the number of replicas they shall have
    #[arg(required = true, value_name = "STACK/SERVICE=N")]
    pub services: Vec<ScaleTo>,
    /// `--yes`
    #[command(flatten)]
    pub asks: NeverAsks,
    /// Do not wait for the tasks
    #[arg(long, short)]
    pub detach: bool,
}

/// `stack`
#[derive(Debug, Subcommand)]
pub enum Stack {
    /// List stacks
    Ls,
    /// Stop and remove a stack; its volumes stay unless told
    ///
    /// Asks on a terminal. Without one, as in a script, it does not ask: give it only the stack you mean.
    /// Volumes that stayed are found again by the next apply of a stack of that name, and are removed by
    /// `stack rm STACK --volumes` also when the stack is long gone.
    Rm(StackRm),
    /// List the revisions of a stack and what each changed
    History {
        /// Its name
        stack: StackName,
    },
    /// Go back to an earlier revision of a stack
    ///
    /// Without --to, to the newest earlier one that was ready, and nothing is changed when none was: `stack
    /// history` says which were. With --to, to any that is listed there.
    Rollback(StackRollback),
}

/// `stack rm`
#[derive(Debug, clap::Args)]
pub struct StackRm {
    /// Its name
    pub stack: StackName,
    /// Remove its volumes and all data in them, too
    #[arg(long)]
    pub volumes: bool,
    /// Do not ask; without a terminal nothing is asked
    #[arg(long, short)]
    pub yes: bool,
    /// Do not wait until everything is gone
    #[arg(long, short)]
    pub detach: bool,
}

/// `stack rollback`
#[derive(Debug, clap::Args)]
pub struct StackRollback {
    /// Its name
    pub stack: StackName,
    /// The revision to go back to [default: the last one that was ready]
    #[arg(long, value_name = "REVISION")]
    pub to: Option<u64>,
    /// `--yes`
    #[command(flatten)]
    pub asks: NeverAsks,
    /// Do not wait for the tasks
    #[arg(long, short)]
    pub detach: bool,
}

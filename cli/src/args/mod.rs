//! The command line. One struct per verb; its doc comments are its help.

mod values;

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use model::{NodeName, StackName, TokenId, token::Role};
pub use values::{ScaleTo, ServiceTarget, Since, Span, Target};

/// How data is printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For scripts: fields never change their name or meaning.
    Json,
}

/// Runs Compose stacks on a handful of machines, and tells why everything is where it is.
#[derive(Debug, Parser)]
#[command(
    name = "sisoctl",
    version,
    max_term_width = 100,
    disable_help_subcommand = true,
    after_help = "Exit codes: 0 done, 1 your input is wrong (nothing was changed), 2 usage, 3 the cluster \
                  refused or could not finish, 4 unreachable, 130 interrupted."
)]
pub struct Args {
    /// What every verb understands.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Flags every verb understands.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// The context to use instead of the current one (see `sisoctl context ls`)
    #[arg(long, global = true, value_name = "NAME")]
    pub context: Option<String>,
    /// A context file to use instead of a named context
    #[arg(
        long,
        global = true,
        value_name = "PATH",
        env = "SISO_CONTEXT_FILE",
        hide_env_values = true
    )]
    pub context_file: Option<PathBuf>,
    /// How to print data
    #[arg(
        short,
        long,
        global = true,
        value_enum,
        default_value_t,
        hide_possible_values = true,
        value_name = "text|json"
    )]
    pub output: Format,
    /// How long to wait: for an answer 10s, for a stack to be as wanted 5m, unless told
    #[arg(long, global = true, value_name = "TIME")]
    pub timeout: Option<Span>,
    /// No colours; setting the variable `NO_COLOR` does the same
    #[arg(long, global = true)]
    pub no_color: bool,
    /// Only data and errors; lists print names alone
    #[arg(short, long, global = true)]
    pub quiet: bool,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make the cluster run a stack: show the plan, ask, apply, follow every task until it is healthy
    Apply(Apply),
    /// Show what `apply` would change and where everything would go; changes nothing
    Plan(Plan),
    /// Print the normalised stack: variables filled in, short forms made long
    Config(Config),
    /// List tasks: where they are, how they are, what they use
    Ps(Ps),
    /// The health of the cluster on one screen, with every problem and its cause
    Status,
    /// Who sits where and what is free, as bars
    Placement,
    /// Why a task is, or is not, where it is: a verdict per node and the cheapest fix
    Explain(Explain),
    /// Print what tasks write
    Logs(Logs),
    /// Run a command in a running task; its exit code becomes that of sisoctl
    Exec(Exec),
    /// What happened in the cluster
    Events(Events),
    /// Replace tasks by new ones of the same specification
    Restart(Restart),
    /// Set how many replicas services have
    Scale(Scale),
    /// Machines of the cluster
    #[command(subcommand, arg_required_else_help = true)]
    Node(Node),
    /// Stacks and their revisions
    #[command(subcommand, arg_required_else_help = true)]
    Stack(Stack),
    /// Join tokens
    #[command(subcommand, arg_required_else_help = true)]
    Token(Token),
    /// Which cluster to talk to, and as whom
    #[command(subcommand, arg_required_else_help = true)]
    Context(Context),
    /// Print a completion script for a shell
    Completion(Completion),
    /// Print the versions of sisoctl and, when it answers, of the scheduler
    Version,
    /// Check this machine and the way to the cluster; each finding comes with its fix
    Doctor(Doctor),
}

/// Where a stack is read from.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct StackFiles {
    /// Stack files, later ones override earlier ones; `-` is standard input
    /// [default: the first of stack.yaml, compose.yaml, docker-compose.yml]
    #[arg(value_name = "FILE", conflicts_with = "file")]
    pub files: Vec<PathBuf>,
    /// The same, as Compose has it; repeatable
    #[arg(short, long, value_name = "FILE")]
    pub file: Vec<PathBuf>,
    /// The stack's name [default: `name:` of the file, else its directory]
    #[arg(long, short = 'p', visible_alias = "project-name", value_name = "NAME")]
    pub stack: Option<String>,
    /// Include services of this profile; repeatable
    #[arg(long, value_name = "NAME")]
    pub profile: Vec<String>,
    /// Read variables from this file instead of `.env`; repeatable
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
    /// Do not ask
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
}

/// `explain`
#[derive(Debug, clap::Args)]
pub struct Explain {
    /// A service, or one replica of it
    #[arg(value_name = "STACK/SERVICE[.N]")]
    pub target: ServiceTarget,
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
    /// The command and its arguments, after `--`
    #[arg(required = true, last = true, value_name = "CMD")]
    pub command: Vec<String>,
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
    /// Do not wait for the tasks
    #[arg(long, short)]
    pub detach: bool,
}

/// `node`
#[derive(Debug, Subcommand)]
pub enum Node {
    /// List machines with what they offer and what is reserved
    Ls,
    /// Show everything about a machine and what runs on it
    Show {
        /// Its name
        node: NodeName,
    },
    /// Place nothing new on a machine; what runs stays
    Cordon {
        /// Its name
        node: NodeName,
    },
    /// Place on a machine again
    Uncordon {
        /// Its name
        node: NodeName,
    },
}

/// `stack`
#[derive(Debug, Subcommand)]
pub enum Stack {
    /// List stacks
    Ls,
    /// Stop and remove a stack; its volumes stay unless told
    Rm(StackRm),
    /// List the revisions of a stack and what each changed
    History {
        /// Its name
        stack: StackName,
    },
    /// Go back to an earlier revision of a stack
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
    /// Do not ask
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
    /// The revision to go back to [default: the one before]
    #[arg(long, value_name = "REVISION")]
    pub to: Option<u64>,
    /// Do not wait for the tasks
    #[arg(long, short)]
    pub detach: bool,
}

/// What a join token lets its holder become.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum JoinRole {
    /// A machine that runs tasks.
    Node,
    /// A voting scheduler.
    Scheduler,
}

impl From<JoinRole> for Role {
    fn from(role: JoinRole) -> Self {
        match role {
            JoinRole::Node => Self::Node,
            JoinRole::Scheduler => Self::Scheduler,
        }
    }
}

/// `token`
#[derive(Debug, Subcommand)]
pub enum Token {
    /// Make a token and print it, alone; it is good for one machine
    Create {
        /// What it lets its holder become
        #[arg(long, value_enum)]
        role: JoinRole,
        /// How long it is good for
        #[arg(long, default_value = "1h", value_name = "TIME")]
        ttl: Span,
    },
    /// List tokens, never their secrets
    Ls,
    /// Make a token useless
    Revoke {
        /// Its id, as `token ls` prints it
        id: TokenId,
    },
}

/// `context`
#[derive(Debug, Subcommand)]
pub enum Context {
    /// Remember a context file under a name; the first one becomes the current one
    Add {
        /// A name of your choice
        name: String,
        /// The file, such as the admin.yaml a scheduler writes
        #[arg(long, value_name = "FILE")]
        file: PathBuf,
    },
    /// List contexts
    Ls,
    /// Make a context the current one
    Use {
        /// Its name
        name: String,
    },
}

/// `completion`
#[derive(Debug, clap::Args)]
pub struct Completion {
    /// The shell
    pub shell: Shell,
}

/// `doctor`
#[derive(Debug, clap::Args)]
pub struct Doctor {
    /// The container engine to check
    /// [default: `unix:///var/run/docker.sock`, or that of Colima]
    #[arg(long, value_name = "ENDPOINT", env = "DOCKER_HOST", hide_env_values = true)]
    pub docker_host: Option<String>,
    /// Where a scheduler or agent keeps, or will keep, its data
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
}

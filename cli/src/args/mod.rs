//! The command line. One struct per verb; its doc comments are its help.

mod agent;
mod cluster;
mod habits;
mod stacks;
mod values;

use std::path::PathBuf;

pub use agent::AgentFlags;
use clap::{Parser, Subcommand, ValueEnum};
pub use cluster::{
    Authority, AuthorityFinish, Completion, Context, Doctor, JoinRole, Node, NodeAdd, NodeDrain,
    NodeRm, Operator, OperatorAdd, OperatorRm, Scheduler, SchedulerRecover, SchedulerRm, Token,
};
pub use habits::habit;
pub use stacks::{
    Advise, Apply, Auto, Config, ConfigFormat, Events, Exec, Explain, Logs, Placement, Plan,
    PortForward, Ps, Rebalance, Restart, Scale, Stack, StackFiles, StackRm, StackRollback, Top,
    WhatIf,
};
pub use values::{
    JoinLabel, LabelChange, Ports, RoomSize, ScaleTo, ServiceTarget, Since, Span, SshTarget, Target,
};

/// `--yes` of what never asks: a script may give it to whatever changes something.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::Args)]
pub struct NeverAsks {
    /// Understood wherever something is changed; this never asks
    #[arg(long, short)]
    pub yes: bool,
}

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
    /// Only data and errors, no progress, notes or warnings; lists print names alone
    #[arg(short, long, global = true)]
    pub quiet: bool,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make the cluster run a stack: show the plan, ask, apply, follow every task until it is healthy
    ///
    /// Asks on a terminal. Without one, as in a script, it does not ask and applies: `plan` shows beforehand
    /// what would come of it. The same file again changes nothing and says so.
    Apply(Apply),
    /// Show what `apply` would change and where everything would go; changes nothing
    Plan(Plan),
    /// Print the normalised stack: variables filled in, short forms made long
    Config(Config),
    /// List tasks: where they are, how they are, what they use
    Ps(Ps),
    /// Who uses the memory, the most first; on a terminal anew every two seconds, until Ctrl-C
    Top(Top),
    /// The health of the cluster on one screen, with every problem and its cause
    Status,
    /// Who sits where and what is free, as bars
    ///
    /// Each machine is a bar of blocks to scale, one for each task; the machines have one scale.
    Placement(Placement),
    /// Why a task is, or is not, where it is: a verdict per node and the cheapest fix
    Explain(Explain),
    /// What services reserve of memory beside what they were seen to use, and the lines to change
    ///
    /// Compares reservation, limit, the peak that was observed and kills for want of memory. Where something
    /// should change it says so, and prints the lines as they stand in a stack file; changes nothing.
    Advise(Advise),
    /// What would move and what would fit nowhere, were a machine gone, drained or added, or a stack applied
    ///
    /// Suppositions may be combined and are so all at once; nothing is changed:
    ///   whatif lose mini-2
    ///   whatif add mini-4=14GiB,label=role=database apply stack.yaml
    #[command(verbatim_doc_comment, name = "whatif")]
    WhatIf(WhatIf),
    /// By which few moves the cluster would be packed better; with --apply they are made
    ///
    /// First what waits gets a place, then as few machines are in use as can be. Only what runs and can move
    /// is moved, each task to a machine that has room when its turn comes.
    Rebalance(Rebalance),
    /// Print what tasks write
    Logs(Logs),
    /// Run a command in a running task; its exit code becomes that of sisoctl
    Exec(Exec),
    /// Let a port of this machine lead to a port of a task, published or not, until Ctrl-C
    ///
    /// Each connection to 127.0.0.1:LOCAL goes through the scheduler to the first replica that runs:
    ///   port-forward shop/db 5432
    ///   port-forward shop/web.2 8080:80
    #[command(verbatim_doc_comment)]
    PortForward(PortForward),
    /// What happened in the cluster
    Events(Events),
    /// Replace tasks by new ones of the same specification
    Restart(Restart),
    /// Set how many replicas services have
    Scale(Scale),
    /// Machines of the cluster
    #[command(subcommand, arg_required_else_help = true)]
    Node(Node),
    /// Schedulers: who decides, and what may be lost of them
    #[command(subcommand, arg_required_else_help = true)]
    Scheduler(Scheduler),
    /// Stacks and their revisions
    #[command(subcommand, arg_required_else_help = true)]
    Stack(Stack),
    /// Join tokens
    #[command(subcommand, arg_required_else_help = true)]
    Token(Token),
    /// Who signs the cluster's certificates
    #[command(subcommand, arg_required_else_help = true)]
    Authority(Authority),
    /// Who may ask for all this, each with a certificate of their own
    #[command(subcommand, arg_required_else_help = true)]
    Operator(Operator),
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

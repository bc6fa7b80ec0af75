//! Verbs about machines, who may join, and the way to the cluster.

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};
use clap_complete::Shell;
use model::{NodeName, OperatorName, TokenId, token::Role};

use super::{
    NeverAsks, Span,
    agent::AgentFlags,
    values::{LabelChange, SshTarget},
};

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
    /// Make another machine a node, over your own ssh
    ///
    /// Checks its engine, architecture, clock and memory before anything is changed, copies siso-agent, hands
    /// over a join token on standard input, installs a service unit, and waits until the node is ready. Running
    /// it again mends what a first time left; settings that stand in /etc/siso/agent.env there stay, but for
    /// those that are named here again. On a Mac, run deploy/mac-mini/install.sh there instead.
    Add(Box<NodeAdd>),
    /// Give a machine labels, or take some away; what runs stays
    ///
    /// Constraints ask for labels: `node.labels.role == database` in deploy.placement.constraints.
    Label {
        /// Its name
        node: NodeName,
        /// A label it shall have, or with `-` behind its name one it shall have no longer
        #[arg(required = true, value_name = "NAME=VALUE|NAME-")]
        labels: Vec<LabelChange>,
        /// `--yes`
        #[command(flatten)]
        asks: NeverAsks,
    },
    /// Place nothing new on a machine; what runs stays
    Cordon {
        /// Its name
        node: NodeName,
        /// `--yes`
        #[command(flatten)]
        asks: NeverAsks,
    },
    /// Move everything that can move from a machine to others
    ///
    /// Shows where each task goes before anything stops, asks on a terminal, and follows until nothing
    /// more moves. What can run beside its successor starts there first. What cannot move runs on, is
    /// named with its reason, and makes the exit code 3. Nothing new is placed on the machine until
    /// `node uncordon`.
    Drain(NodeDrain),
    /// Place on a machine again; ends a drain
    Uncordon {
        /// Its name
        node: NodeName,
        /// `--yes`
        #[command(flatten)]
        asks: NeverAsks,
    },
    /// Take a machine out of the cluster; its certificate counts for nothing from then on
    ///
    /// Refused while it has tasks or volumes, and says which. Asks on a terminal. Containers that still run
    /// there are left as they are.
    Rm(NodeRm),
}

/// `node add`
#[derive(Debug, clap::Args)]
pub struct NodeAdd {
    /// The machine, as ssh knows it
    #[arg(value_name = "[USER@]HOST")]
    pub target: SshTarget,
    /// The node's name [default: the machine's]
    #[arg(long)]
    pub name: Option<NodeName>,
    /// How the scheduler is reached from there [default: as this context reaches it]
    #[arg(long, value_name = "HOST:PORT", value_parser = parse_endpoint)]
    pub scheduler: Option<String>,
    /// The program to copy [default: `siso-agent-linux-ARCH` or `siso-agent` beside sisoctl]
    #[arg(long, value_name = "FILE")]
    pub agent: Option<PathBuf>,
    /// Flags of its agent.
    #[command(flatten)]
    pub flags: AgentFlags,
    /// Your ssh, with flags where it needs some
    #[arg(
        long,
        value_name = "COMMAND",
        default_value = "ssh",
        env = "SISO_SSH",
        hide_env_values = true
    )]
    pub ssh: String,
    /// `--yes`
    #[command(flatten)]
    pub asks: NeverAsks,
}

/// `HOST:PORT`, or several with commas.
fn parse_endpoint(text: &str) -> Result<String, String> {
    let good = |one: &str| {
        let port = one.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port);
        let plain = |c: char| c.is_ascii_alphanumeric() || ".-:[]_".contains(c);
        port.is_some_and(|port| port.parse::<u16>().is_ok()) && one.chars().all(plain)
    };
    if text.split(',').all(good) {
        Ok(text.to_owned())
    } else {
        Err("expected HOST:PORT".to_owned())
    }
}

/// `node drain`
#[derive(Debug, clap::Args)]
pub struct NodeDrain {
    /// Its name
    pub node: NodeName,
    /// How long to try; what has not moved by then stays
    #[arg(long, default_value = "10m", value_name = "TIME")]
    pub deadline: Span,
    /// Do not ask; without a terminal nothing is asked
    #[arg(long, short)]
    pub yes: bool,
    /// Show what would move and stop
    #[arg(long)]
    pub dry_run: bool,
    /// Do not wait
    #[arg(long, short)]
    pub detach: bool,
}

/// `node rm`
#[derive(Debug, clap::Args)]
pub struct NodeRm {
    /// Its name
    pub node: NodeName,
    /// The machine is down for good: give up the tasks it had, those bound to it as well
    #[arg(long)]
    pub force: bool,
    /// Forget the volumes that live there; their data stays on that machine
    #[arg(long)]
    pub with_volumes: bool,
    /// Do not ask; without a terminal nothing is asked
    #[arg(long, short)]
    pub yes: bool,
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

/// `scheduler`
#[derive(Debug, Subcommand)]
pub enum Scheduler {
    /// List schedulers: who leads, who answers, how far each is behind, and what may be lost
    ///
    /// Answered also while nobody leads, as far as the scheduler that is asked knows.
    Ls,
    /// Take a scheduler out of the cluster; its certificate counts for nothing from then on
    ///
    /// Refused when it is the last one, or when what remains could not agree because too many of them
    /// cannot be reached. When it leads, another one takes over first.
    Rm(SchedulerRm),
    /// Go on from what one scheduler knows when a majority is lost for good
    ///
    /// Run it on the machine of a surviving scheduler, while that is stopped. Makes its directory a new
    /// cluster of one: agents and people stay who they are, what runs goes on without a restart, and the
    /// other schedulers can never come back. What they agreed on without this one is lost.
    Recover(SchedulerRecover),
}

/// `scheduler rm`
#[derive(Debug, clap::Args)]
pub struct SchedulerRm {
    /// Its number, as `scheduler ls` prints it
    pub id: u64,
    /// Do not ask; without a terminal nothing is asked
    #[arg(long, short)]
    pub yes: bool,
}

/// `scheduler recover`
#[derive(Debug, clap::Args)]
pub struct SchedulerRecover {
    /// The data directory of the surviving scheduler
    #[arg(long, value_name = "DIR")]
    pub data_dir: PathBuf,
    /// The other schedulers are lost for good; without this, or --from-backup, nothing is done
    #[arg(long)]
    pub i_know_others_are_dead: bool,
    /// The directory was put back from a backup; others, if there were any, are lost for good
    #[arg(long)]
    pub from_backup: bool,
    /// The scheduler's program [default: `siso-scheduler` beside sisoctl, or in PATH]
    #[arg(long, value_name = "FILE")]
    pub program: Option<PathBuf>,
    /// `--yes`
    #[command(flatten)]
    pub asks: NeverAsks,
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
        /// `--yes`
        #[command(flatten)]
        asks: NeverAsks,
    },
    /// List tokens, never their secrets
    Ls,
    /// Make a token useless
    Revoke {
        /// Its id, as `token ls` prints it
        id: TokenId,
        /// `--yes`
        #[command(flatten)]
        asks: NeverAsks,
    },
}

/// `authority`
#[derive(Debug, Subcommand)]
pub enum Authority {
    /// List authorities, and who holds no certificate of the newest yet
    Ls,
    /// Make another authority, which takes the place of the one there is
    ///
    /// It is trusted at once, signs when every scheduler holds its key, and every machine and context that is
    /// used gets a certificate of it by itself; nothing is restarted. The older one stays trusted until
    /// `authority finish`.
    Rotate(NeverAsks),
    /// Give the older authority up, when nobody needs it any more
    ///
    /// Refused while a node, a scheduler or a context that was seen still needs it, and says which: they would
    /// have to join anew. Asks on a terminal. Join tokens that were not used are void.
    Finish(AuthorityFinish),
}

/// `authority finish`
#[derive(Debug, clap::Args)]
pub struct AuthorityFinish {
    /// Shut out whoever still needs it
    #[arg(long)]
    pub force: bool,
    /// Do not ask; without a terminal nothing is asked
    #[arg(long, short)]
    pub yes: bool,
}

/// `operator`
#[derive(Debug, Subcommand)]
pub enum Operator {
    /// List operators, and when each was last seen
    Ls,
    /// Give somebody else a context of their own
    ///
    /// Makes a key and a certificate with that name, and writes a context file for whoever shall have it.
    Add(OperatorAdd),
    /// Shut an operator out, everywhere and at once
    ///
    /// Every context with a certificate of that name is worth nothing from then on, and what is open with it
    /// ends. The name is not given again. Refused for the last one. Asks on a terminal.
    Rm(OperatorRm),
}

/// `operator add`
#[derive(Debug, clap::Args)]
pub struct OperatorAdd {
    /// A name nobody has or had
    pub name: OperatorName,
    /// Where to write the context [default: `NAME.yaml` here]
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// `--yes`
    #[command(flatten)]
    pub asks: NeverAsks,
}

/// `operator rm`
#[derive(Debug, clap::Args)]
pub struct OperatorRm {
    /// Its name, as `operator ls` prints it
    pub name: OperatorName,
    /// Do not ask; without a terminal nothing is asked
    #[arg(long, short)]
    pub yes: bool,
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

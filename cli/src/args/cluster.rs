//! Verbs about machines, who may join, and the way to the cluster.

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};
use clap_complete::Shell;
use model::{NodeName, TokenId, token::Role};

use super::{Span, values::LabelChange};

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
    /// Give a machine labels, or take some away; what runs stays
    ///
    /// Constraints ask for labels: `node.labels.role == database` in deploy.placement.constraints.
    Label {
        /// Its name
        node: NodeName,
        /// A label it shall have, or with `-` behind its name one it shall have no longer
        #[arg(required = true, value_name = "NAME=VALUE|NAME-")]
        labels: Vec<LabelChange>,
    },
    /// Place nothing new on a machine; what runs stays
    Cordon {
        /// Its name
        node: NodeName,
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
    },
    /// Take a machine out of the cluster; its certificate counts for nothing from then on
    ///
    /// Refused while it has tasks or volumes, and says which. Asks on a terminal. Containers that still run
    /// there are left as they are.
    Rm(NodeRm),
}

/// `node drain`
#[derive(Debug, clap::Args)]
pub struct NodeDrain {
    /// Its name
    pub node: NodeName,
    /// How long to try; what has not moved by then stays
    #[arg(long, default_value = "10m", value_name = "TIME")]
    pub deadline: Span,
    /// Do not ask
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
    /// Do not ask
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

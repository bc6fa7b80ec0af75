//! The command line: every flag has an environment twin.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Parser, ValueEnum};

use crate::log::{ELECTION_LAN, ELECTION_WAN, ENTRY_VERSION, Election, SEGMENT_BYTES};

/// Siso's scheduler: decides what runs where, and remembers it.
///
/// The same command line is right for the first start and for every restart. On an empty data
/// directory it founds a cluster and writes DIR/admin.yaml, the context file for `sisoctl`.
#[derive(Debug, Clone, Parser)]
#[command(name = "siso-scheduler", version)]
pub struct Config {
    /// Where everything is kept; made when missing.
    #[arg(long, value_name = "DIR", env = "SISO_DATA_DIR")]
    pub data_dir: PathBuf,
    /// The address to listen on, for people, agents and other schedulers. Port 0 takes any.
    #[arg(long, value_name = "ADDRESS", env = "SISO_LISTEN", default_value = "0.0.0.0:7400")]
    pub listen: SocketAddr,
    /// Where others reach this scheduler; the address it listens on unless given.
    #[arg(long, value_name = "HOST:PORT", env = "SISO_ADVERTISE")]
    pub advertise: Option<String>,
    /// The name of the cluster, when one is founded.
    #[arg(long, value_name = "NAME", env = "SISO_CLUSTER_NAME", default_value = "siso")]
    pub cluster_name: String,
    /// Join the cluster of the scheduler at this address as a further voter.
    #[arg(long, value_name = "HOST:PORT", env = "SISO_JOIN", requires = "token_file")]
    pub join: Option<String>,
    /// The file with the token to join with.
    #[arg(long, value_name = "FILE", env = "SISO_TOKEN_FILE")]
    pub token_file: Option<PathBuf>,
    /// The address `/healthz` and `/metrics` answer on, without TLS. Port 0 takes any.
    #[arg(
        long,
        value_name = "ADDRESS",
        env = "SISO_METRICS_LISTEN",
        default_value = "127.0.0.1:7480"
    )]
    pub metrics_listen: SocketAddr,
    /// How patient schedulers are with each other: `wan` for links between countries.
    #[arg(long, value_name = "PROFILE", env = "SISO_ELECTION", default_value = "lan")]
    pub election: ElectionProfile,
    /// A snapshot of the cluster is made after this many changes.
    #[arg(long, value_name = "CHANGES", env = "SISO_SNAPSHOT_EVERY", default_value_t = 2000,
          value_parser = clap::value_parser!(u64).range(10..=100_000))]
    pub snapshot_every: u64,
    /// How long a file of the log grows before another one begins; tests make it short.
    #[arg(long, hide = true, value_name = "BYTES", env = "SISO_SEGMENT_BYTES",
          default_value_t = SEGMENT_BYTES,
          value_parser = clap::value_parser!(u64).range(4 << 10..=64 << 20))]
    pub segment_bytes: u64,
    /// The highest form of entries it reads: less than it could for a test of mixed versions.
    #[arg(skip = ENTRY_VERSION)]
    pub form: u32,
    /// Make a cluster of what this directory knows, when the other schedulers are lost for good; then
    /// end. `sisoctl scheduler recover` does this, and asks first.
    #[arg(long, hide = true)]
    pub recover: bool,
    /// How log lines look.
    #[arg(long, value_name = "FORMAT", env = "SISO_LOG_FORMAT", default_value = "text")]
    pub log_format: LogFormat,
    /// What is logged: `error`, `warn`, `info`, `debug`, or a filter by module.
    #[arg(
        long,
        value_name = "LEVEL",
        env = "SISO_LOG_LEVEL",
        default_value = "info,openraft=error"
    )]
    pub log_level: String,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// How patient schedulers are with each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ElectionProfile {
    /// In one building.
    Lan,
    /// In different countries.
    Wan,
}

impl ElectionProfile {
    /// The times it stands for.
    pub fn election(self) -> Election {
        match self {
            Self::Lan => ELECTION_LAN,
            Self::Wan => ELECTION_WAN,
        }
    }
}

/// Where others reach a scheduler that listens on `listen`: `advertised`, or the address itself, or
/// this machine alone when it listens on every address.
pub(crate) fn advertised(listen: SocketAddr, advertised: Option<&str>) -> String {
    if let Some(advertised) = advertised {
        return advertised.to_owned();
    }
    if !listen.ip().is_unspecified() {
        return listen.to_string();
    }
    format!("127.0.0.1:{}", listen.port())
}

/// The host of `HOST:PORT`, without the brackets of an IPv6 address.
pub(crate) fn host(address: &str) -> &str {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Config::command().debug_assert();
    }

    #[test]
    fn others_are_told_an_address_they_can_reach() {
        for (listen, given, expected) in [
            ("0.0.0.0:7400", None, "127.0.0.1:7400"),
            ("[::]:7400", None, "127.0.0.1:7400"),
            ("10.1.2.3:7400", None, "10.1.2.3:7400"),
            ("0.0.0.0:7400", Some("mini-1.tail.net:7400"), "mini-1.tail.net:7400"),
        ] {
            assert_eq!(advertised(listen.parse().unwrap(), given), expected);
        }
        for (address, expected) in [("mini-1:7400", "mini-1"), ("[::1]:7400", "::1")] {
            assert_eq!(host(address), expected);
        }
    }
}

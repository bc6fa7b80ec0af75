//! The command line: every flag has an environment twin.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Parser, ValueEnum};
use scheduler_core::Thresholds;

use crate::{
    StartError,
    log::{ELECTION_LAN, ELECTION_WAN, ENTRY_VERSION, Election, SEGMENT_BYTES},
    needs::NEEDS_EVERY,
    places::AGENTS_MAX,
};

/// The shortest silence that may mean anything: agents say a word every second.
const SILENCE_MIN: Duration = Duration::from_millis(1500);
/// The longest: an hour of a service that runs nowhere is what nobody asks for.
const SILENCE_MAX: Duration = Duration::from_hours(1);

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
    /// Where others reach this scheduler; other machines need it unless --listen names an address they
    /// reach [default: the address it listens on, or 127.0.0.1 when that is every address of the machine]
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
    /// Nothing new is placed on a node that was silent this long. The same for every scheduler.
    #[arg(long, value_name = "TIME", env = "SISO_UNREACHABLE_AFTER", default_value = "3s",
          value_parser = silence)]
    pub unreachable_after: Duration,
    /// What runs on a node that was silent this long, and may run elsewhere, is started there. The
    /// same for every scheduler.
    #[arg(long, value_name = "TIME", env = "SISO_DOWN_AFTER", default_value = "8s",
          value_parser = silence)]
    pub down_after: Duration,
    /// A snapshot of the cluster is made after this many changes.
    #[arg(long, value_name = "CHANGES", env = "SISO_SNAPSHOT_EVERY", default_value_t = 2000,
          value_parser = clap::value_parser!(u64).range(10..=100_000))]
    pub snapshot_every: u64,
    /// How long a file of the log grows before another one begins; tests make it short.
    #[arg(long, hide = true, value_name = "BYTES", env = "SISO_SEGMENT_BYTES",
          default_value_t = SEGMENT_BYTES,
          value_parser = clap::value_parser!(u64).range(4 << 10..=64 << 20))]
    pub segment_bytes: u64,
    /// Connections of agents at one time; tests make it small.
    #[arg(long, hide = true, value_name = "COUNT", env = "SISO_AGENT_CONNECTIONS",
          default_value_t = AGENTS_MAX)]
    pub agent_connections: usize,
    /// Between two looks at what services were seen to need; tests make it short.
    #[arg(skip = NEEDS_EVERY)]
    pub needs_every: Duration,
    /// The highest form of entries it reads: less than it could for a test of mixed versions.
    #[arg(skip = ENTRY_VERSION)]
    pub form: u32,
    /// Make a cluster of what this directory knows, when the other schedulers are lost for good; then
    /// end. `sisoctl scheduler recover` does this, and asks first.
    #[arg(long, hide = true)]
    pub recover: bool,
    /// With `--recover`: the directory is a copy from before, and what was agreed on since is not in it.
    #[arg(long, hide = true, requires = "recover")]
    pub from_backup: bool,
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

impl Config {
    /// From when on a silent node counts as what.
    pub(crate) fn thresholds(&self) -> Result<Thresholds, StartError> {
        let (unreachable, down) = (self.unreachable_after, self.down_after);
        if down < unreachable {
            return Err(StartError::Config(format!(
                "--down-after is {} ms and must not be less than --unreachable-after, {} ms",
                down.as_millis(),
                unreachable.as_millis()
            )));
        }
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let (unreachable, down) = (millis(unreachable), millis(down));
        Ok(Thresholds { unreachable, down, ..Thresholds::DEFAULT })
    }
}

/// Reads `1500ms`, `3s` or `2m`.
fn silence(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (count, unit) = text.split_at(digits);
    let count = count.parse::<u64>().ok();
    let time = count.and_then(|count| match unit {
        "ms" => Some(Duration::from_millis(count)),
        "s" => Some(Duration::from_secs(count)),
        "m" => Some(Duration::from_secs(count.checked_mul(60)?)),
        _ => None,
    });
    let time = time.ok_or("not a time such as 1500ms, 3s or 2m")?;
    if (SILENCE_MIN..=SILENCE_MAX).contains(&time) {
        return Ok(time);
    }
    Err(format!(
        "{} ms at least, since agents say a word every second, and an hour at most",
        SILENCE_MIN.as_millis()
    ))
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
    fn silence_is_a_time_that_can_mean_something() {
        for (text, expected) in [
            ("1500ms", Some(1_500)),
            ("2s", Some(2_000)),
            ("60m", Some(3_600_000)),
            ("1499ms", None),
            ("61m", None),
            ("2", None),
            ("s", None),
            ("99999999999999999999s", None),
            ("400000000000000000m", None),
        ] {
            assert_eq!(silence(text).ok(), expected.map(Duration::from_millis), "{text}");
        }
        let with = |flags: &[&str]| {
            let words = [&["siso-scheduler", "--data-dir", "/d"], flags].concat();
            Config::try_parse_from(words).unwrap().thresholds()
        };
        assert_eq!(with(&[]).unwrap(), Thresholds::DEFAULT);
        let refused = with(&["--down-after", "2s"]).unwrap_err().to_string();
        assert!(refused.contains("--unreachable-after"), "{refused}");
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

//! The command line, each flag with a twin in the environment.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf};

use clap::{
    Parser, ValueEnum,
    builder::{PossibleValue, PossibleValuesParser, TypedValueParser},
};
use model::{
    Bytes, Capability, Generic, GenericName, NodeName, generic::BadGeneric, size::BadSize,
};

use crate::{inventory::Bounds, policy::Policy};

/// Runs what a Siso scheduler assigns to this machine.
#[derive(Debug, Clone, Parser)]
#[command(name = "siso-agent", version)]
pub struct Config {
    /// Directory of the agent's identity and ledger
    #[arg(long, env = "SISO_DATA_DIR", value_name = "DIR")]
    pub data_dir: PathBuf,

    /// A scheduler to connect to; may be given several times
    #[arg(
        long,
        env = "SISO_SCHEDULER",
        value_name = "HOST:PORT",
        value_delimiter = ',',
        required = true,
        value_parser = parse_endpoint
    )]
    pub scheduler: Vec<String>,

    /// File with the join token; ignored once this machine is a member
    #[arg(long, env = "SISO_TOKEN_FILE", value_name = "FILE")]
    pub token_file: Option<PathBuf>,

    /// The node's name [default: the host name]
    #[arg(long, env = "SISO_NAME", value_name = "NAME")]
    pub name: Option<NodeName>,

    /// A label of the node, for placement constraints; counts when joining, later `sisoctl node label`; may be
    /// given several times
    #[arg(long, env = "SISO_LABEL", value_name = "KEY=VALUE", value_delimiter = ',', value_parser = parse_label)]
    pub label: Vec<(String, String)>,

    /// Address for other agents; nothing listens there yet
    #[arg(long, env = "SISO_LISTEN", value_name = "IP:PORT", default_value = "0.0.0.0:7401")]
    pub listen: SocketAddr,

    /// Where this machine is reached, for people [default: the address of --listen, with the node's name in place of
    /// 0.0.0.0]
    #[arg(long, env = "SISO_ADVERTISE", value_name = "HOST:PORT", value_parser = parse_endpoint)]
    pub advertise: Option<String>,

    /// The container engine
    #[arg(
        long,
        env = "SISO_DOCKER_HOST",
        value_name = "URL",
        default_value = "unix:///var/run/docker.sock"
    )]
    pub docker_host: String,

    /// File with logins at image registries [default: the one `docker login` writes]
    #[arg(long, env = "SISO_REGISTRY_LOGINS", value_name = "FILE")]
    pub registry_logins: Option<PathBuf>,

    /// The most memory to offer, whatever the machine has
    #[arg(long, env = "SISO_MEMORY_BUDGET", value_name = "SIZE")]
    pub memory_budget: Option<Bytes>,

    /// Memory to keep back for the engine and the system
    #[arg(long, env = "SISO_RESERVE_MEMORY", value_name = "SIZE", default_value = "512MiB")]
    pub reserve_memory: Bytes,

    /// Something else this machine has a number of, for services to reserve: `gpu=2`, `disk=200GiB`; may be
    /// given several times
    #[arg(long, env = "SISO_GENERIC", value_name = "NAME=AMOUNT", value_delimiter = ',', value_parser = parse_generic)]
    pub generic: Vec<(GenericName, u64)>,

    /// Where /healthz and /metrics answer
    #[arg(
        long,
        env = "SISO_METRICS_LISTEN",
        value_name = "IP:PORT",
        default_value = "127.0.0.1:7481"
    )]
    pub metrics_listen: SocketAddr,

    /// What services may ask for beyond an ordinary container; may be given several times
    #[arg(
        long,
        env = "SISO_ALLOW",
        value_name = "CAPABILITY",
        value_delimiter = ',',
        value_parser = capabilities()
    )]
    pub allow: Vec<Capability>,

    /// A directory below which services may bind paths of this machine; may be given several times
    #[arg(long, env = "SISO_ALLOW_BIND", value_name = "PATH", value_delimiter = ',', value_parser = parse_root)]
    pub allow_bind: Vec<PathBuf>,

    /// How the log is written
    #[arg(long, env = "SISO_LOG_FORMAT", value_name = "FORMAT", default_value = "text")]
    pub log_format: LogFormat,

    /// How much is logged: error, warn, info, debug, trace
    #[arg(long, env = "SISO_LOG_LEVEL", value_name = "LEVEL", default_value = "info")]
    pub log_level: String,
}

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people
    Text,
    /// One JSON object per line
    Json,
}

impl Config {
    /// What is kept back of the machine, and what is permitted there.
    pub fn bounds(&self) -> Bounds {
        Bounds {
            memory_budget: self.memory_budget,
            memory_reserve: self.reserve_memory,
            allows: self.policy().told(),
            // An agent that offers too many kinds does not start.
            generic: self.generic().unwrap_or_default(),
        }
    }

    /// What this machine runs.
    pub fn policy(&self) -> Policy {
        Policy {
            allowed: self.allow.clone(),
            bind_roots: self.allow_bind.clone(),
            socket: self.docker_host.strip_prefix("unix://").map(PathBuf::from),
            data_dir: self.data_dir.clone(),
        }
    }

    /// The file with logins at image registries; it need not exist.
    pub fn registry_logins(&self) -> Option<PathBuf> {
        let of_docker = || std::env::var_os("DOCKER_CONFIG").map(PathBuf::from);
        let of_home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".docker"));
        let usual = || of_docker().or_else(of_home).map(|folder| folder.join("config.json"));
        self.registry_logins.clone().or_else(usual)
    }

    /// The node's name.
    pub fn node_name(&self) -> NodeName {
        self.name.clone().unwrap_or_else(|| {
            let system = rustix::system::uname();
            name_of_host(&system.nodename().to_string_lossy())
        })
    }

    /// Where people reach this machine.
    pub fn address(&self) -> String {
        self.advertise.clone().unwrap_or_else(|| {
            if self.listen.ip().is_unspecified() {
                format!("{}:{}", self.node_name(), self.listen.port())
            } else {
                self.listen.to_string()
            }
        })
    }

    /// What this machine is called: by people, and by its system.
    pub fn names(&self) -> Vec<String> {
        let address = self.address();
        let host = address.rsplit_once(':').map_or(&*address, |(host, _)| host).to_owned();
        let system = rustix::system::uname().nodename().to_string_lossy().into_owned();
        vec![host, system]
    }

    /// What else this machine has a number of, the last amount of each kind.
    ///
    /// # Errors
    ///
    /// More kinds than a machine may offer.
    pub fn generic(&self) -> Result<Generic, BadGeneric> {
        Generic::new(self.generic.iter().cloned().collect())
    }

    /// The labels, the last of each key.
    pub fn labels(&self) -> BTreeMap<String, String> {
        self.label.iter().cloned().collect()
    }
}

/// A node's name from a host's: its first label, without what a name may not have.
fn name_of_host(host: &str) -> NodeName {
    let first = host.split('.').next().unwrap_or_default().to_ascii_lowercase();
    let allowed = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let name: String = first.chars().map(allowed).take(model::name::LABEL_MAX).collect();
    NodeName::new(name.trim_matches('-')).unwrap_or_else(|_| {
        NodeName::new("node").unwrap_or_else(|_| unreachable!("`node` is a DNS label"))
    })
}

fn parse_endpoint(text: &str) -> Result<String, String> {
    let port = text.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port);
    match port.map(str::parse::<u16>) {
        Some(Ok(_)) => Ok(text.to_owned()),
        _ => Err("expected HOST:PORT".to_owned()),
    }
}

fn parse_generic(text: &str) -> Result<(GenericName, u64), String> {
    let (name, amount) = text.split_once('=').ok_or("expected NAME=AMOUNT, as in gpu=2")?;
    let name = GenericName::new(name.trim()).map_err(|error| error.to_string())?;
    let Bytes(amount) = amount.parse().map_err(|error: BadSize| error.to_string())?;
    let one = [(name.clone(), amount)].into();
    Generic::new(one).map_err(|error| error.to_string())?;
    Ok((name, amount))
}

fn parse_label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => {
            Ok((key.trim().to_owned(), value.trim().to_owned()))
        }
        _ => Err("expected KEY=VALUE".to_owned()),
    }
}

/// The words of `--allow`, each with what it permits.
fn capabilities() -> impl TypedValueParser<Value = Capability> {
    let word =
        |capability: Capability| PossibleValue::new(capability.as_str()).help(capability.permits());
    PossibleValuesParser::new(Capability::ALL.map(word)).try_map(|text| text.parse())
}

fn parse_root(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    if path.is_absolute() { Ok(path) } else { Err("expected an absolute path".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(more: &[&str]) -> Result<Config, clap::Error> {
        let required = ["siso-agent", "--data-dir", "/d", "--scheduler", "a:7400,b:7400"];
        Config::try_parse_from(required.iter().chain(more))
    }

    #[test]
    fn the_command_is_well_formed() {
        use clap::CommandFactory as _;
        Config::command().debug_assert();
    }

    #[test]
    fn a_flag_that_may_be_given_several_times_says_so() {
        use clap::{ArgAction, CommandFactory as _};
        for arg in Config::command().get_opts() {
            let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
            let repeats = matches!(arg.get_action(), ArgAction::Append);
            assert_eq!(help.contains("may be given several times"), repeats, "--{}", arg.get_id());
        }
    }

    #[test]
    fn flags_are_checked_when_they_are_read() {
        let config = parse(&["--label", "role=db", "--allow", "devices,privileged"]).unwrap();
        assert_eq!(config.scheduler, ["a:7400", "b:7400"]);
        assert_eq!(config.labels().get("role").map(String::as_str), Some("db"));
        assert_eq!(config.allow, [Capability::Devices, Capability::Privileged]);
        for bad in [
            ["--generic", "gpu"],
            ["--generic", "gpu=0"],
            ["--generic", "gpu=-1"],
            ["--generic", "g/pu=1"],
            ["--generic", "disk=9000000GiB"],
            ["--label", "role"],
            ["--allow", "everything"],
            ["--allow-bind", "data"],
            ["--advertise", "host"],
            ["--memory-budget", "lots"],
            ["--name", "Mini 1"],
        ] {
            assert!(parse(&bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_else_a_machine_has_is_an_amount_by_name() {
        let config = parse(&["--generic", "gpu=1,disk=200GiB", "--generic", "gpu=2"]).unwrap();
        assert_eq!(config.bounds().generic.to_string(), "200.0 GiB disk and 2 gpu");
        assert!(parse(&[]).unwrap().bounds().generic.is_empty());
        let many: Vec<String> = (0..33).map(|kind| format!("k{kind}=1")).collect();
        let config = parse(&["--generic", &many.join(",")]).unwrap();
        assert_eq!(config.generic(), Err(BadGeneric::Kinds(33)));
    }

    #[test]
    fn a_host_name_becomes_a_node_name() {
        for (host, name) in
            [("Mini-1.local", "mini-1"), ("my_mac", "my-mac"), ("", "node"), ("-x-", "x")]
        {
            assert_eq!(name_of_host(host).as_str(), name, "{host}");
        }
    }

    #[test]
    fn an_address_that_was_not_given_is_the_name() {
        let address = |more: &[&str]| parse(more).unwrap().address();
        assert_eq!(address(&["--name", "mini-1"]), "mini-1:7401");
        assert_eq!(address(&["--listen", "10.0.0.1:7401"]), "10.0.0.1:7401");
        assert_eq!(address(&["--advertise", "mini.ts.net:1"]), "mini.ts.net:1");
    }
}

//! What `node add` passes on to the agent it installs: flags of siso-agent, by the same names.

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use model::{Bytes, Capability, GenericName, size::BadSize};

use super::values::JoinLabel;

/// Flags of the agent that become its settings.
#[derive(Debug, Default, clap::Args)]
pub struct AgentFlags {
    /// A label it joins with; may be given several times
    #[arg(long, value_name = "NAME=VALUE")]
    pub label: Vec<JoinLabel>,
    /// The most memory the machine offers
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub memory_budget: Option<String>,
    /// Memory the machine keeps back for the engine and the system [default: 512MiB]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub reserve_memory: Option<String>,
    /// Something else the machine has a number of, for services to reserve: `gpu=2`, `disk=200GiB`; may be
    /// given several times
    #[arg(long, value_name = "NAME=AMOUNT", value_delimiter = ',', value_parser = parse_generic)]
    pub generic: Vec<String>,
    /// What services may ask for there beyond an ordinary container; may be given several times
    #[arg(long, value_name = "CAPABILITY", value_delimiter = ',', value_parser = capabilities())]
    pub allow: Vec<Capability>,
    /// A directory there below which services may bind paths; may be given several times
    #[arg(long, value_name = "PATH", value_delimiter = ',', value_parser = parse_root)]
    pub allow_bind: Vec<String>,
}

impl AgentFlags {
    /// The settings that were named, as variables of the agent with their values.
    pub fn settings(&self) -> Vec<(&'static str, String)> {
        let labels = self.label.iter().map(|label| format!("{}={}", label.0, label.1));
        let allow = self.allow.iter().map(|allowed| allowed.as_str().to_owned());
        let lists = [
            ("SISO_LABEL", labels.collect::<Vec<_>>()),
            ("SISO_MEMORY_BUDGET", self.memory_budget.iter().cloned().collect()),
            ("SISO_RESERVE_MEMORY", self.reserve_memory.iter().cloned().collect()),
            ("SISO_GENERIC", self.generic.clone()),
            ("SISO_ALLOW", allow.collect()),
            ("SISO_ALLOW_BIND", self.allow_bind.clone()),
        ];
        let named = lists.into_iter().filter(|(_, values)| !values.is_empty());
        named.map(|(key, values)| (key, values.join(","))).collect()
    }
}

/// The words of `--allow`, each with what it permits.
fn capabilities() -> impl TypedValueParser<Value = Capability> {
    let word =
        |capability: Capability| PossibleValue::new(capability.as_str()).help(capability.permits());
    PossibleValuesParser::new(Capability::ALL.map(word)).try_map(|text| text.parse())
}

/// A size, as one word of the agent's settings.
fn parse_size(text: &str) -> Result<String, BadSize> {
    let Bytes(_) = text.parse()?;
    Ok(text.split_whitespace().collect())
}

/// A kind with its amount, as the agent reads it.
fn parse_generic(text: &str) -> Result<String, String> {
    let (name, amount) = text.split_once('=').ok_or("write NAME=AMOUNT, as in gpu=2")?;
    GenericName::new(name).map_err(|error| error.to_string())?;
    let amount = parse_size(amount).map_err(|_| "write an amount like 2 or 200GiB".to_owned())?;
    let text = format!("{name}={amount}");
    // A machine of that name need not be: what is read there is read by the same rules here.
    stackfile::node(&format!("node=1g,generic={text}")).map(|_| text)
}

/// An absolute path that stays one word of the agent's settings.
fn parse_root(text: &str) -> Result<String, String> {
    if !text.starts_with('/') {
        return Err("expected an absolute path".to_owned());
    }
    // What would end a word of its settings: such a path is written into them by hand.
    if text.chars().any(|c| c.is_control() || ['"', '\\', '$', '`'].contains(&c)) {
        return Err(
            "a path with quotes, `\\` or `$` is written into /etc/siso/agent.env there, by \
                    hand: SISO_ALLOW_BIND"
                .to_owned(),
        );
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_agent_could_not_read_gets_into_no_settings() {
        for (good, word) in [("14GiB", "14GiB"), ("1.5 gb", "1.5gb"), ("1024\n", "1024")] {
            assert_eq!(parse_size(good).unwrap(), word, "{good}");
        }
        for bad in ["", "m", "1.2.3g", "1x", "1e3", "1g x", "-1", "1g\nA=b", "1é"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
        for good in ["gpu=2", "disk=200GiB"] {
            assert!(parse_generic(good).is_ok(), "{good}");
        }
        for bad in ["gpu", "gpu=", "gpu=0", "=1", "g/pu=1", "gpu=some", "disk=9000000GiB"] {
            assert!(parse_generic(bad).is_err(), "{bad}");
        }
        for good in ["/srv", "/srv/my data"] {
            assert!(parse_root(good).is_ok(), "{good}");
        }
        for bad in ["", "srv", "/a\"b", "/a\nB=c", "/$HOME"] {
            assert!(parse_root(bad).is_err(), "{bad}");
        }
    }
}

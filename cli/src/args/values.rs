//! Values of the command line that have a form of their own.

use std::{fmt, str::FromStr, time::Duration};

use jiff::Timestamp;
use model::{Resources, ServiceName, StackName, node::check_label};
use thiserror::Error;

/// Why a value was not understood; clap adds which value and where.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct BadValue(String);

fn bad<T>(why: impl fmt::Display) -> Result<T, BadValue> {
    Err(BadValue(why.to_string()))
}

/// A length of time above zero, up to a hundred years: `90s`, `5m`, `1h30m`, `2d`, `250ms`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span(pub Duration);

impl FromStr for Span {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        /// A hundred years: beyond this, sums with today's date overflow somewhere.
        const LONGEST: Duration = Duration::from_hours(100 * 365 * 24);
        const FORM: &str = "write a time like 90s, 5m, 1h30m or 2d";
        let mut total = Duration::ZERO;
        let mut rest = text;
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            let (number, after) = rest.split_at(digits);
            let letters = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
            let (unit, after) = after.split_at(letters);
            let Ok(number) = number.parse::<u64>() else { return bad(FORM) };
            let millis = match unit {
                "ms" => 1,
                "s" => 1_000,
                "m" => 60_000,
                "h" => 3_600_000,
                "d" => 86_400_000,
                _ => return bad(FORM),
            };
            total = total.saturating_add(Duration::from_millis(number.saturating_mul(millis)));
            rest = after;
        }
        match total {
            Duration::ZERO => bad(FORM),
            total if total > LONGEST => bad("this is more than a hundred years"),
            total => Ok(Self(total)),
        }
    }
}

/// As it can be written, in the largest whole unit.
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        for (size, unit) in [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")] {
            if millis >= size && millis.is_multiple_of(size) {
                return write!(f, "{}{unit}", millis / size);
            }
        }
        write!(f, "{millis}ms")
    }
}

/// Room on a machine: `4GiB`, `4GiB,cpus=2`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoomSize(pub Resources);

impl FromStr for RoomSize {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        stackfile::room(text).map(Self).or_else(bad)
    }
}

/// A point in time: so long ago, or an RFC 3339 time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// This long before now.
    Ago(Duration),
    /// This moment.
    At(Timestamp),
}

impl Since {
    /// Milliseconds since 1970; never before it.
    pub fn millis(self, now: Timestamp) -> u64 {
        match self {
            Self::At(at) => u64::try_from(at.as_millisecond()).unwrap_or(0),
            Self::Ago(ago) => {
                let now = u64::try_from(now.as_millisecond()).unwrap_or(0);
                now.saturating_sub(u64::try_from(ago.as_millis()).unwrap_or(u64::MAX))
            }
        }
    }
}

impl FromStr for Since {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        if let Ok(Span(ago)) = text.parse() {
            return Ok(Self::Ago(ago));
        }
        text.parse()
            .map(Self::At)
            .or_else(|_| bad("write how long ago (10m, 2h) or a time like 2026-01-31T12:00:00Z"))
    }
}

/// `STACK`, `STACK/SERVICE` or `STACK/SERVICE.N`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The stack.
    pub stack: StackName,
    /// The service, unless all are meant.
    pub service: Option<ServiceName>,
    /// The replica, from 1, unless all are meant.
    pub replica: Option<u32>,
}

impl FromStr for Target {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        let (stack, service) = match text.split_once('/') {
            Some((stack, service)) => (stack, Some(service)),
            None => (text, None),
        };
        let stack = StackName::new(stack).or_else(bad)?;
        let Some(service) = service else {
            return Ok(Self { stack, service: None, replica: None });
        };
        let (service, replica) = match service.rsplit_once('.') {
            Some((service, replica)) => (service, Some(replica_number(replica)?)),
            None => (service, None),
        };
        let service = ServiceName::new(service).or_else(bad)?;
        Ok(Self { stack, service: Some(service), replica })
    }
}

fn replica_number(text: &str) -> Result<u32, BadValue> {
    match text.parse() {
        Ok(number) if number > 0 && !text.starts_with('+') => Ok(number),
        _ => bad("a replica is a number from 1 on, as in shop/web.1"),
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.stack)?;
        self.service.iter().try_for_each(|service| write!(f, "/{service}"))?;
        self.replica.iter().try_for_each(|replica| write!(f, ".{replica}"))
    }
}

/// `STACK/SERVICE` or `STACK/SERVICE.N`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceTarget {
    /// The stack.
    pub stack: StackName,
    /// The service.
    pub service: ServiceName,
    /// The replica, from 1, unless any or all are meant.
    pub replica: Option<u32>,
}

impl FromStr for ServiceTarget {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        match text.parse()? {
            Target { stack, service: Some(service), replica } => {
                Ok(Self { stack, service, replica })
            }
            Target { stack, .. } => bad(format!("name a service of the stack: {stack}/SERVICE")),
        }
    }
}

impl From<ServiceTarget> for Target {
    fn from(target: ServiceTarget) -> Self {
        let ServiceTarget { stack, service, replica } = target;
        Self { stack, service: Some(service), replica }
    }
}

/// `LOCAL:REMOTE` or `PORT`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports {
    /// Where this machine listens; 0 is any free port.
    pub local: u16,
    /// The port of the task.
    pub remote: u16,
}

impl FromStr for Ports {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        let (local, remote) = text.split_once(':').unwrap_or((text, text));
        match (local.parse(), remote.parse()) {
            (Ok(local), Ok(remote)) if remote > 0 => Ok(Self { local, remote }),
            _ => bad("write LOCAL:REMOTE, two ports up to 65535, or one for both".to_owned()),
        }
    }
}

/// `STACK/SERVICE=N`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScaleTo {
    /// The stack.
    pub stack: StackName,
    /// The service.
    pub service: ServiceName,
    /// How many replicas it shall have.
    pub replicas: u32,
}

impl FromStr for ScaleTo {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        const FORM: &str = "write STACK/SERVICE=N, as in shop/web=3";
        let Some((target, replicas)) = text.split_once('=') else { return bad(FORM) };
        let ServiceTarget { stack, service, replica: None } = target.parse()? else {
            return bad(FORM);
        };
        match replicas.parse() {
            Ok(replicas) => Ok(Self { stack, service, replicas }),
            Err(_) => bad(FORM),
        }
    }
}

/// A machine as `ssh` knows it: `HOST` or `USER@HOST`, nothing it could take for a flag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshTarget(pub String);

impl FromStr for SshTarget {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        let part = |part: &str| {
            let plain = |c: char| c.is_ascii_alphanumeric() || "._-:%".contains(c);
            !part.is_empty() && !part.starts_with('-') && part.chars().all(plain)
        };
        let good = match text.split_once('@') {
            Some((user, host)) => part(user) && part(host),
            None => part(text),
        };
        if good { Ok(Self(text.to_owned())) } else { bad("write HOST or USER@HOST") }
    }
}

/// `NAME=VALUE`, for a machine that joins: the agent reads several with commas between them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinLabel(pub String, pub String);

impl FromStr for JoinLabel {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        let Some((name, value)) = text.split_once('=') else { return bad("write NAME=VALUE") };
        check_label(name, value).or_else(bad)?;
        // What would end a word of its settings: such a label is given with `node label` afterwards.
        if value.contains([',', '"', '\\', '$', '`']) {
            return bad(
                "a label with `,`, quotes, `\\` or `$` is given afterwards, with `sisoctl node label`",
            );
        }
        Ok(Self(name.to_owned(), value.to_owned()))
    }
}

/// `NAME=VALUE`, or `NAME-` for a label that goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelChange {
    /// The label's name.
    pub name: String,
    /// Its value; none when it goes.
    pub value: Option<String>,
}

impl FromStr for LabelChange {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        if let Some((name, value)) = text.split_once('=') {
            check_label(name, value).or_else(bad)?;
            return Ok(Self { name: name.to_owned(), value: Some(value.to_owned()) });
        }
        match text.strip_suffix('-') {
            Some(name) if !name.is_empty() => Ok(Self { name: name.to_owned(), value: None }),
            _ => bad("write NAME=VALUE, or NAME- to remove a label"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_numbers_with_units() {
        for (text, millis) in [
            ("250ms", 250),
            ("90s", 90_000),
            ("5m", 300_000),
            ("1h30m", 5_400_000),
            ("2d", 172_800_000),
        ] {
            assert_eq!(text.parse(), Ok(Span(Duration::from_millis(millis))), "{text}");
        }
        for text in [
            "",
            "5",
            "m",
            "-5m",
            "5 m",
            "1.5h",
            "0s",
            "5x",
            "99999999999999999999s",
            "1000000d",
            "5m3",
        ] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
    }

    #[test]
    fn ports_are_one_here_and_one_of_the_task_or_one_for_both() {
        for (text, local, remote) in
            [("8080:80", 8080, 80), ("5432", 5432, 5432), ("0:80", 0, 80), ("65535:1", 65_535, 1)]
        {
            assert_eq!(text.parse(), Ok(Ports { local, remote }), "{text}");
        }
        for text in ["", "0", "80:0", ":80", "80:", "65536", "8080:80:1", "http", "-1:80"] {
            assert!(text.parse::<Ports>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_time_prints_as_it_can_be_written() {
        for text in ["250ms", "90s", "5m", "36h", "2d"] {
            assert_eq!(text.parse::<Span>().unwrap().to_string(), text);
        }
        assert_eq!("60s".parse::<Span>().unwrap().to_string(), "1m");
    }

    #[test]
    fn since_is_an_age_or_a_moment() {
        let now = Timestamp::from_millisecond(1_000_000).unwrap();
        for (text, millis) in [
            ("10m", 400_000),
            ("2d", 0),
            ("1970-01-01T00:00:01Z", 1_000),
            ("1970-01-01T01:00:01+01:00", 1_000),
        ] {
            assert_eq!(text.parse::<Since>().unwrap().millis(now), millis, "{text}");
        }
        assert!("yesterday".parse::<Since>().is_err());
    }

    #[test]
    fn targets_name_a_stack_a_service_or_a_replica() {
        for text in ["shop", "shop/web", "shop/web.2"] {
            assert_eq!(text.parse::<Target>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "/",
            "shop/",
            "/web",
            "Shop",
            "shop/web.0",
            "shop/web.x",
            "shop/web.",
            "a/b/c",
            "shop/web.+1",
            "../x",
        ] {
            assert!(text.parse::<Target>().is_err(), "{text}");
        }
        assert_eq!(
            "shop".parse::<ServiceTarget>().unwrap_err().to_string(),
            "name a service of the stack: shop/SERVICE"
        );
    }

    #[test]
    fn scaling_names_a_number() {
        let scale: ScaleTo = "shop/web=3".parse().unwrap();
        assert_eq!((scale.service.as_str(), scale.replicas), ("web", 3));
        for text in ["shop/web", "shop=3", "shop/web.1=3", "shop/web=-1", "shop/web=4294967296"] {
            assert!(text.parse::<ScaleTo>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_label_is_set_or_goes() {
        let change = |text: &str| text.parse::<LabelChange>().map_err(|error| error.to_string());
        let label = |name: &str, value: Option<&str>| {
            Ok(LabelChange { name: name.to_owned(), value: value.map(str::to_owned) })
        };
        assert_eq!(change("role=database"), label("role", Some("database")));
        assert_eq!(change("disk=a=b"), label("disk", Some("a=b")));
        assert_eq!(change("role-"), label("role", None));
        for text in ["", "-", "role", "role=", "=x", "ro le=x"] {
            assert!(change(text).is_err(), "{text}");
        }
    }
}

//! What a machine says of itself, and whether it can become a node.

use model::Bytes;

/// The script whose answer is read here.
pub(super) const SCRIPT: &str = include_str!("probe.sh");

/// What the agent and the engine keep for themselves unless told otherwise: below this a machine has
/// nothing to offer.
const LEAST_TOTAL: Bytes = Bytes::mib(768);
/// Less than this free, and the agent itself would be the next to be killed.
const LEAST_AVAILABLE: Bytes = Bytes::mib(256);
/// Clocks further apart make certificates look invalid: they are made valid an hour before they are.
const MOST_SKEW: u64 = 50 * 60;
/// Clocks further apart than this are worth a word.
const SKEW_WORTH_A_WORD: u64 = 10;

/// How commands become root's there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Root {
    /// The user is root.
    Own,
    /// `sudo` asks for no password.
    Sudo,
    /// Not at all.
    None,
}

/// The container engine there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Engine {
    /// It answers, with this version.
    Answers(String),
    /// It is installed and does not answer.
    Silent,
    /// It is not installed.
    Absent,
}

/// The settings of the agent there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Told {
    /// There are none yet.
    Nothing,
    /// As they stand there.
    Text(String),
    /// They are there and cannot be read.
    Unreadable,
}

/// What a machine says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Probe {
    pub(super) os: String,
    /// As Docker names it.
    pub(super) arch: String,
    pub(super) host: String,
    pub(super) root: Root,
    pub(super) engine: Engine,
    pub(super) total: Option<Bytes>,
    pub(super) available: Option<Bytes>,
    /// Seconds since 1970, by its clock.
    pub(super) clock: Option<u64>,
    /// What its service manager says; empty when there is none.
    pub(super) services: String,
    /// Whether an agent there is, or was, a member of a cluster.
    pub(super) member: bool,
    /// The certificate of that membership, PEM; empty where there is none, or it cannot be read.
    pub(super) certificate: String,
    /// The settings of its agent.
    pub(super) told: Told,
}

/// Something that stands in the way, and how to mend it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) what: String,
    pub(super) fix: String,
}

/// Reads the script's answer. Lines before it, as some logins print them, are passed over.
pub(super) fn read(text: &str) -> Result<Probe, String> {
    let value = |key: &str| {
        let mut lines = text.lines().filter_map(|line| line.split_once(' '));
        lines.find(|(found, _)| *found == key).map(|(_, value)| value.trim().to_owned())
    };
    let needed = |key: &str| value(key).ok_or_else(|| format!("it did not tell its {key}"));
    let kib =
        |key: &str| value(key)?.parse::<u64>().ok().map(|kib| Bytes(kib.saturating_mul(1024)));
    let arch = needed("arch")?;
    Ok(Probe {
        os: needed("os")?,
        arch: match arch.as_str() {
            "x86_64" => "amd64".to_owned(),
            "aarch64" => "arm64".to_owned(),
            _ => arch,
        },
        host: needed("host")?,
        root: match needed("root")?.as_str() {
            "self" => Root::Own,
            "sudo" => Root::Sudo,
            _ => Root::None,
        },
        engine: match needed("engine")?.as_str() {
            "absent" => Engine::Absent,
            "silent" => Engine::Silent,
            version => Engine::Answers(version.to_owned()),
        },
        total: kib("total"),
        available: kib("available"),
        clock: value("clock").and_then(|seconds| seconds.parse().ok()),
        services: value("services").unwrap_or_default(),
        member: value("member").is_some_and(|member| member == "yes"),
        certificate: lines_of(text, "certificate "),
        told: match value("told").as_deref() {
            None => Told::Nothing,
            Some("yes") => Told::Text(lines_of(text, "setting ")),
            Some(_) => Told::Unreadable,
        },
    })
}

/// What follows this on each line that begins with it.
fn lines_of(text: &str, prefix: &str) -> String {
    let lines = text.lines().filter_map(|line| line.strip_prefix(prefix));
    lines.fold(String::new(), |held, line| held + line + "\n")
}

/// The cluster whose member the machine is, as far as its certificate can be read.
pub(super) fn cluster(probe: &Probe) -> Option<String> {
    let (_, pem) = x509_parser::pem::parse_x509_pem(probe.certificate.as_bytes()).ok()?;
    proto::transport::peer_of(&pem.contents).ok().map(|peer| peer.cluster)
}

/// Everything that stands in the way of becoming a node; nothing was changed so far.
pub(super) fn findings(probe: &Probe, now: u64) -> Vec<Finding> {
    let finding = |what: String, fix: &str| Some(Finding { what, fix: fix.to_owned() });
    if probe.os != "Linux" {
        let fix = "on a Mac run deploy/mac-mini/install.sh there; docs/mac-mini.md tells how";
        return finding(format!("it runs {}, and this installs on Linux", probe.os), fix)
            .into_iter()
            .collect();
    }
    let rights = (probe.root == Root::None).then(|| {
        let fix = "use root@HOST, or a user whose sudo asks for no password";
        finding("its user may not become root".to_owned(), fix)
    });
    let engine = match probe.engine {
        Engine::Answers(_) => None,
        Engine::Silent => {
            let fix = "start it there: systemctl enable --now docker";
            Some(finding("its container engine does not answer".to_owned(), fix))
        }
        Engine::Absent => {
            let fix = "install it there, for example: apt-get install docker.io";
            Some(finding("it has no container engine".to_owned(), fix))
        }
    };
    let services = matches!(probe.services.as_str(), "" | "offline" | "unknown").then(|| {
        let fix =
            "start siso-agent there by what manages its services; docs/operations.md has the flags";
        finding("systemd does not run there".to_owned(), fix)
    });
    let total = probe.total.filter(|total| *total < LEAST_TOTAL).map(|total| {
        finding(
            format!("it has {total} of memory, a node needs {LEAST_TOTAL}"),
            "give it more memory, or take another machine",
        )
    });
    let available = probe.available.filter(|free| *free < LEAST_AVAILABLE).map(|free| {
        finding(
            format!("{free} of its memory are free, {LEAST_AVAILABLE} are needed"),
            "end what takes its memory; services will need it",
        )
    });
    let clock = probe.clock.filter(|clock| clock.abs_diff(now) > MOST_SKEW).map(|clock| {
        let minutes = clock.abs_diff(now) / 60;
        let way = if clock > now { "ahead of" } else { "behind" };
        finding(
            format!("its clock is {minutes} minutes {way} this machine's: certificates would not be valid"),
            "set it there: timedatectl set-ntp true",
        )
    });
    let told = (probe.told == Told::Unreadable && probe.root != Root::None).then(|| {
        let fix = "look at it there: sudo cat /etc/siso/agent.env";
        finding("the settings of its agent, /etc/siso/agent.env, cannot be read".to_owned(), fix)
    });
    let all = [rights, engine, services, total, available, clock, told];
    all.into_iter().flatten().flatten().collect()
}

/// What is worth a word though it stands in nobody's way.
pub(super) fn remarks(probe: &Probe, now: u64) -> Vec<String> {
    let skew = probe.clock.map_or(0, |clock| clock.abs_diff(now));
    let clock = (skew > SKEW_WORTH_A_WORD)
        .then(|| format!("its clock and this machine's are {skew} s apart; let both follow NTP"));
    clock.into_iter().collect()
}

/// The architecture a program was built for, by its ELF header; `None` when it is none for Linux.
pub(super) fn arch_of(program: &[u8]) -> Option<&'static str> {
    let magic = program.get(..4)? == b"\x7fELF";
    let machine: [u8; 2] = program.get(18..20)?.try_into().ok()?;
    match (magic, u16::from_le_bytes(machine)) {
        (true, 62) => Some("amd64"),
        (true, 183) => Some("arm64"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_760_000_000;
    const GOOD: &str = "Welcome to mini-2 !\nos Linux\narch aarch64\nhost mini-2.local\nroot sudo\nengine 27.3.1\n\
                        total 16000000\navailable 9000000\nclock 1760000003\nservices degraded\nmember no\n";

    #[test]
    fn what_a_machine_says_is_read_whatever_its_login_prints() {
        let probe = read(GOOD).unwrap();
        assert_eq!((probe.arch.as_str(), probe.root), ("arm64", Root::Sudo));
        assert_eq!(probe.engine, Engine::Answers("27.3.1".to_owned()));
        assert_eq!(probe.total, Some(Bytes(16_000_000 * 1024)));
        assert!(!probe.member);
        assert_eq!(probe.told, Told::Nothing);
        let told = "setting A=b\nsetting \nsetting   #c \n\ntold yes\nengine";
        let told = read(&GOOD.replace("engine", told)).unwrap().told;
        assert_eq!(told, Told::Text("A=b\n\n  #c \n".to_owned()));
        assert_eq!(findings(&probe, NOW), []);
        assert_eq!(remarks(&probe, NOW), Vec::<String>::new());
        assert_eq!(read("").unwrap_err(), "it did not tell its arch");
    }

    #[test]
    fn everything_that_stands_in_the_way_is_told_at_once_with_its_way_out() {
        let check = |from: &str, to: &str, words: &[&str]| {
            assert!(GOOD.contains(from), "{from}");
            let found = findings(&read(&GOOD.replace(from, to)).unwrap(), NOW);
            assert_eq!(found.len(), 1, "{found:?}");
            let told = format!("{}: {}", found[0].what, found[0].fix);
            for word in words {
                assert!(told.contains(word), "{word}: {told}");
            }
        };
        check("os Linux", "os Darwin", &["runs Darwin", "deploy/mac-mini/install.sh"]);
        check("root sudo", "root none", &["may not become root", "root@HOST"]);
        check("engine 27.3.1", "engine absent", &["no container engine", "docker.io"]);
        check(
            "engine 27.3.1",
            "engine silent",
            &["does not answer", "systemctl enable --now docker"],
        );
        check("services degraded", "services offline", &["systemd does not run"]);
        check("services degraded\n", "", &["systemd does not run"]);
        check("total 16000000", "total 524288", &["512.0 MiB of memory", "768.0 MiB"]);
        check("available 9000000", "available 102400", &["100.0 MiB of its memory are free"]);
        check("clock 1760000003", "clock 1759990000", &["166 minutes behind", "set-ntp"]);
        check("clock 1760000003", "clock 1760010000", &["166 minutes ahead of"]);
        check("member no", "told unreadable", &["/etc/siso/agent.env, cannot be read"]);
        let bad = GOOD.replace("root sudo", "root none").replace("27.3.1", "absent");
        assert_eq!(findings(&read(&bad).unwrap(), NOW).len(), 2);
        let late = read(&GOOD.replace("1760000003", "1760000060")).unwrap();
        assert!(remarks(&late, NOW)[0].contains("60 s apart"));
    }

    #[test]
    fn a_program_tells_what_it_was_built_for() {
        let header = |machine: u8| {
            let mut program = b"\x7fELF".to_vec();
            program.resize(18, 0);
            program.extend([machine, 0, 1, 0]);
            program
        };
        assert_eq!(arch_of(&header(62)), Some("amd64"));
        assert_eq!(arch_of(&header(183)), Some("arm64"));
        assert_eq!(arch_of(&header(3)), None);
        assert_eq!(arch_of(b"\xcf\xfa\xed\xfe a program of macOS"), None);
        assert_eq!(arch_of(b""), None);
    }
}

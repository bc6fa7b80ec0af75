//! What service managers are given is what the programs understand.

use std::{fs, path::Path, process::Command};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every variable a program reads, by its own help.
pub(crate) fn variables(program: &str) -> String {
    let output = Command::new(siso_tests::program(program)).arg("--help").output();
    String::from_utf8(output.expect(program).stdout).expect("text")
}

#[test]
fn every_setting_of_a_unit_is_one_the_program_reads_and_every_file_is_one_it_names() {
    for (program, unit, settings) in [
        ("siso-agent", "siso-agent.service", "agent.env"),
        ("siso-scheduler", "siso-scheduler.service", "scheduler.env"),
    ] {
        let unit = read(&format!("deploy/systemd/{unit}"));
        assert!(unit.contains(&format!("ExecStart=/usr/local/bin/{program}\n")), "{unit}");
        assert!(unit.contains(&format!("EnvironmentFile=/etc/siso/{settings}\n")), "{unit}");
        assert!(unit.contains("Restart=always\n") && unit.contains("WantedBy=multi-user.target"));
        let known = variables(program);
        let text = read(&format!("deploy/systemd/{settings}"));
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let mut seen = 0;
        for line in lines {
            let (variable, value) = line.split_once('=').unwrap_or_else(|| panic!("{line}"));
            assert!(known.contains(&format!("{variable}=")), "{program} does not read {variable}");
            assert!(!value.is_empty(), "{line}");
            seen += 1;
        }
        assert!(seen > 1, "{text}");
    }
}

/// A scheduler that hears of no leader is not healthy, and started again it is of even less use.
#[test]
fn no_service_manager_restarts_what_runs_for_its_health() {
    for unit in [
        "deploy/systemd/siso-agent.service",
        "deploy/systemd/siso-scheduler.service",
        "deploy/mac-mini/install.sh",
        "deploy/mac-mini/start-colima.sh",
    ] {
        let text = read(unit);
        for asks in ["healthz", "answers_healthy", "WatchdogSec", "ExecCondition"] {
            assert!(!text.contains(asks), "{unit} asks {asks}");
        }
    }
}

#[test]
fn systemd_finds_nothing_wrong_with_the_units() {
    let Some(tool) = siso_tests::required(
        "systemd_finds_nothing_wrong_with_the_units",
        "SISO_REQUIRE_SYSTEMD",
        Command::new("systemd-analyze")
            .arg("--version")
            .output()
            .map_err(|error| error.to_string()),
    ) else {
        return;
    };
    assert!(tool.status.success(), "{tool:?}");
    let directory = tempfile::tempdir().expect("a directory");
    for program in ["siso-agent", "siso-scheduler"] {
        // It insists that the program is there.
        let unit = read(&format!("deploy/systemd/{program}.service"));
        let unit = unit.replace(&format!("/usr/local/bin/{program}"), "/bin/true");
        let path = directory.path().join(format!("{program}.service"));
        fs::write(&path, unit).expect("a unit");
        let said = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&path).output();
        let said = said.expect("systemd-analyze");
        assert!(said.status.success() && said.stderr.is_empty(), "{said:?}");
    }
}

//! What is understood and what is refused, as a table.

use clap::{CommandFactory as _, Parser as _};
use sisoctl::args::{Args, Command, Format, habit};

fn parse(line: &str) -> Result<Args, clap::Error> {
    Args::try_parse_from(std::iter::once("sisoctl").chain(line.split_whitespace()))
}

#[test]
fn every_form_of_the_contract_is_understood() {
    for line in [
        "apply",
        "apply stack.yaml",
        "apply a.yaml b.yaml --stack shop --yes --detach --timeout 5m",
        "apply -f a.yaml -f b.yaml -p shop --dry-run",
        "apply - --project-name shop --profile dev --env-file x.env --project-directory /srv",
        "plan stack.yaml --nodes nodes.yaml",
        "config stack.yaml --format json",
        "ps",
        "ps shop",
        "ps -a",
        "ps shop --all",
        "status",
        "placement",
        "advise",
        "advise shop",
        "advise shop/web -o json",
        "rebalance",
        "rebalance --apply --yes",
        "rebalance --apply --empty mini-1 -y",
        "rebalance --room 4GiB",
        "rebalance --room 4GiB,cpus=2 --on mini-2 -o json",
        "rebalance --auto on --yes",
        "rebalance --auto off",
        "rebalance --auto status -o json",
        "rebalance --nodes nodes.yaml -f a.yaml -f b.yaml",
        "explain shop/web",
        "explain shop/web.2 -o json",
        "logs shop",
        "logs shop/web.1 -f --since 10m --tail 100 --grep ^a",
        "exec shop/web -- psql -U siso -c x",
        "exec shop/web.1 -T -- sh",
        "exec shop/web psql -U siso -c x",
        "events -f shop",
        "restart shop/web.1",
        "scale shop/web=3 shop/api=0",
        "scale shop/web=3 --yes",
        "node ls",
        "node show mini-1",
        "node cordon mini-1",
        "node uncordon mini-1",
        "scheduler ls",
        "scheduler rm 3 --yes",
        "scheduler recover --data-dir d --i-know-others-are-dead",
        "stack ls -q",
        "stack rm shop --volumes --yes",
        "stack history shop",
        "stack rollback shop --to 3",
        "stack rollback shop -y",
        "token create --role node --ttl 1h",
        "token create --role scheduler",
        "token ls",
        "token revoke k3",
        "authority ls",
        "authority rotate",
        "authority finish --force --yes",
        "operator ls",
        "operator add ada --file ada.yaml",
        "operator rm ada --yes",
        "context add home --file admin.yaml",
        "context ls",
        "context use home",
        "completion zsh",
        "version",
        "doctor",
        "--context home --no-color -q --timeout 30s --output json status",
    ] {
        assert!(parse(line).is_ok(), "{line}: {}", parse(line).unwrap_err());
    }
}

/// What changes nothing in a cluster.
const READS: &[&str] = &[
    "plan",
    "config",
    "ps",
    "top",
    "status",
    "placement",
    "whatif",
    "explain",
    "advise",
    "logs",
    "exec",
    "port-forward",
    "events",
    "node ls",
    "node show",
    "scheduler ls",
    "stack ls",
    "stack history",
    "token ls",
    "authority ls",
    "operator ls",
    "context add",
    "context ls",
    "context use",
    "completion",
    "version",
    "doctor",
];

/// The verbs that have none below them, as they are written.
fn verbs(command: &clap::Command, above: &str, found: &mut Vec<(String, clap::Command)>) {
    for below in command.get_subcommands() {
        let name = format!("{above} {}", below.get_name());
        if below.has_subcommands() {
            verbs(below, &name, found);
        } else {
            found.push((name.trim_start().to_owned(), below.clone()));
        }
    }
}

#[test]
fn whatever_changes_the_cluster_takes_yes_whether_it_asks_or_not() {
    let mut found = Vec::new();
    verbs(&Args::command(), "", &mut found);
    for (name, command) in found {
        let yes = command.get_arguments().find(|arg| arg.get_id() == "yes");
        let taken = yes.map(|arg| (arg.get_long(), arg.get_short()));
        let wanted = (!READS.contains(&name.as_str())).then_some((Some("yes"), Some('y')));
        assert_eq!(taken, wanted, "{name}");
    }
}

#[test]
fn a_wrong_line_is_a_usage_error_that_says_why() {
    for (line, why) in [
        ("stauts", "status"),
        ("ps --no-such-flag", "--no-such-flag"),
        ("explain", "STACK/SERVICE"),
        ("explain shop", "shop/SERVICE"),
        ("explain Shop/web", "a-z"),
        ("advise shop/web.1", "STACK/SERVICE"),
        ("-o xml ps", "text, json"),
        ("--timeout 5 ps", "90s, 5m"),
        ("scale shop/web=many", "STACK/SERVICE=N"),
        ("apply a.yaml -f b.yaml", "cannot be used with"),
        ("token create", "--role"),
        ("token revoke 3", "k"),
        ("exec shop/web", "CMD"),
        ("logs shop --since yesterday", "10m"),
        ("completion cmd", "bash"),
        ("rebalance --room 4GiB --empty mini-1", "cannot be used with"),
        ("rebalance --on mini-1", "--room"),
        ("rebalance --auto maybe", "on, off, status"),
        ("rebalance --auto on --apply", "cannot be used with"),
        ("rebalance --auto status --nodes nodes.yaml", "cannot be used with"),
        ("rebalance --room 0", "like 4GiB"),
        ("rebalance --room 1g,memory=2", "like 4GiB"),
    ] {
        let error = parse(line).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{line}");
        assert!(error.to_string().contains(why), "{line}: {error}");
    }
}

#[test]
fn global_flags_stand_before_or_after_the_verb() {
    for line in ["-o json --timeout 5s -q ps shop", "ps shop -q --timeout 5s --output json"] {
        let args = parse(line).unwrap();
        assert_eq!(args.global.output, Format::Json);
        assert!(args.global.quiet);
        assert_eq!(args.global.timeout.unwrap().0.as_secs(), 5);
    }
}

#[test]
fn the_remote_command_begins_with_its_first_word_and_two_dashes_change_nothing() {
    for (line, no_tty, command) in [
        ("shop/web -T -- ls -f --output json", true, "ls -f --output json"),
        ("shop/web -T ls -f --output json", true, "ls -f --output json"),
        ("-T shop/web ls -T -q", true, "ls -T -q"),
        ("shop/web ls -- -f", false, "ls -- -f"),
        ("shop/web -- ls -- -f", false, "ls -- -f"),
        ("shop/web -- --version", false, "--version"),
        ("shop/web sh --help", false, "sh --help"),
        ("-it shop/web psql -U siso", false, "psql -U siso"),
    ] {
        let Command::Exec(exec) = parse(&format!("exec {line}")).unwrap().command else {
            panic!("not exec");
        };
        assert_eq!((exec.no_tty, exec.command.join(" ")), (no_tty, command.to_owned()), "{line}");
    }
}

#[test]
fn a_verb_of_another_tool_is_answered_with_the_one_to_use() {
    for (line, instead) in [
        ("up", "sisoctl apply"),
        ("up -d --build", "sisoctl apply"),
        ("-o json down", "sisoctl stack rm"),
        ("stop shop", "=0"),
        ("stats", "sisoctl top"),
    ] {
        let refused = parse(line).unwrap_err();
        let (_, hint) = habit(&refused).unwrap_or_else(|| panic!("{line}: {refused}"));
        assert_eq!(refused.exit_code(), 2);
        assert!(hint.contains(instead), "{line}: {hint}");
    }
    for line in ["stauts", "node up", "ps --up", "scale up"] {
        assert_eq!(habit(&parse(line).unwrap_err()), None, "{line}");
    }
}

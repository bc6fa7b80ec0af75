//! What is understood and what is refused, as a table.

use clap::Parser as _;
use sisoctl::args::{Args, Command, Format};

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
        "status",
        "placement",
        "explain shop/web",
        "explain shop/web.2 -o json",
        "logs shop",
        "logs shop/web.1 -f --since 10m --tail 100 --grep ^a",
        "exec shop/web -- psql -U siso -c x",
        "exec shop/web.1 -T -- sh",
        "events -f shop",
        "restart shop/web.1",
        "scale shop/web=3 shop/api=0",
        "node ls",
        "node show mini-1",
        "node cordon mini-1",
        "node uncordon mini-1",
        "stack ls -q",
        "stack rm shop --volumes --yes",
        "stack history shop",
        "stack rollback shop --to 3",
        "token create --role node --ttl 1h",
        "token create --role scheduler",
        "token ls",
        "token revoke k3",
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

#[test]
fn a_wrong_line_is_a_usage_error_that_says_why() {
    for (line, why) in [
        ("stauts", "status"),
        ("ps --no-such-flag", "--no-such-flag"),
        ("explain", "STACK/SERVICE"),
        ("explain shop", "shop/SERVICE"),
        ("explain Shop/web", "a-z"),
        ("-o xml ps", "text, json"),
        ("--timeout 5 ps", "90s, 5m"),
        ("scale shop/web=many", "STACK/SERVICE=N"),
        ("apply a.yaml -f b.yaml", "cannot be used with"),
        ("token create", "--role"),
        ("token revoke 3", "k"),
        ("exec shop/web", "CMD"),
        ("logs shop --since yesterday", "10m"),
        ("completion cmd", "bash"),
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
fn what_follows_two_dashes_is_the_remote_command() {
    let Command::Exec(exec) = parse("exec shop/web -T -- ls -f --output json").unwrap().command
    else {
        panic!("not exec");
    };
    assert!(exec.no_tty);
    assert_eq!(exec.command, ["ls", "-f", "--output", "json"]);
}

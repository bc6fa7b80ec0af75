//! `advise`: what services reserve of memory beside what they were seen to use, and the lines to change.

use model::{Bytes, view::AdviceRow};
use serde::Serialize;

use crate::{
    args::Advise,
    client::Client,
    error::Error,
    output::{
        Out, Tone, amount, json, safe,
        table::{Cell, Table},
    },
};

/// A row with the lines to write; both are the contract.
#[derive(Debug, Serialize)]
struct Document<'a> {
    #[serde(flatten)]
    row: &'a AdviceRow,
    /// The lines as they stand below `services:`; null when nothing should change.
    yaml: Option<String>,
}

/// Carries out `advise`.
pub async fn run(args: &Advise, client: &Client, out: &mut Out) -> Result<(), Error> {
    let rows = match client.advise(args.target.as_ref()).await {
        Ok(rows) => rows,
        Err(error) => {
            let target = args.target.as_ref();
            let stack = target.map_or("", |target| target.stack.as_str());
            let service = target.and_then(|target| target.service.as_ref()).map(AsRef::as_ref);
            return Err(client.with_nearest(error, stack, service).await);
        }
    };
    if out.is_json() {
        let documents: Vec<_> = rows
            .iter()
            .map(|row| Document { row, yaml: lines(row).map(|yaml| yaml + "\n") })
            .collect();
        return json::document(out, &documents);
    }
    if out.look.quiet {
        return rows.iter().try_for_each(|row| out.data_line(&safe::line(&name(row))));
    }
    table(&rows).print(out, "no services: `sisoctl apply FILE` makes some")?;
    let yaml = yaml(&rows);
    if !yaml.is_empty() {
        return out.data(&format!("\n{yaml}"));
    }
    if !rows.is_empty() {
        out.note("nothing to change");
    }
    Ok(())
}

fn name(row: &AdviceRow) -> String {
    format!("{}/{}", row.stack, row.service)
}

/// What a narrow terminal does without.
const SPARE: &[&str] = &["OBSERVED", "USUAL", "OOM KILLS", "LIMIT", "FROM"];

/// Services as a table.
fn table(rows: &[AdviceRow]) -> Table {
    let mut table = Table::new(&[
        "SERVICE",
        "RESERVED",
        "FROM",
        "LIMIT",
        "PEAK",
        "USUAL",
        "OBSERVED",
        "OOM KILLS",
        "ADVICE",
    ])
    .sparing(SPARE);
    for row in rows {
        let basis = row.memory_basis;
        let tone = if basis.is_declared() { Tone::Plain } else { Tone::Careful };
        let observed = (row.observed_seconds > 0).then(|| amount::span(row.observed_seconds));
        table.row([
            Cell::new(name(row).as_str()),
            Cell::amount(row.memory_reservation.to_string()),
            Cell::new(basis.as_str()).tone(tone),
            Cell::amount(row.memory_limit.to_string()),
            Cell::amount(row.observed_peak.map(|peak| peak.to_string())),
            Cell::amount(row.observed_usual.map(|usual| usual.to_string())),
            Cell::amount(observed),
            Cell::amount(row.oom_kills.to_string()),
            Cell::remark(&remark(row)),
        ]);
    }
    table
}

/// What is advised; else whether that is because it fits.
fn remark(row: &AdviceRow) -> String {
    match (&row.advice, row.needed_seconds) {
        (Some(advice), _) => advice.clone(),
        (None, 0) => "fits".to_owned(),
        (None, needed) => {
            format!("not observed for long enough: {} more", amount::span(needed))
        }
    }
}

/// The lines to change, stack by stack; nothing when nothing should change.
fn yaml(rows: &[AdviceRow]) -> String {
    let mut text = String::new();
    let mut stack = None;
    for row in rows {
        let Some(lines) = lines(row) else { continue };
        if stack.replace(&row.stack) != Some(&row.stack) {
            let gap = if text.is_empty() { "" } else { "\n" };
            let name = safe::line(&row.stack);
            let what = "in place of what its services say of memory now\nservices:\n";
            text.extend([gap, "# stack ", name.as_ref(), ", ", what]);
        }
        text.push_str(&lines);
        text.push('\n');
    }
    text
}

/// The lines of one service, below `services:`.
fn lines(row: &AdviceRow) -> Option<String> {
    let part = |key: &str, amount: Option<Bytes>| {
        let amount = compose(amount?);
        Some(format!("        {key}:\n          memory: {amount}"))
    };
    let parts = [part("limits", row.advised_limit), part("reservations", row.advised_reservation)];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    let service = safe::line(&row.service);
    (!parts.is_empty())
        .then(|| format!("  {service}:\n    deploy:\n      resources:\n{}", parts.join("\n")))
}

/// An amount as Compose reads it, without a digit lost.
fn compose(Bytes(amount): Bytes) -> String {
    let units = [(1 << 30, "G"), (1 << 20, "M"), (1 << 10, "K"), (1, "b")];
    let fits = |(size, _): &&(u64, &str)| amount.is_multiple_of(*size);
    units
        .iter()
        .find(fits)
        .map_or_else(String::new, |(size, unit)| format!("{}{unit}", amount / size))
}

#[cfg(test)]
mod tests {
    use model::view::MemorySource;
    use proto::v1 as pb;

    use super::*;
    use crate::{
        args::{Args, Command, Format},
        output::Look,
        testing::{
            cluster::{FakeCluster, Script},
            streams,
        },
    };

    fn fitting(service: &str) -> AdviceRow {
        AdviceRow {
            stack: "shop".to_owned(),
            service: service.to_owned(),
            replicas: 1,
            memory_reservation: Bytes::mib(512),
            memory_basis: MemorySource::Reservation,
            memory_limit: Bytes::gib(1),
            observed_peak: Some(Bytes::mib(420)),
            observed_usual: Some(Bytes::mib(380)),
            observed_seconds: 3 * 86_400,
            needed_seconds: 0,
            oom_kills: 0,
            advice: None,
            advised_reservation: None,
            advised_limit: None,
        }
    }

    fn rows() -> Vec<AdviceRow> {
        vec![
            fitting("db"),
            AdviceRow {
                observed_peak: None,
                observed_usual: None,
                observed_seconds: 0,
                needed_seconds: 86_400,
                ..fitting("new")
            },
            AdviceRow {
                memory_reservation: Bytes::mib(256),
                memory_basis: MemorySource::Assumed,
                memory_limit: Bytes::mib(256),
                observed_peak: Some(Bytes::mib(150)),
                observed_usual: Some(Bytes::mib(120)),
                advice: Some(
                    "says nothing about memory, 256.0 MiB are assumed; its peak over 3 days was 150.0 MiB, \
                     with 20 % that is 184.0 MiB"
                        .to_owned(),
                ),
                advised_reservation: Some(Bytes::mib(184)),
                advised_limit: Some(Bytes::mib(256)),
                ..fitting("web")
            },
            AdviceRow {
                stack: "wiki".to_owned(),
                oom_kills: 2,
                advice: Some(
                    "was killed 2 times for want of memory: its limit of 1.0 GiB is too low".to_owned(),
                ),
                advised_limit: Some(Bytes::gib(2)),
                ..fitting("app")
            },
        ]
    }

    async fn answered(rows: &[AdviceRow], look: Look) -> (String, String) {
        let services = rows.iter().map(pb::AdviceRow::from).collect();
        let advise = [Ok(pb::AdviseReply { services })].into();
        let (_, client) = FakeCluster::new(Script { advise, ..Script::default() });
        let (mut out, stdout, stderr) = streams(look);
        run(&Advise { target: None }, &client, &mut out).await.unwrap();
        (stdout.text(), stderr.text())
    }

    #[tokio::test]
    async fn advice_stands_beside_the_figures_and_its_lines_below() {
        let (text, _) = answered(&rows(), Look::plain()).await;
        insta::assert_snapshot!(text);
    }

    #[tokio::test]
    async fn a_narrow_terminal_keeps_what_is_reserved_what_was_seen_and_the_advice() {
        let (text, _) = answered(&rows(), Look { width: Some(60), ..Look::plain() }).await;
        insta::assert_snapshot!("narrow", text);
    }

    #[tokio::test]
    async fn where_nothing_should_change_that_is_said_and_no_lines_are_printed() {
        let (text, said) = answered(&[fitting("db")], Look::plain()).await;
        assert!(text.ends_with("fits\n") && said.contains("nothing to change"), "{text}{said}");
    }

    #[tokio::test]
    async fn json_has_the_figures_and_the_lines() {
        let look = Look { format: Format::Json, ..Look::plain() };
        let (text, _) = answered(&rows(), look).await;
        let rows: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(rows[0]["yaml"], serde_json::Value::Null);
        assert_eq!(rows[2]["memory_basis"], "assumed");
        assert_eq!(rows[2]["advised_reservation"], 184 << 20);
        let yaml = rows[2]["yaml"].as_str().unwrap();
        assert!(yaml.ends_with("        reservations:\n          memory: 184M\n"), "{yaml}");
    }

    /// Names no file.
    struct Alone;

    impl stackfile::Sources for Alone {
        fn read(&self, _: &str) -> Result<Vec<u8>, stackfile::ReadError> {
            Err(stackfile::ReadError::NotFound)
        }
    }

    #[test]
    fn the_lines_are_read_as_what_they_advise() {
        let web = rows().remove(2);
        let file = "services: {web: {image: web, deploy: {replicas: 2}}}";
        let files = [("stack.yaml", file), ("advised.yaml", &yaml(std::slice::from_ref(&web)))];
        let loaded = stackfile::load(&stackfile::Request {
            files: &files.map(|(name, text)| stackfile::SourceFile::new(name, text)),
            stack_name: Some("shop"),
            project_directory: "/shop",
            environment: &std::collections::BTreeMap::new(),
            dotenv: &[],
            profiles: &[],
            sources: &Alone,
            bounds: stackfile::Bounds::APPLIED,
        });
        let spec = &loaded.unwrap().stack.services["web"];
        assert_eq!(Some(spec.resources.reserved.memory), web.advised_reservation);
        assert_eq!(Some(spec.resources.memory_limit), web.advised_limit);
        assert_eq!(spec.replicas, 2);
    }

    #[test]
    fn an_amount_is_written_as_it_is() {
        for (amount, text) in [
            (Bytes::gib(2), "2G"),
            (Bytes::mib(1536), "1536M"),
            (Bytes(10 << 10), "10K"),
            (Bytes(500_000_001), "500000001b"),
        ] {
            assert_eq!(compose(amount), text);
        }
    }

    #[test]
    fn the_verb_takes_a_stack_or_a_service() {
        let parse = |line: &str| <Args as clap::Parser>::try_parse_from(line.split(' '));
        let Command::Advise(args) = parse("sisoctl advise shop/web").unwrap().command else {
            panic!("another verb");
        };
        assert_eq!(args.target.unwrap().to_string(), "shop/web");
    }
}

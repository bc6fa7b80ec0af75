mod examples;
mod fuzzed;
mod varied;

use std::{
    collections::BTreeSet,
    fs::{self, OpenOptions},
    io::Write as _,
    path::{Path, PathBuf},
};

use scheduler_core::{Command, cluster::snapshot::IMAGE_VERSION};

use self::varied::{KINDS, Varied};
use super::*;

/// Enough that every optional field was seen both ways in every place.
const SEEDS: u64 = 300;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden").join(name)
}

/// The bytes written once under this name. With `SISO_GOLDEN=1` a file that is missing is made of
/// `bytes`; one that is there is never touched again.
fn held(name: &str, bytes: &[u8]) -> Vec<u8> {
    let path = golden(name);
    if !path.exists() && std::env::var_os("SISO_GOLDEN").is_some() {
        let mut file = OpenOptions::new().write(true).create_new(true).open(&path).unwrap();
        file.write_all(bytes).unwrap();
    }
    fs::read(&path).unwrap_or_else(|error| {
        panic!("tests/golden/{name}: {error}; SISO_GOLDEN=1 writes those that are missing")
    })
}

fn kind(command: &Command) -> &'static str {
    match command {
        Command::Found { .. } => "found",
        Command::ApplyStack { .. } => "apply-stack",
        Command::RemoveStack { .. } => "remove-stack",
        Command::RollbackStack { .. } => "rollback-stack",
        Command::Scale { .. } => "scale",
        Command::Restart { .. } => "restart",
        Command::JoinNode { .. } => "join-node",
        Command::UpdateNode { .. } => "update-node",
        Command::SetLiveness { .. } => "set-liveness",
        Command::SetSchedulable { .. } => "set-schedulable",
        Command::ReportTasks { .. } => "report-tasks",
        Command::CreateToken { .. } => "create-token",
        Command::RevokeToken { .. } => "revoke-token",
        Command::ConfirmVolumesRemoved { .. } => "confirm-volumes-removed",
        Command::Plan { .. } => "plan",
        Command::DrainNode { .. } => "drain-node",
        Command::MoveTask { .. } => "move-task",
        Command::LabelNode { .. } => "label-node",
        Command::RemoveNode { .. } => "remove-node",
        Command::JoinScheduler { .. } => "join-scheduler",
        Command::RaiseForm { .. } => "raise-form",
        Command::RemoveScheduler { .. } => "remove-scheduler",
        Command::IntroduceAuthority { .. } => "introduce-authority",
        Command::AdvanceAuthority { .. } => "advance-authority",
        Command::HoldAuthority { .. } => "hold-authority",
        Command::AddOperator { .. } => "add-operator",
        Command::RemoveOperator { .. } => "remove-operator",
        Command::RecordNeeds { .. } => "record-needs",
        Command::SetAutomatic { .. } => "set-automatic",
    }
}

fn golden_name(command: &Command) -> String {
    format!("entry-{}-{}.bin", form_of(command), kind(command))
}

#[test]
fn entries_written_by_earlier_versions_are_read_for_ever() {
    let named = |entry: Entry| (golden_name(&entry.command), entry);
    let additions = examples::additions().into_iter().map(|(name, entry)| (name.to_owned(), entry));
    for (name, entry) in examples::entries().into_iter().map(named).chain(additions) {
        let bytes = held(&name, &encode_entry(&entry));
        assert_eq!(decode_entry(&bytes).unwrap(), entry, "{name}");
        assert!(encode_entry(&entry) == bytes, "{name} would be written otherwise now");
    }
}

#[test]
fn snapshots_written_by_earlier_versions_are_read_for_ever() {
    let first = ("snapshot-1.bin", examples::image());
    for (name, image) in std::iter::once(first).chain(examples::image_additions()) {
        let bytes = held(name, &encode_image(&image));
        assert_eq!(decode_image(&bytes).unwrap(), image, "{name}");
        assert!(encode_image(&image) == bytes, "{name} would be written otherwise now");
    }
}

#[test]
fn every_kind_of_command_has_golden_bytes_and_every_golden_file_is_read() {
    let kinds: BTreeSet<_> = (0..KINDS).map(|n| kind(&Varied(1).command(n))).collect();
    let wanted = examples::entries().into_iter().map(|entry| golden_name(&entry.command));
    let additions = examples::additions().into_iter().map(|(name, _)| name.to_owned());
    let images = examples::image_additions().into_iter().map(|(name, _)| name.to_owned());
    let images = images.chain(["snapshot-1.bin".to_owned()]);
    let wanted = wanted.chain(images).chain(additions);
    let wanted: BTreeSet<String> = wanted.collect();
    let files = fs::read_dir(golden("")).unwrap().map(|file| file.unwrap().file_name());
    let found: BTreeSet<String> = files.map(|name| name.into_string().unwrap()).collect();
    assert_eq!(found, wanted);
    let examples: BTreeSet<_> = examples::entries().iter().map(|e| kind(&e.command)).collect();
    assert_eq!(examples, kinds);
}

#[test]
fn any_entry_reads_back_and_is_written_the_same_again() {
    for seed in 0..SEEDS {
        for number in 0..KINDS {
            let entry = Varied(seed).entry(number);
            let bytes = encode_entry(&entry);
            let read = decode_entry(&bytes).unwrap_or_else(|error| panic!("{error}: {entry:?}"));
            assert_eq!(read, entry, "seed {seed}");
            assert!(encode_entry(&read) == bytes, "seed {seed}");
        }
    }
}

#[test]
fn any_image_reads_back_and_is_written_the_same_again() {
    for seed in 0..SEEDS {
        let image = Varied(seed).image();
        let bytes = encode_image(&image);
        let read = decode_image(&bytes).unwrap_or_else(|error| panic!("{error}: {image:?}"));
        assert_eq!(read, image, "seed {seed}");
        assert!(encode_image(&read) == bytes, "seed {seed}");
    }
}

#[test]
fn an_entry_that_was_cut_short_is_never_believed() {
    for entry in examples::entries() {
        let bytes = encode_entry(&entry);
        for length in 0..bytes.len() {
            let read = decode_entry(&bytes[..length]);
            assert!(read.is_err(), "{} cut at {length}: {read:?}", kind(&entry.command));
        }
    }
}

#[test]
fn damaged_bytes_are_an_error_or_a_value_and_never_a_panic() {
    let image = encode_image(&examples::image());
    for length in 0..image.len() {
        if let Ok(read) = decode_image(&image[..length]) {
            assert_eq!(decode_image(&encode_image(&read)).unwrap(), read, "cut at {length}");
        }
    }
    for seed in 0..SEEDS {
        let mut varied = Varied(seed);
        let mut bytes = encode_entry(&varied.entry(seed % KINDS));
        for _ in 0..100 {
            let position = varied.index(bytes.len());
            bytes[position] ^= 1 << varied.below(8);
            if let Ok(read) = decode_entry(&bytes) {
                assert_eq!(decode_entry(&encode_entry(&read)).unwrap(), read, "seed {seed}");
            }
        }
        let noise: Vec<u8> = (0..200).map(|_| varied.byte()).collect();
        for length in 0..noise.len() {
            assert!(decode_entry(&noise[..length]).is_err(), "{:?}", &noise[..length]);
            assert!(decode_image(&noise[..length]).is_err(), "{:?}", &noise[..length]);
        }
    }
}

/// A field only a later version knows: number 2000, one byte of content.
const LATER: [u8; 4] = [0x82, 0x7d, 0x01, 0x00];

/// A field with a message or text in it, as it stands in bytes.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let length = u8::try_from(content.len()).unwrap();
    assert!(length < 128 && number < 16, "one byte each");
    [&[number << 3 | 2, length], content].concat()
}

/// A field with a small number in it.
fn number(number: u8, value: u8) -> Vec<u8> {
    assert!(value < 128 && number < 16, "one byte each");
    vec![number << 3, value]
}

#[test]
fn what_is_unknown_stops_the_reader_and_is_named() {
    let check = |command: &[u8], expected: &str| {
        let entry = [number(1, 1), number(2, 9), field(4, command)].concat();
        assert_eq!(decode_entry(&entry).unwrap_err().to_string(), expected);
    };
    let no_choice = "missing, or of a kind this program does not know";
    check(&[], &format!("command: {no_choice}"));
    check(&field(1, b"\x78\x00"), "2 of 10 bytes belong to fields this program does not know");
    check(&[0x82, 0x02, 0x00], &format!("command: {no_choice}"));
    check(&field(2, &[]), "command.apply_stack.spec: missing");
    check(&field(9, &number(1, 3)), "command.set_liveness.liveness: missing");
    let liveness = [number(1, 3), number(2, 77)].concat();
    check(&field(9, &liveness), "command.set_liveness.liveness: this program does not know 77");
    let role = [number(1, 1), field(2, b"short")].concat();
    check(&field(12, &role), "command.create_token.secret_hash: 5 bytes instead of 32");
    check(&field(15, &field(2, &[])), &format!("command.plan.changes[0]: {no_choice}"));
    let outcome = [field(1, b"shop"), field(2, b"web"), field(3, &[])].concat();
    check(
        &field(15, &field(2, &field(6, &outcome))),
        &format!("command.plan.changes[0].record_rollout.outcome: {no_choice}"),
    );
    let note = field(2, &field(8, &number(1, 5)));
    check(&field(15, &note), "command.plan.changes[0].note.severity: this program does not know 5");
    let removal = field(3, &field(1, b"../x"));
    let error = decode_entry(&[number(1, 1), field(4, &removal)].concat()).unwrap_err();
    assert!(error.to_string().starts_with("command.remove_stack.stack: "), "{error}");
}

#[test]
fn another_version_stops_the_reader_before_anything_else() {
    let check = |found: u8, known: u32| {
        let text = format!(
            "version: {found} is not within 1 to {known}: a newer version of this program must \
             read it"
        );
        let bytes = [&*number(1, found), &LATER].concat();
        assert_eq!(decode_entry(&bytes).unwrap_err().to_string(), text);
        assert_eq!(decode_image(&bytes).unwrap_err().to_string(), text);
    };
    assert_eq!(ENTRY_VERSION, IMAGE_VERSION, "or both need a table of their own");
    check(0, ENTRY_VERSION);
    check(7, ENTRY_VERSION);
    check(100, ENTRY_VERSION);
}

#[test]
fn a_field_of_a_later_version_stops_the_reader_of_a_snapshot() {
    let bytes = [&*encode_image(&examples::image()), &LATER].concat();
    let of = bytes.len();
    let text = format!("4 of {of} bytes belong to fields this program does not know");
    assert_eq!(decode_image(&bytes).unwrap_err().to_string(), text);
}

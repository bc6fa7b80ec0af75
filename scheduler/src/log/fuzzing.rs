//! What the log's files hold whatever lies in them: called by the log's own tests and by the guided
//! fuzzer of `tests/fuzz/guided`.

use super::{
    mark,
    record::{
        decode_entry, decode_entry_at, decode_index, decode_log_id, decode_vote, encode_entry,
        encode_index, encode_log_id, encode_vote,
    },
    snapshots, store,
};

pub use super::codec::fuzzing::{entry, snapshot};

/// One of the log's files, or a part of one: the first byte says which, the rest is what lies in it.
/// Wherever a checksum stands it is made right, because no change of bits would come upon one.
///
/// # Panics
///
/// When what is read is not written again as the same; when a log opens and does not go on from
/// there; when one that was damaged opens and says something else than was committed to it.
pub fn log(bytes: &[u8]) -> String {
    let Some((kind, bytes)) = bytes.split_first() else { return String::new() };
    match kind % 6 {
        0 => store::fuzzing::frame(bytes),
        1 => record(bytes),
        2 => read_mark(bytes),
        3 => head(bytes),
        4 => store::fuzzing::directory(bytes),
        _ => store::fuzzing::life(bytes),
    }
}

/// A record behind the checksum that is right for it.
pub(super) fn sealed(body: &[u8]) -> Vec<u8> {
    [&crc32c::crc32c(body).to_le_bytes()[..], body].concat()
}

/// A record is refused, or the same when it is written and read again.
fn record(bytes: &[u8]) -> String {
    let Some((kind, body)) = bytes.split_first() else { return String::new() };
    let sealed = sealed(body);
    assert!(decode_entry(bytes).is_err() || bytes.len() >= 4, "no place for a checksum");
    let answer = match kind % 4 {
        0 => decode_entry(&sealed).map(|entry| {
            let index = openraft::entry::RaftEntry::index(&entry);
            assert_eq!(decode_entry(&encode_entry(&entry)).ok().as_ref(), Some(&entry));
            assert!(decode_entry_at(index, &sealed).is_ok());
            assert!(decode_entry_at(index ^ 1, &sealed).is_err(), "it is in two places");
            "an entry"
        }),
        1 => decode_vote(&sealed).map(|vote| {
            assert_eq!(decode_vote(&encode_vote(&vote)).ok(), Some(vote));
            "a vote"
        }),
        2 => decode_log_id(&sealed).map(|id| {
            assert_eq!(decode_log_id(&encode_log_id(&id)).ok(), Some(id));
            "a log id"
        }),
        _ => decode_index(&sealed).map(|index| {
            assert_eq!(decode_index(&encode_index(index)).ok(), Some(index));
            "an index"
        }),
    };
    answer.map_or_else(|error| format!("{error:?}"), str::to_owned)
}

/// A mark promises nothing, or is these very bytes; of one that was written nothing may change.
fn read_mark(bytes: &[u8]) -> String {
    let promised = mark::decode(bytes);
    if let Some(promised) = promised {
        assert_eq!(mark::encode(promised), bytes);
    }
    let Some((sequence, change)) = bytes.split_first_chunk() else { return String::new() };
    let whole = mark::encode(u64::from_le_bytes(*sequence));
    assert_eq!(mark::decode(&whole), Some(u64::from_le_bytes(*sequence)));
    let [at, bit, ..] = change else { return format!("{promised:?}") };
    let mut flipped = whole.clone();
    flipped[usize::from(*at) % whole.len()] ^= 1 << (bit % 8);
    assert_eq!(mark::decode(&flipped), None, "a bit of it was flipped");
    assert_eq!(mark::decode(&whole[..usize::from(*at) % whole.len()]), None, "it was cut off");
    format!("{promised:?} of a whole one")
}

/// What stands before the cluster in a snapshot is refused, or the same when it is written and read
/// again.
fn head(bytes: &[u8]) -> String {
    // As they are they are a snapshot of their own, though seldom one.
    let _ = snapshots::open(bytes);
    let whole = snapshots::seal(bytes);
    match snapshots::open(&whole) {
        Ok((meta, image)) => {
            let again = snapshots::write(&meta, image.clone());
            assert_eq!(snapshots::open(&again).ok(), Some((meta, image)));
            for cut in [0, 1, whole.len() / 2, whole.len() - 1] {
                assert!(snapshots::open(&whole[..cut]).is_err(), "cut off after {cut}");
            }
            "a snapshot".to_owned()
        }
        Err(error) => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use fuzz::Fuzz;
    use model::Timestamp;
    use scheduler_core::{Cluster, Command, Entry};

    use super::*;
    use crate::log::types::SnapshotMeta;

    /// One of each kind, so that changes begin near what is right.
    fn examples() -> Vec<Vec<u8>> {
        let of = |kind: u8, bytes: &[u8]| [&[kind], bytes].concat();
        let mut cluster = Cluster::new();
        let command = Command::Found { id: "c".into(), name: "home".into() };
        cluster.apply(&Entry { at: Timestamp(1), request: None, command }).result.unwrap();
        let snapshot = snapshots::encode(&SnapshotMeta::default(), &cluster);
        let mut examples = vec![
            of(2, &mark::encode(300)),
            of(3, &snapshot),
            // Without its header, which is made.
            of(3, &snapshot[20..]),
        ];
        for (kind, bytes) in store::fuzzing::examples() {
            examples.push(of(kind, &bytes));
        }
        let vote = encode_vote(&super::super::types::Vote::new(3, 1));
        let index = encode_index(Some(7));
        let id = encode_log_id(&super::super::types::log_id(1, 2));
        for (kind, sealed) in [(1, vote), (2, id), (3, index)] {
            examples.push([&[1, kind], &sealed[4..]].concat());
        }
        examples
    }

    #[test]
    fn whatever_lies_in_the_logs_files_is_refused_or_what_was_committed() {
        Fuzz::new("log").inputs(examples()).run(log);
    }

    /// The check is checked: inputs of every kind get to where something is read, not refused.
    #[test]
    fn an_example_of_every_kind_is_read() {
        let answers: Vec<_> = examples().iter().map(|bytes| log(bytes)).collect();
        for expected in
            ["2 steps", "a vote", "of a whole one", "a snapshot", "goes on", "said the same"]
        {
            assert!(
                answers.iter().any(|answer| answer.contains(expected)),
                "{expected}: {answers:#?}"
            );
        }
    }
}

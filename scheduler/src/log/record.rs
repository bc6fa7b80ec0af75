//! What lies on disk: protobuf records, each behind its own CRC32C.
//!
//! A commit has a checksum of its own; this one covers a record from the moment it is encoded until it
//! is decoded, so that damage anywhere in between is found, not believed.

use std::collections::BTreeMap;

use bytes::Bytes;
use openraft::{BasicNode, EntryPayload, entry::RaftEntry as _};
use prost::Message;
use thiserror::Error;

use super::types::{LogId, Membership, Payload, RaftEntry, Vote, log_id};

/// Bytes of the checksum in front of each record.
const CHECKSUM_BYTES: usize = 4;

/// Why a record cannot be believed.
#[derive(Debug, Error)]
pub(crate) enum BadRecord {
    #[error("its checksum does not match")]
    Checksum,
    #[error("it does not decode")]
    Shape(#[source] prost::DecodeError),
    #[error("it lacks {0}")]
    Missing(&'static str),
    #[error("it says it is entry {0}, and no log is that long")]
    Beyond(u64),
    #[error("it says it is entry {found}, in the place of entry {expected}")]
    Misplaced { found: u64, expected: u64 },
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct LogIdRecord {
    #[prost(uint64, tag = "1")]
    term: u64,
    #[prost(uint64, tag = "2")]
    index: u64,
}

#[derive(Clone, PartialEq, Message)]
struct EntryRecord {
    #[prost(message, optional, tag = "1")]
    id: Option<LogIdRecord>,
    #[prost(oneof = "PayloadRecord", tags = "2, 3, 4")]
    payload: Option<PayloadRecord>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum PayloadRecord {
    #[prost(message, tag = "2")]
    Blank(BlankRecord),
    #[prost(bytes = "bytes", tag = "3")]
    Command(Bytes),
    #[prost(message, tag = "4")]
    Membership(MembershipRecord),
}

#[derive(Clone, PartialEq, Message)]
struct BlankRecord {}

/// Who votes: one set, or two while the members change.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct MembershipRecord {
    #[prost(message, repeated, tag = "1")]
    voters: Vec<VotersRecord>,
    #[prost(btree_map = "uint64, string", tag = "2")]
    addresses: BTreeMap<u64, String>,
}

#[derive(Clone, PartialEq, Message)]
struct VotersRecord {
    #[prost(uint64, repeated, tag = "1")]
    ids: Vec<u64>,
}

#[derive(Clone, PartialEq, Message)]
struct VoteRecord {
    #[prost(uint64, tag = "1")]
    term: u64,
    #[prost(uint64, tag = "2")]
    scheduler: u64,
    #[prost(bool, tag = "3")]
    committed: bool,
}

#[derive(Clone, PartialEq, Message)]
struct IndexRecord {
    #[prost(uint64, optional, tag = "1")]
    index: Option<u64>,
}

impl From<&LogId> for LogIdRecord {
    fn from(id: &LogId) -> Self {
        Self { term: id.leader_id.term, index: id.index }
    }
}

impl TryFrom<&LogIdRecord> for LogId {
    type Error = BadRecord;

    fn try_from(record: &LogIdRecord) -> Result<Self, BadRecord> {
        // So that the entry after any entry has a number.
        if record.index == u64::MAX {
            return Err(BadRecord::Beyond(record.index));
        }
        Ok(log_id(record.term, record.index))
    }
}

impl From<&Membership> for MembershipRecord {
    fn from(membership: &Membership) -> Self {
        let voters = membership.get_joint_config().iter();
        Self {
            voters: voters.map(|ids| VotersRecord { ids: ids.iter().copied().collect() }).collect(),
            addresses: membership.nodes().map(|(id, node)| (*id, node.addr.clone())).collect(),
        }
    }
}

impl TryFrom<MembershipRecord> for Membership {
    type Error = BadRecord;

    fn try_from(record: MembershipRecord) -> Result<Self, BadRecord> {
        let voters = record.voters.into_iter().map(|set| set.ids.into_iter().collect()).collect();
        let nodes: BTreeMap<u64, BasicNode> = record
            .addresses
            .into_iter()
            .map(|(id, address)| (id, BasicNode::new(address)))
            .collect();
        Self::new(voters, nodes).map_err(|_| BadRecord::Missing("the address of a voter"))
    }
}

fn seal(message: &impl Message) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(CHECKSUM_BYTES + message.encoded_len());
    bytes.extend_from_slice(&[0; CHECKSUM_BYTES]);
    bytes.extend_from_slice(&message.encode_to_vec());
    if let Some((checksum, body)) = bytes.split_first_chunk_mut::<CHECKSUM_BYTES>() {
        *checksum = crc32c::crc32c(body).to_le_bytes();
    }
    bytes
}

fn unseal<M: Message + Default>(sealed: &[u8]) -> Result<M, BadRecord> {
    let (checksum, body) = sealed.split_first_chunk().ok_or(BadRecord::Checksum)?;
    if crc32c::crc32c(body) != u32::from_le_bytes(*checksum) {
        return Err(BadRecord::Checksum);
    }
    M::decode(body).map_err(BadRecord::Shape)
}

/// The bytes of one entry.
pub(crate) fn encode_entry(entry: &RaftEntry) -> Vec<u8> {
    let payload = match &entry.payload {
        EntryPayload::Blank => PayloadRecord::Blank(BlankRecord {}),
        EntryPayload::Normal(payload) => PayloadRecord::Command(payload.0.clone()),
        EntryPayload::Membership(membership) => PayloadRecord::Membership(membership.into()),
    };
    seal(&EntryRecord { id: Some((&entry.log_id()).into()), payload: Some(payload) })
}

/// The entry of these bytes.
pub(crate) fn decode_entry(sealed: &[u8]) -> Result<RaftEntry, BadRecord> {
    let record: EntryRecord = unseal(sealed)?;
    let id: LogId = (&record.id.ok_or(BadRecord::Missing("its log id"))?).try_into()?;
    let payload = match record.payload.ok_or(BadRecord::Missing("its payload"))? {
        PayloadRecord::Blank(_) => EntryPayload::Blank,
        PayloadRecord::Command(bytes) => EntryPayload::Normal(Payload(bytes)),
        PayloadRecord::Membership(membership) => EntryPayload::Membership(membership.try_into()?),
    };
    Ok(RaftEntry::new(id, payload))
}

/// The entry that lies in the place `index`.
pub(crate) fn decode_entry_at(index: u64, sealed: &[u8]) -> Result<RaftEntry, BadRecord> {
    let entry = decode_entry(sealed)?;
    if entry.index() != index {
        return Err(BadRecord::Misplaced { found: entry.index(), expected: index });
    }
    Ok(entry)
}

pub(crate) fn encode_vote(vote: &Vote) -> Vec<u8> {
    let leader = &vote.leader_id;
    seal(&VoteRecord { term: leader.term, scheduler: leader.voted_for, committed: vote.committed })
}

pub(crate) fn decode_vote(sealed: &[u8]) -> Result<Vote, BadRecord> {
    let record: VoteRecord = unseal(sealed)?;
    if record.committed {
        return Ok(Vote::new_committed(record.term, record.scheduler));
    }
    Ok(Vote::new(record.term, record.scheduler))
}

pub(crate) fn encode_log_id(id: &LogId) -> Vec<u8> {
    seal(&LogIdRecord::from(id))
}

pub(crate) fn decode_log_id(sealed: &[u8]) -> Result<LogId, BadRecord> {
    (&unseal::<LogIdRecord>(sealed)?).try_into()
}

/// The index after which a log is cut off; `None` when nothing of it stays.
pub(crate) fn encode_index(index: Option<u64>) -> Vec<u8> {
    seal(&IndexRecord { index })
}

pub(crate) fn decode_index(sealed: &[u8]) -> Result<Option<u64>, BadRecord> {
    Ok(unseal::<IndexRecord>(sealed)?.index)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn entries() -> Vec<RaftEntry> {
        let voters = vec![BTreeSet::from([1]), BTreeSet::from([1, 2])];
        let nodes = BTreeMap::from([(1, BasicNode::new("a:1")), (2, BasicNode::new("b:2"))]);
        let membership = Membership::new(voters, nodes).unwrap();
        let id = |index| log_id(3, index);
        vec![
            RaftEntry::new(id(7), EntryPayload::Blank),
            RaftEntry::new(id(8), EntryPayload::Normal(Payload(Bytes::from_static(b"command")))),
            RaftEntry::new(id(9), EntryPayload::Membership(membership)),
        ]
    }

    #[test]
    fn an_entry_reads_back_in_its_own_place_only() {
        for entry in entries() {
            let bytes = encode_entry(&entry);
            assert_eq!(decode_entry_at(entry.index(), &bytes).unwrap(), entry);
            let misplaced = decode_entry_at(entry.index() + 1, &bytes);
            assert!(matches!(misplaced, Err(BadRecord::Misplaced { .. })), "{misplaced:?}");
        }
    }

    #[test]
    fn every_flipped_bit_of_a_record_is_found() {
        for entry in entries() {
            let bytes = encode_entry(&entry);
            for position in 0..bytes.len() * 8 {
                let mut damaged = bytes.clone();
                damaged[position / 8] ^= 1 << (position % 8);
                assert!(decode_entry(&damaged).is_err(), "bit {position}");
            }
            for length in 0..bytes.len() {
                assert!(decode_entry(&bytes[..length]).is_err(), "cut at {length}");
            }
        }
    }

    #[test]
    fn votes_log_ids_and_indices_read_back() {
        for vote in [Vote::new(4, 2), Vote::new_committed(4, 2)] {
            assert_eq!(decode_vote(&encode_vote(&vote)).unwrap(), vote);
        }
        for entry in entries() {
            assert_eq!(decode_log_id(&encode_log_id(&entry.log_id())).unwrap(), entry.log_id());
        }
        for index in [None, Some(0), Some(7)] {
            assert_eq!(decode_index(&encode_index(index)).unwrap(), index);
        }
    }

    #[test]
    fn an_entry_after_which_none_can_be_numbered_is_refused() {
        let last = RaftEntry::new(log_id(3, u64::MAX), EntryPayload::Blank);
        assert!(matches!(decode_entry(&encode_entry(&last)), Err(BadRecord::Beyond(u64::MAX))));
        assert!(decode_log_id(&encode_log_id(&last.log_id())).is_err());
        let before = RaftEntry::new(log_id(3, u64::MAX - 1), EntryPayload::Blank);
        assert_eq!(decode_entry(&encode_entry(&before)).unwrap(), before);
    }

    /// These bytes lie on disks: they must be written and read like this for ever.
    #[test]
    fn records_keep_their_bytes() {
        let hex = |bytes: &[u8]| model::token::Hex(bytes).to_string();
        let written: Vec<_> = entries().iter().map(|entry| hex(&encode_entry(entry))).collect();
        assert_eq!(
            written,
            [
                "1f35aa540a04080310071200",
                "9febf3340a04080310081a07636f6d6d616e64",
                "5873cbf90a0408031009221d0a030a01010a040a020102120708011203613a31120708021203623a32",
            ]
        );
        assert_eq!(hex(&encode_vote(&Vote::new_committed(4, 2))), "2f88d821080410021801");
        assert_eq!(hex(&encode_log_id(&entries()[0].log_id())), "387d02bf08031007");
        assert_eq!(
            [hex(&encode_index(None)), hex(&encode_index(Some(0)))],
            ["00000000", "6ab4756c0800"]
        );
    }
}

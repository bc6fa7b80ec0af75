//! What the door holds whatever comes to it: called by its own tests and by the guided fuzzer of
//! `tests/fuzz/guided`.

use std::fmt::Debug;

use model::{
    AssignmentSet, Inventory, StackSpec, TaskId, TaskReport, TaskStatus,
    task::{MemorySeen, Telemetry},
    view,
};

use super::BadField;
use crate::v1;

/// Reads the bytes as one kind of message.
type Reader = fn(&[u8]) -> String;

/// The kinds of messages; the first byte of an input chooses one.
const KINDS: &[Reader] = &[
    again::<v1::StackSpec, StackSpec>,
    again::<v1::Inventory, Inventory>,
    again::<v1::TaskReport, TaskReport>,
    again::<v1::TaskStatus, TaskStatus>,
    again::<v1::AssignmentSet, AssignmentSet>,
    telemetry,
    again::<v1::TaskRow, view::TaskRow>,
    again::<v1::EventRow, view::EventRow>,
    again::<v1::NodeRow, view::NodeRow>,
    again::<v1::PlacementView, view::PlacementView>,
    again::<v1::PlanView, view::PlanView>,
    again::<v1::ExplainView, view::ExplainView>,
    again::<v1::StatusView, view::StatusView>,
    again::<v1::StackRow, view::StackRow>,
    again::<v1::RevisionRow, view::RevisionRow>,
    again::<v1::TokenRow, view::TokenRow>,
    again::<v1::AdviceRow, view::AdviceRow>,
    memory_seen,
];

/// A message is refused, naming its field, or means the same when it is sent on.
pub fn message(bytes: &[u8]) -> String {
    let Some((&kind, bytes)) = bytes.split_first() else { return "nothing".to_owned() };
    // As a letter: numbers in answers do not count as different.
    let kind = usize::from(kind) % KINDS.len();
    let letter = ('a'..='z').nth(kind).unwrap_or('?');
    format!("{letter}: {}", KINDS[kind](bytes))
}

/// What passed, sent on and read again.
fn again<W, M>(bytes: &[u8]) -> String
where
    W: prost::Message + Default + for<'a> From<&'a M>,
    M: TryFrom<W, Error = BadField> + Debug + PartialEq,
{
    let Ok(wire) = W::decode(bytes) else { return "no message".to_owned() };
    match M::try_from(wire) {
        Ok(model) => {
            let sent = W::decode(W::from(&model).encode_to_vec().as_slice()).expect("a message");
            assert_eq!(M::try_from(sent).as_ref(), Ok(&model));
            "taken".to_owned()
        }
        Err(error) => error.to_string(),
    }
}

fn telemetry(bytes: &[u8]) -> String {
    of_task::<v1::TaskTelemetry, Telemetry>(bytes)
}

fn memory_seen(bytes: &[u8]) -> String {
    of_task::<v1::TaskMemory, MemorySeen>(bytes)
}

/// As [`again`], for messages that are written from a pair.
fn of_task<W, M>(bytes: &[u8]) -> String
where
    W: prost::Message + Default + for<'a> From<(TaskId, &'a M)>,
    (TaskId, M): TryFrom<W, Error = BadField>,
    M: Debug + PartialEq,
{
    let Ok(wire) = W::decode(bytes) else { return "no message".to_owned() };
    match <(TaskId, M)>::try_from(wire) {
        Ok((task, read)) => {
            let sent = W::from((task, &read));
            assert_eq!(<(TaskId, M)>::try_from(sent), Ok((task, read)));
            "taken".to_owned()
        }
        Err(error) => error.to_string(),
    }
}

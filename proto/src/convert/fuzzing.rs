//! What the door holds whatever comes to it: called by its own tests and by the guided fuzzer of
//! `tests/fuzz/guided`.

use std::fmt::Debug;

use model::{
    AssignmentSet, Inventory, StackSpec, TaskId, TaskReport, TaskStatus, task::Telemetry, view,
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

/// As [`again`], for the one message that is written from a pair.
fn telemetry(bytes: &[u8]) -> String {
    let Ok(wire) = <v1::TaskTelemetry as prost::Message>::decode(bytes) else {
        return "no message".to_owned();
    };
    match <(TaskId, Telemetry)>::try_from(wire) {
        Ok((task, telemetry)) => {
            let sent = v1::TaskTelemetry::from((task, &telemetry));
            assert_eq!(sent.try_into(), Ok((task, telemetry)));
            "taken".to_owned()
        }
        Err(error) => error.to_string(),
    }
}

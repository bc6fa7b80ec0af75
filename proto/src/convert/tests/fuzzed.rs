//! Messages changed in every way: what passes means the same when it is sent on.

use fuzz::Fuzz;
use proptest::{strategy::ValueTree as _, test_runner::TestRunner};

use super::*;
use crate::convert::fuzzing;

/// A few of what the strategy makes, behind the byte that chooses its kind of message.
fn some<W, M>(kind: u8, strategy: &impl Strategy<Value = M>) -> Vec<Vec<u8>>
where
    W: prost::Message + for<'a> From<&'a M>,
{
    let mut runner = TestRunner::deterministic();
    let one = |_| {
        let model = strategy.new_tree(&mut runner).expect("a value").current();
        [vec![kind], W::from(&model).encode_to_vec()].concat()
    };
    (0..10).map(one).collect()
}

#[test]
fn any_message_is_refused_or_means_the_same_when_it_is_sent_on() {
    let shown = |kind, bytes: fn(&shown::Shown) -> Vec<u8>| {
        let mut runner = TestRunner::deterministic();
        let one = |_| {
            let shown = shown::all().new_tree(&mut runner).expect("a value").current();
            [vec![kind], bytes(&shown)].concat()
        };
        (0..3).map(one).collect::<Vec<_>>()
    };
    Fuzz::new("wire")
        .inputs(some::<v1::StackSpec, _>(0, &wanted::stack()))
        .inputs(some::<v1::Inventory, _>(1, &wanted::inventory()))
        .inputs(some::<v1::TaskStatus, _>(3, &wanted::status()))
        .inputs(some::<v1::AssignmentSet, _>(4, &wanted::assignment_set()))
        .inputs(shown(6, |shown| v1::TaskRow::from(&shown.task).encode_to_vec()))
        .inputs(shown(7, |shown| v1::EventRow::from(&shown.event).encode_to_vec()))
        .inputs(shown(8, |shown| v1::NodeRow::from(&shown.node).encode_to_vec()))
        .inputs(shown(9, |shown| v1::PlacementView::from(&shown.placement).encode_to_vec()))
        .inputs(shown(10, |shown| v1::PlanView::from(&shown.plan).encode_to_vec()))
        .inputs(shown(11, |shown| v1::ExplainView::from(&shown.explain).encode_to_vec()))
        .inputs(shown(12, |shown| v1::StatusView::from(&shown.status).encode_to_vec()))
        .inputs(shown(13, |shown| v1::StackRow::from(&shown.stack).encode_to_vec()))
        .inputs(shown(14, |shown| v1::RevisionRow::from(&shown.revision).encode_to_vec()))
        .inputs(shown(15, |shown| v1::TokenRow::from(&shown.token).encode_to_vec()))
        .run(fuzzing::message);
}

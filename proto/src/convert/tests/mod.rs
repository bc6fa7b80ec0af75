//! What is written is read back; what must not pass does not; nothing panics.

mod fuzzed;
mod refusals;
mod shown;
mod wanted;

use std::fmt::Debug;

use model::{AssignmentSet, Inventory, StackSpec, TaskReport, TaskStatus, view};
use proptest::{prelude::*, sample::Index};
use prost::Message as _;

use super::BadField;
use crate::v1;

/// Over the wire and back.
fn crosses<W, M>(model: &M) -> Result<(), TestCaseError>
where
    W: prost::Message + Default + for<'a> From<&'a M>,
    M: TryFrom<W, Error = BadField> + Debug + PartialEq,
{
    let bytes = W::from(model).encode_to_vec();
    let back =
        W::decode(bytes.as_slice()).map_err(|error| TestCaseError::fail(error.to_string()))?;
    let read = M::try_from(back);
    prop_assert_eq!(read.as_ref(), Ok(model));
    Ok(())
}

/// What `bytes` mean, if anything: only a panic is wrong here.
fn take<W, M>(bytes: &[u8]) -> bool
where
    W: prost::Message + Default,
    M: TryFrom<W, Error = BadField>,
{
    W::decode(bytes).is_ok_and(|wire| M::try_from(wire).is_ok())
}

fn take_all(bytes: &[u8]) -> usize {
    let taken = [
        take::<v1::StackSpec, StackSpec>(bytes),
        take::<v1::Inventory, Inventory>(bytes),
        take::<v1::TaskReport, TaskReport>(bytes),
        take::<v1::AssignmentSet, AssignmentSet>(bytes),
        take::<v1::TaskTelemetry, (model::TaskId, model::task::Telemetry)>(bytes),
        take::<v1::TaskMemory, (model::TaskId, model::task::MemorySeen)>(bytes),
        take::<v1::AdviceRow, view::AdviceRow>(bytes),
        take::<v1::TaskRow, view::TaskRow>(bytes),
        take::<v1::NodeRow, view::NodeRow>(bytes),
        take::<v1::PlanView, view::PlanView>(bytes),
        take::<v1::WhatIfView, view::WhatIfView>(bytes),
        take::<v1::ImaginedNode, model::ImaginedNode>(bytes),
        take::<v1::DrainView, view::DrainView>(bytes),
        take::<v1::RebalanceView, view::RebalanceView>(bytes),
        take::<v1::ExplainView, view::ExplainView>(bytes),
        take::<v1::StatusView, view::StatusView>(bytes),
    ];
    taken.into_iter().filter(|taken| *taken).count()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_stack_crosses_the_wire(spec in wanted::stack()) {
        crosses::<v1::StackSpec, StackSpec>(&spec)?;
    }

    #[test]
    fn an_assignment_set_crosses_the_wire(set in wanted::assignment_set()) {
        crosses::<v1::AssignmentSet, AssignmentSet>(&set)?;
    }

    #[test]
    fn a_cut_message_does_not_panic(spec in wanted::stack(), cut in any::<Index>()) {
        let bytes = v1::StackSpec::from(&spec).encode_to_vec();
        take_all(bytes.get(..cut.index(bytes.len())).unwrap_or_default());
    }

    #[test]
    fn a_damaged_message_does_not_panic(
        set in wanted::assignment_set(),
        at in any::<Index>(),
        damage in 1..=255_u8,
    ) {
        let mut bytes = v1::AssignmentSet::from(&set).encode_to_vec();
        let at = at.index(bytes.len());
        bytes[at] ^= damage;
        take_all(&bytes);
    }
}

proptest! {
    #[test]
    fn a_status_crosses_the_wire(status in wanted::status()) {
        crosses::<v1::TaskStatus, TaskStatus>(&status)?;
    }

    #[test]
    fn an_inventory_crosses_the_wire(inventory in wanted::inventory()) {
        crosses::<v1::Inventory, Inventory>(&inventory)?;
    }

    #[test]
    fn telemetry_crosses_the_wire((task, telemetry) in wanted::telemetry()) {
        let wire = v1::TaskTelemetry::from((task, &telemetry));
        prop_assert_eq!(wire.try_into(), Ok((task, telemetry)));
    }

    #[test]
    fn what_was_seen_of_memory_crosses_the_wire((task, seen) in wanted::memory_seen()) {
        let wire = v1::TaskMemory::from((task, &seen));
        prop_assert_eq!(wire.try_into(), Ok((task, seen)));
    }

    #[test]
    fn what_is_shown_crosses_the_wire(shown in shown::all()) {
        crosses::<v1::TaskRow, view::TaskRow>(&shown.task)?;
        crosses::<v1::EventRow, view::EventRow>(&shown.event)?;
        crosses::<v1::NodeRow, view::NodeRow>(&shown.node)?;
        crosses::<v1::PlacementView, view::PlacementView>(&shown.placement)?;
        crosses::<v1::PlanView, view::PlanView>(&shown.plan)?;
        crosses::<v1::WhatIfView, view::WhatIfView>(&shown.what_if)?;
        crosses::<v1::ImaginedNode, model::ImaginedNode>(&shown.imagined)?;
        crosses::<v1::DrainView, view::DrainView>(&shown.drain)?;
        crosses::<v1::AdviceRow, view::AdviceRow>(&shown.advice)?;
        crosses::<v1::RebalanceView, view::RebalanceView>(&shown.rebalance)?;
        crosses::<v1::ExplainView, view::ExplainView>(&shown.explain)?;
        crosses::<v1::StatusView, view::StatusView>(&shown.status)?;
        crosses::<v1::StackRow, view::StackRow>(&shown.stack)?;
        crosses::<v1::RevisionRow, view::RevisionRow>(&shown.revision)?;
        crosses::<v1::TokenRow, view::TokenRow>(&shown.token)?;
    }

    #[test]
    fn random_bytes_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        take_all(&bytes);
    }
}

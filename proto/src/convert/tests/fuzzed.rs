//! Messages changed in every way: what passes means the same when it is sent on.

use fuzz::Fuzz;

use super::*;

/// What passed, sent on and read again.
#[track_caller]
fn again<W, M>(bytes: &[u8]) -> Option<String>
where
    W: prost::Message + Default + for<'a> From<&'a M>,
    M: TryFrom<W, Error = BadField> + Debug + PartialEq,
{
    let wire = W::decode(bytes).ok()?;
    match M::try_from(wire) {
        Ok(model) => {
            let sent = W::decode(W::from(&model).encode_to_vec().as_slice()).expect("a message");
            assert_eq!(M::try_from(sent).as_ref(), Ok(&model));
            Some("taken".to_owned())
        }
        Err(error) => Some(error.to_string()),
    }
}

#[test]
fn any_message_is_refused_or_means_the_same_when_it_is_sent_on() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut one = |strategy: &dyn Fn(&mut proptest::test_runner::TestRunner) -> Vec<u8>| {
        strategy(&mut runner)
    };
    let stack = |runner: &mut _| {
        let tree = wanted::stack().new_tree(runner).expect("a stack");
        v1::StackSpec::from(&proptest::strategy::ValueTree::current(&tree)).encode_to_vec()
    };
    let inputs: Vec<_> = (0..30).map(|_| one(&stack)).collect();
    Fuzz::new("wire").inputs(inputs).run(|bytes| {
        let answers = [
            again::<v1::StackSpec, StackSpec>(bytes),
            again::<v1::Inventory, Inventory>(bytes),
            again::<v1::TaskReport, TaskReport>(bytes),
            again::<v1::AssignmentSet, AssignmentSet>(bytes),
        ];
        format!("{answers:?} {}", take_all(bytes)).replace('"', "")
    });
}

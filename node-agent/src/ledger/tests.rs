use std::{fs, sync::Arc};

use model::{
    Assignment, Bytes, Desired, Epoch, ServiceName, ServiceSpec, StackName, TaskState, TaskStatus,
    VolumeName, assignment::AssignedVolume,
};

use super::*;

fn set(generation: u64) -> AssignmentSet {
    let volume =
        AssignedVolume { engine_name: "shop_data".to_owned(), external: false, must_exist: true };
    AssignmentSet {
        cluster: "c1".to_owned(),
        node: NodeId::new(1),
        generation: Generation(generation),
        tasks: vec![Assignment {
            task: TaskId::new(7),
            stack: StackName::new("shop").unwrap(),
            service: ServiceName::new("web").unwrap(),
            slot: 1,
            epoch: Epoch(2),
            desired: Desired::Run,
            spec: Arc::new(ServiceSpec::new("image")),
            volumes: [(VolumeName::new("data").unwrap(), volume)].into(),
        }],
        stacks: vec![StackName::new("shop").unwrap()],
        remove_volumes: vec!["old".to_owned()],
    }
}

fn held() -> Held {
    let status = TaskStatus {
        restarts: 3,
        state: TaskState::Running,
        sequence: 9,
        container: Some("abc".to_owned()),
        ..TaskStatus::default()
    };
    let attempt = Attempt {
        status,
        streak: 2,
        failures: 1,
        counted: Some(Timestamp(5)),
        ..Attempt::default()
    };
    let inventory = Inventory { memory: Bytes::gib(14), ..Inventory::default() };
    let attempts = [(TaskId::new(7), attempt)].into();
    Held { set: set(4), attempts, inventory: Some(inventory) }
}

fn bytes() -> Vec<u8> {
    let Held { set, attempts, inventory } = held();
    encode(&set, &attempts, inventory.as_ref())
}

#[test]
fn what_was_written_is_read_back() {
    let directory = tempfile::tempdir().unwrap();
    let (ledger, found) = Ledger::open(directory.path());
    assert_eq!(found.unwrap(), None);
    ledger.write(&bytes()).unwrap();
    let (_, found) = Ledger::open(directory.path());
    assert_eq!(found.unwrap(), Some(held()));
}

#[test]
fn a_ledger_cut_off_anywhere_is_damaged() {
    let whole = bytes();
    for length in 0..whole.len() {
        assert!(decode(&whole[..length]).is_err(), "cut after {length} bytes");
    }
}

#[test]
fn a_ledger_with_any_bit_flipped_is_damaged() {
    let whole = bytes();
    for position in 0..whole.len() {
        for bit in 0..8 {
            let mut flipped = whole.clone();
            flipped[position] ^= 1 << bit;
            assert!(decode(&flipped).is_err(), "bit {bit} of byte {position}");
        }
    }
}

#[test]
fn a_damaged_ledger_is_put_aside_and_not_believed() {
    let directory = tempfile::tempdir().unwrap();
    let mut torn = bytes();
    torn.pop();
    fs::write(directory.path().join(FILE), &torn).unwrap();
    let (ledger, found) = Ledger::open(directory.path());
    assert!(matches!(found, Err(LedgerError::Damaged { .. })), "{found:?}");
    ledger.put_aside().unwrap();
    assert_eq!(fs::read(directory.path().join(DAMAGED)).unwrap(), torn);
    let (_, found) = Ledger::open(directory.path());
    assert_eq!(found.unwrap(), None);
}

#[test]
fn a_write_that_was_interrupted_leaves_the_old_ledger() {
    let directory = tempfile::tempdir().unwrap();
    let (ledger, _) = Ledger::open(directory.path());
    ledger.write(&bytes()).unwrap();
    fs::write(directory.path().join("ledger.new"), b"half").unwrap();
    let (ledger, found) = Ledger::open(directory.path());
    assert_eq!(found.unwrap(), Some(held()));
    ledger.write(&bytes()).unwrap();
}

#[test]
fn only_a_set_of_ours_that_is_not_older_is_accepted() {
    let ours = ("c1", NodeId::new(1));
    let current = set(4);
    assert_eq!(check(ours, None, &set(0)), Ok(()));
    assert_eq!(check(ours, Some(&current), &set(4)), Ok(()));
    assert_eq!(check(ours, Some(&current), &set(5)), Ok(()));
    let stale = NotAccepted::Stale { got: Generation(3), held: Generation(4) };
    assert_eq!(check(ours, Some(&current), &set(3)), Err(stale));
    for others in [("c2", NodeId::new(1)), ("c1", NodeId::new(2))] {
        let answer = check(others, None, &set(9));
        assert!(matches!(answer, Err(NotAccepted::NotOurs { .. })), "{answer:?}");
    }
    let mut large = set(5);
    large.tasks = vec![large.tasks[0].clone(); MAX_TASKS + 1];
    assert_eq!(check(ours, None, &large), Err(NotAccepted::TooMany { count: MAX_TASKS + 1 }));
    let mut empty = set(5);
    empty.tasks.clear();
    assert_eq!(check(ours, Some(&current), &empty), Ok(()), "nothing is a valid wish");
}

mod fuzzed {
    use super::*;

    #[test]
    fn any_bytes_behind_a_right_checksum_are_refused_or_read_back() {
        let whole = bytes();
        let without_attempts = encode(&set(1), &BTreeMap::new(), None);
        let bodies = [whole, without_attempts].map(|bytes| bytes[HEADER..].to_vec());
        fuzz::Fuzz::new("ledger").inputs(bodies).run(fuzzing::ledger);
    }
}

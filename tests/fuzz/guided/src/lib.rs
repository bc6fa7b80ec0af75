//! What the targets share: the bound of an input's time, and changes of inputs that are protobuf
//! messages.
//!
//! A byte inserted into a message within messages makes every length around it wrong, and little
//! else is tried then. So a message is taken apart without knowing its type, changed field by field,
//! and written with lengths that are right.
//!
//! Start at [`target!`] and [`changed`].

mod tree;

use std::time::Duration;

use fuzz::Dice;
use rustix::time::{ClockId, clock_gettime};

use tree::{Field, Value};

/// Changes on top of each other.
const CHANGES_MAX: usize = 4;
/// One input in so many is changed as mere bytes.
const RAW: usize = 6;
/// Field numbers made up are below this; no message of ours has more fields.
const NUMBERS: usize = 24;
/// Numbers at which fields end.
const EDGES: &[u64] =
    &[0, 1, 2, 3, 127, 128, 255, 1_000, 65_535, 1 << 31, (1 << 32) - 1, 1 << 62, 1 << 63, u64::MAX];

/// What one input may cost; the largest stack file takes a fraction of it.
const COST_MAX: Duration = Duration::from_secs(5);

/// Makes a reader a target.
#[macro_export]
macro_rules! target {
    ($reader:path) => {
        libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
            $crate::within_bounds(|| $reader(bytes));
        });
    };
}

/// Reads. libFuzzer's own limit is of time that passes, most of which belongs to others on a machine
/// that is busy.
///
/// # Panics
///
/// When it takes more than 5 s of processor time.
pub fn within_bounds<T>(read: impl FnOnce() -> T) {
    let began = processor_time();
    read();
    let cost = processor_time().saturating_sub(began);
    assert!(cost <= COST_MAX, "took {cost:?} of processor time");
}

fn processor_time() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime).try_into().unwrap_or_default()
}

/// Gives a target these changes. The first `$kept` bytes of an input are no part of the message.
#[macro_export]
macro_rules! protobuf {
    ($kept:expr) => {
        libfuzzer_sys::fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
            $crate::changed(data, size, max_size, seed, $kept)
        });
        libfuzzer_sys::fuzz_crossover!(|one: &[u8], other: &[u8], out: &mut [u8], seed: u32| {
            $crate::crossed(one, other, out, seed, $kept)
        });
    };
}

/// Changes the input of `size` bytes in `data`; answers its new size, at most `max_size`.
pub fn changed(data: &mut [u8], size: usize, max_size: usize, seed: u32, kept: usize) -> usize {
    let mut dice = Dice::new(seed.into());
    let (head, body) = data[..size].split_at(kept.min(size));
    let parsed = tree::read(body).filter(|_| head.len() == kept);
    let Some(mut fields) = parsed.filter(|_| dice.below(RAW) > 0) else {
        return libfuzzer_sys::fuzzer_mutate(data, size, max_size);
    };
    let mut input = head.to_vec();
    if let Some(byte) = input.first_mut().filter(|_| dice.below(RAW) == 0) {
        *byte = dice.byte();
    }
    for _ in 0..=dice.below(CHANGES_MAX) {
        change(&mut dice, &mut fields);
    }
    tree::write(&fields, &mut input);
    give(&input, data, max_size)
}

/// A field of the one input put into the other, in `out`; answers the size.
pub fn crossed(one: &[u8], other: &[u8], out: &mut [u8], seed: u32, kept: usize) -> usize {
    let mut dice = Dice::new(seed.into());
    let body = |input: &[u8]| input.get(kept..).and_then(tree::read);
    let (Some(mut fields), Some(mut from)) = (body(one), body(other)) else {
        return give(one, out, out.len());
    };
    if let Some(field) = tree::any(&mut dice, &mut from) {
        let field = field.clone();
        place(&mut dice, &mut fields, field);
    }
    let mut input = one[..kept].to_vec();
    tree::write(&fields, &mut input);
    give(&input, out, out.len())
}

fn give(input: &[u8], out: &mut [u8], max: usize) -> usize {
    let size = input.len().min(max).min(out.len());
    out[..size].copy_from_slice(&input[..size]);
    size
}

fn change(dice: &mut Dice, fields: &mut Vec<Field>) {
    let list = tree::any_list(dice, fields);
    let at = dice.below(list.len());
    match dice.below(8) {
        0 if !list.is_empty() => drop(list.remove(at)),
        1 if !list.is_empty() => {
            let again = list[at].clone();
            list.push(again);
        }
        2 => {
            let to = dice.below(list.len());
            if !list.is_empty() {
                list.swap(at, to);
            }
        }
        3 => list.push(made_up(dice)),
        4 => {
            let Some(field) = tree::any(dice, fields) else { return };
            let field = field.clone();
            place(dice, fields, field);
        }
        _ => match list.get_mut(at) {
            Some(field) => change_value(dice, &mut field.value),
            None => list.push(made_up(dice)),
        },
    }
}

fn made_up(dice: &mut Dice) -> Field {
    let number = 1 + dice.below(NUMBERS) as u64;
    let value = match dice.below(3) {
        0 => Value::Number(*dice.pick(EDGES).unwrap_or(&0)),
        1 => Value::Bytes((0..dice.below(8)).map(|_| dice.byte()).collect()),
        _ => Value::Message(Vec::new()),
    };
    Field { number, value }
}

/// Puts the field where one of its number is already, if there is such a place: instead of it or
/// beside it.
fn place(dice: &mut Dice, fields: &mut Vec<Field>, field: Field) {
    let mut lists = tree::lists(fields, &|list| list.iter().any(|f| f.number == field.number));
    if lists == 0 {
        lists = tree::lists(fields, &|_| true);
        let list = tree::list(fields, dice.below(lists), &|_| true);
        list.push(field);
        return;
    }
    let number = field.number;
    let has = |list: &[Field]| list.iter().any(|f| f.number == number);
    let list = tree::list(fields, dice.below(lists), &has);
    match list.iter_mut().find(|held| held.number == number) {
        Some(held) if dice.below(2) == 0 => held.value = field.value,
        _ => list.push(field),
    }
}

fn change_value(dice: &mut Dice, value: &mut Value) {
    match value {
        Value::Number(number) => {
            *number = match dice.below(4) {
                0 => *dice.pick(EDGES).unwrap_or(&0),
                1 => number.wrapping_add(1),
                2 => number.wrapping_sub(1),
                _ => *number ^ 1 << dice.below(64),
            }
        }
        Value::Eight(bytes) => bytes[dice.below(8)] = dice.byte(),
        Value::Four(bytes) => bytes[dice.below(4)] = dice.byte(),
        Value::Bytes(bytes) => {
            let (size, room) = (bytes.len(), bytes.len() + 16);
            bytes.resize(room, 0);
            let size = libfuzzer_sys::fuzzer_mutate(bytes, size, room);
            bytes.truncate(size);
        }
        // What looks like a message may be a text.
        Value::Message(fields) => {
            let mut bytes = Vec::new();
            tree::write(fields, &mut bytes);
            *value = Value::Bytes(bytes);
        }
    }
}

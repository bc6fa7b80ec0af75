//! Changes of an input.

use crate::Dice;

/// Changes on top of each other: most inputs stay close to what is known.
const CHANGES_MAX: usize = 6;
/// Bytes moved, removed or repeated at once.
const PIECE_MAX: usize = 64;
/// Numbers at which fields end.
const EDGES: &[&str] = &[
    "0",
    "-1",
    "1",
    "65535",
    "65536",
    "4294967295",
    "4294967296",
    "9223372036854775808",
    "18446744073709551616",
    "1e309",
    "0.0000001",
    "NaN",
];
const BYTES: &[u8] = &[0x00, 0x01, 0x7f, 0x80, 0xff, b'\n', b' ', b'"', b'$', b'{'];

/// One of the pool, changed.
pub(crate) fn one(
    dice: &mut Dice,
    pool: &[Vec<u8>],
    words: &[Vec<u8>],
    bytes_max: usize,
) -> Vec<u8> {
    let mut input = dice.pick(pool).cloned().unwrap_or_default();
    for _ in 0..=dice.below(CHANGES_MAX) {
        change(dice, &mut input, pool, words);
    }
    input.truncate(bytes_max);
    input
}

fn change(dice: &mut Dice, input: &mut Vec<u8>, pool: &[Vec<u8>], words: &[Vec<u8>]) {
    let at = dice.below(input.len() + 1);
    let end = (at + dice.below(PIECE_MAX)).min(input.len());
    match dice.below(9) {
        0 => {
            let bit = 1 << dice.below(8);
            if let Some(byte) = input.get_mut(at) {
                *byte ^= bit;
            }
        }
        1 => {
            let byte = *dice.pick(BYTES).unwrap_or(&0);
            if let Some(place) = input.get_mut(at) {
                *place = byte;
            }
        }
        2 => input.insert(at, dice.byte()),
        3 => drop(input.drain(at..end)),
        4 => {
            let piece = input[at..end].to_vec();
            let to = dice.below(input.len() + 1);
            insert(input, to, &piece);
        }
        5 => insert(input, at, word(dice, words)),
        6 => {
            drop(input.drain(at..end));
            insert(input, at, word(dice, words));
        }
        7 => {
            drop(input.drain(at..(at + 1).min(end)));
            insert(input, at, dice.pick(EDGES).unwrap_or(&"").as_bytes());
        }
        _ => {
            let Some(other) = dice.pick(pool) else { return };
            let from = dice.below(other.len() + 1);
            let piece = &other[from..(from + dice.below(4 * PIECE_MAX)).min(other.len())];
            insert(input, at, piece);
        }
    }
}

fn word<'a>(dice: &mut Dice, words: &'a [Vec<u8>]) -> &'a [u8] {
    dice.pick(words).map_or(&[], Vec::as_slice)
}

fn insert(input: &mut Vec<u8>, at: usize, piece: &[u8]) {
    input.splice(at..at, piece.iter().copied());
}

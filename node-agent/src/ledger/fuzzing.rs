//! What the ledger holds whatever its bytes are: called by its own tests and by the guided fuzzer of
//! `tests/fuzz/guided`.

use super::{decode, encode, seal};

/// Bytes are refused, or read, written and read again as the same. They stand behind a header that
/// was made right, because no change of bits would come upon a checksum.
///
/// # Panics
///
/// When they are not.
pub fn ledger(bytes: &[u8]) -> String {
    // As they are they are a ledger of their own, though seldom one.
    let _ = decode(bytes);
    match decode(&seal(bytes)) {
        Ok(held) => {
            let written = encode(&held.set, &held.attempts, held.inventory.as_ref());
            assert_eq!(decode(&written), Ok(held));
            "taken".to_owned()
        }
        Err(why) => why,
    }
}

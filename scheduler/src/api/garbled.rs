//! Bytes that are no message, or too many of them, are the caller's mistake. The library answers the ones
//! as an internal error of this scheduler, which somebody would look into in vain, and the others with a
//! code that means the end of a list.

use hyper::{
    HeaderMap,
    header::{HeaderName, HeaderValue},
};
use tonic::Code;

const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
/// How the decoder's message begins, as it stands in a header.
const NOT_DECODED: &[u8] = b"failed%20to%20decode%20Protobuf%20message";

/// How the message about one larger than the limit begins.
const TOO_LARGE: &[u8] = b"Error,%20decoded%20message%20length%20too%20large";
/// What the library answers, how its message begins, and what is answered instead.
const ANSWERS: &[(Code, &[u8], Code)] = &[
    (Code::Internal, NOT_DECODED, Code::InvalidArgument),
    (Code::OutOfRange, TOO_LARGE, Code::ResourceExhausted),
];

/// Answers a message that did not decode as invalid, and one that is too large as too large.
pub(super) fn blame_the_caller(headers: &mut HeaderMap) {
    let bytes = |name| headers.get(name).map_or(&b""[..], HeaderValue::as_bytes);
    let (status, message) = (Code::from_bytes(bytes(&STATUS)), bytes(&MESSAGE));
    let answer =
        ANSWERS.iter().find(|(code, says, _)| status == *code && message.starts_with(says));
    if let Some((_, _, instead)) = answer {
        headers.insert(STATUS, HeaderValue::from(i32::from(*instead)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_does_not_decode_is_the_callers_mistake() {
        let not_decoded = "failed%20to%20decode%20Protobuf%20message:%20buffer%20underflow";
        let too_large = "Error,%20decoded%20message%20length%20too%20large:%20found%205%20bytes";
        for (status, message, expected) in [
            (13, not_decoded, "3"),
            (13, "the%20disk", "13"),
            (9, not_decoded, "9"),
            (11, too_large, "8"),
            (11, "the%20end", "11"),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(STATUS, HeaderValue::from(status));
            headers.insert(MESSAGE, HeaderValue::from_static(message));
            blame_the_caller(&mut headers);
            assert_eq!(headers[STATUS], expected, "{message}");
        }
    }
}

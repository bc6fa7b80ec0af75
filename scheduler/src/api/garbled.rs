//! Bytes that are no message are the caller's mistake. The library answers them as an internal error
//! of this scheduler, which somebody would look into in vain.

use hyper::{
    HeaderMap,
    header::{HeaderName, HeaderValue},
};
use tonic::Code;

const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
/// How the decoder's message begins, as it stands in a header.
const NOT_DECODED: &[u8] = b"failed%20to%20decode%20Protobuf%20message";

/// Answers a message that did not decode as invalid.
pub(super) fn blame_the_caller(headers: &mut HeaderMap) {
    let internal = headers
        .get(STATUS)
        .is_some_and(|status| Code::from_bytes(status.as_bytes()) == Code::Internal);
    let garbled =
        headers.get(MESSAGE).is_some_and(|message| message.as_bytes().starts_with(NOT_DECODED));
    if internal && garbled {
        headers.insert(STATUS, HeaderValue::from(i32::from(Code::InvalidArgument)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_does_not_decode_is_the_callers_mistake() {
        let not_decoded = "failed%20to%20decode%20Protobuf%20message:%20buffer%20underflow";
        for (status, message, expected) in
            [(13, not_decoded, "3"), (13, "the%20disk", "13"), (9, not_decoded, "9")]
        {
            let mut headers = HeaderMap::new();
            headers.insert(STATUS, HeaderValue::from(status));
            headers.insert(MESSAGE, HeaderValue::from_static(message));
            blame_the_caller(&mut headers);
            assert_eq!(headers[STATUS], expected, "{message}");
        }
    }
}

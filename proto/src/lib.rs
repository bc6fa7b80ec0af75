//! The wire between Siso's processes: generated messages, the only way in and out of them, and the
//! connections they travel on; and the little HTTP that both daemons answer.
//!
//! **Invariant:** a wire type is believed only after its `TryFrom` into `model`; the error names the
//! field by its path. Start at [`convert`].

pub mod convert;
pub mod probes;
pub mod transport;

/// Messages and services of `siso.v1`, generated from `proto/v1/*.proto`.
#[allow(
    clippy::pedantic,
    clippy::allow_attributes_without_reason,
    clippy::str_to_string,
    missing_debug_implementations,
    unreachable_pub,
    unused_qualifications,
    elided_lifetimes_in_paths,
    reason = "generated"
)]
pub mod v1 {
    include!("gen/siso.v1.rs");
}

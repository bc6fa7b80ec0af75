//! The crate as its callers see it.

mod config;
mod hostile;
mod load;
mod mistakes;
mod noted;
mod refused;
mod stacks;
mod support;

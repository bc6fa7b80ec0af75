//! The crate as its callers see it.

mod config;
mod hostile;
mod load;
mod mistakes;
mod stacks;
mod support;

//! What no packing can do better.
//!
//! A *measure* gives each item a number and each bin a number so that whatever fits into a bin has no
//! more in sum than the bin. Then what the items have above the bins together must be left out. The
//! resources themselves are measures (L1), and so are dual feasible functions of them (Lueker 1983;
//! Fekete and Schepers, Math. Program. 91, 2001; Martello and Toth's L2, 1990, is the best of one of
//! them), exclusive keys and the most members a bin may have. Each is taken for all items and for every
//! group of items whose bins lie within a set.

mod identical;
mod restricted;

pub(crate) use identical::{Sizes, dual_feasible, l2};
pub(crate) use restricted::impossible;
pub use restricted::{Impossible, Short};

//! Small problems, compared with everything there is to try; larger ones whose answer is known because
//! they were made from it.

#![allow(clippy::unwrap_used, reason = "a panic is how a test answers")]

mod few_moves;
mod fewest;
mod generate;
mod online;
mod oracle;
mod whole;

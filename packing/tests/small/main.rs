//! Small problems, compared with everything there is to try; larger ones whose answer is known because
//! they were made from it.

mod few_moves;
mod fewest;
mod generate;
mod online;
mod oracle;
mod whole;

//! How well things are packed, and how fast, beside the published formulas of others.
//!
//! **Invariant:** every placement is checked by a function that knows nothing of the search, and can be
//! written out for an evaluator of one's own. Instances are read from a folder that is given: none is part
//! of this repository. Nothing here judges, and no test depends on a figure.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::cast_possible_wrap,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "figures for people, from instances that are known to be small; what is wrong stops it"
)]

mod classic;
mod clock;
mod draw;
mod durable;
mod instance;
mod joint;
mod moves;
mod planner;
mod plot;
mod policy;
mod sets;
mod speed;
mod stream;

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

/// What can be measured by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Whole clusters with constraints, in which everything can be placed.
    Planted,
    /// Stuck services and drains, with few moves.
    Moves,
    /// As few bins as possible, in one and three dimensions.
    Classic,
    /// One after the other: first refusal, and churn.
    Streams,
    /// Decisions per second.
    Speed,
    /// Placements per second of a whole scheduler in this process, with its log on the disk.
    Durable,
    /// The planner of the scheduler: the planted clusters, and what a plan costs.
    Planner,
}

/// Measures packing on the instances of a folder.
#[derive(Debug, Parser)]
struct Args {
    /// The folder with `cluster/`, `bpp/`, `vbp/` and `traces/`.
    folder: PathBuf,
    /// Measures this part only; may be repeated.
    #[arg(long)]
    only: Vec<Part>,
    /// Where placements are written, to be checked by others.
    #[arg(long)]
    placements: Option<PathBuf>,
    /// Where what a plan costs is drawn.
    #[arg(long)]
    figure: Option<PathBuf>,
}

fn main() {
    let args = Args::parse();
    let wanted = |part: Part| args.only.is_empty() || args.only.contains(&part);
    let placements = args.placements.as_deref();
    if wanted(Part::Planted) {
        sets::measure(&args.folder, placements);
    }
    if wanted(Part::Moves) {
        moves::measure(&args.folder, placements);
    }
    if wanted(Part::Classic) {
        classic::measure(&args.folder);
    }
    if wanted(Part::Streams) {
        stream::measure(&args.folder);
    }
    if wanted(Part::Speed) {
        speed::measure(&args.folder);
    }
    if wanted(Part::Durable) {
        durable::measure();
    }
    if wanted(Part::Planner) {
        planner::measure(&args.folder, args.figure.as_deref());
    }
}

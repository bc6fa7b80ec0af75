//! What several hosts do when one of them goes, beside etcd and Swarm on the same hosts.
//!
//! Whoever is measured is installed on hosts made for it alone, one after the other.

mod cold;
mod docker;
mod etcd;
mod failover;
mod loss;
mod node_loss;
mod siso;
mod swarm;

pub(crate) use cold::measure as cold;
pub(crate) use failover::measure as failover;
pub(crate) use loss::measure as loss;
pub(crate) use node_loss::measure as node_loss;
use siso_tests::hosts::Hosts;

use crate::figure::Report;

/// Whether hosts can be made here; the report says why not.
fn possible(report: &mut Report, what: &str) -> bool {
    let missing = Hosts::possible().err();
    if let Some(missing) = &missing {
        report.remark(format!("{what}: not measured, since {missing}"));
    }
    missing.is_none()
}

/// The value below which this share of the samples lies, by the nearest rank.
fn percentile(samples: &[f64], percent: usize) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_a_sample() {
        let hundred: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        for (percent, expected) in [(50, 50.0), (99, 99.0), (100, 100.0)] {
            let found = percentile(&hundred, percent);
            assert!((found - expected).abs() < f64::EPSILON, "{percent}: {found}");
        }
        assert!((percentile(&[7.0], 99) - 7.0).abs() < f64::EPSILON);
        assert!(percentile(&[], 99).is_nan());
    }
}

//! Siso as a whole: real processes, a real container engine, a person's commands.
//!
//! Each test is a cluster of its own. Tests that need the engine are skipped without one, saying so,
//! unless `SISO_REQUIRE_ENGINE=1`; those that end an engine start one of their own, which only root can
//! do (`SISO_REQUIRE_OWN_ENGINE=1`); one opens 10,000 connections and needs `ulimit -n` for them
//! (`SISO_REQUIRE_FILES=1`). Those with a machine behind `sshd` need root and OpenSSH's server
//! (`SISO_REQUIRE_SSHD=1`), those that move the clock `libfaketime` (`SISO_REQUIRE_FAKETIME=1`).

mod authorities;
mod certificates;
mod chaos;
mod containers;
mod contract;
mod engine;
mod examples;
mod exit_codes;
mod hostile;
mod joining;
mod killed;
mod members;
mod metrics;
mod operators;
mod ordering;
mod outages;
mod rebalance;
mod recovery;
mod refusals;
mod registries;
mod relays;
mod schedulers;
mod singletons;
mod stacks;
mod updates;

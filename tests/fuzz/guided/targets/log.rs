//! The files of the log.
#![no_main]

guided::target!(scheduler::log::fuzzing::log);

//! Entries of the log.
#![no_main]

guided::target!(scheduler::log::fuzzing::entry);
guided::protobuf!(0);

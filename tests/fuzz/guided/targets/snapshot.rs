//! Snapshots of a cluster.
#![no_main]

guided::target!(scheduler::log::fuzzing::snapshot);
guided::protobuf!(0);

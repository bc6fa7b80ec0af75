//! Messages between processes.
#![no_main]

guided::target!(proto::convert::fuzzing::message);
guided::protobuf!(1);

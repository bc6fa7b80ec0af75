//! Files of imagined machines.
#![no_main]

guided::target!(stackfile::fuzzing::nodes);

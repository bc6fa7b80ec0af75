//! Stack files.
#![no_main]

guided::target!(stackfile::fuzzing::stack_file);

//! What `sisoctl config` shows of stack files.
#![no_main]

guided::target!(stackfile::fuzzing::shown);

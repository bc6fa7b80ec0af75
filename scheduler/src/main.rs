//! The process `siso-scheduler`.
fn main() {}

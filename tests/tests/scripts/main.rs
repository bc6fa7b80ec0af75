//! The shell scripts of `deploy/`, on machines that are made of stand-ins: programs that write down how they
//! were called and answer as a test tells them to.

mod mac_mini;
mod units;

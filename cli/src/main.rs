//! The process: hands its command line, streams and environment to the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    sisoctl::run()
}

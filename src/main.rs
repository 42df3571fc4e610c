//! The `seatrial` program: parse, run, exit.

use std::process::ExitCode;

fn main() -> ExitCode {
    seatrial::cli::run(std::env::args_os()).into()
}

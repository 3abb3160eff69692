//! `redisha`: the operator and its tools.

use std::process::ExitCode;

fn main() -> ExitCode {
    operator::cli::main()
}

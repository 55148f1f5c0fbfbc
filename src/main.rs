//! The `touchgate` program: a thin shell over the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    touchgate::cli::main()
}

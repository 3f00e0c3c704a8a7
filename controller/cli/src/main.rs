//! `aegis`: the command line, whose library is beside this file.

use std::process::ExitCode;

fn main() -> ExitCode {
    aegis::run(std::env::args_os())
}

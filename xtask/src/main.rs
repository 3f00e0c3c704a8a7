//! `cargo xtask`: the two commands of the README, and the setup that both of them begin with.
//! Builds without MuJoCo or any other native library, because it is what brings them.

mod advice;
mod digest;
mod parts;
mod python;
mod setup;

use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

const HELP: &str = "\
cargo xtask demo [ARGUMENTS]  set up, build, and run `aegis demo` with these arguments
cargo xtask test [ARGUMENTS]  set up and run every test; arguments go to `cargo test`
cargo xtask setup             only set up

Setup fetches Python packages once, by pip, pinned by version and SHA-256, and keeps what it makes in AEGIS_CACHE
(default: aegis in the user's cache folder; about 2.5 GB). A second run needs no network.
AEGIS_PYTHON names another Python than `python3`; it must be 3.11 or newer.";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (verb, rest) =
        arguments.split_first().map_or(("help", &[][..]), |(verb, rest)| (verb.as_str(), rest));
    let result = match verb {
        "setup" => setup::ensure(repository()).map(|()| 0),
        "demo" => demo(rest),
        "test" => cargo(&["test", "--release", "--workspace", "--locked"], rest),
        "help" | "--help" | "-h" => {
            println!("{HELP}");
            Ok(0)
        }
        unknown => {
            eprintln!("error: unknown command {unknown:?}\n\n{HELP}");
            Ok(2)
        }
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn demo(arguments: &[String]) -> Result<u8> {
    cargo(&["run", "--release", "--locked", "--bin", "aegis", "--", "demo"], arguments)
}

/// Sets up, then hands over to cargo and passes its exit code on.
fn cargo(command: &[&str], arguments: &[String]) -> Result<u8> {
    setup::ensure(repository())?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(command)
        .args(arguments)
        .current_dir(repository())
        .status()
        .context("cannot start cargo")?;
    match status.code() {
        Some(code) => Ok(u8::try_from(code).unwrap_or(1)),
        None => bail!("cargo {} was ended by a signal", command.join(" ")),
    }
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

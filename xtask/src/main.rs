//! `cargo xtask`: the two commands of the README, `demo` and `test`, and the setup that both begin with. Builds without
//! MuJoCo or any other native library, because it installs those libraries.

mod advice;
mod digest;
mod parts;
mod python;
mod setup;
mod system;

use std::path::Path;
use std::process::{Child, Command, ExitCode};
use std::thread;

use anyhow::{Context, Result, bail};

use crate::parts::SUITES;
use crate::setup::{Needs, Setup};

/// Flag of `test`: skips the tests that need something which is missing on this system.
const SKIP_MISSING: &str = "--skip-missing";

const HELP: &str = "\
                    cargo xtask demo [ARGUMENTS]  set up, build, and run `aegis demo` with these arguments
                    cargo xtask test [ARGUMENTS]  set up and run every test; arguments go to `cargo test`. With --skip-missing (or
                              AEGIS_SKIP_MISSING=1) tests are skipped that need a missing driver or browser
                    cargo xtask setup [SUITES]    only set up; --suite NAME (repeatable) or --all-suites, else libero_spatial. Variants of
                              LIBERO-PRO's have names too, such as libero_goal_swap or libero_object_temp_x0.1
                    
                    `demo` needs the scenes of libero_spatial, `test` those of all four suites: libero_spatial, libero_object, libero_goal and
                    libero_10, and upstream itself. Setup fetches Python packages once, by pip, pinned by version and SHA-256, and keeps what
                    it makes in AEGIS_CACHE (default: aegis in the user's cache folder; about 2.5 GB). A second run needs no network.
                    AEGIS_PYTHON names another Python than `python3`; it must be 3.11 or newer.";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (verb, rest) =
        arguments.split_first().map_or(("help", &[][..]), |(verb, rest)| (verb.as_str(), rest));
    let result = match verb {
        "setup" => match suites(rest) {
            Ok(suites) => {
                let needs = Needs { suites: &suites, upstream: false };
                Setup::begin(repository())
                    .and_then(|setup| setup.libraries().and_then(|_| setup.finish(&needs)))
                    .map(|()| 0)
            }
            Err(message) => usage(&message),
        },
        "demo" => demo(rest),
        "test" => test(rest),
        "help" | "--help" | "-h" => {
            println!("{HELP}");
            Ok(0)
        }
        unknown => usage(&format!("unknown command {unknown:?}")),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn usage(message: &str) -> Result<u8> {
    eprintln!("error: {message}\n\n{HELP}");
    Ok(2)
}

/// Parses the names of the suites that `setup` is asked for.
fn suites(arguments: &[String]) -> Result<Vec<&str>, String> {
    let mut wanted = Vec::new();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "--all-suites" => wanted.extend(SUITES),
            "--suite" => {
                let name = rest.next().map_or("", String::as_str);
                let plain = |letter: char| letter.is_ascii_alphanumeric() || "_.".contains(letter);
                if name.is_empty() || name.starts_with('.') || !name.chars().all(plain) {
                    let valid = format!("{}, or a variant that LIBERO-PRO has", SUITES.join(", "));
                    return Err(format!("--suite {name:?}: valid are {valid}"));
                }
                wanted.push(name);
            }
            other => return Err(format!("setup: unknown argument {other:?}")),
        }
    }
    if wanted.is_empty() {
        wanted.push(SUITES[0]);
    }
    wanted.sort_unstable();
    wanted.dedup();
    Ok(wanted)
}

fn demo(arguments: &[String]) -> Result<u8> {
    let needs = Needs { suites: &SUITES[..1], upstream: false };
    // Without the default feature `robot`, whose dependencies are a quarter of all code to compile.
    let binary = ["--release", "--locked", "--bin", "aegis", "--no-default-features"];
    cargo(
        &[&["build"], &binary[..]].concat(),
        &[&["run"], &binary[..], &["--", "demo"]].concat(),
        arguments,
        &needs,
    )
}

/// Runs the tests, where the system has everything that they need. Where something is missing, skips the tests that need it
/// if that was asked for; else fails.
fn test(arguments: &[String]) -> Result<u8> {
    let is_flag = |argument: &String| argument == SKIP_MISSING;
    let ours = arguments.iter().take_while(|argument| *argument != "--");
    let asked = std::env::var_os("AEGIS_SKIP_MISSING").is_some_and(|value| !value.is_empty() && value != "0");
    let skip = asked || ours.clone().any(is_flag);
    // Compiling alone needs none of these system packages.
    let missing =
        if ours.clone().any(|argument| argument == "--no-run") { vec![] } else { system::missing() };
    let names: Vec<String> =
        missing.iter().map(|part| format!("{} (for {})", part.name, part.wanted_by)).collect();
    if !missing.is_empty() && !skip {
        bail!(
            "tests need {}; run\n\n    {}\n\nor skip those tests: cargo xtask test {SKIP_MISSING}",
            names.join(", "),
            system::command(&missing)
        );
    }
    let mut skipped: Vec<&str> = missing.iter().flat_map(|part| part.tests).copied().collect();
    skipped.sort_unstable();
    skipped.dedup();
    let needs = Needs { suites: &SUITES, upstream: true };
    let test = ["test", "--release", "--workspace", "--locked"];
    let code = cargo(&[&test[..], &["--no-run"]].concat(), &test, &without(arguments, &skipped), &needs)?;
    if !skipped.is_empty() {
        eprintln!(
            "{} tests skipped, because this system lacks {}: {}; `{}` installs it",
            skipped.len(),
            names.join(", "),
            skipped.join(", "),
            system::command(&missing)
        );
    }
    Ok(code)
}

/// Returns the arguments for `cargo test`: those given, without the flag of xtask, and with `--skip` for each of `skipped`.
fn without(arguments: &[String], skipped: &[&str]) -> Vec<String> {
    let (ours, theirs) =
        arguments.split_at(arguments.iter().position(|argument| argument == "--").unwrap_or(arguments.len()));
    let mut passed: Vec<String> = ours.iter().filter(|argument| *argument != SKIP_MISSING).cloned().collect();
    passed.extend(theirs.iter().cloned());
    if theirs.is_empty() && !skipped.is_empty() {
        passed.push("--".into());
    }
    passed.extend(skipped.iter().flat_map(|name| ["--skip".to_owned(), (*name).to_owned()]));
    passed
}

/// Sets up while `compile` runs, then runs `command` and returns its exit code. Where nothing is missing, `compile` is left
/// out, because `command` compiles too.
fn cargo(compile: &[&str], command: &[&str], arguments: &[String], needs: &Needs<'_>) -> Result<u8> {
    let setup = Setup::begin(repository())?;
    let fetched = setup.libraries()?;
    if fetched || !setup.is_finished(needs)? {
        let mut compiling = start(compile, &[])?;
        if let Err(error) = setup.finish(needs) {
            // The error of the setup is the one to report; what has been compiled so far stays.
            let _ = compiling.kill();
            let _ = compiling.wait();
            return Err(error);
        }
        match code(compiling, compile)? {
            0 => {}
            failed => return Ok(failed),
        }
    } else {
        setup.finish(needs)?;
    }
    drop(setup);
    code(start(command, arguments)?, command)
}

fn start(command: &[&str], arguments: &[String]) -> Result<Child> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut process = Command::new(cargo);
    if std::env::var_os("RUST_TEST_THREADS").is_none() {
        // Tests of the robot wait for its clock or for each other. More threads than processors let other tests run
        // meanwhile.
        process.env(
            "RUST_TEST_THREADS",
            (4 + thread::available_parallelism().map_or(1, usize::from)).to_string(),
        );
    }
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(is_of_this_package) {
            process.env_remove(name);
        }
    }
    process.args(command).args(arguments).current_dir(repository());
    process.spawn().context("cannot start cargo")
}

/// Returns whether an environment variable is one that cargo sets for the package that it runs, which is xtask. If such a
/// variable were passed on to another cargo, some build scripts would take it for a change, and everything that depends on
/// them would be compiled again when cargo is next called by hand.
fn is_of_this_package(variable: &str) -> bool {
    let exact = ["CARGO_MANIFEST_DIR", "CARGO_MANIFEST_PATH", "CARGO_PRIMARY_PACKAGE", "OUT_DIR"];
    let prefixes = ["CARGO_PKG_", "CARGO_BIN_", "CARGO_CRATE_"];
    exact.contains(&variable) || prefixes.iter().any(|prefix| variable.starts_with(prefix))
}

fn code(mut process: Child, command: &[&str]) -> Result<u8> {
    let status = process.wait().context("cannot wait for cargo")?;
    match status.code() {
        Some(code) => Ok(u8::try_from(code).unwrap_or(1)),
        None => bail!("cargo {} was ended by a signal", command.join(" ")),
    }
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::{SKIP_MISSING, is_of_this_package, repository, suites, system, without};

    fn parse(arguments: &[&str]) -> Result<Vec<String>, String> {
        let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        Ok(suites(&arguments)?.into_iter().map(str::to_owned).collect())
    }

    #[test]
    fn only_what_cargo_set_for_this_package_is_kept_from_another_cargo() {
        assert!(["CARGO_MANIFEST_DIR", "CARGO_PKG_VERSION_MAJOR"].into_iter().all(is_of_this_package));
        let others =
            ["CARGO_HOME", "CARGO_TARGET_DIR", "CARGO_NET_OFFLINE", "CARGO_ENCODED_RUSTFLAGS", "PATH"];
        assert!(!others.into_iter().any(is_of_this_package));
    }

    #[test]
    fn skipped_names_are_passed_to_the_tests_and_the_flag_is_not() {
        let passed = |arguments: &[&str], skipped: &[&str]| {
            without(&arguments.iter().map(ToString::to_string).collect::<Vec<_>>(), skipped).join(" ")
        };
        assert_eq!(passed(&["--no-fail-fast", SKIP_MISSING], &[]), "--no-fail-fast");
        assert_eq!(passed(&[SKIP_MISSING], &["one", "two"]), "-- --skip one --skip two");
        assert_eq!(passed(&["plan::", "--", "--nocapture"], &["one"]), "plan:: -- --nocapture --skip one");
    }

    #[test]
    fn every_test_that_may_be_skipped_exists_once() {
        let sources: Vec<String> = ["tests", "sim_bridge/libero/tests"]
            .iter()
            .flat_map(|folder| std::fs::read_dir(repository().join(folder)).unwrap())
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|end| end == "rs"))
            .map(|path| std::fs::read_to_string(path).unwrap())
            .collect();
        for name in system::PARTS.iter().flat_map(|part| part.tests) {
            let of_it = format!("fn {name}()");
            let count: usize = sources.iter().map(|text| text.matches(&of_it).count()).sum();
            assert_eq!(count, 1, "{name}");
        }
    }

    #[test]
    fn setup_takes_each_named_suite_once() {
        assert_eq!(parse(&[]).unwrap(), ["libero_spatial"]);
        assert_eq!(parse(&["--suite", "libero_10", "--suite", "libero_10"]).unwrap(), ["libero_10"]);
        assert_eq!(parse(&["--all-suites"]).unwrap().len(), 4);
        assert_eq!(parse(&["--suite", "libero_object_temp_x0.1"]).unwrap(), ["libero_object_temp_x0.1"]);
        for bad in ["", "../libero_10", ".hidden", "libero 10"] {
            assert!(parse(&["--suite", bad]).unwrap_err().contains("libero_goal"), "{bad:?}");
        }
        assert!(parse(&["--suite"]).is_err() && parse(&["libero_10"]).is_err());
    }
}

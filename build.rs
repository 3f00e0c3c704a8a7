//! Lets the `aegis` binary and the integration tests find the MuJoCo library without environment variables, by the build
//! script of sim_bridge, and records the commit that they were built from.

use std::process::Command;

#[path = "sim_bridge/libero/build.rs"]
mod sim_bridge;

/// The files and folders of the repository that the binary is built from.
const SOURCES: [&str; 9] = [
    "Cargo.lock",
    "controller",
    "policies/src",
    "policies/websocket/src",
    "sim_bridge/libero/src",
    "sim_bridge/link/src",
    "experiments/harness/src",
    "experiments/statistics/src",
    "xtask/src/system.rs",
];

fn main() {
    // In a release MuJoCo lies beside the program; see packaging/release.sh.
    println!("cargo::rustc-link-arg-bins=-Wl,-rpath,$ORIGIN/../lib");
    sim_bridge::main();
    for source in SOURCES {
        println!("cargo::rerun-if-changed={source}");
    }
    println!("cargo::rustc-env=AEGIS_COMMIT={}", commit().unwrap_or_else(|| "unknown".into()));
}

/// Returns the commit that is checked out, with `-dirty` behind it where tracked files had been changed when this ran;
/// `None` where git does not answer.
fn commit() -> Option<String> {
    // The log of HEAD grows with every commit and checkout.
    println!("cargo::rerun-if-changed={}", git(&["rev-parse", "--git-path", "logs/HEAD"])?);
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    let clean = git(&["status", "--porcelain", "--untracked-files=no"])?.is_empty();
    Some(if clean { commit } else { commit + "-dirty" })
}

fn git(arguments: &[&str]) -> Option<String> {
    let output =
        Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}

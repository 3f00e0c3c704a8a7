//! Checks which crates of the workspace depend on each other, and which external crates the pure crates use.
//! Reads `cargo metadata`, so a new dependency has to be listed here before it can be used.
#![allow(clippy::expect_used, clippy::unwrap_used)] // Helpers of tests, which clippy takes for other code.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

const ALLOWED: [(&str, &[&str]); 20] = [
    ("aegis-core", &[]),
    ("aegis-dataset", &["aegis-core", "aegis-files", "aegis-recorder"]),
    ("aegis-files", &[]),
    ("aegis-statistics", &[]),
    ("aegis-link", &["aegis-core"]),
    ("aegis-policies", &["aegis-core", "aegis-files"]),
    ("aegis-websocket", &["aegis-core", "aegis-files", "aegis-policies"]),
    ("aegis-recorder", &["aegis-core", "aegis-files"]),
    ("aegis-runtime", &["aegis-core"]),
    ("aegis-sim", &["aegis-core", "aegis-files"]),
    ("aegis-failure", &[]),
    ("aegis-ros2", &["aegis-core", "aegis-files", "aegis-link"]),
    ("aegis-watchdog", &["aegis-files", "aegis-link"]),
    ("aegis-probe", &["aegis-core", "aegis-files", "aegis-statistics"]),
    (
        "aegis-robot",
        &[
            "aegis-core",
            "aegis-failure",
            "aegis-files",
            "aegis-link",
            "aegis-policies",
            "aegis-probe",
            "aegis-recorder",
            "aegis-runtime",
            "aegis-websocket",
        ],
    ),
    ("aegis-experiments", &["aegis-core", "aegis-files", "aegis-probe", "aegis-statistics"]),
    (
        "aegis",
        &[
            "aegis-core",
            "aegis-dataset",
            "aegis-experiments",
            "aegis-failure",
            "aegis-files",
            "aegis-link",
            "aegis-policies",
            "aegis-probe",
            "aegis-recorder",
            "aegis-robot",
            "aegis-ros2",
            "aegis-runtime",
            "aegis-sim",
            "aegis-statistics",
            "aegis-watchdog",
            "aegis-websocket",
        ],
    ),
    ("aegis-python", &["aegis-core", "aegis-probe", "aegis-statistics"]),
    ("aegis-environments", &["aegis-core", "aegis-sim"]),
    ("xtask", &[]),
];

/// All dependencies that the pure crates may have.
const PURE: [(&str, &[&str]); 2] = [
    ("aegis-core", &["serde", "thiserror"]),
    ("aegis-statistics", &["rand_chacha", "rand_xoshiro", "serde", "statrs", "thiserror"]),
];

fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo prints JSON");
    let normal = |dependency: &&Value| dependency["kind"].is_null();
    metadata["packages"]
        .as_array()
        .expect("packages")
        .iter()
        .map(|package| {
            let used = package["dependencies"].as_array().expect("dependencies");
            let names = used.iter().filter(normal).map(|one| one["name"].as_str().expect("name").to_owned());
            (package["name"].as_str().expect("name").to_owned(), names.collect())
        })
        .collect()
}

#[test]
fn crates_depend_on_ours_only_as_listed() {
    let found = dependencies();
    let listed: BTreeSet<&str> = ALLOWED.iter().map(|(name, _)| *name).collect();
    assert_eq!(found.keys().map(String::as_str).collect::<BTreeSet<_>>(), listed);
    for (name, allowed) in ALLOWED {
        for used in found[name].iter().filter(|used| listed.contains(used.as_str())) {
            assert!(allowed.contains(&used.as_str()), "{name} must not depend on {used}");
        }
    }
}

#[test]
fn pure_crates_stay_pure() {
    let found = dependencies();
    for (name, allowed) in PURE {
        for used in &found[name] {
            assert!(allowed.contains(&used.as_str()), "{name} is pure and must not depend on {used}");
        }
    }
}

/// Crates that know no body and no benchmark: what a plant has, they know by the names that it announces.
const OF_NO_BODY: [&str; 12] = [
    "controller/core",
    "controller/dataset",
    "controller/failure",
    "controller/files",
    "controller/probe",
    "controller/recorder",
    "controller/robot",
    "controller/runtime",
    "controller/watchdog",
    "experiments/harness",
    "experiments/statistics",
    "sim_bridge/link",
];

/// Words of one body or one benchmark, in lower case.
const OF_A_BODY: [&str; 5] = ["libero", "joint", "gripper", "finger", "osc_pose"];

/// Returns the lines of code of a file that has tests at its end, without comments.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().enumerate().take_while(|(_, line)| line.trim() != "#[cfg(test)]");
    lines.filter(|(_, line)| !line.trim_start().starts_with("//"))
}

/// Returns every word of letters and underscores of a line, in lower case.
fn words(line: &str) -> impl Iterator<Item = String> {
    line.split(|letter: char| !letter.is_alphanumeric() && letter != '_').map(str::to_lowercase)
}

#[test]
fn rooms_that_are_anybodys_know_no_body_and_no_benchmark() {
    let mut found = Vec::new();
    let mut read = 0;
    for room in OF_NO_BODY {
        let mut open = vec![crate::common::repository().join(room).join("src")];
        while let Some(folder) = open.pop() {
            for entry in std::fs::read_dir(&folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    open.push(path);
                    continue;
                }
                if path.extension().is_none_or(|ending| ending != "rs") || path.ends_with("tests.rs") {
                    continue;
                }
                read += 1;
                let text = std::fs::read_to_string(&path).unwrap();
                for (number, line) in code(&text) {
                    if words(line).any(|word| OF_A_BODY.iter().any(|body| word.starts_with(body))) {
                        found.push(format!("{}:{}: {}", path.display(), number + 1, line.trim()));
                    }
                }
            }
        }
    }
    assert!(read > 100, "only {read} files were read");
    assert!(found.is_empty(), "{}", found.join("\n"));
}

//! Checks which crates of the workspace depend on each other, and which external crates the pure crates use.
//! Reads `cargo metadata`, so a new dependency has to be listed here before it can be used.
#![allow(clippy::expect_used, clippy::unwrap_used)] // Helpers of tests, which clippy takes for other code.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

const ALLOWED: [(&str, &[&str]); 14] = [
    ("aegis-core", &[]),
    ("aegis-files", &[]),
    ("aegis-statistics", &[]),
    ("aegis-link", &["aegis-core"]),
    ("aegis-policies", &["aegis-core", "aegis-files"]),
    ("aegis-recorder", &["aegis-core", "aegis-files"]),
    ("aegis-runtime", &["aegis-core"]),
    ("aegis-sim", &["aegis-core", "aegis-files"]),
    ("aegis-failure", &[]),
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
        ],
    ),
    ("aegis-experiments", &["aegis-core", "aegis-files", "aegis-probe", "aegis-statistics"]),
    (
        "aegis",
        &[
            "aegis-core",
            "aegis-experiments",
            "aegis-failure",
            "aegis-files",
            "aegis-link",
            "aegis-policies",
            "aegis-probe",
            "aegis-recorder",
            "aegis-robot",
            "aegis-runtime",
            "aegis-sim",
            "aegis-statistics",
        ],
    ),
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

//! Checks that the same seed gives the same bytes in repeated runs and with one or two workers.
//! Compares the files that the binary writes.
#![allow(clippy::expect_used, clippy::unwrap_used)] // Helpers of tests, which clippy takes for other code.

use crate::common;

use std::path::Path;

fn demo(out: &Path, workers: &str) -> (Vec<u8>, Vec<u8>) {
    let status = common::aegis()
        .args(["demo", "--json", "--episodes", "3", "--workers", workers, "--out"])
        .arg(out)
        .output()
        .expect("the binary starts");
    assert!(status.status.success(), "{}", String::from_utf8_lossy(&status.stderr));
    let read = |name: &str| std::fs::read(out.join(name)).expect("the demo wrote its results");
    (read("episodes.jsonl"), read("summary.json"))
}

#[test]
fn equal_bytes_twice_and_with_one_worker_or_two() {
    let folder = common::folder("determinism");
    let first = demo(&folder.join("first"), "2");
    assert_eq!(first.0.iter().filter(|byte| **byte == b'\n').count(), 9, "three episodes of three arms");
    assert!(first == demo(&folder.join("again"), "2"), "two runs with two workers differ");
    assert!(first == demo(&folder.join("alone"), "1"), "one worker and two workers differ");
}

//! Verifies the registered studies that the repository ships: stores, plan and lock give the shipped report.
//! The stores are shipped as gzip files. Step traces are not shipped; their digests are in the store.
#![allow(clippy::expect_used)] // Helpers of tests, which clippy takes for other code.

use crate::common::{aegis, edit, folder, refuses, repository, unpack};

/// Verifies a study from its shipped files, then with another figure in its report.
fn holds(name: &str, plan: &str, stored: &str, (found, changed): (&str, &str)) {
    let (shipped, place) = (repository().join("experiments").join(stored), folder(name));
    for name in ["report.json", "report.md", "report.html", "episodes.sqlite.sha256", "weak.forks.parquet"] {
        // Only one study has forks.
        if name != "weak.forks.parquet" || shipped.join(name).exists() {
            std::fs::copy(shipped.join(name), place.join(name)).expect("the report is shipped");
        }
    }
    for name in ["episodes.sqlite", "precondition/episodes.sqlite"] {
        let packed = shipped.join(format!("{name}.gz"));
        if name == "episodes.sqlite" || packed.exists() {
            std::fs::create_dir_all(place.join(name).parent().expect("a folder")).expect("it can be made");
            unpack(&packed, &place.join(name));
        }
    }
    let verify = || {
        let mut command = aegis();
        command.args(["experiment", "verify", "--without-traces", "--plan"]);
        command.arg(repository().join("experiments").join(plan)).arg(&place);
        command
    };
    let output = verify().output().expect("the binary starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("verified"));
    edit(&place.join("report.md"), found, changed);
    refuses(&mut verify(), 1, &["report.md"]);
}

#[test]
fn the_shipped_report_is_what_the_shipped_stores_give() {
    holds("study", "study.toml", "study", ("322 of 443", "323 of 443"));
}

#[test]
fn the_report_of_the_policy_of_lerobot_is_what_its_stores_give() {
    holds("study-act", "act/study.toml", "act/study", ("31 of 37", "32 of 37"));
}

#[test]
fn the_report_of_the_study_of_timing_is_what_its_store_and_its_forks_give() {
    holds("study-timing", "timing/plan.toml", "timing/study", ("93 of 311", "94 of 311"));
}

//! Verifies the registered study that the repository ships: its stores, plan and lock give the shipped report.
//! The stores are shipped as gzip files. Step traces are not shipped; their digests are in the store.
#![allow(clippy::expect_used)] // Helpers of tests, which clippy takes for other code.

use crate::common::{aegis, edit, folder, refuses, repository, unpack};

#[test]
fn the_shipped_report_is_what_the_shipped_stores_give() {
    let (shipped, place) = (repository().join("experiments/study"), folder("study"));
    for name in ["report.json", "report.md", "report.html", "episodes.sqlite.sha256"] {
        std::fs::copy(shipped.join(name), place.join(name)).expect("the report is shipped");
    }
    std::fs::create_dir(place.join("precondition")).expect("the folder can be made");
    for name in ["episodes.sqlite", "precondition/episodes.sqlite"] {
        unpack(&shipped.join(format!("{name}.gz")), &place.join(name));
    }
    let verify = || {
        let mut command = aegis();
        command.args(["experiment", "verify", "--without-traces", "--plan"]);
        command.arg(repository().join("experiments/study.toml")).arg(&place);
        command
    };
    let output = verify().output().expect("the binary starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("verified"));
    edit(&place.join("report.md"), "322 of 443", "323 of 443");
    refuses(&mut verify(), 1, &["report.md"]);
}

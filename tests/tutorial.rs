//! Runs the tutorial's commands as they are printed, in a folder with the files of a clone after its build.
//! Checks their results: a verified study, its report with an answer, and a recording.
#![allow(clippy::expect_used, clippy::unwrap_used)] // Helpers of tests, which clippy takes for other code.

use crate::common;

#[test]
fn its_commands_do_what_it_says() {
    let folder = common::folder("tutorial");
    common::copy_of_study(&folder);
    let said = common::follow("tutorial.md", &folder, |text| text);
    assert!(said.contains("verified"), "{said}");
    for left in ["policy.onnx", "probe.json", "study.lock.toml", "run/report.html", "episode.rrd"] {
        assert!(folder.join("mine").join(left).is_file(), "{left} is missing\n{said}");
    }
    let report = std::fs::read_to_string(folder.join("mine/run/report.md")).expect("it is there");
    assert!(report.contains("no kill criterion fired") && !report.contains("No answer"), "{report}");
    let linked =
        std::fs::read_dir(folder.join("mine/run/recordings")).expect("the report links to some").count();
    assert!((1..=5).contains(&linked), "{linked} recordings");
}

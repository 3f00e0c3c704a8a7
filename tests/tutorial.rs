//! Runs the tutorial's commands as they are printed, in a folder with the files of a clone after its build.
//! Checks their results: a verified study, its report with an answer, and a recording.
#![allow(clippy::expect_used, clippy::unwrap_used)] // Helpers of tests, which clippy takes for other code.

use crate::common;

use std::process::Command;

/// Returns the contents of all `sh` code blocks of a page, in order.
pub fn commands(page: &str) -> String {
    let mut blocks = page.split("```");
    blocks.next();
    let blocks: Vec<&str> = blocks.step_by(2).filter_map(|block| block.strip_prefix("sh\n")).collect();
    assert!(!blocks.is_empty(), "the page has no commands");
    blocks.concat()
}

#[test]
fn its_commands_do_what_it_says() {
    let folder = common::folder("tutorial");
    common::copy_of_study(&folder);
    let programs = folder.join("target/release");
    std::fs::create_dir_all(&programs).unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_aegis"), programs.join("aegis")).unwrap();
    let page =
        std::fs::read_to_string(common::repository().join("docs/guide/tutorial.md")).expect("it is there");
    let output = Command::new("bash")
        .args(["-euo", "pipefail", "-c", &commands(&page)])
        .current_dir(&folder)
        .output()
        .expect("bash is there");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
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

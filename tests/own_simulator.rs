//! Runs the commands of docs/guide/simulator.md as they are printed: a simulator and two policies in Python processes, from nothing to a
//! verified report. Its figures are those of numpy on this processor, so the test holds no count against the page.
#![allow(clippy::expect_used, clippy::unwrap_used)] // Helpers of tests, which clippy takes for other code.

use crate::common::{folder, follow, on_free_ports, repository};

#[test]
fn a_simulator_of_ones_own_comes_to_a_verdict() {
    let place = folder("own-simulator");
    std::fs::create_dir_all(place.join("sim_bridge/link")).unwrap();
    let python = repository().join("sim_bridge/link/python");
    std::os::unix::fs::symlink(&python, place.join("sim_bridge/link/python")).unwrap();
    let said = follow("simulator.md", &place, |text| on_free_ports(text, &[7447, 7450, 7451]));
    assert!(said.contains("verified"), "{said}");
    assert!(said.contains("5 equal the stored ones, bit for bit"), "{said}");
    let report = std::fs::read_to_string(place.join("mine/run/report.md")).expect("it is there");
    assert!(report.contains("no kill criterion fired") && !report.contains("No answer"), "{report}");
    assert!(report.contains("of 90 ("), "{report}");
}

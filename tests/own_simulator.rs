//! Runs the commands of docs/guide/simulator.md as they are printed: a simulator and two policies in Python processes, from nothing to a
//! verified report. Its figures are those of numpy on this processor, so the test holds no count against the page.
#![allow(clippy::expect_used, clippy::unwrap_used)] // Helpers of tests, which clippy takes for other code.

use std::process::Command;

use crate::common::{folder, repository};
use crate::tutorial::commands;

#[test]
fn a_simulator_of_ones_own_comes_to_a_verdict() {
    let place = folder("own-simulator");
    let programs = place.join("target/release");
    std::fs::create_dir_all(&programs).unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_aegis"), programs.join("aegis")).unwrap();
    std::fs::create_dir_all(place.join("sim_bridge/link")).unwrap();
    let python = repository().join("sim_bridge/link/python");
    std::os::unix::fs::symlink(&python, place.join("sim_bridge/link/python")).unwrap();
    let page = std::fs::read_to_string(repository().join("docs/guide/simulator.md")).expect("it is there");
    // Ports of its own, because other tests run beside this one, and servers that end with the shell.
    let mut text = format!("trap 'kill $(jobs -p)' EXIT\n{}", commands(&page));
    for port in [7447, 7450, 7451] {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        assert!(text.contains(&port.to_string()), "{port}");
        text = text.replace(&port.to_string(), &free.to_string());
    }
    let path = std::env::var("PATH").unwrap_or_default();
    let output = Command::new("bash")
        .args(["-euo", "pipefail", "-c", &text])
        .env("PATH", format!("{}:{path}", repository().join(".deps/python/bin").display()))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .current_dir(&place)
        .output()
        .expect("bash is there");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("verified"), "{said}");
    assert!(said.contains("5 came out as stored, bit for bit"), "{said}");
    let report = std::fs::read_to_string(place.join("mine/run/report.md")).expect("it is there");
    assert!(report.contains("no kill criterion fired") && !report.contains("No answer"), "{report}");
    assert!(report.contains("of 90 ("), "{report}");
}

//! Tests that a robot moves only after an operator's start, and that a missing viewer, a closed terminal or a blocked output do
//! not delay the end of a run.
#![allow(clippy::expect_used, clippy::unwrap_used)] // Helpers of tests, which clippy takes for other code.

use std::time::{Duration, Instant};

use aegis_core::control::Mode;

use crate::common;
use crate::robot::{Plant, RESET_AGAIN, Run, command, real_time_slot, recorded, replays, robot_file};

#[test]
fn nothing_moves_before_a_start_nor_after_a_reset_without_another() {
    let _slot = real_time_slot();
    let plant = Plant::serve("tcp/127.0.0.1:0");
    let mut run = Run::waiting("start-waits", &plant.endpoint, &[], &[]);
    run.until("waiting for a start");
    plant.operate("start");
    run.until("episode 1");
    run.until("Weak");
    plant.operate("e-stop");
    run.until("EStop");
    run.until_trying("waiting for a start", RESET_AGAIN, || plant.operate("reset"));
    // The reset does not begin an episode: a start counts only while the run waits for it.
    run.signal("TERM");
    let (code, folder) = run.code();
    assert_eq!(code, Some(5));
    let record = recorded(&folder);
    let stopped = record.modes.iter().position(|mode| *mode == Mode::EStop).expect("it was stopped");
    assert!(record.modes[..stopped].contains(&Mode::Weak));
    let after = &record.modes[stopped..];
    assert!(!after.iter().any(|mode| mode.is_on()), "no episode is on after the reset");
    replays(&folder);
}

#[test]
fn a_viewer_that_is_not_there_is_refused_before_any_work() {
    let _slot = real_time_slot();
    let plant = Plant::serve("tcp/127.0.0.1:0");
    let folder = common::folder("start-viewer");
    let robot = robot_file(&folder, &plant.endpoint, &[]);
    let out = folder.join("run");
    let begin = Instant::now();
    let mut run = command(&robot, &out);
    run.args(["--exit-on-stop", "--rerun", "rerun+http://127.0.0.1:1/proxy"]);
    common::refuses(&mut run, 2, &["127.0.0.1:1", "viewer"]);
    assert!(begin.elapsed() < Duration::from_secs(60), "it does not wait for a viewer");
}

#[test]
fn a_terminal_that_goes_away_ends_the_run_in_a_safe_stop_with_its_summary() {
    let _slot = real_time_slot();
    let plant = Plant::serve("tcp/127.0.0.1:0");
    let folder = common::folder("start-terminal");
    let robot = robot_file(&folder, &plant.endpoint, &[]);
    let (out, code) = (folder.join("run"), folder.join("code"));
    // `script` holds the other end of the terminal. The first shell ends with the terminal, as an interactive shell does. The
    // second shell ignores SIGHUP, outlives the terminal, and writes the exit code of the run.
    let run = folder.join("run.sh");
    let text = format!(
        "trap '' HUP\n'{}' run '{}' --out '{}' --view --auto-start\necho $? > '{}'\n",
        env!("CARGO_BIN_EXE_aegis"),
        robot.display(),
        out.display(),
        code.display()
    );
    std::fs::write(&run, text).unwrap();
    let line = format!("stty rows 30 cols 120; sh '{}'; true", run.display());
    // Tests may run with SIGHUP ignored, as under `nohup`. An interactive shell does not ignore SIGHUP, so the default is
    // restored.
    let mut terminal = std::process::Command::new("env")
        .args(["--default-signal=HUP", "script", "--quiet", "--return", "--command", &line, "/dev/null"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("every Debian has it");
    let mut shown = terminal.stdout.take().expect("it is piped");
    let begin = Instant::now();
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains("Weak") {
        let mut part = [0; 4096];
        let read = std::io::Read::read(&mut shown, &mut part).expect("it shows the run");
        assert!(read > 0 && begin.elapsed() < Duration::from_secs(300), "{}", String::from_utf8_lossy(&seen));
        seen.extend_from_slice(&part[..read]);
    }
    terminal.kill().expect("it lives");
    terminal.wait().expect("it ends");
    while std::fs::read_to_string(&code).map_or(true, |code| code.is_empty()) {
        assert!(begin.elapsed() < Duration::from_secs(600), "the run does not end without its terminal");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(std::fs::read_to_string(&code).unwrap().trim(), "5");
    assert!(out.join("summary.json").is_file());
    replays(&out);
}

#[test]
fn a_view_without_a_terminal_is_refused_before_anything_else() {
    let mut run = command(std::path::Path::new("there-is-no-such-file.toml"), &common::folder("start-view"));
    common::refuses(run.arg("--view"), 2, &["--view: standard output is no terminal", "aegis operate"]);
}

#[test]
fn a_signal_ends_a_run_whose_output_nobody_takes_with_its_summary() {
    let _slot = real_time_slot();
    let plant = Plant::serve("tcp/127.0.0.1:0");
    let folder = common::folder("start-blocked");
    let robot = robot_file(&folder, &plant.endpoint, &[]);
    let out = folder.join("run");
    // The pipe is full before the first line and is never read, as the output of a stopped terminal.
    let (_unread, full) = std::io::pipe().unwrap();
    let mut fill = std::process::Command::new("head");
    fill.args(["-c", "65536", "/dev/zero"]).stdout(full.try_clone().unwrap());
    assert!(fill.status().unwrap().success());
    let mut run = command(&robot, &out);
    let mut run = run.arg("--auto-start").stdout(full.try_clone().unwrap()).stderr(full).spawn().unwrap();
    let begin = Instant::now();
    let wait = |is_over: &mut dyn FnMut() -> bool| {
        while !is_over() {
            assert!(begin.elapsed() < Duration::from_secs(300), "it waits for its output");
            std::thread::sleep(Duration::from_millis(10));
        }
    };
    let events = || std::fs::read_to_string(out.join("events.jsonl")).unwrap_or_default();
    wait(&mut || events().contains("\"mode\":\"Weak\""));
    let kill = ["-s", "TERM", &run.id().to_string()].map(str::to_owned);
    assert!(std::process::Command::new("kill").args(kill).status().unwrap().success());
    let mut code = None;
    wait(&mut || {
        code = run.try_wait().unwrap();
        code.is_some()
    });
    assert_eq!(code.unwrap().code(), Some(5));
    assert!(out.join("summary.json").is_file());
    replays(&out);
}

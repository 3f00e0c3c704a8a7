//! Forks on the real plant and the real policies: a branch is the episode of the arm that hands over there; a collection that is killed
//! loses nothing; and what the verbs refuse.
#![allow(clippy::expect_used, clippy::unwrap_used)] // Helpers of tests, which clippy takes for other code.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::common::{
    FEW_TASKS, Study, aegis_on_few_tasks as aegis, copy_of_study, edit, folder, refuses, repository, succeeds,
};
use aegis_core::record::NoRecorder;
use aegis_experiments::episode::counterfactual::{
    run_counterfactuals, single_hold, single_hold_limits, take_over,
};
use aegis_experiments::{Arm, EpisodeSettings, run_episode};
use serde_json::Value;

#[test]
fn a_branch_on_libero_is_the_episode_of_the_arm_that_hands_over_there() {
    let study = Study::open();
    let settings = study.settings();
    let holds = EpisodeSettings { gate: single_hold_limits(&settings.gate), ..settings.clone() };
    for key in [study.keys()[0], study.keys()[3]] {
        let mut context = study.context();
        let found = run_counterfactuals(&mut context, key, &settings, Some(2), &mut NoRecorder).unwrap();
        let mut fresh = study.context();
        let mut from_start = |arm: &Arm, settings: &EpisodeSettings| {
            run_episode(&mut fresh, arm, key, settings, &mut NoRecorder).unwrap().0
        };
        assert_eq!(found.weak, from_start(&Arm::weak(), &settings));
        assert_eq!(found.branches.len(), 2);
        for one in &found.branches {
            assert_eq!(one.take_over, from_start(&take_over(one.step), &settings), "step {}", one.step);
            assert_eq!(one.hold, from_start(&single_hold(one.step / 10), &holds), "step {}", one.step);
            assert!(one.take_over.path != found.weak.path && one.hold.path != found.weak.path);
        }
    }
}

/// Copies the shipped study with two starts of each task to discover on, and shorter episodes.
fn small_study(folder: &Path) -> PathBuf {
    let plan = copy_of_study(folder);
    edit(&plan, "discovery = { first = 200, end = 280", "discovery = { first = 200, end = 202");
    edit(&plan, "horizon_steps = 220", "horizon_steps = 120");
    plan
}

fn collect(plan: &Path, out: &Path) -> Command {
    let mut command = aegis();
    command.args(["collect", "discovery", "--plan"]).arg(plan).arg("--out").arg(out);
    command
}

fn with_forks(plan: &Path, out: &Path) -> Command {
    let mut command = collect(plan, out);
    command.args(["--forks", "--boundaries-per-episode", "2", "--probe"]);
    command.arg(repository().join("policies/models/probe.json"));
    command
}

#[test]
fn a_killed_collection_with_forks_loses_nothing_and_is_shown() {
    let folder = folder("forks");
    let plan = small_study(&folder);
    let place = |name: &str| folder.join(name);
    let (whole, killed, plain) = (place("whole.parquet"), place("killed.parquet"), place("plain.parquet"));
    let said = succeeds(with_forks(&plan, &whole).arg("--json"));
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(said["episodes"], 2 * FEW_TASKS);
    assert_eq!(said["forks"]["effort"]["forks"], 4 * FEW_TASKS);

    let waiting = place("killed.parquet.collecting");
    let episodes = || {
        let entries = std::fs::read_dir(&waiting).into_iter().flatten().flatten();
        let names = entries.map(|entry| entry.file_name().into_string().unwrap());
        names.filter(|name| name.starts_with("task") && !name.contains("forks")).count()
    };
    let mut child = with_forks(&plan, &killed)
        .args(["--workers", "1"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    while episodes() == 0 {
        assert!(child.try_wait().unwrap().is_none(), "it is killed before it ends");
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!killed.exists() && episodes() < 2 * FEW_TASKS);
    // Other settings are another collection.
    let mut other = collect(&plan, &killed);
    refuses(&mut other, 2, &["killed.parquet.collecting", "boundaries per episode was 2, is nothing"]);
    succeeds(&mut with_forks(&plan, &killed));
    let bytes = |path: &Path| std::fs::read(path).unwrap();
    let forks = |out: &Path| out.with_extension("forks.parquet");
    assert!(bytes(&killed) == bytes(&whole) && bytes(&forks(&killed)) == bytes(&forks(&whole)));
    assert!(!waiting.exists());
    succeeds(&mut collect(&plan, &plain));
    assert!(bytes(&plain) == bytes(&whole), "forks change no rollout");
    assert!(!forks(&plain).exists());

    let show = |arguments: &[&str]| {
        let mut command = aegis();
        command.args(["forks", "show"]).arg(forks(&whole)).args(arguments);
        command
    };
    let text = succeeds(&mut show(&["--budget", "0.1"]));
    for words in [
        "## By boundary",
        "## By task",
        "## When failures begin",
        "## With hindsight",
        "96 strong steps, 10.0 %",
    ] {
        assert!(text.contains(words), "{words:?} is missing from {text}");
    }
    let found: Value = serde_json::from_str(&succeeds(&mut show(&["--json"]))).unwrap();
    assert_eq!(found["effort"], said["forks"]["effort"]);
    assert_eq!(
        (found["episodes"].as_u64(), &found["boundaries_per_episode"]),
        (said["episodes"].as_u64(), &2.into())
    );

    refuses(&mut show(&["--budget", "1.5"]), 2, &["--budget", "above 0 and at most 1"]);
    let mut rollouts = aegis();
    refuses(rollouts.args(["forks", "show"]).arg(&plain), 2, &["plain.parquet", "aegis_forks", "--forks"]);
    let robot = repository().join("controller/libero.toml");
    let mut on_robot = aegis();
    refuses(on_robot.args(["collect", "--forks", "--robot"]).arg(&robot), 2, &["--forks", "--robot"]);
    refuses(collect(&plan, &plain).args(["--probe", "x.json"]), 2, &["--forks"]);
    edit(&plan, "budget_fraction = 0.05", "budget_fraction = 0.0");
    let mut never = collect(&plan, &place("never.parquet"));
    refuses(never.arg("--forks"), 2, &["demo.toml: gate: found limits under which no gate may fire"]);
    assert!(!place("never.parquet.collecting").exists());
}

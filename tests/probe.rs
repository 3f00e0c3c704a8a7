//! Tests the probe's commands: `aegis collect`, `aegis probe fit` and `aegis probe eval`, and what each of them refuses.
//! Uses a small study: real policies on real scenes, a few starts of a few tasks.
#![allow(clippy::expect_used, clippy::unwrap_used)] // Helpers of tests, which clippy takes for other code.

use std::path::{Path, PathBuf};

use crate::common::{FEW_TASKS, aegis_on_few_tasks as aegis, copy_of_study, edit, folder, refuses};
use serde_json::Value;

/// Copies the shipped study and reduces its discovery, calibration and confirmation ranges to three starts of each task.
fn small_study(folder: &Path) -> PathBuf {
    let plan = copy_of_study(folder);
    for (range, first, end) in
        [("discovery", 200, 280), ("calibration", 300, 340), ("confirmation", 500, 540)]
    {
        let whole = format!("{range} = {{ first = {first}, end = {end}");
        edit(&plan, &whole, &format!("{range} = {{ first = {first}, end = {}", first + 3));
    }
    plan
}

fn runs(command: &mut std::process::Command) -> String {
    let output = command.output().expect("the binary starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[test]
fn collect_fit_and_judge() {
    let folder = folder("probe-way");
    let plan = small_study(&folder);
    let file = |name: &str| folder.join(name);
    let mut digests = Vec::new();
    for range in ["discovery", "calibration", "confirmation"] {
        let said = runs(
            aegis().args(["collect", range, "--json", "--plan"]).arg(&plan).arg("--out").arg(file(range)),
        );
        let said: Value = serde_json::from_str(&said).expect("JSON");
        assert_eq!(said["episodes"], 3 * FEW_TASKS);
        digests.push(said["sha256"].as_str().expect("a digest").to_owned());
    }

    // Fitting from rollout files and fitting from new rollouts give the same probe.
    let probe = file("probe.json");
    let mut fit = aegis();
    fit.args(["probe", "fit", "--plan"]).arg(&plan).arg("--out").arg(&probe);
    runs(fit.arg("--discovery").arg(file("discovery")).arg("--calibration").arg(file("calibration")));
    let bytes = std::fs::read(&probe).expect("the probe is written");
    let read: Value = serde_json::from_slice(&bytes).expect("JSON");
    assert_eq!(read["discovery"]["sha256"], *digests[0]);
    assert_eq!(read["calibrated_on"]["sha256"], *digests[1]);
    for (part, first) in [("discovery", 200), ("calibrated_on", 300)] {
        let origin = &read[part]["origin"];
        assert_eq!(origin["starts"]["initial_states"], serde_json::json!([[first, first + 3]]), "{part}");
        assert_eq!(
            (&origin["suite"], &origin["sample_seed"]),
            (&"libero_spatial".into(), &20_261_125.into())
        );
        assert_eq!(origin["weak_sha256"], read["model_sha256"]);
    }
    let again = file("again.json");
    runs(aegis().args(["probe", "fit", "--workers", "1", "--plan"]).arg(&plan).arg("--out").arg(&again));
    assert!(bytes == std::fs::read(&again).expect("the probe is written"), "one worker and files differ");

    let out = file("judgement");
    let mut eval = aegis();
    eval.args(["probe", "eval", "--plan"]).arg(&plan).arg("--probe").arg(&probe).arg("--out").arg(&out);
    eval.arg("--discovery").arg(file("discovery")).arg("--episodes").arg(file("confirmation"));
    let table = runs(&mut eval);
    for words in
        ["early-window AUROC", "within task", "task identity", "coverage", "functional band", "trend"]
    {
        assert!(table.contains(words), "{words:?} is missing from {table}");
    }
    let found: Value =
        serde_json::from_slice(&std::fs::read(out.join("evaluation.json")).expect("written")).expect("JSON");
    assert_eq!(found["data"]["sha256"], *digests[2]);
    assert_eq!(found["tasks"].as_array().map(Vec::len), Some(FEW_TASKS));
    let overall = &found["probe"]["overall"];
    let (low, high) = (overall["lower"].as_f64().unwrap(), overall["upper"].as_f64().unwrap());
    assert!((low..=high).contains(&overall["estimate"].as_f64().unwrap()));

    refuse(&plan, &probe, &file("discovery"), &file("calibration"));
    refuse_what_was_seen(&plan, &probe, &file("discovery"));
}

/// Checks that a plan is refused whose ranges contradict the origins that the rollouts and the probe state.
fn refuse_what_was_seen(plan: &Path, probe: &Path, discovery: &Path) {
    edit(plan, "discovery = { first = 200, end = 203", "discovery = { first = 700, end = 703");
    let out = discovery.with_extension("json");
    let mut fit = aegis();
    fit.args(["probe", "fit", "--plan"]).arg(plan).arg("--discovery").arg(discovery).arg("--out").arg(&out);
    refuses(
        &mut fit,
        2,
        &[
            "discovery: rows: found initial states 200 to 202",
            "valid is every episode of 700 to 702",
            "ranges.discovery",
        ],
    );
    assert!(!out.exists(), "a refused fit leaves no probe");
    edit(plan, "confirmation = { first = 500, end = 503", "confirmation = { first = 202, end = 205");
    let mut eval = aegis();
    eval.args(["probe", "eval", "--plan"]).arg(plan).arg("--probe").arg(probe);
    refuses(
        &mut eval,
        2,
        &["demo.toml", "probe.json: discovery", "initial states 202", "ranges.confirmation"],
    );
}

/// Checks that swapped, damaged and mismatched rollout files, an unknown head, and invalid ranges are refused.
fn refuse(plan: &Path, probe: &Path, discovery: &Path, calibration: &Path) {
    let out = discovery.with_extension("json");
    let fit = || {
        let mut command = aegis();
        command.args(["probe", "fit", "--plan"]).arg(plan).arg("--out").arg(&out);
        command
    };
    refuses(
        fit().arg("--discovery").arg(calibration).arg("--calibration").arg(discovery),
        2,
        &["calibration", "range is \"calibration\", the plan's is \"discovery\""],
    );
    let broken = discovery.with_extension("parquet");
    let bytes = std::fs::read(discovery).expect("the rollouts can be read");
    std::fs::write(&broken, &bytes[..bytes.len() / 2]).expect("the file can be written");
    refuses(
        fit().arg("--discovery").arg(&broken),
        2,
        &["discovery.parquet", "a Parquet file that is cut short or damaged"],
    );
    let whole = std::fs::read_to_string(plan).expect("the plan can be read");
    for (from, to, words) in [
        (
            "object_position_sd = 0.002",
            "object_position_sd = 0.05",
            "sensor is {\"object_position_sd\":0.002}, the plan's is",
        ),
        ("settle_steps = 10", "settle_steps = 0", "settle_steps is 10, the plan's is 0"),
    ] {
        edit(plan, from, to);
        refuses(
            fit().arg("--discovery").arg(discovery),
            2,
            &["discovery: these rollouts are of something else", words],
        );
        std::fs::write(plan, &whole).expect("the plan can be written");
    }
    refuses(fit().args(["--head", "forest"]), 2, &["forest", "linear, mlp, recurrent"]);
    assert!(!out.exists(), "a refused fit leaves no probe");
    let mut seen = aegis();
    seen.args(["probe", "eval", "--range", "discovery", "--plan"]).arg(plan).arg("--probe").arg(probe);
    refuses(&mut seen, 2, &["--range: found discovery", "tuning or confirmation"]);
    let mut unknown = aegis();
    unknown.args(["collect", "rehearsal", "--plan"]).arg(plan);
    refuses(&mut unknown, 2, &["rehearsal", "discovery, calibration, tuning, confirmation"]);
}

#[test]
fn every_rule_can_hold_the_gate() {
    let folder = folder("rules");
    let plan = copy_of_study(&folder);
    let shipped = std::fs::read_to_string(&plan).expect("the plan can be read");
    for (name, settings) in [
        ("functional_band", ""),
        ("cost", "missed_failure = 3.0\nfalse_alarm = 1.0"),
        ("trend", "switch_cap = 4"),
        ("disagreement", ""),
        ("blind", "schedule = { at = [5] }"),
        ("take_over", "step = 50"),
        ("never", ""),
    ] {
        let text = shipped.replace("kind = \"conformal\"", &format!("kind = \"{name}\"\n{settings}"));
        std::fs::write(&plan, text).expect("the plan can be written");
        let out = folder.join(name);
        // The demo refuses twins that differ before their first hand-over.
        runs(aegis().args(["demo", "--json", "--episodes", "1", "--plan"]).arg(&plan).arg("--out").arg(&out));
        let lines = std::fs::read_to_string(out.join("episodes.jsonl")).expect("written");
        let aegis_arm = |line: &&str| line.contains("\"arm\":\"aegis\"");
        let fires: Vec<u64> = lines
            .lines()
            .filter(aegis_arm)
            .map(|line| {
                serde_json::from_str::<Value>(line).expect("JSON")["fires"].as_u64().expect("a count")
            })
            .collect();
        match name {
            // The blind rule fires once here because this episode lasts longer than the guard.
            "blind" => assert_eq!(fires, [1]),
            "never" | "take_over" => assert_eq!(fires, [0]),
            _ => assert_eq!(fires.len(), 1),
        }
    }
}

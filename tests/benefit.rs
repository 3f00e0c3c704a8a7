//! Tests the way from forks to a gate that reads the benefit of a hold: `aegis collect --forks`, `aegis probe fit --forks`, `aegis probe
//! eval --forks` and an episode under the rule `benefit`; and what each of them refuses.
#![allow(clippy::expect_used, clippy::unwrap_used)] // Helpers of tests, which clippy takes for other code.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::{FEW_TASKS, aegis_on_few_tasks as aegis, copy_of_study, edit, folder, refuses, succeeds};
use serde_json::Value;

/// Starts of each task in a range.
const STARTS: usize = 2;

/// Copies the shipped study with a few starts of each task, and forks at most two boundaries of each episode.
fn collected(folder: &Path) -> PathBuf {
    let plan = copy_of_study(folder);
    edit(&plan, "penalties = [0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0]", "penalties = [1.0]");
    for (range, first, end) in [("discovery", 200, 280), ("calibration", 300, 340), ("tuning", 400, 440)] {
        let whole = format!("{range} = {{ first = {first}, end = {end}");
        edit(&plan, &whole, &format!("{range} = {{ first = {first}, end = {}", first + STARTS));
        let mut collect = aegis();
        collect.args(["collect", range, "--forks", "--boundaries-per-episode", "2", "--plan"]).arg(&plan);
        succeeds(collect.arg("--out").arg(folder.join(range).with_extension("parquet")));
    }
    plan
}

#[test]
fn from_forks_to_a_gate_that_reads_the_benefit_of_a_hold() {
    let folder = folder("benefit");
    let plan = collected(&folder);
    let rollouts = |range: &str| folder.join(range).with_extension("parquet");
    let forks = |range: &str| folder.join(range).with_extension("forks.parquet");
    let probe = folder.join("probe.json");
    let fit = |calibration_forks: &str| -> Command {
        let mut fit = aegis();
        fit.args(["probe", "fit", "--plan"]).arg(&plan).arg("--out").arg(&probe);
        fit.arg("--discovery").arg(rollouts("discovery")).arg("--calibration").arg(rollouts("calibration"));
        fit.arg("--forks").arg(forks("discovery")).arg("--calibration-forks").arg(forks(calibration_forks));
        fit
    };

    // What contradicts itself is refused before anything is fitted.
    let mut alone = aegis();
    refuses(alone.args(["probe", "fit", "--forks"]).arg(forks("discovery")), 2, &["--calibration-forks"]);
    let wrong = [
        "discovery.forks.parquet",
        "of something else",
        "range is \"discovery\", the plan's is \"calibration\"",
    ];
    refuses(&mut fit("discovery"), 2, &wrong);
    refuses(
        fit("calibration").args(["--benefit-head", "recurrent"]),
        2,
        &["linear or mlp", "--benefit-head"],
    );
    edit(&plan, "hold_chunks = 3", "hold_chunks = 2");
    let gate =
        ["discovery.forks.parquet", "gate.hold_chunks: found 3; valid is 2", "collect the forks again"];
    refuses(&mut fit("calibration"), 2, &gate);
    edit(&plan, "hold_chunks = 2", "hold_chunks = 3");
    assert!(!probe.exists());

    let said = succeeds(fit("calibration").args(["--benefit-head", "linear"]));
    assert!(said.contains("benefit head     linear, of a hold of 30 control steps"), "{said}");
    let read: Value = serde_json::from_slice(&std::fs::read(&probe).unwrap()).unwrap();
    assert_eq!(
        (&read["schema"], &read["benefit"]["discovery"]["episodes"]),
        (&5.into(), &(STARTS * FEW_TASKS).into())
    );

    let eval = |arguments: &[&str]| -> Command {
        let mut eval = aegis();
        eval.args(["probe", "eval", "--range", "tuning", "--json", "--plan"])
            .arg(&plan)
            .arg("--probe")
            .arg(&probe);
        eval.arg("--discovery").arg(rollouts("discovery")).arg("--episodes").arg(rollouts("tuning"));
        eval.args(arguments);
        eval
    };
    let plain: Value = serde_json::from_str(&succeeds(&mut eval(&[]))).unwrap();
    assert!(plain.get("benefit").is_none() && plain.get("hold_out").is_none());
    let mut judge = eval(&["--hold-out-tasks", "1"]);
    judge.arg("--forks").arg(forks("tuning"));
    let mut found: Value = serde_json::from_str(&succeeds(&mut judge)).unwrap();
    let names: Vec<&str> = found["benefit"]["rankings"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|ranking| ranking["name"].as_str())
        .collect();
    assert_eq!(names[..3], ["benefit head", "risk head", "weak against strong"]);
    assert_eq!(found["hold_out"]["groups"].as_array().map(Vec::len), Some(FEW_TASKS));
    assert!(found["hold_out"]["unseen"]["estimate"].is_number());
    for part in ["benefit", "hold_out"] {
        found.as_object_mut().unwrap().remove(part);
    }
    assert_eq!(found, plain, "forks add figures and change none");
    let most = FEW_TASKS - 1;
    refuses(&mut eval(&["--hold-out-tasks", "4"]), 2, &[&format!("found 4; valid is 1 to {most}")]);
    refuses(eval(&[]).arg("--forks").arg(forks("discovery")), 2, &["the plan's is \"tuning\""]);

    // The rule needs a benefit head: the shipped probe has none.
    edit(&plan, "kind = \"conformal\"", "kind = \"benefit\"\nprice = 0.1");
    let demo = || {
        let mut demo = aegis();
        demo.args(["demo", "--episodes", "4", "--plan"]).arg(&plan).arg("--out").arg(folder.join("demo"));
        demo
    };
    refuses(&mut demo(), 2, &["benefit: found none", "aegis probe fit --forks"]);
    std::fs::copy(&probe, folder.join("policies/models/probe.json")).unwrap();
    assert!(succeeds(&mut demo()).contains("aegis"));
}

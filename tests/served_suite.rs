//! Studies on plants of another process: the plant file, the refusals, and a whole study over Zenoh in lock-step, which has to come
//! out as the same study on the same simulator in this process.
#![allow(clippy::expect_used, clippy::unwrap_used)] // Helpers of tests, which clippy takes for other code.

use std::path::{Path, PathBuf};
use std::process::Command;

use aegis_probe::rollout_file::read;
use serde_json::Value;

use crate::common::{Served, aegis_on_few_tasks as aegis, edit, folder, refuses, succeeds};
use crate::disturbances::add_disturbances;
use crate::experiment::small_plan;

/// Two plants of the native simulator, served as those of anybody.
struct Robots {
    _process: Served,
    endpoint: String,
}

impl Robots {
    fn start() -> Self {
        let mut command = aegis();
        command.args(["sim", "serve", "--name", "one", "--name", "two", "--listen", "tcp/127.0.0.1:0"]);
        let (process, ready) = Served::start(&mut command);
        let endpoint = ready.rsplit(' ').next().unwrap().to_owned();
        Self { _process: process, endpoint }
    }

    /// Adds the arguments that name both plants.
    fn of<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.args(["--connect", &self.endpoint, "--plant", "one", "--plant", "two"])
    }

    /// Returns the command that writes a plant file of the first plant.
    fn describe(&self, out: &Path) -> Command {
        let mut command = aegis();
        command
            .args(["plan", "plant", "--connect", &self.endpoint, "--plant", "one", "--suite", "elsewhere"])
            .args(["--initial-states", "50", "--out"])
            .arg(out);
        command
    }
}

/// Writes a short plan of recorded starts, with disturbances, which every plant has to apply alike; without a plant file, it is
/// of the native suite.
fn plan(folder: &Path, plant: Option<&str>) -> PathBuf {
    let plan = small_plan(folder);
    edit(&plan, "sample_seed = 20261125\n", "");
    edit(&plan, "horizon_steps = 220", "horizon_steps = 100");
    edit(&plan, "{ at = [5, 9] }", "{ at = [2] }");
    edit(&plan, "precondition = {", "# precondition = {");
    add_disturbances(&plan);
    for (range, first, end) in [("training", 50, 120), ("discovery", 200, 280), ("calibration", 300, 340)] {
        let (from, to) = match range {
            "training" => (0, 2),
            "discovery" => (2, 4),
            _ => (4, 6),
        };
        edit(
            &plan,
            &format!("{range} = {{ first = {first}, end = {end}"),
            &format!("{range} = {{ first = {from}, end = {to}"),
        );
    }
    if let Some(plant) = plant {
        edit(&plan, "suite = \"libero_spatial\"", &format!("suite = \"elsewhere\"\nplant = \"{plant}\""));
    }
    plan
}

/// Collects, registers and runs a study, reports it and verifies it; returns its rollouts' file and its report.
fn study(plan: &Path, place: &Path, robots: Option<&Robots>) -> (PathBuf, Value) {
    let with = |words: &[&str]| {
        let mut command = aegis();
        command.args(words);
        if let Some(robots) = robots {
            robots.of(&mut command);
        }
        command
    };
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let (rollouts, out) = (place.join("discovery.parquet"), place.join("run"));
    succeeds(&mut with(&["collect", "discovery", "--plan", &text(plan), "--out", &text(&rollouts)]));
    succeeds(&mut with(&["plan", "register", &text(plan)]));
    succeeds(&mut with(&["experiment", "run", "--plan", &text(plan), "--out", &text(&out)]));
    // Neither needs the plant.
    succeeds(aegis().args(["experiment", "report", &text(&out), "--plan", &text(plan)]));
    let verified = succeeds(aegis().args(["experiment", "verify", &text(&out), "--plan", &text(plan)]));
    assert!(verified.contains("verified"), "{verified}");
    let again =
        succeeds(&mut with(&["experiment", "verify", &text(&out), "--plan", &text(plan), "--rerun", "all"]));
    assert!(again.contains("equal the stored ones, bit for bit"), "{again}");
    (rollouts, serde_json::from_slice(&std::fs::read(out.join("report.json")).unwrap()).unwrap())
}

#[test]
fn a_study_on_served_plants_comes_out_as_on_the_same_simulator_here() {
    let here = folder("served-suite-here");
    let there = folder("served-suite-there");
    let robots = Robots::start();
    let (native, served) = (plan(&here, None), plan(&there, Some("robot.toml")));
    let said = succeeds(&mut robots.describe(&served.with_file_name("robot.toml")));
    assert!(said.contains("50 initial states each"), "{said}");
    let (of_native, native) = study(&native, &here, None);
    let (of_served, served) = study(&served, &there, Some(&robots));
    let (from_native, native_rollouts) = read(&of_native).unwrap();
    let (from_served, served_rollouts) = read(&of_served).unwrap();
    assert!(native_rollouts == served_rollouts, "the rollouts differ");
    assert_eq!((from_native.suite.as_str(), from_served.suite.as_str()), ("libero_spatial", "elsewhere"));
    assert_ne!(from_native.suite_sha256, from_served.suite_sha256);
    let (native, served) = (&native["report"], &served["report"]);
    assert!(native_rollouts.iter().any(|rollout| rollout.disturbance.is_some()));
    let kinds = native["disturbances"]["kinds"].as_array().map_or(0, Vec::len);
    assert!(kinds > 1, "{}", native["disturbances"]);
    for figures in ["arms", "contrasts", "disturbances"] {
        assert!(!native[figures].is_null(), "{figures}");
        assert_eq!(native[figures], served[figures], "{figures}");
    }
}

#[test]
fn a_plan_of_served_plants_says_what_it_needs() {
    let place = folder("served-suite-refusals");
    let robots = Robots::start();
    let plan = plan(&place, Some("robot.toml"));
    let file = plan.with_file_name("robot.toml");
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let collect = || {
        let mut command = aegis();
        command.args([
            "collect",
            "tuning",
            "--plan",
            &text(&plan),
            "--out",
            &text(&place.join("out.parquet")),
        ]);
        command
    };
    refuses(&mut collect(), 2, &["robot.toml", "cannot read"]);
    succeeds(&mut robots.describe(&file));
    refuses(&mut robots.describe(&file), 2, &["is there already"]);
    refuses(&mut collect(), 1, &["--connect: missing", "elsewhere", "--plant NAME"]);

    // What the plant announces is not what the file says.
    let written = std::fs::read_to_string(&file).unwrap();
    let changed = |from: &str, to: &str| {
        assert!(written.contains(from), "{written}");
        std::fs::write(&file, written.replacen(from, to, 1)).unwrap();
    };
    changed("\"m, world frame: grip site\"", "\"mm, world frame: grip site\"");
    refuses(robots.of(&mut collect()), 1, &["not what the plant file of elsewhere says", "units"]);
    changed("name = \"gripper_positions\"", "name = \"hand_positions\"");
    refuses(robots.of(&mut collect()), 1, &["gripper_positions", "hand_positions"]);
    assert!(!place.join("out.parquet.collecting").exists(), "what never began leaves a folder");
    // The instruction is wrong in the first task alone, so episodes of another one may be kept before the command ends.
    let first = written.split("tasks = [").nth(1).unwrap().split('"').nth(1).unwrap().to_owned();
    changed(&first, "juggle");
    refuses(robots.of(&mut collect()), 1, &["found the instruction", "juggle"]);
    std::fs::write(&file, &written).unwrap();

    // A plan and its plant file have to agree.
    let said = std::fs::read_to_string(&plan).unwrap();
    for (from, to, words) in [
        ("suite = \"elsewhere\"", "suite = \"libero_goal\"", &["suite: found libero_goal", "elsewhere"][..]),
        ("master_seed", "sample_seed = 1\nmaster_seed", &["sample_seed", "none beside a `plant`"]),
        ("end = 46", "end = 51", &["ranges.confirmation", "at most 50"]),
    ] {
        std::fs::write(&plan, said.replacen(from, to, 1)).unwrap();
        refuses(robots.of(&mut collect()), 2, words);
    }
    std::fs::write(&plan, &said).unwrap();

    // A plan of scenes that are here is not run elsewhere, except in a demo.
    std::fs::write(
        &plan,
        said.replace("suite = \"elsewhere\"\nplant = \"robot.toml\"", "suite = \"libero_spatial\""),
    )
    .unwrap();
    refuses(robots.of(&mut collect()), 2, &["--connect", "libero_spatial is simulated here"]);
    let mut demo = aegis();
    demo.args(["demo", "--plan", &text(&plan), "--episodes", "1", "--out", &text(&place.join("demo"))]);
    succeeds(robots.of(&mut demo));
}

#[test]
fn a_plan_begins_from_a_plant_file() {
    let place = folder("served-suite-new");
    let robots = Robots::start();
    let (file, plan) = (place.join("robot.toml"), place.join("plans/study.toml"));
    succeeds(&mut robots.describe(&file));
    succeeds(aegis().args(["plan", "new", "--plant-file"]).arg(&file).arg("--out").arg(&plan));
    let said = std::fs::read_to_string(&plan).unwrap();
    for line in [
        "suite = \"elsewhere\"",
        "plant = \"../robot.toml\"",
        "settle_steps = 0",
        "object_position_sd = 0.0",
        "discovery = { first = 7, end = 22, replicates = 1 }",
        "confirmation = { first = 35, end = 50, replicates = 1 }",
        "weak = \"weak.toml\"",
    ] {
        assert!(said.lines().any(|found| found == line), "{line}: {said}");
    }
    assert!(!said.contains("sample_seed"), "{said}");
    // What is missing is what the user brings: the policies.
    refuses(aegis().args(["plan", "register"]).arg(&plan), 2, &["weak.toml"]);
}

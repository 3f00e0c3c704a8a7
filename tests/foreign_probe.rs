//! A probe from rollouts of another program: the class and the loop of docs/reference/rollouts.md write them with stand-ins for a
//! PyTorch policy and its environment, and `aegis probe` fits, judges and runs the probe.
#![allow(clippy::expect_used, clippy::unwrap_used)] // Helpers of tests, which clippy takes for other code.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::{aegis, copy_of_study, edit, folder, refuses, repository, succeeds};
use serde_json::Value;

/// Stand-ins: a tensor with the methods that the hook calls, a policy whose hooks are called at each inference, and an environment
/// whose episodes are lost where a value that the activation shows with noise is high.
const STAND_INS: &str = r#"
import sys
import types

import numpy

seed, episodes, width, tasks = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4].split(",")
random = numpy.random.default_rng(seed)


class Tensor:
    def __init__(self, values):
        self.values = values

    def detach(self):
        return self

    float = cpu = detach

    def numpy(self):
        return self.values


class Policy:
    def __init__(self):
        self.hooks = []
        layer = types.SimpleNamespace(register_forward_hook=self.hooks.append)
        self.action_expert = types.SimpleNamespace(layers=[layer] * 16)

    def infer(self, observation):
        values = random.normal(0.0, 1.0, (1, 4, width)).astype("float32")
        values[..., 0] += 3.0 * observation
        for hook in self.hooks:
            hook(None, None, (Tensor(values),))
        return [0.0] * 16


class Environment:
    def __init__(self):
        self.count = 0

    def reset(self):
        self.task = tasks[self.count % len(tasks)]
        self.count += 1
        self.danger, self.taken = random.uniform(-1.0, 1.0), 0
        return self.danger

    def step(self, action):
        self.taken += 1
        lost = self.danger > 0.0
        done = self.taken >= (60 if lost else 45)
        return self.danger, done, done and not lost


policy, env = Policy(), Environment()
"#;

/// Returns the Python code of the page: the class and the loop.
fn page() -> String {
    let page = std::fs::read_to_string(repository().join("docs/reference/rollouts.md")).unwrap();
    let (_, part) = page.split_once("## Rollouts of another program").expect("a part of the page");
    let blocks: Vec<&str> =
        part.split("```").skip(1).step_by(2).filter_map(|block| block.strip_prefix("python\n")).collect();
    assert_eq!(blocks.len(), 2, "the class and the loop");
    blocks.concat()
}

/// Runs the page's code with these stand-ins, and returns the file that it wrote.
fn record(place: &Path, name: &str, settings: [&str; 4]) -> PathBuf {
    let script = place.join("record.py");
    std::fs::write(&script, STAND_INS.to_owned() + &page()).unwrap();
    let python = repository().join(".deps/python/bin/python");
    assert!(python.is_file(), "{}: missing; run `cargo xtask test`", python.display());
    succeeds(Command::new(python).arg(&script).args(settings).current_dir(place));
    let file = place.join(name);
    std::fs::rename(place.join("rollouts.npz"), &file).unwrap();
    file
}

/// A fit that needs nothing but the file: the cache is a folder that does not exist.
fn fit(rollouts: &Path, out: &Path) -> Command {
    let mut command = aegis();
    command.env("AEGIS_CACHE", "/nonexistent").args([
        "probe",
        "fit",
        "--horizon",
        "60",
        "--chunk-steps",
        "10",
    ]);
    command.arg("--rollouts").arg(rollouts).arg("--out").arg(out);
    command
}

#[test]
fn activations_and_outcomes_alone_give_a_probe_and_its_figures() {
    let place = folder("foreign-probe");
    let names = "lift,push,wipe";
    let rollouts = record(&place, "mine.npz", ["1", "90", "6", names]);
    let fresh = record(&place, "fresh.npz", ["2", "90", "6", names]);
    let probe = place.join("probe.json");
    let said = succeeds(&mut fit(&rollouts, &probe));
    for words in ["unknown of model unknown", "not disagreement", "45 episodes"] {
        assert!(said.contains(words), "{words:?} is missing from {said}");
    }
    let again = place.join("again.json");
    succeeds(&mut fit(&rollouts, &again));
    assert!(
        std::fs::read(&probe).unwrap() == std::fs::read(&again).unwrap(),
        "equal files give equal probes"
    );
    let file: Value = serde_json::from_slice(&std::fs::read(&probe).unwrap()).unwrap();
    assert_eq!((&file["schema"], &file["chunk_steps"]), (&4.into(), &10.into()));
    assert_eq!(file["foreign"]["task_names"], serde_json::json!(["lift", "push", "wipe"]));
    assert!(file["calibration"]["threshold"].is_number(), "{file}");
    assert_eq!((file["calibration"].get("disagreement"), file["discovery"].get("origin")), (None, None));

    let mut eval = aegis();
    eval.env("AEGIS_CACHE", "/nonexistent").args(["probe", "eval", "--rollouts"]).arg(&fresh);
    eval.arg("--probe").arg(&probe).arg("--discovery").arg(&rollouts);
    let text = succeeds(&mut eval);
    for words in [
        "90 fresh episodes",
        "| task identity |",
        "| seam between chunks | not known: the rollouts have no chunks | |",
        "| disagreement | not usable: ",
        "0 = lift, 1 = push, 2 = wipe",
    ] {
        assert!(text.contains(words), "{words:?} is missing from {text}");
    }
    let found: Value = serde_json::from_str(&succeeds(eval.arg("--json"))).unwrap();
    assert!(found["probe"]["overall"]["lower"].as_f64().unwrap() > 0.8, "{}", found["probe"]);
    assert!(found["coverage"][0]["holds"].as_bool().unwrap(), "{}", found["coverage"]);

    let eval = |rollouts: &Path, probe: &Path| {
        let mut command = aegis();
        command.args(["probe", "eval", "--rollouts"]).arg(rollouts).arg("--probe").arg(probe);
        command
    };
    succeeds(&mut eval(&fresh, &probe));
    refuses(
        &mut eval(&rollouts, &probe),
        2,
        &["--rollouts", "mine.npz", "the episodes that", "new episodes"],
    );
    refuses(
        eval(&fresh, &probe).arg("--discovery").arg(&fresh),
        2,
        &["--discovery", "fresh.npz", "other episodes", "valid is the file that was its --rollouts"],
    );
    let shipped = repository().join("policies/models/probe.json");
    refuses(&mut eval(&fresh, &shipped), 2, &["probe.json: schema", "`aegis probe fit --rollouts`"]);
    let narrow = record(&place, "narrow.npz", ["3", "30", "5", names]);
    refuses(&mut eval(&narrow, &probe), 2, &["narrow.npz: activation: found 5 values; valid is 6"]);
    refuses(
        fit(&rollouts, &again).arg("--calibration-rollouts").arg(&narrow),
        2,
        &["narrow.npz: activation: found 5 values; valid is 6, as in"],
    );
    refuses(
        fit(&rollouts, &again).arg("--calibration-rollouts").arg(&rollouts),
        2,
        &["mine.npz: rows: found the episodes of", "guarantee nothing"],
    );
    let two = place.join("two.json");
    succeeds(fit(&rollouts, &two).arg("--calibration-rollouts").arg(&fresh));
    let file: Value = serde_json::from_slice(&std::fs::read(&two).unwrap()).unwrap();
    assert_eq!((&file["discovery"]["episodes"], file["foreign"].get("split")), (&90.into(), None));
}

#[test]
fn what_is_missing_or_contradicts_is_named() {
    let place = folder("foreign-probe-refused");
    let rollouts = record(&place, "mine.npz", ["1", "24", "6", "lift,push"]);
    let out = place.join("probe.json");
    let bare = |arguments: &[&str]| {
        let mut command = aegis();
        command.args(["probe", "fit", "--rollouts"]).arg(&rollouts).args(arguments);
        command
    };
    refuses(&mut bare(&[]), 2, &["--out: missing"]);
    refuses(bare(&[]).arg("--out").arg(&out), 2, &["--horizon: missing; valid is the largest number"]);
    refuses(bare(&["--horizon", "60"]).arg("--out").arg(&out), 2, &["--chunk-steps: missing"]);
    refuses(
        bare(&["--horizon", "60", "--chunk-steps", "0"]).arg("--out").arg(&out),
        2,
        &["--chunk-steps: found 0; valid is 1 or more"],
    );
    refuses(
        bare(&["--horizon", "60", "--chunk-steps", "5"]).arg("--out").arg(&out),
        2,
        &[
            "mine.npz: step: found row",
            "step 10 after 0",
            "a row after each 5 control steps",
            "multiply it by 5",
        ],
    );
    refuses(
        bare(&["--horizon", "40", "--chunk-steps", "10"]).arg("--out").arg(&out),
        2,
        &["mine.npz: step: found row", "below the 40 control steps"],
    );
    refuses(
        fit(&rollouts, &out).args(["--calibration-share", "1"]),
        2,
        &["--calibration-share: found 1; valid is"],
    );
    refuses(
        fit(&rollouts, &out).args(["--model-sha256", "12", "--tensor", "tokens"]),
        2,
        &["--model-sha256: found 12; valid is 64 hexadecimal digits"],
    );
    refuses(
        fit(&rollouts, &out).arg("--model").arg(repository().join("policies/models/weak.toml")),
        2,
        &["weak.toml: activation.width: found 64; valid is 6"],
    );
    refuses(&mut fit(&rollouts, &rollouts), 2, &["--out", "mine.npz"]);
    assert!(!out.exists(), "a refused fit leaves no probe");
}

#[test]
fn a_probe_with_a_policy_holds_the_gate_and_cannot_measure_disagreement() {
    let place = folder("foreign-probe-bound");
    let plan = copy_of_study(&place);
    let models = place.join("policies/models");
    let rollouts = record(&place, "mine.npz", ["1", "60", "64", "0"]);
    let probe = models.join("mine.json");
    succeeds(fit(&rollouts, &probe).arg("--model").arg(models.join("weak.toml")));
    edit(&plan, "/probe.json", "/mine.json");
    let demo = || {
        let mut command = aegis();
        command.args(["demo", "--json", "--episodes", "1", "--plan"]).arg(&plan);
        command.arg("--out").arg(place.join("out"));
        command
    };
    succeeds(&mut demo());
    edit(&plan, "kind = \"conformal\"", "kind = \"disagreement\"");
    refuses(
        &mut demo(),
        2,
        &[
            "rule.kind: found disagreement, for which this probe has no threshold",
            "conformal, functional_band, cost or trend",
        ],
    );
    // A probe that names no policy is refused with what to do.
    edit(&plan, "kind = \"disagreement\"", "kind = \"conformal\"");
    succeeds(&mut fit(&rollouts, &probe));
    refuses(
        &mut demo(),
        2,
        &["mine.json: model_sha256: found unknown", "aegis probe fit --rollouts FILE --model CARD"],
    );
}

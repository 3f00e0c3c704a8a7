//! Runs the binary on invalid input. Each case must give a clear error and its exit code, and leave no output file.
//! Each test copies the shipped study and damages one place of the copy.
#![allow(clippy::expect_used, clippy::unwrap_used)] // Helpers of tests, which clippy takes for other code.

use crate::common::{self, aegis, copy_of_study, edit, folder, refuses};

#[test]
fn a_missing_cache() {
    let empty = folder("missing-cache");
    let mut command = aegis();
    command.env("AEGIS_CACHE", &empty).env_remove("AEGIS_SCENES").env_remove("AEGIS_ORT_LIBRARY").arg("demo");
    refuses(&mut command, 3, &["missing-cache", "cargo xtask setup"]);
}

#[test]
fn a_missing_suite_names_the_command_that_brings_it() {
    let mut command = aegis();
    command.env("AEGIS_CACHE", folder("missing-suite")).env_remove("AEGIS_SCENES");
    command.args(["sim", "goals", "--suite", "libero_goal", "--task", "0", "--states", "states.npy"]);
    refuses(&mut command, 3, &["libero_goal", "`cargo xtask setup --suite libero_goal`"]);
}

#[test]
fn a_cache_that_cannot_be_read_is_no_missing_one() {
    // A regular file in the path stands for a folder without read permission, because root can read any folder.
    let file = folder("unreadable-cache").join("file");
    std::fs::write(&file, "in the way").expect("the file can be written");
    let mut command = aegis();
    command.env("AEGIS_CACHE", &file).env_remove("AEGIS_SCENES").arg("demo");
    refuses(&mut command, 3, &["unreadable-cache/file", "cannot read", "AEGIS_CACHE"]);
}

#[test]
fn an_empty_path_and_a_pipe_are_no_models() {
    let folder = folder("empty-path");
    let plan = copy_of_study(&folder);
    let whole = std::fs::read_to_string(&plan).expect("the plan can be read");
    edit(&plan, "\"../policies/models/probe.json\"", "\"\"");
    refuses(
        aegis().arg("demo").arg("--plan").arg(&plan),
        2,
        &["demo.toml: models.probe: found an empty path"],
    );
    std::fs::write(&plan, whole).expect("the plan can be written");
    let weights = folder.join("policies/models/strong.onnx");
    std::fs::remove_file(&weights).expect("the model can be removed");
    let made = std::process::Command::new("mkfifo").arg(&weights).status().expect("mkfifo starts");
    assert!(made.success());
    refuses(
        aegis().arg("demo").arg("--plan").arg(plan),
        2,
        &["strong.onnx: cannot read: found a pipe", "regular file"],
    );
}

#[test]
fn a_number_below_zero_is_told_as_one() {
    let words = ["invalid value '-1' for '--b <N>'", "whole number from 0 to 1000000000000"];
    refuses(aegis().args(["stats", "mcnemar", "--b", "-1", "--c", "2"]), 2, &words);
    refuses(
        aegis().args(["stats", "power", "--recovered", "-0.1", "--broken", "0.1", "--power", "0.8"]),
        2,
        &["-0.1"],
    );
}

#[test]
fn a_missing_library() {
    let mut command = aegis();
    command
        .env("AEGIS_SCENES", common::scenes())
        .env("AEGIS_ORT_LIBRARY", "/nowhere/libonnxruntime.so")
        .arg("demo");
    refuses(&mut command, 3, &["/nowhere/libonnxruntime.so", "cargo xtask setup"]);
}

#[test]
fn scenes_of_another_suite() {
    let mut command = aegis();
    command.env("AEGIS_SCENES", common::scenes());
    command.args(["sim", "goals", "--suite", "libero_goal", "--task", "0", "--states", "states.npy"]);
    refuses(&mut command, 3, &["found the scenes of suite libero_spatial", "libero_goal", "AEGIS_SCENES"]);
}

#[test]
fn numbers_that_no_machine_could_list() {
    let out = folder("bad-numbers").join("starts.npy");
    let sample = |extra: &[&str]| {
        let mut command = aegis();
        command.args(["sim", "sample", "--task", "0", "--seed", "1", "--out"]).arg(&out).args(extra);
        command
    };
    refuses(
        &mut sample(&["--count", "100000000000"]),
        2,
        &["--count: found 100000000000", "1 to 1000000", "memory"],
    );
    let last = &["--first", "18446744073709551615", "--count", "2"];
    refuses(&mut sample(last), 2, &["--first: found 18446744073709551615", "at most 18446744073709551613"]);
    assert!(!out.exists(), "a refused draw leaves no file");
    let mut demonstrate = aegis();
    demonstrate.args(["demonstrate", "--replicates", "1000000000000", "--out"]).arg(&out);
    refuses(&mut demonstrate, 2, &["--replicates", "at most 100000 episodes of each task"]);
    let mut power = aegis();
    power.args([
        "plan",
        "power",
        "--effect",
        "0.1",
        "--discordance",
        "0.2",
        "--alpha",
        "0.05",
        "--studies",
        "1000000000000",
    ]);
    refuses(&mut power, 2, &["--studies", "100..=1000000"]);
}

#[test]
fn a_truncated_model() {
    let folder = folder("truncated-model");
    let plan = copy_of_study(&folder);
    let model = folder.join("policies/models/strong.onnx");
    let bytes = std::fs::read(&model).expect("the model can be read");
    std::fs::write(&model, &bytes[..bytes.len() / 2]).expect("the model can be written");
    refuses(aegis().arg("demo").arg("--plan").arg(plan), 2, &["strong.onnx", "SHA-256", "truncated"]);
}

#[test]
fn a_wrong_activation_name() {
    let folder = folder("wrong-activation");
    let plan = copy_of_study(&folder);
    edit(&folder.join("policies/models/weak.toml"), "\"action_tokens\"", "\"layer_15\"");
    edit(&folder.join("policies/models/probe.json"), "\"action_tokens\"", "\"layer_15\"");
    let words = ["weak.toml", "activation.tensor", "layer_15", "actions, action_tokens"];
    refuses(aegis().arg("demo").arg("--plan").arg(plan), 2, &words);
}

#[test]
fn a_wrong_activation_width() {
    let folder = folder("wrong-width");
    let plan = copy_of_study(&folder);
    edit(&folder.join("policies/models/weak.toml"), "width = 64", "width = 720");
    let words = ["weak.toml: activation: found float32[1, 10, 720]; valid is float32[1, 10, 64]"];
    refuses(aegis().arg("demo").arg("--plan").arg(plan), 2, &words);
}

#[test]
fn a_probe_of_another_model() {
    let folder = folder("foreign-probe");
    let plan = copy_of_study(&folder);
    edit(&folder.join("policies/models/probe.json"), "\"model_sha256\":\"", "\"model_sha256\":\"0");
    refuses(
        aegis().arg("demo").arg("--plan").arg(plan),
        2,
        &["probe.json", "model_sha256", "`aegis probe fit`"],
    );
}

#[test]
fn an_unknown_task() {
    refuses(aegis().args(["demo", "--task", "10"]), 2, &["--task: found 10", "0 to 9"]);
}

#[test]
fn a_range_that_the_plan_does_not_have() {
    // The refusal comes before any rollout; rollouts would take minutes.
    let valid = "training, discovery, calibration, tuning, confirmation";
    refuses(aegis().args(["probe", "eval", "--range", "nope"]), 2, &["--range: found nope", valid]);
    refuses(aegis().args(["collect", "nope"]), 2, &["RANGE: found nope", valid]);
}

#[test]
fn too_many_episodes() {
    refuses(aegis().args(["demo", "--episodes", "401"]), 2, &["--episodes: found 401", "1 to 400"]);
}

#[test]
fn a_plan_with_an_unknown_key() {
    let folder = folder("unknown-key");
    let plan = copy_of_study(&folder);
    edit(&plan, "hold_chunks = 3", "hold_chunks = 3\nhold_seconds = 1");
    refuses(aegis().arg("demo").arg("--plan").arg(plan), 2, &["demo.toml", "hold_seconds", "hold_chunks"]);
}

#[test]
fn a_plan_with_overlapping_ranges() {
    let folder = folder("overlap");
    let plan = copy_of_study(&folder);
    edit(&plan, "confirmation = { first = 500", "confirmation = { first = 439");
    refuses(aegis().arg("demo").arg("--plan").arg(plan), 2, &["ranges.confirmation", "ranges.tuning"]);
}

#[test]
fn a_range_past_the_recorded_starts() {
    let folder = folder("past-the-recorded");
    let plan = copy_of_study(&folder);
    edit(&plan, "sample_seed = 20261125\n", "");
    refuses(
        aegis().arg("demo").arg("--plan").arg(plan),
        2,
        &["ranges.training", "end 120", "50", "sample_seed"],
    );
}

#[test]
fn sampled_starts_where_recorded_ones_are() {
    let folder = folder("sampled-first");
    let states = folder.join("states.npy");
    let mut command = aegis();
    command.args(["sim", "sample", "--task", "0", "--count", "1", "--seed", "1", "--first", "49", "--out"]);
    refuses(command.arg(&states), 2, &["--first", "49", "50 or more"]);
    assert!(!states.exists());
}

#[test]
fn an_impossible_gate() {
    let folder = folder("impossible-gate");
    let plan = copy_of_study(&folder);
    edit(&plan, "guard_fraction = 0.20", "guard_fraction = 1.20");
    refuses(aegis().arg("demo").arg("--plan").arg(plan), 2, &["guard_fraction", "1.2", "0 to 1"]);
}

#[test]
fn a_folder_that_cannot_be_written() {
    let folder = folder("unwritable");
    let file = folder.join("file");
    std::fs::write(&file, "in the way").expect("the file can be written");
    refuses(aegis().args(["demo", "--episodes", "1", "--out"]).arg(&file), 1, &["file", "cannot write"]);
}

#[test]
fn an_action_file_of_another_shape() {
    let folder = folder("action-shape");
    let actions = folder.join("actions.npy");
    std::fs::write(&actions, "not an array").expect("the file can be written");
    let mut command = aegis();
    command.args(["sim", "rollout", "--task", "0", "--init", "0", "--states"]).arg(folder.join("states.npy"));
    command.arg("--actions").arg(&actions);
    refuses(&mut command, 2, &["actions.npy", "float64[steps, 7]"]);
    assert!(!folder.join("states.npy").exists());
}

#[test]
fn a_state_file_that_holds_none() {
    let folder = folder("state-file");
    let states = folder.join("mine.npy");
    std::fs::write(&states, "not an array").expect("the file can be written");
    let mut command = aegis();
    command.args(["sim", "goals", "--task", "0", "--states"]).arg(&states);
    refuses(&mut command, 2, &["mine.npy", "float64[n, 1 + nq + nv]"]);
}

#[test]
fn a_missing_plan_is_named_once() {
    let output = aegis().args(["demo", "--plan", "nowhere.toml"]).output().expect("the binary starts");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert_eq!(stderr.matches("No such file").count(), 1, "{stderr}");
}

#[test]
fn starts_that_are_no_range() {
    let folder = folder("no-range");
    let out = folder.join("demonstrations.safetensors");
    for starts in ["5..5", "7", "a..b"] {
        refuses(
            aegis().args(["demonstrate", "--starts", starts, "--out"]).arg(&out),
            2,
            &["FIRST..END", "0..20"],
        );
    }
    assert!(!out.exists());
}

#[test]
fn a_rule_that_is_none() {
    let folder = folder("no-rule");
    let plan = copy_of_study(&folder);
    edit(&plan, "kind = \"conformal\"", "kind = \"oracle\"");
    refuses(aegis().arg("demo").arg("--plan").arg(plan), 2, &["demo.toml", "oracle", "functional_band"]);
}

#[test]
fn a_reader_that_has_gone() {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let model = common::repository().join("policies/models/strong.onnx");
    let mut command = aegis();
    refuses(command.args(["model", "inspect"]).arg(model).stdout(writer), 0, &[]);
}

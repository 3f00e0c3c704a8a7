//! Tests `aegis doctor` on a complete installation and on installations with missing or damaged parts.
#![allow(clippy::expect_used, clippy::unwrap_used)] // Helpers of tests, which clippy takes for other code.

use crate::common;

use std::process::Command;

use serde_json::Value;

fn doctor(arguments: &[&str]) -> Command {
    let mut command = common::aegis();
    command.arg("doctor").args(arguments);
    command
}

/// Returns the JSON report and the exit code.
fn report(command: &mut Command) -> (Value, Option<i32>) {
    let output = command.arg("--json").output().expect("the binary starts");
    let report = serde_json::from_slice(&output.stdout);
    (report.unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr))), output.status.code())
}

fn check<'a>(report: &'a Value, name: &str) -> &'a Value {
    let checks = report["checks"].as_array().expect("a list");
    checks.iter().find(|check| check["name"] == name).unwrap_or_else(|| panic!("no {name} in {report}"))
}

#[test]
fn a_whole_installation_is_said_to_be_whole() {
    let (report, code) = report(&mut doctor(&[]));
    assert_eq!((&report["ok"], code), (&Value::Bool(true), Some(0)), "{report}");
    for (name, words) in [
        ("onnx runtime", ["libonnxruntime.so", "version 1.32.0, sha256 "]),
        ("mujoco", ["libmujoco.so", "version 3.17.0, sha256 "]),
        ("onnx providers", ["cpu", ""]),
        ("scenes libero_spatial", ["10 tasks", ""]),
        ("mj_step rate", ["physics steps a second", "libero_spatial task 0"]),
        ("weak policy", ["weak.toml: digest is right", "runs on cpu"]),
        ("strong policy", ["strong.toml: digest is right", "runs on cpu"]),
        ("probe", ["probe.json", "fits the weak policy"]),
    ] {
        let found = check(&report, name)["found"].as_str().expect("text");
        assert!(words.iter().all(|word| found.contains(word)), "{name}: {found}");
    }
}

#[test]
fn an_empty_cache_is_told_apart_from_a_broken_one() {
    let folder = common::folder("doctor-empty");
    let mut command = doctor(&[]);
    command.env("AEGIS_CACHE", &folder).env_remove("AEGIS_ORT_LIBRARY").env_remove("AEGIS_SCENES");
    let (report, code) = report(&mut command);
    assert_eq!((&report["ok"], code), (&Value::Bool(false), Some(3)));
    for name in ["onnx runtime", "scenes libero_spatial"] {
        let check = check(&report, name);
        assert_eq!(check["ok"], false);
        assert!(check["advice"].as_str().unwrap().contains("cargo xtask setup"), "{check}");
    }
    assert_eq!(check(&report, "scenes libero_goal")["needed"], false);
    let weak = check(&report, "weak policy")["found"].as_str().unwrap().to_owned();
    assert!(weak.contains("digest is right; not opened"), "{weak}");

    let library = folder.join("libonnxruntime.so");
    std::fs::write(&library, "no library").unwrap();
    let mut command = doctor(&[]);
    command.env("AEGIS_ORT_LIBRARY", &library);
    common::refuses(&mut command, 3, &["needed and missing: onnx runtime"]);
}

#[test]
fn a_model_that_is_not_its_cards_is_named() {
    let plan = common::copy_of_study(&common::folder("doctor-model"));
    let strong = plan.parent().unwrap().join("../policies/models/strong.onnx");
    std::fs::write(&strong, "cut short").unwrap();
    let (report, code) = report(doctor(&["--plan"]).arg(&plan));
    assert_eq!(code, Some(3));
    let found = check(&report, "strong policy")["found"].as_str().unwrap();
    assert!(found.contains("strong.onnx") && found.contains("SHA-256"), "{found}");
    assert_eq!(check(&report, "weak policy")["ok"], true);
}

#[test]
fn a_provider_that_is_insisted_on_is_needed() {
    let (report, code) = report(&mut doctor(&["--provider", "cuda"]));
    assert_eq!(code, Some(3));
    assert_eq!(check(&report, "gpu")["needed"], true);
    let weak = check(&report, "weak policy")["found"].as_str().unwrap();
    assert!(weak.contains("provider cuda"), "{weak}");
    common::refuses(&mut doctor(&["--provider", "gpu"]), 2, &["cpu, cuda, tensorrt or auto"]);
}

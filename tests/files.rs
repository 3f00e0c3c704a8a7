//! Tests output paths and streams: links, devices and unusual names as `--out`, a closed or a full standard output, and empty
//! environment variables.
#![allow(clippy::expect_used, clippy::unwrap_used)] // Helpers of tests, which clippy takes for other code.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use crate::common::{self, aegis, folder, refuses, repository};

/// Returns an `aegis model tap` command, the fastest subcommand that writes a file.
fn tap(out: &Path) -> Command {
    let mut command = aegis();
    command.args(["model", "tap"]).arg(repository().join("tests/fixtures/opset13.onnx"));
    command.args(["--tensor", "hidden", "--pool", "mean", "--out"]).arg(out);
    command
}

#[test]
fn a_link_is_followed_and_permissions_stay() {
    let folder = folder("files-link");
    let (kept, link) = (folder.join("kept.onnx"), folder.join("link.onnx"));
    std::fs::copy(repository().join("tests/fixtures/opset13.onnx"), &kept).unwrap();
    common::mode(&kept, 0o600);
    symlink("kept.onnx", &link).unwrap();
    common::succeeds(&mut tap(&link));
    let before = std::fs::metadata(repository().join("tests/fixtures/opset13.onnx")).unwrap().len();
    assert!(link.is_symlink() && std::fs::metadata(&kept).unwrap().len() > before);
    assert_eq!(kept.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    refuses(&mut tap(&folder.join("new/")), 1, &["valid is a file"]);
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 2);
}

#[test]
fn nothing_is_written_over_an_input_or_a_file_of_another_kind() {
    let folder = folder("files-over");
    let plan = common::copy_of_study(&folder);
    let (notes, actions) = (folder.join("notes.txt"), folder.join("actions.npy"));
    std::fs::write(&notes, "what nobody may lose\n").unwrap();
    write_action(&actions, "(1, 7)");
    let model = folder.join("model.onnx");
    std::fs::copy(repository().join("tests/fixtures/opset13.onnx"), &model).unwrap();
    let kept = [&plan, &notes, &actions, &model].map(|path| (path.clone(), std::fs::read(path).unwrap()));
    let with = |arguments: &[&str], more: &[&Path]| {
        let mut command = aegis();
        command.args(arguments).args(more);
        command
    };
    let text = "found text; valid is a new name, or";
    let out = Path::new("--out");
    refuses(
        &mut with(&["collect", "tuning", "--plan"], &[&plan, out, &plan]),
        2,
        &["demo.toml, which this command reads"],
    );
    refuses(
        &mut with(&["collect", "tuning", "--out"], &[&notes]),
        2,
        &["--out: ", text, "a Parquet file to replace"],
    );
    refuses(&mut with(&["probe", "fit", "--out"], &[&notes]), 2, &["--out: ", text, "choose another name"]);
    refuses(&mut with(&["demonstrate", "--out"], &[&notes]), 2, &["--out: ", text, "a safetensors file"]);
    refuses(
        &mut with(&["replay"], &[&model, Path::new("--rrd"), &notes]),
        2,
        &["--rrd: ", text, "a Rerun recording"],
    );
    refuses(
        &mut with(&["replay"], &[&model, Path::new("--rrd"), &model]),
        2,
        &["--rrd: ", "which this command reads"],
    );
    let rollout = ["sim", "rollout", "--task", "0", "--init", "0", "--actions"];
    let states = Path::new("--states");
    refuses(
        &mut with(&rollout, &[&actions, states, &actions]),
        2,
        &["--states: ", "which this command reads"],
    );
    refuses(&mut with(&rollout, &[&actions, states, &notes]), 2, &["--states: ", text, "a NumPy array"]);
    let sample = ["sim", "sample", "--task", "0", "--count", "1", "--seed", "1", "--out"];
    refuses(&mut with(&sample, &[&notes]), 2, &["--out: ", text]);
    refuses(&mut tap(&notes), 2, &["--out: ", text, "an ONNX model"]);
    let mut onto_itself = with(&["model", "tap"], &[&model]);
    onto_itself.args(["--tensor", "hidden", "--pool", "mean", "--out"]).arg(&model);
    refuses(&mut onto_itself, 2, &["--out: ", "which this command reads"]);
    for (path, bytes) in kept {
        assert!(std::fs::read(&path).unwrap() == bytes, "{} was changed", path.display());
    }
}

#[test]
fn no_path_can_panic_in_json() {
    let folder = folder("files-names");
    let out = folder.join(OsStr::from_bytes(b"m\xff.onnx"));
    let printed = common::succeeds(tap(&out).arg("--json"));
    let outcome: serde_json::Value = serde_json::from_str(&printed).unwrap();
    assert!(outcome["model"].as_str().unwrap().ends_with("m\u{fffd}.onnx"));
    assert!(out.is_file());
    let mut sample = aegis();
    let states = folder.join(OsStr::from_bytes(b"s\xff.npy"));
    sample
        .args(["sim", "sample", "--task", "0", "--count", "1", "--seed", "1", "--json", "--out"])
        .arg(&states);
    common::succeeds(&mut sample);
    let actions = folder.join("actions.npy");
    write_action(&actions, "(1, 7)");
    let mut rollout = aegis();
    rollout.args(["sim", "rollout", "--task", "0", "--init", "0", "--json", "--from"]).arg(&states);
    rollout.arg("--actions").arg(actions).arg("--states").arg(folder.join(OsStr::from_bytes(b"t\xff.npy")));
    common::succeeds(&mut rollout);
}

/// Writes a NumPy file with one action of seven zeros (float64) and the given `shape` in its header.
fn write_action(path: &Path, shape: &str) {
    let header = format!("{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}");
    let mut bytes = b"\x93NUMPY\x01\x00\x76\x00".to_vec();
    bytes.extend(format!("{header:<117}\n").as_bytes());
    bytes.extend([0; 56]);
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn an_array_is_no_larger_than_its_file() {
    let folder = folder("files-huge");
    let actions = folder.join("huge.npy");
    write_action(&actions, "(1000000000000, 7)");
    let mut command = aegis();
    command.args(["sim", "rollout", "--task", "0", "--init", "0", "--states"]).arg(folder.join("s.npy"));
    refuses(command.arg("--actions").arg(&actions), 2, &["huge.npy", "float64[steps, 7]"]);
}

#[test]
fn a_plan_in_a_linked_folder_finds_its_models() {
    let folder = folder("files-plan");
    std::fs::create_dir_all(folder.join("deep/er")).unwrap();
    symlink("deep/er", folder.join("link")).unwrap();
    let plan = folder.join("link/study.toml");
    common::succeeds(aegis().args(["plan", "new", "--out"]).arg(&plan));
    let plan = aegis_experiments::plan::Plan::load(&plan).unwrap();
    for model in [&plan.models.weak, &plan.models.strong, &plan.models.probe] {
        assert!(model.is_file(), "{}", model.display());
    }
}

#[test]
fn an_output_that_takes_nothing_is_an_error_and_one_that_nobody_reads_is_none() {
    let full = || std::fs::File::options().write(true).open("/dev/full").unwrap();
    let words = ["standard output: cannot write: No space left on device"];
    for arguments in [&["probe", "show"][..], &["completions", "bash"], &["--help"], &["sim", "--help"]] {
        refuses(aegis().args(arguments).stdout(full()), 1, &words);
    }
    let gone = || {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        writer
    };
    assert!(aegis().args(["probe", "show"]).stdout(gone()).status().unwrap().success());
    // The exit code states the result of the work, even if the output cannot be written.
    let mut doctor = aegis();
    doctor
        .env("AEGIS_CACHE", folder("files-gone"))
        .env_remove("AEGIS_SCENES")
        .env_remove("AEGIS_ORT_LIBRARY");
    doctor.arg("doctor");
    assert_eq!(doctor.stdout(gone()).status().unwrap().code(), Some(3));
    assert_eq!(doctor.stdout(full()).stderr(gone()).status().unwrap().code(), Some(3));
    assert_eq!(doctor.stdout(gone()).stderr(full()).status().unwrap().code(), Some(3));
}

#[test]
fn an_empty_variable_is_unset() {
    let mut command = aegis();
    for name in ["AEGIS_SCENES", "AEGIS_ORT_LIBRARY"] {
        command.env(name, "");
    }
    command.env("AEGIS_CACHE", common::cache()).arg("doctor");
    common::succeeds(&mut command);
}

#[test]
fn a_suite_that_is_not_here_is_told_with_those_that_are() {
    let mut command = aegis();
    command.env_remove("AEGIS_SCENES").args(["sim", "goals", "--suite", "libero_mars"]);
    command.args(["--task", "0", "--states", "states.npy"]);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(
        said.contains("no scenes of suite libero_mars here")
            && said.contains("`cargo xtask setup --suite libero_mars`, if LIBERO has a suite of that name")
            && said.contains("libero_10, libero_goal, libero_object, libero_spatial"),
        "{said}"
    );
}

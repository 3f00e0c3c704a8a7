//! Unpacks the release archive into an empty place: the program finds its own libraries, plan, models and scenes, and runs an
//! episode. Two archives of the same build have the same bytes.
#![allow(clippy::expect_used, clippy::unwrap_used)] // Helpers of tests, which clippy takes for other code.

use crate::common;

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

fn archive(out: &Path) -> PathBuf {
    let mut release = Command::new(common::repository().join("packaging/release.sh"));
    release.args(["--scenes", "libero_spatial"]).arg(out).env("AEGIS", env!("CARGO_BIN_EXE_aegis"));
    PathBuf::from(common::succeeds(&mut release).trim())
}

#[test]
fn a_release_runs_where_it_is_unpacked() {
    let folder = common::folder("release");
    let (first, second) = (archive(&folder.join("one")), archive(&folder.join("two")));
    let bytes = std::fs::read(&first).unwrap();
    assert!(bytes == std::fs::read(&second).unwrap(), "two archives of one build differ");
    let sum = Command::new("sha256sum")
        .args(["--check", "--quiet"])
        .arg(first.with_extension("gz.sha256"))
        .current_dir(folder.join("one"))
        .status();
    assert!(sum.unwrap().success());

    common::succeeds(Command::new("tar").arg("-xzf").arg(&first).arg("-C").arg(&folder));
    let name = first.file_name().unwrap().to_str().unwrap().trim_end_matches(".tar.gz");
    let root = folder.join(name);
    let aegis = || {
        let mut command = Command::new(root.join("bin/aegis"));
        command.env_clear().env("AEGIS_CACHE", folder.join("no-cache")).current_dir(&folder);
        command
    };
    let doctor: Value = serde_json::from_str(&common::succeeds(aegis().args(["doctor", "--json"]))).unwrap();
    for check in ["onnx runtime", "mujoco", "scenes libero_spatial", "weak policy", "strong policy", "probe"]
    {
        let found = doctor["checks"].as_array().unwrap().iter().find(|one| one["name"] == check).unwrap();
        assert_eq!(found["ok"], true, "{found}");
        let place = found["found"].as_str().unwrap();
        assert!(place.starts_with(root.to_str().unwrap()), "{check}: {place}");
    }
    let demo = ["demo", "--episodes", "1", "--task", "0", "--out", "demo", "--json"];
    let summary: Value = serde_json::from_str(&common::succeeds(aegis().args(demo))).unwrap();
    assert!(summary.as_array().is_some_and(|arms| arms.len() == 3), "{summary}");
    for file in [
        "share/man/man1/aegis.1",
        "share/bash-completion/completions/aegis",
        "share/doc/aegis/LICENSE-mujoco",
        "share/doc/aegis/LICENSE-onnxruntime",
        "share/doc/aegis/crates.tsv",
    ] {
        let bytes =
            std::fs::metadata(root.join(file)).unwrap_or_else(|error| panic!("{file}: {error}")).len();
        assert!(bytes > 100, "{file}: {bytes} bytes");
    }
}

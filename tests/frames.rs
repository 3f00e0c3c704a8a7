//! Tests `--frames` of `aegis sim rollout`: the PNG files that it writes, and its error on a machine without EGL.
//! `sim_bridge/libero/tests/cameras.rs` compares the pictures themselves with upstream's.
#![allow(clippy::expect_used, clippy::unwrap_used)] // Helpers of tests, which clippy takes for other code.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

use crate::common::{aegis, folder, refuses};

/// Returns a command that runs a rollout of four control steps.
fn rollout(folder: &Path) -> Command {
    let actions = folder.join("actions.npy");
    let array = ndarray::Array2::<f64>::from_elem((4, 7), 0.1);
    ndarray_npy::write_npy(&actions, &array).expect("the actions can be written");
    let mut command = aegis();
    command.args(["sim", "rollout", "--task", "4", "--init", "7", "--actions"]).arg(actions);
    command.arg("--states").arg(folder.join("states.npy"));
    command
}

#[test]
fn pictures_land_in_the_folder() {
    let folder = folder("frames");
    let frames = folder.join("frames");
    let output = rollout(&folder).arg("--frames").arg(&frames).args(["--every", "2"]).output();
    let output = output.expect("the binary starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut found: Vec<String> = std::fs::read_dir(&frames)
        .expect("the folder is there")
        .map(|entry| entry.expect("the folder can be read").file_name().to_string_lossy().into_owned())
        .collect();
    found.sort();
    let expected: Vec<String> = ["000", "002", "004"]
        .iter()
        .flat_map(|step| ["agentview", "robot0_eye_in_hand"].map(|camera| format!("step{step}_{camera}.png")))
        .collect();
    assert_eq!(found, expected);
    let header = std::fs::read(frames.join(&expected[0])).expect("the picture can be read");
    // Bytes 1 to 3 belong to the PNG signature; bytes 16 to 23 are width and height in the header chunk.
    assert_eq!(&header[1..4], b"PNG");
    assert_eq!(header[16..24], [0, 0, 0, 128, 0, 0, 0, 128]);
}

/// Simulates a machine without the EGL library, and one on which the library finds no driver.
#[test]
fn without_egl_only_pictures_fail() {
    let folder = folder("no-egl");
    let broken = folder.join("lib");
    std::fs::create_dir(&broken).expect("the folder can be made");
    for name in ["libEGL.so.1", "libEGL.so"] {
        std::fs::write(broken.join(name), "").expect("the file can be written");
    }
    let without_library = ("LD_LIBRARY_PATH", broken.as_os_str());
    let without_driver = ("__EGL_VENDOR_LIBRARY_FILENAMES", OsStr::new("/dev/null"));
    for (variable, value) in [without_library, without_driver] {
        let status = rollout(&folder).env(variable, value).status().expect("the binary starts");
        assert!(status.success(), "{variable}: a rollout without pictures needs no EGL");
        let frames = folder.join("frames");
        let mut command = rollout(&folder);
        command.env(variable, value).arg("--frames").arg(&frames);
        refuses(&mut command, 3, &["libEGL.so.1", "apt-get install libegl1 libegl-mesa0 libgl1-mesa-dri"]);
        assert!(!frames.exists(), "{variable}: nothing half-written stays");
    }
}

#[test]
fn refuses_other_sizes() {
    let folder = folder("frame-size");
    let mut command = rollout(&folder);
    command.arg("--frames").arg(folder.join("frames")).args(["--frame-size", "481"]);
    refuses(&mut command, 2, &["--frame-size", "480"]);
    refuses(rollout(&folder).args(["--every", "5"]), 2, &["--frames"]);
}

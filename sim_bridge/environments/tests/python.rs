//! Runs the Python tests of the environments with the library that cargo built beside this program.
#![allow(clippy::expect_used)] // Helpers of tests, which clippy takes for other code.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Returns the folder of this crate.
fn here() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Assembles the package of a wheel from the Python files and the library. Returns the folder to import it from.
fn package() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("aegis-libero-{}", std::process::id()));
    let package = folder.join("aegis_libero");
    std::fs::create_dir_all(&package).expect("the folder is writable");
    for entry in std::fs::read_dir(here().join("package/aegis_libero")).expect("it is there") {
        let path = entry.expect("it is readable").path();
        if path.is_file() {
            std::fs::copy(&path, package.join(path.file_name().expect("a file has a name")))
                .expect("it is copied");
        }
    }
    let program = std::env::current_exe().expect("this program has a path");
    let library = program.parent().expect("it is in a folder").join("libaegis_libero.so");
    std::fs::copy(library, package.join("_native.abi3.so")).expect("cargo built it");
    folder
}

/// Runs Python with the package, in the package's folder: Python looks for modules in its working folder too.
fn python(folder: &Path, arguments: &[&str]) -> (String, String) {
    let output = Command::new(here().join("../../.deps/python/bin/python"))
        .arg("-B")
        .args(arguments)
        .env("PYTHONPATH", folder)
        .current_dir(folder)
        .output()
        .expect("setup makes this Python");
    let [said, error] =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(output.status.success(), "{arguments:?}: {said}{error}");
    (said, error)
}

#[test]
fn the_python_tests_and_examples_of_the_environments_pass() {
    let folder = package();
    let tests = here().join("tests").display().to_string();
    let (_, ran) = python(&folder, &["-m", "unittest", "discover", "-s", &tests]);
    assert!(!ran.contains("Ran 0 tests"), "{ran}");
    let (said, _) = python(&folder, &[&here().join("examples/forks.py").display().to_string()]);
    assert!(said.contains("in 24 steps, with 384 simulated"), "{said}");
    std::fs::remove_dir_all(folder).expect("it is this test's own");
}

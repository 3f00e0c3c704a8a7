//! Puts the folder of the MuJoCo library into the run path of this package's binaries, tests and benchmarks.
//! The root package's build script includes this file for its own.

use std::path::Path;

const VARIABLE: &str = "MUJOCO_DYNAMIC_LINK_DIR";

/// Run paths do not reach dependants, so every package that links an executable calls this.
pub fn main() {
    println!("cargo::rerun-if-env-changed={VARIABLE}");
    let folder = std::env::var(VARIABLE).unwrap_or_default();
    println!("cargo::rerun-if-changed={folder}");
    match Path::new(&folder).canonicalize() {
        Ok(folder) if folder.join("libmujoco.so").exists() => {
            println!("cargo::rustc-link-arg=-Wl,-rpath,{}", folder.display());
        }
        _ => println!("cargo::error={VARIABLE}={folder:?} holds no libmujoco.so; run `cargo xtask setup`"),
    }
}

//! Puts the folder of the MuJoCo library into the run path of this crate's tests and benchmarks.
//! The root package's build script is the same, for its binary.

use std::path::Path;

const VARIABLE: &str = "MUJOCO_DYNAMIC_LINK_DIR";

fn main() {
    println!("cargo:rerun-if-env-changed={VARIABLE}");
    let folder = std::env::var(VARIABLE).unwrap_or_default();
    println!("cargo:rerun-if-changed={folder}");
    match Path::new(&folder).canonicalize() {
        Ok(folder) if folder.join("libmujoco.so").exists() => {
            println!("cargo:rustc-link-arg=-Wl,-rpath,{}", folder.display());
        }
        _ => panic!("{VARIABLE}={folder:?}: no libmujoco.so there; run `cargo xtask setup`"),
    }
}

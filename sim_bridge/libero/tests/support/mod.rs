//! Helpers of the tests: the location of the exported scenes, and readers for fixtures.
//! A missing suite fails the test; the test is never skipped.
#![allow(clippy::expect_used, clippy::unwrap_used)] // Helpers of tests, which clippy takes for other code.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use aegis_sim::{LiberoPlant, Suite};
use ndarray::Array2;
use ndarray_npy::{ReadNpyExt, ReadableElement};

#[allow(dead_code, reason = "not every test binary steps a plant")]
/// Returns a plant over libero_spatial from `$AEGIS_SCENES`, or from the cache that `cargo xtask setup` fills. Plants of
/// one test binary share the compiled models.
pub fn plant() -> LiberoPlant {
    LiberoPlant::new(suite())
}

#[allow(dead_code, reason = "not every test binary steps a plant")]
pub fn suite() -> Suite {
    static SUITE: OnceLock<Suite> = OnceLock::new();
    SUITE.get_or_init(|| load("libero_spatial")).clone()
}

/// Loads a suite by its name.
pub fn load(name: &str) -> Suite {
    let advice = format!("run `cargo xtask setup --suite {name}`");
    Suite::load(&folder(name)).unwrap_or_else(|error| panic!("{error}\n{advice}"))
}

/// Returns the folder of a suite's scenes. `$AEGIS_SCENES` overrides the folder of libero_spatial.
pub fn folder(name: &str) -> PathBuf {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let named = variable("AEGIS_SCENES").filter(|_| name == "libero_spatial");
    named.unwrap_or_else(|| {
        let cache = variable("AEGIS_CACHE")
            .unwrap_or_else(|| variable("HOME").expect("HOME is set").join(".cache/aegis"));
        cache.join("scenes").join(name)
    })
}

#[allow(dead_code, reason = "not every test binary reads arrays")]
pub fn array<T: ReadableElement>(name: &str) -> Array2<T> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    Array2::read_npy(File::open(&path).unwrap()).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

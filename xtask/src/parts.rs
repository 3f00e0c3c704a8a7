//! The parts that setup keeps in the cache: their places, and the digests that they must have.
//! Versions and digests are pinned here and in `sim_bridge/python/requirements.lock`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// A native library that is taken from a Python package.
pub struct Library {
    /// Folder in the cache, under `lib/`.
    pub folder: &'static str,
    /// The Python package that contains the library.
    pub package: &'static str,
    /// Path of the library in the package, under `site-packages/`.
    pub source: &'static str,
    /// File name with the version, as the loader needs it.
    pub file: &'static str,
    /// File name without the version, as a linker needs it.
    pub link: &'static str,
    /// SHA-256 of the library on x86-64. On other processors it is not checked; pip has checked the digest of the package.
    pub sha256: &'static str,
}

/// Every native library.
pub const LIBRARIES: [Library; 2] = [
    Library {
        folder: "mujoco-3.17.0",
        package: "mujoco",
        source: "mujoco/libmujoco.so.3.17.0",
        file: "libmujoco.so.3.17.0",
        link: "libmujoco.so",
        sha256: "23496b023ee80fb61ab71167e94bc649f9941710fde96b18bb8204fb332523ad",
    },
    Library {
        folder: "onnxruntime-1.32.0",
        package: "onnxruntime",
        source: "onnxruntime/capi/libonnxruntime.so.1.32.0",
        file: "libonnxruntime.so.1.32.0",
        link: "libonnxruntime.so",
        sha256: "6c1585d1bbf45b0712ea4a21b705c5fcb4ba04ff2e30f1fbf81a49faf658638f",
    },
];

/// The suites whose scenes setup can make. The first is the demo's.
pub const SUITES: [&str; 4] = ["libero_spatial", "libero_object", "libero_goal", "libero_10"];

/// Returns the cache folder as an absolute path: `AEGIS_CACHE`, or `aegis` in the user's cache folder.
pub fn cache() -> Result<PathBuf> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = variable("AEGIS_CACHE")
        .or_else(|| variable("XDG_CACHE_HOME").map(|cache| cache.join("aegis")))
        .or_else(|| variable("HOME").map(|home| home.join(".cache/aegis")))
        .context("no cache folder: set AEGIS_CACHE or HOME")?;
    std::path::absolute(&cache).with_context(|| format!("{}: not a usable path", cache.display()))
}

/// Lists every file under a folder with its size, sorted. The list is cheap to make, and enough to notice a file that is
/// missing or cut short.
pub fn inventory(folder: &Path) -> Result<String> {
    let mut lines = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        for entry in std::fs::read_dir(&next).with_context(|| format!("{}: cannot list", next.display()))? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            if metadata.is_dir() {
                open.push(entry.path());
            } else {
                let path = entry.path();
                let name = path.strip_prefix(folder).unwrap_or(&path);
                lines.push(format!("{} {}\n", name.display(), metadata.len()));
            }
        }
    }
    lines.sort();
    Ok(lines.concat())
}

#[cfg(test)]
mod tests {
    use super::inventory;

    #[test]
    fn an_inventory_notices_a_file_cut_short() {
        let folder = std::env::temp_dir().join(format!("aegis-inventory-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("inner")).unwrap();
        std::fs::write(folder.join("inner/b"), "four").unwrap();
        std::fs::write(folder.join("a"), "").unwrap();
        let whole = inventory(&folder).unwrap();
        assert_eq!(whole, "a 0\ninner/b 4\n");
        std::fs::write(folder.join("inner/b"), "fo").unwrap();
        assert_ne!(inventory(&folder).unwrap(), whole);
        std::fs::remove_dir_all(folder).unwrap();
    }
}

//! Finds the native libraries that this program runs with, and their versions.
//! Versions are read from the files, so that a library that cannot be loaded is described too.

use std::path::{Path, PathBuf};

/// Returns the path of the MuJoCo library that is mapped into this process. The process cannot start without that library.
pub fn mujoco() -> Option<PathBuf> {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let mut mapped = maps.lines().filter_map(|line| line.find('/').map(|at| PathBuf::from(&line[at..])));
    mapped.find(|path| path.to_string_lossy().contains("libmujoco"))
}

/// Reads the version of a library from its bytes, or from its file name.
pub fn version_of(path: &Path) -> std::io::Result<String> {
    let path = path.canonicalize()?;
    Ok(version(&path, &std::fs::read(&path)?))
}

/// Returns the version of a library with these bytes, or `unknown`. ONNX Runtime's symbols contain its version
/// (`VERS_1.32.0`); other libraries have the version in their file name.
pub fn version(path: &Path, bytes: &[u8]) -> String {
    const TAG: &[u8] = b"VERS_";
    let digits = |bytes: &[u8]| -> String {
        let number = |byte: &&u8| byte.is_ascii_digit() || **byte == b'.';
        bytes.iter().take_while(number).map(|byte| char::from(*byte)).collect()
    };
    let tagged = bytes.windows(TAG.len()).position(|window| window == TAG);
    let found = tagged.map(|at| digits(&bytes[at + TAG.len()..])).filter(|found| !found.is_empty());
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let named = || name.split_once(".so.").map(|(_, version)| version.to_owned());
    found.or_else(named).unwrap_or_else(|| "unknown".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_says_its_version() {
        let path = Path::new("/lib/libmujoco.so.3.17.0");
        assert_eq!(version(path, b"..VERS_1.32.0\0rest"), "1.32.0");
        assert_eq!(version(path, b"nothing"), "3.17.0");
        assert_eq!(version(Path::new("/lib/libonnxruntime.so"), b"nothing"), "unknown");
    }
}

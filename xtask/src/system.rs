//! System packages that tests need and that setup cannot install: drivers to draw with, and a browser. Tells which are
//! missing, the one command that installs them, and the tests that need them. `aegis doctor` includes this file too.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Something that the tests need from the system.
pub struct Part {
    /// Name of the part, for messages.
    pub name: &'static str,
    /// What needs the part, for messages.
    pub wanted_by: &'static str,
    /// Debian packages that contain the part.
    packages: &'static [&'static str],
    /// The tests that fail without the part, by the ends of their names.
    pub tests: &'static [&'static str],
    is_here: fn() -> bool,
}

/// All parts.
pub const PARTS: [Part; 3] = [
    Part {
        name: "libEGL.so.1 with a driver",
        wanted_by: "cameras",
        packages: &["libegl1", "libegl-mesa0", "libgl1-mesa-dri"],
        tests: &[
            "pictures_land_in_the_folder",
            "an_episode_on_pictures_draws_once_a_chunk_and_is_the_same_twice",
            "pictures_are_upstreams",
            "a_long_episode_ends_in_upstreams_picture",
            "a_stove_that_is_on_glows",
            "cameras_change_no_bit",
            "pictures_move_with_the_plant",
            "refuses_cameras_that_are_none",
        ],
        is_here: has_egl,
    },
    Part {
        name: "a Vulkan driver",
        wanted_by: "the viewer",
        packages: &["mesa-vulkan-drivers"],
        tests: &["a_recovered_episode_opens_in_the_viewer_and_the_report_in_a_browser"],
        is_here: has_vulkan,
    },
    Part {
        name: "chromium",
        wanted_by: "pictures of a report",
        packages: &["chromium"],
        tests: &[
            "a_recovered_episode_opens_in_the_viewer_and_the_report_in_a_browser",
            "the_shipped_report_stays_in_its_boxes",
        ],
        is_here: has_chromium,
    },
];

impl Part {
    /// Returns whether the part is on this system.
    pub fn is_here(&self) -> bool {
        (self.is_here)()
    }
}

/// Returns the parts that are not on this system.
pub fn missing() -> Vec<&'static Part> {
    PARTS.iter().filter(|part| !part.is_here()).collect()
}

/// Returns the command line that installs parts on Debian and on systems derived from it.
pub fn command(parts: &[&Part]) -> String {
    let packages: Vec<&str> = parts.iter().flat_map(|part| part.packages).copied().collect();
    format!("apt-get install --yes --no-install-recommends {}", packages.join(" "))
}

/// Returns whether the EGL dispatch library is present, with the description of a driver for it.
fn has_egl() -> bool {
    let drivers = ["/usr/share/glvnd/egl_vendor.d", "/etc/glvnd/egl_vendor.d"];
    let named = std::env::var_os("__EGL_VENDOR_LIBRARY_FILENAMES").is_some();
    has_library("libEGL.so.1") && (named || drivers.iter().any(|folder| has_json(Path::new(folder))))
}

fn has_vulkan() -> bool {
    ["/usr/share/vulkan/icd.d", "/etc/vulkan/icd.d"].iter().any(|folder| has_json(Path::new(folder)))
}

fn has_chromium() -> bool {
    let named = std::env::var_os("AEGIS_CHROMIUM").filter(|name| !name.is_empty());
    let path = std::env::var_os("PATH").unwrap_or_default();
    is_program(named.as_deref().unwrap_or(OsStr::new("chromium")), &path)
}

/// Returns whether the loader finds a library.
fn has_library(name: &str) -> bool {
    let listed = |program: &str| Command::new(program).arg("-p").output().ok();
    let cache = ["ldconfig", "/sbin/ldconfig", "/usr/sbin/ldconfig"].into_iter().find_map(listed);
    let in_cache = cache.is_some_and(|list| {
        let lines = String::from_utf8_lossy(&list.stdout).into_owned();
        lines.lines().any(|line| line.trim_start().starts_with(name))
    });
    let folders = std::env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
    in_cache || std::env::split_paths(&folders).any(|folder| folder.join(name).exists())
}

/// Returns whether a folder contains a JSON file, in which drivers are described.
fn has_json(folder: &Path) -> bool {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).any(|path| path.extension() == Some(OsStr::new("json")))
}

/// Returns whether a shell would find a program: `name` is a path, or a name in one of the folders of `path`.
fn is_program(name: &OsStr, path: &OsStr) -> bool {
    let name = PathBuf::from(name);
    if name.components().count() > 1 {
        return name.is_file();
    }
    std::env::split_paths(path).any(|folder| folder.join(&name).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_command_installs_all_missing_packages() {
        let all: Vec<&Part> = PARTS.iter().collect();
        let line = command(&all);
        assert!(line.starts_with("apt-get install ") && !line.contains('\n'));
        for package in ["libegl1", "libgl1-mesa-dri", "mesa-vulkan-drivers", "chromium"] {
            assert!(line.split(' ').any(|word| word == package), "{package} is missing from {line}");
        }
        assert!(!command(&all[1..2]).contains("chromium"));
    }

    #[test]
    fn a_program_is_a_path_or_a_name_in_the_path() {
        let path = OsStr::new("/nowhere:/bin:/usr/bin");
        assert!(is_program(OsStr::new("sh"), path) && is_program(OsStr::new("/bin/sh"), OsStr::new("")));
        assert!(!is_program(OsStr::new("sh"), OsStr::new("/nowhere")));
        assert!(!is_program(OsStr::new("/bin"), path), "a folder is none");
    }
}

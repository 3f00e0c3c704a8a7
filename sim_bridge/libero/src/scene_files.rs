//! Check of the files that a scene names: meshes and textures within the suite's folder, and nothing else. A registration
//! digests every file below that folder, so a file outside of it, or one that names further files, could change unseen.

use std::path::Path;

use aegis_files::read_text;

use crate::error::{SuiteError, field};

/// Endings of files that name no further files.
const PLAIN: [&str; 5] = ["msh", "obj", "png", "skn", "stl"];
/// Attributes that change the folders in which MuJoCo searches for files.
const FOLDERS: [&str; 4] = ["assetdir", "contentdir", "meshdir", "texturedir"];

/// Checks the scene description at `path`, in a suite at `folder`.
///
/// # Errors
/// A file that cannot be read, and the first attribute that names another kind of file or a place outside the suite.
pub(crate) fn check(folder: &Path, path: &Path) -> Result<(), SuiteError> {
    let text = read_text(path).map_err(|source| SuiteError::Io { path: path.to_path_buf(), source })?;
    let depth = path.parent().and_then(|parent| parent.strip_prefix(folder).ok());
    let depth = depth.map_or(0, |below| below.components().count());
    for (name, value) in attributes(&text) {
        if FOLDERS.contains(&name) {
            return Err(field(
                path,
                name,
                value,
                "no such attribute, because paths are relative to the scene",
            ));
        }
        if name != "file" {
            continue;
        }
        let ending = value.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase());
        if !ending.is_some_and(|ending| PLAIN.contains(&&*ending)) {
            return Err(field(path, name, value, "a mesh or a texture, which names no further file"));
        }
        if !stays(value, depth) {
            let valid = "a file in the suite's folder, whose bytes a registration digests";
            return Err(field(path, name, value, valid));
        }
    }
    Ok(())
}

/// Returns whether a relative path, from a folder that is `depth` folders below the suite's, stays in the suite's folder.
fn stays(value: &str, mut depth: usize) -> bool {
    // MuJoCo may read an entity or a backslash as another character.
    if value.starts_with('/') || value.contains(['&', '\\']) {
        return false;
    }
    for step in value.split('/') {
        match step {
            "" | "." => {}
            ".." => match depth.checked_sub(1) {
                Some(above) => depth = above,
                None => return false,
            },
            _ => depth += 1,
        }
    }
    true
}

/// Returns name and value of each attribute of an XML text.
fn attributes(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut rest = text;
    std::iter::from_fn(move || {
        loop {
            let (before, after) = rest.split_once('=')?;
            let name = before.trim_end().rsplit(|symbol: char| symbol.is_whitespace()).next()?;
            let after = after.trim_start();
            let quote = after.chars().next().filter(|symbol| matches!(symbol, '"' | '\''));
            let Some((value, left)) = quote.and_then(|quote| after[1..].split_once(quote)) else {
                rest = after;
                continue;
            };
            rest = left;
            return Some((name, value));
        }
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    #[test]
    fn a_scene_names_only_meshes_and_textures_of_its_suite() {
        let folder = aegis_files::Scratch::within(&std::env::temp_dir()).unwrap();
        let task = folder.path().join("tasks/00");
        std::fs::create_dir_all(&task).unwrap();
        let path = task.join("physics.xml");
        let said = |inner: &str| {
            std::fs::write(&path, format!("<mujoco model = 'a'>\n<asset>{inner}</asset></mujoco>")).unwrap();
            check(folder.path(), &path).map_err(|error| error.to_string())
        };
        for fine in
            ["<mesh name='m' file=\"../../assets/a.obj\"/>", "<texture file = '../../assets/b.PNG' />", ""]
        {
            assert_eq!(said(fine), Ok(()), "{fine}");
        }
        for (wrong, words) in [
            ("<include file=\"../../assets/o.xml\"/>", "a mesh or a texture"),
            ("<mesh file=\"../../../ext/a.obj\"/>", "a file in the suite's folder"),
            ("<mesh file='../../assets/../../a.obj'/>", "a file in the suite's folder"),
            ("<mesh file=\"/ext/a.obj\"/>", "a file in the suite's folder"),
            ("<mesh file=\"..&#x2f;..&#x2f;..&#x2f;a.obj\"/>", "a file in the suite's folder"),
            ("<model file=\"../../assets/robot.mjcf\"/>", "a mesh or a texture"),
            ("<compiler meshdir=\"/ext\"/><mesh file=\"a.obj\"/>", "no such attribute"),
            ("<mesh\nfile\n=\n\"../../../a.obj\"/>", "a file in the suite's folder"),
        ] {
            let error = said(wrong).unwrap_err();
            assert!(error.contains(words) && error.contains("physics.xml"), "{wrong}: {error}");
        }
    }
}

//! Suites whose scenes setup, or the release, has put on this machine: their folders, names and loading.

use std::io::ErrorKind;
use std::path::PathBuf;

use aegis_sim::Suite;

use crate::exit::{Exit, Failure, OrExit, failure};
use crate::paths::{beside, cache_folder, variable};

/// Longest name of a suite.
const MOST_NAME: usize = 128;

/// Returns the folder in which a suite's scenes are expected: the one that `AEGIS_SCENES` names, else the one in the
/// release that this program lies in, else the one in the cache.
pub fn scenes_folder(name: &str) -> Result<PathBuf, Failure> {
    if let Some(scenes) = variable("AEGIS_SCENES") {
        return Ok(scenes);
    }
    installed_scenes(name)
}

/// Returns the folder in which setup, or the release, puts a suite's scenes.
pub fn installed_scenes(name: &str) -> Result<PathBuf, Failure> {
    let released = beside(&format!("share/aegis/scenes/{name}"));
    released.map_or_else(|| Ok(cache_folder()?.join("scenes").join(name)), Ok)
}

/// Returns the names of the suites whose scenes setup, or the release, has put on this machine, sorted.
pub fn installed_suites() -> Vec<String> {
    let folder = installed_scenes("").ok().and_then(|folder| std::fs::read_dir(folder).ok());
    let names = folder.into_iter().flatten().filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    // Beside the suites are the folders that their names point to, whose own names have a digest at the end.
    let is_suite = |name: &String| {
        installed_scenes(name).is_ok_and(|folder| Suite::name_in(&folder).is_ok_and(|found| found == *name))
    };
    let mut names: Vec<String> = names.filter(is_suite).collect();
    names.sort();
    names
}

/// Returns advice for a suite whose scenes are not in their folder.
pub fn scenes_advice(name: &str) -> String {
    if variable("AEGIS_SCENES").is_some() {
        return format!("AEGIS_SCENES names one suite's folder: unset it, or name that of {name}");
    }
    let here = installed_suites();
    let here = if here.is_empty() { String::new() } else { format!("; here are {}", here.join(", ")) };
    format!("run `cargo xtask setup --suite {name}`, if LIBERO has a suite of that name{here}")
}

/// Checks that a text is the name of a suite and not a path: scenes are in the folder of their suite's name.
pub fn check_suite_name(name: &str) -> Result<(), Failure> {
    let is_letter = |letter: char| letter.is_ascii_alphanumeric() || ['_', '-', '.'].contains(&letter);
    if (1..=MOST_NAME).contains(&name.len()) && !name.starts_with('.') && name.chars().all(is_letter) {
        return Ok(());
    }
    let here = installed_suites();
    let here =
        if here.is_empty() { "none; `cargo xtask setup` exports them".into() } else { here.join(", ") };
    Err(failure(
        Exit::Input,
        format!(
            "suite: found {name:?}; valid is a name of letters, digits, _, - and ., such as libero_goal; installed are {here}"
        ),
    ))
}

/// Loads a suite's scenes. With a seed, the suite also has sampled initial states past the recorded ones.
pub fn load_suite(name: &str, sample_seed: Option<u64>) -> Result<Suite, Failure> {
    check_suite_name(name)?;
    let scenes = scenes_folder(name)?;
    if let Err(error) = std::fs::metadata(&scenes)
        && error.kind() != ErrorKind::NotFound
    {
        let advice = "valid is a folder that you may read: look at it and at those around it, or name another by AEGIS_CACHE \
                      or AEGIS_SCENES";
        return Err(failure(Exit::Setup, format!("{}: cannot read: {error}; {advice}", scenes.display())));
    }
    if !scenes.is_dir() {
        let (place, advice) = (scenes.display(), scenes_advice(name));
        return Err(failure(Exit::Setup, format!("{place}: no scenes of suite {name} here; {advice}")));
    }
    let suite = Suite::load(&scenes).or_exit(Exit::Setup)?;
    if suite.name() != name {
        let reason = format!("found the scenes of suite {}; valid is suite {name}", suite.name());
        return Err(failure(Exit::Setup, format!("{}: {reason}; {}", scenes.display(), scenes_advice(name))));
    }
    Ok(sample_seed.map_or_else(|| suite.clone(), |seed| suite.with_sampled_starts(seed)))
}

//! Digests of the files of a suite, as a registration freezes them.

use std::path::Path;

use aegis_experiments::plan::registration::Scenes;

use crate::exit::{Exit, Failure, failure};
use crate::files::digest;
use crate::suites::{installed_scenes, scenes_folder};

/// Digests every file in the folder of a suite's scenes.
pub fn scenes(suite: &str) -> Result<Scenes, Failure> {
    digests(suite, &scenes_folder(suite)?)
}

/// Digests every file of the scenes of a suite of upstream, as setup installed them.
pub fn installed(suite: &str) -> Result<Scenes, Failure> {
    digests(suite, &installed_scenes(suite)?)
}

fn digests(suite: &str, folder: &Path) -> Result<Scenes, Failure> {
    let named = |error| failure(Exit::Setup, format!("{}: cannot read: {error}", folder.display()));
    let files = aegis_files::below(folder).map_err(named)?;
    let digests = files.into_iter().map(|(name, path)| Ok((name, digest(&path)?)));
    Ok(Scenes::new(suite.to_owned(), digests.collect::<Result<_, Failure>>()?))
}

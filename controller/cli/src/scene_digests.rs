//! Digests of the files of a suite, as a registration freezes them.

use aegis_experiments::plan::registration::Scenes;

use crate::exit::{Exit, Failure, failure};
use crate::files::digest;
use crate::study_loader::scenes_folder;

/// Digests every file in the folder of a suite's scenes.
pub fn scenes(suite: &str) -> Result<Scenes, Failure> {
    let folder = scenes_folder(suite)?;
    let named = |error| failure(Exit::Setup, format!("{}: cannot read: {error}", folder.display()));
    let files = aegis_files::below(&folder).map_err(named)?;
    let digests = files.into_iter().map(|(name, path)| Ok((name, digest(&path)?)));
    Ok(Scenes::new(suite.to_owned(), digests.collect::<Result<_, Failure>>()?))
}

//! `aegis plan new`: writes the shipped template as a new plan.
//! Paths to the shipped models are made relative to the folder of the new plan.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::exit::{Exit, Failure, failure, say};
use crate::files::{make_folder, write};
use crate::paths::shipped;

/// The template. Its model paths are relative to its own folder in the repository.
const TEMPLATE: &str = include_str!("../../../../../experiments/template.toml");
/// Beginning of the template's model paths.
const MODELS: &str = "../policies/models/";

/// Arguments of `aegis plan new`.
#[derive(Args)]
#[command(after_help = "Example: aegis plan new --out mine/study.toml")]
pub struct NewArguments {
    /// Where the plan goes; a file that is there already is kept
    #[arg(long, value_name = "FILE", default_value = "study.toml")]
    out: PathBuf,
}

/// Runs `aegis plan new`.
pub fn run(arguments: &NewArguments) -> Result<(), Failure> {
    let out = &arguments.out;
    if out.exists() {
        let message = format!("{}: found a file; valid is none yet, so choose another --out", out.display());
        return Err(failure(Exit::Input, message));
    }
    let folder = match out.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    make_folder(folder)?;
    // Both paths without symbolic links, because the system resolves `..` against the target of a link, not against the
    // folder that contains the link.
    let real = |path: &Path| {
        let named = |error| failure(Exit::Failed, format!("{}: cannot resolve: {error}", path.display()));
        path.canonicalize().map_err(named)
    };
    let models = relative(&real(folder)?, &real(&shipped("policies/models"))?);
    write(out, TEMPLATE.replace(MODELS, &format!("{}/", models.display())).as_bytes())?;
    say!("{}: settle its numbers, then `aegis plan register {}`", out.display(), out.display());
    Ok(())
}

/// Returns the relative path from one folder to another. Both paths are absolute and without links.
fn relative(from: &Path, to: &Path) -> PathBuf {
    let shared = from.components().zip(to.components()).take_while(|(a, b)| a == b).count();
    let up = from.components().skip(shared).map(|_| Path::new(".."));
    up.chain(to.components().skip(shared).map(|part| Path::new(part.as_os_str()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_from_the_plan_to_the_models() {
        let way = |from, to| relative(Path::new(from), Path::new(to)).display().to_string();
        assert_eq!(way("/a/experiments", "/a/policies/models"), "../policies/models");
        assert_eq!(way("/a", "/a/policies/models"), "policies/models");
        assert_eq!(way("/b/c", "/a/models"), "../../a/models");
        assert_eq!(TEMPLATE.matches(MODELS).count(), 3);
    }
}

//! Refuses to replace a probe that a registration has sealed.

use std::path::Path;

use aegis_experiments::plan::registration::Lock;
use aegis_files::same_digest;

use crate::exit::{Exit, Failure, failure};
use crate::files::digest;

/// Refuses to replace a probe that a registration beside the plan has sealed: the study could no longer be run or verified.
pub fn check_sealed(plan: &Path, out: &Path) -> Result<(), Failure> {
    if !out.is_file() {
        return Ok(());
    }
    let (there, folder) = (digest(out)?, plan.parent().unwrap_or(Path::new("")));
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let locks = std::fs::read_dir(folder).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    for path in locks.filter(|path| path.to_string_lossy().ends_with(".lock.toml")) {
        let Ok(lock) = Lock::load(&path) else { continue };
        if lock.frozen.models.values().any(|file| same_digest(&file.sha256, &there)) {
            let message = format!(
                "--out: {}: found the probe that {} has sealed; valid is another file: name it with --out, and in the plan of a \
                 new study",
                out.display(),
                path.display()
            );
            return Err(failure(Exit::Input, message));
        }
    }
    Ok(())
}

//! Finds Python, and runs it so that it writes nothing outside the cache.
//! Python is needed only while something is missing from the cache.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, bail};

use crate::advice;

/// Finds a Python of version 3.11 or newer that can make virtual environments.
pub fn find() -> Result<PathBuf> {
    let python = std::env::var_os("AEGIS_PYTHON")
        .filter(|value| !value.is_empty())
        .map_or_else(|| PathBuf::from("python3"), PathBuf::from);
    let ask = |code: &str| Command::new(&python).args(["-I", "-c", code]).output();
    let version =
        ask("import sys; print('%d.%d' % sys.version_info[:2]); sys.exit(sys.version_info < (3, 11))")
            .map_err(|_| {
                anyhow::anyhow!(
                    "{}: not found; install Python 3.11 or newer (`apt-get install python3 \
                                      python3-venv`), or name one in AEGIS_PYTHON",
                    python.display()
                )
            })?;
    if !version.status.success() {
        let found = String::from_utf8_lossy(&version.stdout);
        bail!(
            "{}: found Python {}, need 3.11 or newer; name one in AEGIS_PYTHON",
            python.display(),
            found.trim()
        );
    }
    if !ask("import venv, ensurepip").is_ok_and(|output| output.status.success()) {
        bail!("{}: lacks venv; run `apt-get install python3-venv`", python.display());
    }
    Ok(python)
}

/// Runs Python with everything that it writes kept inside `cache`. On failure, prints the end of Python's output; the error
/// contains advice.
pub fn run(python: &Path, arguments: &[&std::ffi::OsStr], cache: &Path, what: &str) -> Result<()> {
    // Each run has a folder of its own, because two may run at the same time.
    let scratch = cache.join("tmp").join(what.replace(' ', "-"));
    std::fs::create_dir_all(&scratch)
        .with_context(|| format!("{}: cannot make the folder", scratch.display()))?;
    let Output { status, stdout, stderr } = Command::new(python)
        .args(arguments)
        .env_remove("PYTHONPATH")
        .env_remove("PYTHONHOME")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("PYTHONNOUSERSITE", "1")
        .env("TMPDIR", &scratch)
        .env("NUMBA_CACHE_DIR", scratch.join("numba"))
        .env("LIBERO_CONFIG_PATH", scratch.join("libero"))
        .output()
        .with_context(|| format!("{}: cannot start", python.display()))?;
    let _ = std::fs::remove_dir_all(&scratch);
    // The last run removes this folder; until then it is not empty, and the call fails.
    let _ = std::fs::remove_dir(cache.join("tmp"));
    if status.success() {
        return Ok(());
    }
    let output = format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    let tail: Vec<&str> = output.lines().rev().take(15).collect();
    for line in tail.iter().rev() {
        eprintln!("    {line}");
    }
    bail!("{what} failed in {}: {}", cache.display(), advice::on(&output));
}

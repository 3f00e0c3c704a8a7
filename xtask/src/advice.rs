//! Advice for a tool that failed, derived from its output.
//! Pure: text in, text out.

/// Returns advice for the error output of pip or of the scene export.
pub fn on(output: &str) -> &'static str {
    let said = |words: &[&str]| words.iter().any(|word| output.contains(word));
    if said(&["No space left on device", "Errno 28", "Disk quota exceeded"]) {
        "the disk is full: free about 2.5 GB there, or point AEGIS_CACHE at a larger disk, and run this again"
    } else if said(&["DO NOT MATCH THE HASHES", "THESE PACKAGES DO NOT MATCH"]) {
        "a download differs from its pinned SHA-256: it was damaged in transfer or changed at its source; run this \
         again, and do not go on if it happens twice"
    } else if said(&["No matching distribution found", "from versions: none"])
        && !said(&["Retrying", "NewConnection"])
    {
        "no build of a pinned package for this Python and processor: Python 3.11 to 3.13 on 64-bit Linux is covered; \
         AEGIS_PYTHON names another Python"
    } else if said(&[
        "Retrying",
        "NewConnection",
        "Temporary failure in name resolution",
        "Connection",
        "timed out",
    ]) {
        "the package index cannot be reached: the first run needs a network; check it (and pip's own settings, if \
         you use a mirror) and run this again"
    } else if said(&["ensurepip"]) {
        "Python lacks venv: run `apt-get install python3-venv` (or your system's equivalent)"
    } else {
        "run this again; if it fails again, the lines above say where"
    }
}

#[cfg(test)]
mod tests {
    use super::on;

    #[test]
    fn each_failure_has_its_advice() {
        for (output, advice) in [
            ("OSError: [Errno 28] No space left on device", "disk is full"),
            ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.", "SHA-256"),
            ("WARNING: Retrying (Retry(total=4 ... NewConnectionError", "network"),
            ("ERROR: No matching distribution found for numpy==2.4.6", "Python 3.11"),
            ("The virtual environment was not created because ensurepip is not available", "python3-venv"),
            ("something else", "run this again"),
        ] {
            assert!(on(output).contains(advice), "{output:?} gave {:?}", on(output));
        }
    }
}

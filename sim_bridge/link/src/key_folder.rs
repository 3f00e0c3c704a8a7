//! The folder that holds one party's keys, as `aegis keys` makes it: `ca.pem`, `certificate.pem`, `private.pem`.
//! Checked before a session opens, for Zenoh would name neither the file nor what is wrong with it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

pub use crate::certificates::{AUTHORITY, CERTIFICATE, PRIVATE};

use crate::certificates::{EndsSoon, Fault, check};
use crate::endpoint::LinkError;

/// One party's keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyFolder {
    folder: PathBuf,
    warnings: Vec<String>,
}

impl KeyFolder {
    /// Checks the keys in a folder, their dates by this machine's clock.
    ///
    /// # Errors
    /// [`LinkError::Keys`] names the file that is missing, no PEM, a private key that others can read or that is not the
    /// certificate's, or a certificate that the authority did not sign, that has expired, or that has not begun.
    pub fn open(folder: &Path) -> Result<Self, LinkError> {
        // Zenoh joins its settings to one text, which these characters take apart.
        if folder.to_str().is_none_or(|path| path.contains([';', '?', '#'])) {
            let found = "its path is no UTF-8, or holds one of ; ? #".into();
            return Err(LinkError::Keys { file: folder.into(), found, valid: "a path without them" });
        }
        let valid = "a certificate in PEM; `aegis keys` makes one";
        let authority = read(&folder.join(AUTHORITY), "CERTIFICATE-----", valid)?;
        let certificate = read(&folder.join(CERTIFICATE), "CERTIFICATE-----", valid)?;
        let valid = "a private key in PEM; `aegis keys` makes one";
        let private = read(&folder.join(PRIVATE), "PRIVATE KEY-----", valid)?;
        let mut keys = Self { folder: folder.into(), warnings: Vec::new() };
        keys.is_private()?;
        // A clock before 1970 is before every certificate.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        let now = i64::try_from(now).unwrap_or(i64::MAX);
        let soon =
            check(&authority, &certificate, &private, now).map_err(|Fault { file, found, valid }| {
                LinkError::Keys { file: folder.join(file), found, valid }
            })?;
        let warning = |EndsSoon { file, end }| {
            let file = folder.join(file);
            format!(
                "{}: the certificate ends at {end}, and links with it end then; `aegis keys` makes a new one",
                file.display()
            )
        };
        keys.warnings = soon.into_iter().map(warning).collect();
        Ok(keys)
    }

    /// Makes a folder without any check.
    #[cfg(test)]
    pub(crate) fn at(folder: &str) -> Self {
        Self { folder: folder.into(), warnings: Vec::new() }
    }

    /// Sentences for people: one for each certificate that ends within a day.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The path of one of its files, as Zenoh takes it.
    pub fn path(&self, name: &str) -> String {
        self.folder.join(name).to_string_lossy().into_owned()
    }

    #[cfg(unix)]
    fn is_private(&self) -> Result<(), LinkError> {
        use std::os::unix::fs::PermissionsExt;
        let (file, valid) = (self.folder.join(PRIVATE), "mode 0600, its owner alone");
        let mode = match fs::metadata(&file) {
            Ok(metadata) => metadata.permissions().mode() & 0o777,
            Err(error) => return Err(LinkError::Keys { file, found: error.to_string(), valid }),
        };
        if mode & 0o077 != 0 {
            let found = format!("others can use it, its mode is {mode:04o}");
            return Err(LinkError::Keys { file, found, valid });
        }
        Ok(())
    }

    #[cfg(not(unix))]
    fn is_private(&self) -> Result<(), LinkError> {
        Ok(())
    }
}

/// Reads a file that must have a line that ends in `label`.
fn read(file: &Path, label: &str, valid: &'static str) -> Result<Vec<u8>, LinkError> {
    let wrong = |found: String| LinkError::Keys { file: file.into(), found, valid };
    let bytes = fs::read(file).map_err(|error| wrong(error.to_string()))?;
    if String::from_utf8_lossy(&bytes).contains(label) {
        return Ok(bytes);
    }
    Err(wrong(format!("{} bytes without a line that ends in {label:?}", bytes.len())))
}

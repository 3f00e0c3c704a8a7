//! Folder with one principal's keys, as `aegis keys` makes it: `ca.pem`, `certificate.pem`, `private.pem`.
//! The folder is checked before a session opens, because Zenoh's errors name neither the file nor its fault.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

pub use crate::certificates::{AUTHORITY, CERTIFICATE, PRIVATE};

use crate::access::Principal;
use crate::certificates::{EndsSoon, Fault, check, common_names};
use crate::error::LinkError;

/// One principal's keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    folder: PathBuf,
    /// Common names of the principal's certificate; `aegis keys` writes exactly one, other tools may differ.
    names: Vec<String>,
    warnings: Vec<String>,
}

impl Credentials {
    /// Checks the keys in a folder, with validity dates compared to this machine's clock.
    ///
    /// # Errors
    /// [`LinkError::Credentials`] names the faulty file: a file that is missing or is not PEM, a private key that other users
    /// can read or that does not belong to the certificate, or a certificate that the authority did not sign, that has
    /// expired, or that is not valid yet. A folder path that is not UTF-8 or contains `;`, `?` or `#` is an error as well.
    pub fn open(folder: &Path) -> Result<Self, LinkError> {
        // Zenoh joins its TLS settings into one string, in which these characters are separators.
        if folder.to_str().is_none_or(|path| path.contains([';', '?', '#'])) {
            let found = "its path is no UTF-8, or holds one of ; ? #".into();
            return Err(LinkError::Credentials {
                file: folder.into(),
                found,
                valid: "a path without them".into(),
            });
        }
        let valid = "a certificate in PEM; `aegis keys` makes one";
        let authority = read(&folder.join(AUTHORITY), "CERTIFICATE-----", valid)?;
        let certificate = read(&folder.join(CERTIFICATE), "CERTIFICATE-----", valid)?;
        let valid = "a private key in PEM; `aegis keys` makes one";
        let private = read(&folder.join(PRIVATE), "PRIVATE KEY-----", valid)?;
        let names = common_names(&certificate);
        let mut keys = Self { folder: folder.into(), names, warnings: Vec::new() };
        keys.is_private()?;
        // A clock before 1970 reads as 0, which is before every certificate's validity.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        let now = i64::try_from(now).unwrap_or(i64::MAX);
        let soon =
            check(&authority, &certificate, &private, now).map_err(|Fault { file, found, valid }| {
                LinkError::Credentials { file: folder.join(file), found, valid: valid.into() }
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

    /// Returns credentials for a folder without any check.
    #[cfg(test)]
    pub(crate) fn at(folder: &str) -> Self {
        Self { folder: folder.into(), names: Vec::new(), warnings: Vec::new() }
    }

    /// Checks that the certificate belongs to `party` for each of `plants`. With another certificate the other end denies
    /// every message and cannot report why.
    ///
    /// # Errors
    /// [`LinkError::Credentials`] names the certificate, its common name, and the common name that is needed.
    pub fn are_of(&self, party: Principal, plants: &[String]) -> Result<(), LinkError> {
        let all = party.common_name(None);
        let is_of = |name: &String| {
            let one = |plant: &String| *name == party.common_name(Some(plant));
            *name == all || (!plants.is_empty() && plants.iter().all(one))
        };
        if self.names.iter().any(is_of) {
            return Ok(());
        }
        let found = match &self.names[..] {
            [] => "it has no common name".into(),
            names => format!("its common name is {:?}", names.join(", ")),
        };
        let one = plants.first().filter(|_| plants.len() == 1);
        let or = one.map_or(String::new(), |plant| format!(" or {:?}", party.common_name(Some(plant))));
        let valid = format!("{all:?}{or} for this command: the folder keys/{all} of `aegis keys`");
        Err(LinkError::Credentials { file: self.folder.join(CERTIFICATE), found, valid })
    }

    /// Returns one warning, a readable sentence, for each certificate that ends within a day.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Returns the path of the folder's file `name`, as a string for Zenoh's settings.
    pub fn path(&self, name: &str) -> String {
        self.folder.join(name).to_string_lossy().into_owned()
    }

    #[cfg(unix)]
    fn is_private(&self) -> Result<(), LinkError> {
        use std::os::unix::fs::PermissionsExt;
        let (file, valid) = (self.folder.join(PRIVATE), "mode 0600, its owner alone".into());
        let mode = match fs::metadata(&file) {
            Ok(metadata) => metadata.permissions().mode() & 0o777,
            Err(error) => return Err(LinkError::Credentials { file, found: error.to_string(), valid }),
        };
        if mode & 0o077 != 0 {
            let found = format!("others can use it, its mode is {mode:04o}");
            return Err(LinkError::Credentials { file, found, valid });
        }
        Ok(())
    }

    #[cfg(not(unix))]
    fn is_private(&self) -> Result<(), LinkError> {
        Ok(())
    }
}

/// Reads a file, which must contain a line that ends in `label`.
fn read(file: &Path, label: &str, valid: &'static str) -> Result<Vec<u8>, LinkError> {
    let wrong = |found: String| LinkError::Credentials { file: file.into(), found, valid: valid.into() };
    let bytes = fs::read(file).map_err(|error| wrong(error.to_string()))?;
    if String::from_utf8_lossy(&bytes).contains(label) {
        return Ok(bytes);
    }
    Err(wrong(format!("{} bytes without a line that ends in {label:?}", bytes.len())))
}

//! The folder that holds one party's keys, as `aegis keys` makes it: `ca.pem`, `certificate.pem`, `private.pem`.
//! Looked at before a session opens, for Zenoh would name neither the file nor what is wrong with it.

use std::fs;
use std::path::{Path, PathBuf};

use crate::endpoint::LinkError;

/// The certificate of the authority that signed both ends' certificates, PEM.
pub const AUTHORITY: &str = "ca.pem";
/// This party's certificate, PEM.
pub const CERTIFICATE: &str = "certificate.pem";
/// This party's private key, PKCS #8 in PEM, for its owner alone.
pub const PRIVATE: &str = "private.pem";

/// One party's keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyFolder {
    folder: PathBuf,
}

impl KeyFolder {
    /// Looks whether a folder holds keys.
    ///
    /// # Errors
    /// [`LinkError::Keys`] names the file that is missing, no PEM, or a private key that others can read.
    pub fn open(folder: &Path) -> Result<Self, LinkError> {
        // Zenoh joins its settings to one text, which these characters take apart.
        if folder.to_str().is_none_or(|path| path.contains([';', '?', '#'])) {
            let found = "its path is no UTF-8, or holds one of ; ? #".into();
            return Err(LinkError::Keys { file: folder.into(), found, valid: "a path without them" });
        }
        let keys = Self { folder: folder.into() };
        for (name, label, valid) in [
            (AUTHORITY, "CERTIFICATE-----", "a certificate in PEM; `aegis keys` makes one"),
            (CERTIFICATE, "CERTIFICATE-----", "a certificate in PEM; `aegis keys` makes one"),
            (PRIVATE, "PRIVATE KEY-----", "a private key in PEM; `aegis keys` makes one"),
        ] {
            let file = folder.join(name);
            match fs::read(&file) {
                Ok(bytes) if String::from_utf8_lossy(&bytes).contains(label) => {}
                Ok(bytes) => {
                    let found = format!("{} bytes without a line that ends in {label:?}", bytes.len());
                    return Err(LinkError::Keys { file, found, valid });
                }
                Err(error) => return Err(LinkError::Keys { file, found: error.to_string(), valid }),
            }
        }
        keys.is_private()?;
        Ok(keys)
    }

    /// A folder that nobody has looked at.
    #[cfg(test)]
    pub(crate) fn at(folder: &str) -> Self {
        Self { folder: folder.into() }
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

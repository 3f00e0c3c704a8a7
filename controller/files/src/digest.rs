//! SHA-256 digests as cards, locks and reports contain them: 64 hexadecimal digits, written in lower case.

use std::io::{self, Read};
use std::path::Path;

use sha2::{Digest, Sha256};

/// Returns the SHA-256 of a file's bytes, lower-case hexadecimal.
///
/// # Errors
/// A file that cannot be read.
pub fn sha256(path: &Path) -> io::Result<String> {
    let mut hasher = Sha256::new();
    let mut file = crate::open_file(path)?;
    let mut block = vec![0; 1 << 16];
    loop {
        match file.read(&mut block)? {
            0 => return Ok(hex(&hasher.finalize())),
            count => hasher.update(&block[..count]),
        }
    }
}

/// Returns the SHA-256 of bytes, lower-case hexadecimal.
pub fn sha256_of(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Returns bytes in lower-case hexadecimal, two digits per byte.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns whether two hexadecimal digests are equal. The comparison ignores case, because other programs print capitals,
/// and white space around the digests.
pub fn same_digest(one: &str, other: &str) -> bool {
    one.trim().eq_ignore_ascii_case(other.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_in_capitals_is_the_same_one() {
        let digest = sha256_of(b"weights");
        assert!(same_digest(&digest, &digest.to_uppercase()));
        assert!(!same_digest(&digest, &sha256_of(b"others")));
        assert!(!same_digest(&digest, &digest[..63]));
    }
}

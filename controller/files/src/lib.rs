//! File access for every other crate: recognising and reading files ([`read`]), writing files and folders completely or not
//! at all ([`write`], [`folder`]), checking where a file may be written ([`place`]), computing digests ([`digest`]), and
//! showing text from files safely ([`text`]), and errors of TOML files ([`toml_file`]).
//! The contents of a file are interpreted by the crate that reads it.
//!
//! ```
//! let digest = aegis_files::sha256_of(b"abc");
//! assert_eq!(digest, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
//! assert!(aegis_files::same_digest(&digest, &digest.to_uppercase()));
//! ```

pub mod digest;
pub mod folder;
pub mod mistaken;
pub mod place;
pub mod read;
pub mod text;
pub mod toml_file;
pub mod tree;
pub mod write;

pub use digest::{hex, same_digest, sha256, sha256_of};
pub use folder::Scratch;
pub use mistaken::without_mark;
pub use place::Written;
pub use read::{instead_of, open_file, read_any, read_bytes, read_rows, read_text};
pub use tree::below;
pub use write::{Pending, shown, write_atomically};

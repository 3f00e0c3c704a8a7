//! Files of every other crate: read for what they are ([`read`]), written whole or not at all ([`write`], [`folder`]), put where
//! they may go ([`place`]), and named by their digests ([`digest`]). What a file holds is its reader's business.

pub mod digest;
pub mod folder;
pub mod mistaken;
pub mod place;
pub mod read;
pub mod tree;
pub mod write;

pub use digest::{hex, same_digest, sha256, sha256_of};
pub use folder::Scratch;
pub use place::Written;
pub use read::{instead_of, open_file, read_any, read_bytes, read_rows, read_text, without_mark};
pub use tree::below;
pub use write::{Pending, shown, write_atomically};

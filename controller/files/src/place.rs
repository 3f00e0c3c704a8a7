//! Checks of an output path that a user named: a command may not overwrite a file that it reads, and may overwrite another
//! file only if that file is of the kind that is written, like the output of an earlier call.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::Path;

use crate::mistaken;

/// Number of first bytes from which the kind of a file is recognised.
const FIRST: u64 = 4096;

/// The kinds of files that commands write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// Parquet.
    Parquet,
    /// A recording for Rerun's viewer.
    Recording,
    /// An array of NumPy.
    Array,
    /// An ONNX model.
    Model,
    /// Tensors in the layout of safetensors.
    Tensors,
    /// A JSON object whose first key is this one.
    Json(&'static str),
}

impl Written {
    /// Checks that a file of this kind may be written to `place`. `inputs` are the files that the command reads. A path
    /// that is not a regular file, such as a device or a pipe, is written to and not replaced. An empty file may be
    /// replaced, because nothing is lost.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyExists`] with what exists at the path and what to do.
    pub fn check(self, place: &Path, inputs: &[&Path]) -> io::Result<()> {
        let taken = |what: String| Err(io::Error::new(ErrorKind::AlreadyExists, what));
        if !std::fs::metadata(place).is_ok_and(|there| there.is_file()) {
            return Ok(());
        }
        let real = |path: &Path| path.canonicalize().ok();
        if let Some(input) =
            inputs.iter().find(|input| real(input).is_some_and(|real_one| real(place) == Some(real_one)))
        {
            return taken(format!(
                "found {}, which this command reads; valid is another name",
                input.display()
            ));
        }
        let mut first = Vec::new();
        File::open(place)?.take(FIRST).read_to_end(&mut first)?;
        if first.is_empty() || self.begins(&first) {
            return Ok(());
        }
        let found = mistaken::kind(&first).unwrap_or("a file of another kind");
        let kind = self.name();
        taken(format!(
            "found {found}; valid is a new name, or {kind} to replace: choose another name, or remove the file"
        ))
    }

    /// Returns whether a file that begins with these bytes is of this kind.
    fn begins(self, bytes: &[u8]) -> bool {
        match self {
            Self::Parquet => bytes.starts_with(b"PAR1"),
            Self::Recording => bytes.starts_with(b"RRF"),
            Self::Array => bytes.starts_with(b"\x93NUMPY"),
            // The tag of the model's format version, which every exporter writes first. No text contains this byte.
            Self::Model => bytes.starts_with(b"\x08"),
            // The length of the header, 8 bytes, then the header, a JSON object.
            Self::Tensors => bytes.get(8) == Some(&b'{'),
            Self::Json(key) => {
                let object = crate::without_mark(bytes).trim_ascii_start().strip_prefix(b"{");
                let name = object.and_then(|object| object.trim_ascii_start().strip_prefix(b"\""));
                name.and_then(|name| name.strip_prefix(key.as_bytes()))
                    .is_some_and(|rest| rest.starts_with(b"\""))
            }
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Parquet => "a Parquet file",
            Self::Recording => "a Rerun recording",
            Self::Array => "a NumPy array",
            Self::Model => "an ONNX model",
            Self::Tensors => "a safetensors file",
            Self::Json(_) => "a JSON file that aegis wrote",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Scratch;

    #[test]
    fn only_a_file_of_the_same_kind_is_replaced_and_never_an_input() {
        let folder = Scratch::within(&std::env::temp_dir()).unwrap();
        let place = folder.path().join("file");
        for (kind, bytes) in [
            (Written::Parquet, &b"PAR1\x15\x04"[..]),
            (Written::Recording, b"RRF2\0\x20"),
            (Written::Array, b"\x93NUMPY\x01\0"),
            (Written::Model, b"\x08\x0b\x12\x07pytorch"),
            (Written::Tensors, b"\x40\0\0\0\0\0\0\0{\"a\""),
            (Written::Json("schema"), b"{ \"schema\": 3 }"),
        ] {
            assert!(kind.check(&place, &[]).is_ok(), "nothing is there");
            std::fs::write(&place, bytes).unwrap();
            assert!(kind.check(&place, &[]).is_ok(), "{kind:?}");
            let read =
                kind.check(&place, &[Path::new("nowhere"), &folder.path().join("./file")]).unwrap_err();
            assert!(read.to_string().contains("which this command reads"), "{read}");
            for other in [
                &b"suite = \"libero\"\n"[..],
                b"#!/bin/sh\n",
                b"{\"suite\": 1}",
                b"{\"schemas\": 1}",
                b"SQLite format 3\0",
            ] {
                std::fs::write(&place, other).unwrap();
                let error = kind.check(&place, &[]).unwrap_err().to_string();
                assert!(
                    error.contains(kind.name()) && error.contains("remove the file"),
                    "{kind:?}: {error}"
                );
            }
            std::fs::write(&place, "").unwrap();
            assert!(kind.check(&place, &[]).is_ok(), "an empty file holds nothing");
            std::fs::remove_file(&place).unwrap();
        }
        assert!(Written::Parquet.check(Path::new("/dev/null"), &[]).is_ok());
        assert!(Written::Parquet.check(folder.path(), &[]).is_ok(), "the writer reports a folder");
    }
}

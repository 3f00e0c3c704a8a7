//! Pictures that policies read during a run, compressed without loss, beside the run's own record.

use aegis_core::{Driver, Frame};
use serde::{Deserialize, Serialize};

use crate::entry_log::{Entry, EntryLog, EntryReader};
use crate::frames::{Layout, MAGIC_BYTES};

/// Name of the file in a run's folder.
pub const PICTURE_FILE: &str = "pictures.aegis";

/// A picture that a policy read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordedPicture {
    /// Time at which the inference ended, nanoseconds since the run's clock began.
    pub now_ns: u64,
    /// Control steps from the reset to the observation that the policy read.
    pub step: u32,
    /// The policy.
    pub policy: Driver,
    /// The camera's name.
    pub camera: String,
    /// The picture as a PNG file.
    #[serde(with = "bytes")]
    pub png: Vec<u8>,
}

impl RecordedPicture {
    /// Compresses a frame.
    ///
    /// # Errors
    /// A frame whose bytes do not fit its size, in words.
    pub fn of(frame: &Frame, now_ns: u64, step: u32, policy: Driver) -> Result<Self, String> {
        let mut png = Vec::new();
        let mut encoder = png::Encoder::new(&mut png, frame.width, frame.height);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.set_compression(png::Compression::Fast);
        let written = encoder.write_header().and_then(|mut writer| {
            writer.write_image_data(&frame.rgb)?;
            writer.finish()
        });
        written.map_err(|error| error.to_string())?;
        Ok(Self { now_ns, step, policy, camera: frame.camera.to_string(), png })
    }
}

impl Entry for RecordedPicture {
    const FORMATS: &'static [([u8; MAGIC_BYTES], Layout)] = &[(*b"AEGSPIC1", Layout::Chained)];
    const NAME: &'static str = "picture";
}

/// Writer of pictures.
pub type PictureLog = EntryLog<RecordedPicture>;
/// Reader of pictures.
pub type PictureReader = EntryReader<RecordedPicture>;

/// Bytes as MessagePack `bin` instead of a list of numbers.
mod bytes {
    use std::fmt;

    use serde::de::{Error, Visitor};
    use serde::{Deserializer, Serializer};

    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytes)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        struct Bytes;
        impl Visitor<'_> for Bytes {
            type Value = Vec<u8>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("bytes")
            }

            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
                Ok(bytes.to_owned())
            }
        }
        deserializer.deserialize_bytes(Bytes)
    }
}

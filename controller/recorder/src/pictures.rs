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
    #[serde(with = "crate::bin_bytes")]
    pub png: Vec<u8>,
}

impl RecordedPicture {
    /// Compresses a frame.
    ///
    /// # Errors
    /// A frame whose bytes do not fit its size, in words.
    pub fn of(frame: &Frame, now_ns: u64, step: u32, policy: Driver) -> Result<Self, String> {
        let png = png_of([frame.width, frame.height], &frame.rgb)?;
        Ok(Self { now_ns, step, policy, camera: frame.camera.to_string(), png })
    }
}

/// Returns pixels, `[height, width, 3]`, as a PNG file, which keeps every bit.
///
/// # Errors
/// Pixels that do not fit the size, in words.
pub fn png_of([width, height]: [u32; 2], rgb: &[u8]) -> Result<Vec<u8>, String> {
    let mut png = Vec::new();
    let mut encoder = png::Encoder::new(&mut png, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::Fast);
    let written = encoder.write_header().and_then(|mut writer| {
        writer.write_image_data(rgb)?;
        writer.finish()
    });
    written.map_err(|error| error.to_string())?;
    Ok(png)
}

impl Entry for RecordedPicture {
    const FORMATS: &'static [([u8; MAGIC_BYTES], Layout)] = &[(*b"AEGSPIC1", Layout::Chained)];
    const NAME: &'static str = "picture";
}

/// Writer of pictures.
pub type PictureLog = EntryLog<RecordedPicture>;
/// Reader of pictures.
pub type PictureReader = EntryReader<RecordedPicture>;

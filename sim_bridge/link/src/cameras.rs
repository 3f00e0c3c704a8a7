//! Camera frames of a free-running plant: their pixels, raw or compressed, and their publication.

use std::io::Cursor;

use aegis_core::Frame;
use image::codecs::jpeg::{JpegDecoder, JpegEncoder};
use image::{ExtendedColorType, ImageDecoder};
use zenoh::Wait;
use zenoh::pubsub::Publisher;
use zenoh::qos::{CongestionControl, Priority};

use crate::KeyExprs;
use crate::error::LinkError;
use crate::wire::{CameraFrame, Encoding, MAX_MESSAGE, Message};

/// Colour components per pixel.
const COMPONENTS: usize = 3;

/// TimePoint of an observation of a free-running plant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimePoint {
    /// Session that holds the plant.
    pub session: u64,
    /// Number of the episode.
    pub episode: u64,
    /// Control steps since the reset.
    pub sequence: u32,
    /// Stamp of the observation, nanoseconds on the plant's monotonic clock.
    pub stamp_ns: u64,
}

/// Publisher of a plant's camera frames, for any thread.
#[derive(Debug)]
pub struct CameraPublisher {
    publisher: Publisher<'static>,
    /// Quality of JPEG frames, 1 to 100; `None` for raw pixels.
    quality: Option<u8>,
    /// Episode of the newest frame, and number of its frames of each camera.
    episode: (u64, u64),
    sequence: u32,
}

impl CameraPublisher {
    /// Makes a publisher for the plant `name`. Frames are sent as JPEG of this `quality`, 1 to 100, or raw without one.
    ///
    /// # Errors
    /// [`LinkError::Name`] for an invalid plant name, or errors that Zenoh reports.
    pub fn new(session: &zenoh::Session, name: &str, quality: Option<u8>) -> Result<Self, LinkError> {
        let publisher = session
            .declare_publisher(KeyExprs::of(name)?.camera)
            .congestion_control(CongestionControl::Drop)
            // Frames are large: they go after observations and commands.
            .priority(Priority::DataLow)
            .wait()?;
        Ok(Self { publisher, quality, episode: (0, 0), sequence: 0 })
    }

    /// Publishes one frame of every camera, which show the plant at `moment`.
    ///
    /// # Errors
    /// A frame that cannot be compressed, and errors that Zenoh reports.
    pub fn publish(&mut self, moment: &TimePoint, frames: Vec<Frame>) -> Result<(), LinkError> {
        let TimePoint { session, episode, stamp_ns, .. } = *moment;
        let sequence = self.next(moment);
        for frame in frames {
            let Frame { camera, width, height, rgb } = frame;
            let (encoding, data) = match self.quality {
                Some(quality) => (Encoding::Jpeg, compressed(&rgb, [width, height], quality)?),
                None => (Encoding::Rgb, rgb),
            };
            let camera = camera.to_string();
            let frame =
                CameraFrame { session, episode, camera, sequence, stamp_ns, width, height, encoding, data };
            self.publisher.put(Message::from(frame).encode()).wait()?;
        }
        Ok(())
    }

    /// Publishes a camera's JPEG file of `width` × `height` pixels, which shows the plant at `moment`, as it is. A publisher serves
    /// one camera then, because frames are numbered by publisher.
    ///
    /// # Errors
    /// Errors that Zenoh reports.
    pub fn publish_jpeg(
        &mut self,
        moment: &TimePoint,
        camera: &str,
        [width, height]: [u32; 2],
        data: Vec<u8>,
    ) -> Result<(), LinkError> {
        let TimePoint { session, episode, stamp_ns, .. } = *moment;
        let (camera, sequence, encoding) = (camera.to_owned(), self.next(moment), Encoding::Jpeg);
        let frame =
            CameraFrame { session, episode, camera, sequence, stamp_ns, width, height, encoding, data };
        Ok(self.publisher.put(Message::from(frame).encode()).wait()?)
    }

    /// Returns the number of the next frame, which is counted by episode.
    fn next(&mut self, moment: &TimePoint) -> u32 {
        let episode = (moment.session, moment.episode);
        if self.episode != episode {
            (self.episode, self.sequence) = (episode, 0);
        }
        self.sequence += 1;
        self.sequence
    }
}

/// Marker at the end of a JPEG file.
const JPEG_END: [u8; 2] = [0xff, 0xd9];

/// Returns pixels as a JPEG file.
fn compressed(rgb: &[u8], [width, height]: [u32; 2], quality: u8) -> Result<Vec<u8>, LinkError> {
    let mut bytes = Vec::new();
    let encoded = JpegEncoder::new_with_quality(&mut bytes, quality).encode(
        rgb,
        width,
        height,
        ExtendedColorType::Rgb8,
    );
    encoded.map_err(|error| LinkError::Picture(error.to_string()))?;
    Ok(bytes)
}

impl CameraFrame {
    /// Returns the frame with its pixels decompressed.
    ///
    /// # Errors
    /// What is wrong with the bytes, in words: not a JPEG file of three colours and of the stated size, or another number of bytes
    /// than the size says.
    pub fn decoded(self) -> Result<Frame, String> {
        let Self { camera, width, height, encoding, data, .. } = self;
        let expected = u64::from(width) * u64::from(height) * COMPONENTS as u64;
        if expected > MAX_MESSAGE as u64 {
            return Err(format!(
                "found {height} rows of {width} pixels; valid is at most {MAX_MESSAGE} bytes of them"
            ));
        }
        let rgb = match encoding {
            Encoding::Rgb => data,
            Encoding::Jpeg => decompressed(&data, [width, height])?,
        };
        if rgb.len() as u64 != expected {
            return Err(format!(
                "found {} bytes; valid is {expected} for {height} rows of {width} pixels",
                rgb.len()
            ));
        }
        Ok(Frame { camera: camera.into(), width, height, rgb })
    }
}

/// Returns the pixels of a JPEG file, which has to be of the stated size: nothing is allocated for another.
fn decompressed(data: &[u8], size: [u32; 2]) -> Result<Vec<u8>, String> {
    let decoder = jpeg(data, size)?;
    let mut rgb = vec![0; size[0] as usize * size[1] as usize * COMPONENTS];
    decoder.read_image(&mut rgb).map_err(|error| error.to_string())?;
    Ok(rgb)
}

/// Checks by its header that a JPEG file has `width` × `height` pixels of three colours.
///
/// # Errors
/// What it is instead, in words.
pub fn check_jpeg(data: &[u8], size: [u32; 2]) -> Result<(), String> {
    jpeg(data, size).map(|_| ())
}

/// Returns the number of colour components in a JPEG file's frame header (ITU-T T.81, B.2.2); `None` where it has none that can be
/// found.
fn components(data: &[u8]) -> Option<u8> {
    // After the start of the image, segments of a marker and, in two bytes, the length of what follows with these two.
    let mut at = 2;
    loop {
        let [0xFF, marker, high, low] = *data.get(at..at + 4)? else { return None };
        // Start of frame, but not the tables DHT, JPG and DAC of the same range.
        if (0xC0..=0xCF).contains(&marker) && ![0xC4, 0xC8, 0xCC].contains(&marker) {
            return data.get(at + 9).copied();
        }
        at += 2 + usize::from(u16::from_be_bytes([high, low]));
    }
}

/// Opens a JPEG file of the stated size.
fn jpeg(data: &[u8], [width, height]: [u32; 2]) -> Result<JpegDecoder<Cursor<&[u8]>>, String> {
    // A decoder fills what a cut file lacks with one colour, so the end is looked for here. Writers may pad a file behind it.
    let written = data.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    if !data[..written].ends_with(&JPEG_END) {
        return Err(format!(
            "found a JPEG file of {} bytes without its end; valid is a whole one, which ends with FF D9",
            data.len()
        ));
    }
    // The decoder converts the four colours of print, and does not say that it did.
    if let Some(found) = components(data).filter(|count| usize::from(*count) != COMPONENTS) {
        let valid = "valid are three, red, green and blue";
        return Err(format!(
            "found a JPEG file of {found} colour component{}; {valid}",
            if found == 1 { "" } else { "s" }
        ));
    }
    let decoder = JpegDecoder::new(Cursor::new(data)).map_err(|error| error.to_string())?;
    let (found, colours) = (decoder.dimensions(), decoder.original_color_type());
    if found != (width, height) || colours != ExtendedColorType::Rgb8 {
        let valid = format!("{width}×{height} pixels of red, green and blue");
        return Err(format!(
            "found a JPEG file of {}×{} pixels, {colours:?}; valid is {valid}",
            found.0, found.1
        ));
    }
    Ok(decoder)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(encoding: Encoding, data: Vec<u8>) -> CameraFrame {
        let (session, episode, sequence, stamp_ns) = (1, 1, 1, 0);
        CameraFrame {
            session,
            episode,
            camera: "front".into(),
            sequence,
            stamp_ns,
            width: 16,
            height: 8,
            encoding,
            data,
        }
    }

    #[test]
    fn raw_pixels_keep_every_bit_and_jpeg_stays_near() {
        let rgb: Vec<u8> = (0..16 * 8 * 3).map(|i| (i / 3) as u8).collect();
        assert_eq!(frame(Encoding::Rgb, rgb.clone()).decoded().unwrap().rgb, rgb);
        let jpeg = compressed(&rgb, [16, 8], 95).unwrap();
        let back = frame(Encoding::Jpeg, jpeg).decoded().unwrap().rgb;
        assert!(back.iter().zip(&rgb).all(|(found, sent)| found.abs_diff(*sent) < 16));
    }

    #[test]
    fn what_is_no_picture_of_its_size_is_refused_in_words() {
        let wrong = |encoding, data| frame(encoding, data).decoded().unwrap_err();
        assert!(
            wrong(Encoding::Rgb, vec![0; 7]).contains("found 7 bytes; valid is 384 for 8 rows of 16 pixels")
        );
        let other = compressed(&[9; 8 * 8 * 3], [8, 8], 90).unwrap();
        assert!(wrong(Encoding::Jpeg, other.clone()).contains("found a JPEG file of 8×8 pixels"));
        assert!(wrong(Encoding::Jpeg, other[..other.len() / 2].to_vec()).contains("without its end"));
        wrong(Encoding::Jpeg, b"no picture".to_vec());
        wrong(Encoding::Jpeg, Vec::new());
        // A picture in the colours of print, as Pillow writes one: the decoder would convert it.
        let print = include_bytes!("../tests/fixtures/four_colours.jpg").to_vec();
        assert!(wrong(Encoding::Jpeg, print).contains("a JPEG file of 4 colour components"));
        let huge = CameraFrame { width: u32::MAX, height: u32::MAX, ..frame(Encoding::Jpeg, other) };
        assert!(huge.decoded().unwrap_err().contains("valid is at most"));
    }
}

//! Two cameras of the misbehaving plant, with the names and the size of LIBERO's, and the faults of each.

use std::time::Duration;

use aegis_core::feature::Feature;
use aegis_link::wire::{CameraFrame, Encoding, Message};

use crate::arguments::milliseconds;

/// Names of the cameras.
pub const NAMES: [&str; 2] = ["agentview", "robot0_eye_in_hand"];
/// Height and width of their pictures, pixels.
const SIZE: u32 = 128;

/// Fault of a camera.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CameraFault {
    /// The camera works.
    #[default]
    None,
    /// No frames are published.
    Lost,
    /// Every frame has the same pixels.
    Frozen,
    /// Every pixel is black.
    Black,
    /// Frames have half the height and width that was announced.
    Small,
    /// The bytes of a frame are no JPEG file, which they are said to be.
    Garbage,
    /// Each frame has the stamp of the first one.
    Backward,
    /// Frames are published so long after they were taken.
    Late(Duration),
    /// The stamps of frames are so much too early.
    Early(Duration),
}

impl CameraFault {
    /// Parses `INDEX FAULT`, as in `0 lost` or `1 late 500`.
    ///
    /// # Errors
    /// The error text states what was expected and what was found.
    pub fn parse(text: &str) -> Result<(usize, Self), String> {
        let wrong = || {
            format!(
                "camera: expected 0 or 1, and ok, lost, frozen, black, small, garbage, backward, late MS or early MS; found {text:?}"
            )
        };
        let mut words = text.split_whitespace();
        let index = match words.next() {
            Some("0") => 0,
            Some("1") => 1,
            _ => return Err(wrong()),
        };
        let word = words.next().ok_or_else(wrong)?;
        let mut span = || milliseconds(word, words.next().unwrap_or_default(), 0, 60_000);
        let fault = match word {
            "ok" => Self::None,
            "lost" => Self::Lost,
            "frozen" => Self::Frozen,
            "black" => Self::Black,
            "small" => Self::Small,
            "garbage" => Self::Garbage,
            "backward" => Self::Backward,
            "late" => Self::Late(span()?),
            "early" => Self::Early(span()?),
            _ => return Err(wrong()),
        };
        if words.next().is_some() { Err(wrong()) } else { Ok((index, fault)) }
    }
}

/// Returns the cameras as features.
pub fn features() -> impl Iterator<Item = Feature> {
    NAMES.into_iter().map(|name| Feature::camera(name, SIZE as usize, SIZE as usize))
}

/// State of the cameras.
#[derive(Clone, Debug, Default)]
pub struct Cameras {
    faults: [CameraFault; 2],
    /// Session and episode of the newest frames, and their number.
    episode: [u64; 2],
    sequence: u32,
    first_ns: u64,
}

impl Cameras {
    /// Sets the fault of a camera.
    pub fn set(&mut self, index: usize, fault: CameraFault) {
        self.faults[index] = fault;
    }

    /// Takes a picture with each camera at `stamp_ns`; returns the encoded frames, each with the time until it is published.
    pub fn frames(&mut self, session: u64, episode: u64, stamp_ns: u64) -> Vec<(Duration, Vec<u8>)> {
        if self.episode != [session, episode] {
            (self.episode, self.sequence, self.first_ns) = ([session, episode], 0, stamp_ns);
        }
        self.sequence += 1;
        let cameras = NAMES.into_iter().zip(self.faults);
        cameras.filter_map(|(name, fault)| self.frame(name, fault, stamp_ns)).collect()
    }

    fn frame(&self, name: &str, fault: CameraFault, stamp_ns: u64) -> Option<(Duration, Vec<u8>)> {
        let side = if fault == CameraFault::Small { SIZE / 2 } else { SIZE };
        let shift = if fault == CameraFault::Frozen { 0 } else { self.sequence };
        let mut data: Vec<u8> = (0..side * side * 3).map(|index| (index / 7 + shift * 5) as u8).collect();
        let mut encoding = Encoding::Rgb;
        let (mut stamp_ns, mut wait) = (stamp_ns, Duration::ZERO);
        match fault {
            CameraFault::Lost => return None,
            CameraFault::Black => data.fill(0),
            CameraFault::Garbage => (encoding, data) = (Encoding::Jpeg, b"no picture".to_vec()),
            CameraFault::Backward => stamp_ns = self.first_ns,
            CameraFault::Late(by) => wait = by,
            CameraFault::Early(by) => {
                stamp_ns = stamp_ns.saturating_sub(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX));
            }
            CameraFault::None | CameraFault::Frozen | CameraFault::Small => {}
        }
        let [session, episode] = self.episode;
        let (camera, sequence) = (name.into(), self.sequence);
        let (width, height) = (side, side);
        let frame =
            CameraFrame { session, episode, camera, sequence, stamp_ns, width, height, encoding, data };
        Some((wait, Message::from(frame).encode()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(cameras: &mut Cameras, stamp_ns: u64) -> Vec<CameraFrame> {
        let decode = |(_, bytes): (Duration, Vec<u8>)| match Message::decode(&bytes).unwrap() {
            Message::CameraFrame(frame) => frame,
            other => panic!("{other:?}"),
        };
        cameras.frames(1, 1, stamp_ns).into_iter().map(decode).collect()
    }

    #[test]
    fn each_camera_fails_by_itself() {
        let mut cameras = Cameras::default();
        let [first, second] = [1000, 2000].map(|stamp_ns| frames(&mut cameras, stamp_ns));
        assert_eq!((first.len(), second[1].sequence), (2, 2));
        assert_ne!(first[0].data, second[0].data);
        for (line, check) in [
            ("lost", (|frame: Option<&CameraFrame>| frame.is_none()) as fn(Option<&CameraFrame>) -> bool),
            ("black", |frame| frame.is_some_and(|frame| frame.data.iter().all(|value| *value == 0))),
            ("small", |frame| frame.is_some_and(|frame| frame.width == SIZE / 2)),
            ("garbage", |frame| frame.is_some_and(|frame| frame.clone().decoded().is_err())),
            ("backward", |frame| frame.is_some_and(|frame| frame.stamp_ns == 1000)),
            ("early 1", |frame| frame.is_some_and(|frame| frame.stamp_ns == 2_000_000)),
        ] {
            let (index, fault) = CameraFault::parse(&format!("1 {line}")).unwrap();
            cameras.set(index, fault);
            let found = frames(&mut cameras, 3_000_000);
            assert_eq!((found[0].width, found[0].stamp_ns), (SIZE, 3_000_000), "{line}");
            assert!(check(found.get(1)), "{line}");
        }
    }

    #[test]
    fn what_is_no_fault_is_named() {
        for line in ["", "2 lost", "0", "0 explode", "0 lost now", "0 late soon"] {
            CameraFault::parse(line).unwrap_err();
        }
    }
}

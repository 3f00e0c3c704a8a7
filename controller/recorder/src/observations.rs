//! Observations of a run: the values of each observation that a policy may read, and each camera's frames, beside the run's own
//! record. `aegis export` makes data sets of them.

use aegis_core::{ActionChannel, Feature, Observation, Schema};
use serde::{Deserialize, Serialize};

use crate::entry_log::{Entry, EntryFile, EntryLog, EntryReader};
use crate::frames::{Layout, MAGIC_BYTES};
use crate::pictures::png_of;

/// Name of the file in a run's folder.
pub const OBSERVATION_FILE: &str = "observations.aegis";

/// One entry of the file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ObservationEntry {
    /// What holds for the whole file; the first entry.
    Begin(RecordingBegin),
    /// An episode for which the plant was reset, before its observations.
    Episode(RecordedEpisode),
    /// An observation.
    Observation(RecordedObservation),
    /// A camera's frame.
    Frame(RecordedFrame),
    /// What is missing; the last entry of a run that came to its end.
    End(RecordingEnd),
}

/// What holds for a whole file of observations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordingBegin {
    /// Whether the run withheld its commands.
    pub dry_run: bool,
}

/// An episode: what the plant announced, and its task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordedEpisode {
    /// Number of the episode.
    pub episode: u64,
    /// Index of the task.
    pub task: u64,
    /// The task in words.
    pub instruction: String,
    /// Features of the observations, cameras among them.
    pub features: Vec<Feature>,
    /// Channels of the actions; empty where the plant names none.
    pub actions: Vec<ActionChannel>,
}

/// Values of one observation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordedObservation {
    /// Time of arrival, nanoseconds since the run's clock began.
    pub now_ns: u64,
    /// Episode of the observation.
    pub episode: u64,
    /// Control steps since the reset; grows within an episode.
    pub sequence: u32,
    /// Time at which the plant took the observation, nanoseconds on the plant's clock.
    pub stamp_ns: u64,
    /// Seconds since the start of the episode, by the plant.
    pub plant_time: f64,
    /// Values of every tensor feature, in the order of the episode's features.
    pub values: Vec<f64>,
}

/// One camera's frame.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordedFrame {
    /// Time of arrival, nanoseconds since the run's clock began.
    pub now_ns: u64,
    /// Episode of the frame.
    pub episode: u64,
    /// The camera's name.
    pub camera: String,
    /// Number of the frame of this camera within the episode, by the plant.
    pub sequence: u32,
    /// Time at which the camera took the frame, nanoseconds on the plant's clock.
    pub stamp_ns: u64,
    /// Format of `data`.
    pub format: PictureFormat,
    /// The picture as a file.
    #[serde(with = "crate::bin_bytes")]
    pub data: Vec<u8>,
}

/// Format of a recorded picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PictureFormat {
    /// A JPEG file, byte for byte as the camera's process sent it.
    Jpeg,
    /// A PNG file of the pixels that arrived.
    Png,
}

/// What is missing from a file of observations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordingEnd {
    /// Number of observations that found the queue full, or the disk.
    pub dropped_observations: u64,
    /// Number of frames that found the queue full, or the disk, or that are no pictures.
    pub dropped_frames: u64,
}

impl RecordedEpisode {
    /// Returns the episode that begins with this observation.
    pub fn of(episode: u64, first: &Observation) -> Self {
        Self {
            episode,
            task: first.task as u64,
            instruction: first.instruction.to_string(),
            features: first.schema.features().to_vec(),
            actions: first.schema.actions().to_vec(),
        }
    }

    /// Returns what the plant announced.
    ///
    /// # Errors
    /// Features that no plant can announce, by name.
    pub fn schema(&self) -> Result<Schema, aegis_core::feature::SchemaError> {
        Schema::new(self.features.clone(), self.actions.clone())
    }
}

impl PictureFormat {
    /// Returns pixels, `[height, width, 3]`, as a picture of the lossless format.
    ///
    /// # Errors
    /// Pixels that do not fit the size, in words.
    pub fn lossless(size: [u32; 2], rgb: &[u8]) -> Result<(Self, Vec<u8>), String> {
        png_of(size, rgb).map(|png| (Self::Png, png))
    }
}

impl Entry for ObservationEntry {
    const FORMATS: &'static [([u8; MAGIC_BYTES], Layout)] = &[(*b"AEGSOBS1", Layout::Chained)];
    const NAME: &'static str = "entry";
    // More than the largest message of a camera.
    const LARGEST: u32 = 64 * 1024 * 1024;
}

/// Writer of observations.
pub type ObservationLog = EntryLog<ObservationEntry>;
/// Reader of observations.
pub type ObservationReader = EntryReader<ObservationEntry>;
/// Observations that are read again.
pub type ObservationFile = EntryFile<ObservationEntry>;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry_log::Next;

    #[test]
    fn entries_come_back_in_order_and_by_their_offsets_as_far_as_the_file_goes() {
        let folder = std::env::temp_dir().join(format!("aegis-observations-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join(OBSERVATION_FILE);
        let _ = std::fs::remove_file(&path);
        let first = Observation::of(&[("a", &[0.1, f64::MIN_POSITIVE]), ("b", &[-0.0])]).unwrap();
        let observation = |sequence: u32| {
            ObservationEntry::Observation(RecordedObservation {
                now_ns: u64::MAX,
                episode: 3,
                sequence,
                stamp_ns: 7,
                plant_time: 0.05,
                values: first.values.clone(),
            })
        };
        let frame = ObservationEntry::Frame(RecordedFrame {
            now_ns: 1,
            episode: 3,
            camera: "front".into(),
            sequence: 1,
            stamp_ns: 7,
            format: PictureFormat::Jpeg,
            // Larger than a frame of other files may be.
            data: (0..2_000_000_u32).map(|index| index as u8).collect(),
        });
        let end = RecordingEnd { dropped_observations: 1, dropped_frames: 0 };
        let entries = [
            ObservationEntry::Begin(RecordingBegin { dry_run: false }),
            ObservationEntry::Episode(RecordedEpisode::of(3, &first)),
            observation(0),
            frame,
            observation(1),
            ObservationEntry::End(end),
        ];
        let mut log = ObservationLog::create(&path).unwrap();
        entries.iter().for_each(|entry| log.append(entry).unwrap());
        log.finish().unwrap();

        let mut reader = ObservationReader::open(&path).unwrap();
        let mut offsets = Vec::new();
        for expected in &entries {
            let Next::Entry(offset, found) = reader.next_entry() else { panic!("{expected:?}") };
            assert_eq!(found, *expected);
            offsets.push(offset);
        }
        assert_eq!(reader.next_entry(), Next::Over(None));
        let mut file = ObservationFile::open(&path).unwrap();
        for (offset, expected) in offsets.iter().zip(&entries).rev() {
            assert_eq!(file.entry(*offset).unwrap(), *expected);
        }
        assert!(file.entry(offsets[1] + 1).is_err());
        let ObservationEntry::Episode(episode) = &entries[1] else { panic!() };
        assert_eq!(episode.schema().unwrap(), *first.schema);

        let bytes = std::fs::read(&path).unwrap();
        let cut = offsets[4] as usize + 9;
        std::fs::write(&path, &bytes[..cut]).unwrap();
        let (count, fault) = ObservationReader::open(&path).unwrap().check();
        let said = fault.unwrap();
        assert!(count == 4 && said.contains("ends early, within entry 4"), "{said}");
        std::fs::remove_dir_all(&folder).unwrap();
    }
}

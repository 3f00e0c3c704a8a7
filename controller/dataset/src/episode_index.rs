//! Index of the file of a run's observations, one episode after another: where in the file each observation and each frame is.
//! Of a frame, nothing stays in memory but its place.

use std::collections::BTreeMap;
use std::path::Path;

use aegis_core::Schema;
use aegis_core::feature::FeatureKind;
use aegis_recorder::entry_log::Next;
use aegis_recorder::observations::{
    ObservationEntry, ObservationReader, RecordedEpisode, RecordedObservation, RecordingBegin, RecordingEnd,
};

use crate::DatasetError;
use crate::picture::size;

/// Place of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FramePlace {
    pub stamp_ns: u64,
    pub sequence: u32,
    pub offset: u64,
}

/// Place of an observation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObservationPlace {
    pub offset: u64,
    pub stamp_ns: u64,
    /// Time of arrival on the controller's clock, by which the run's record knows the same observation.
    pub arrived_ns: u64,
}

/// Observations and frames of one episode.
#[derive(Debug)]
pub struct EpisodeIndex {
    pub episode: RecordedEpisode,
    pub schema: Schema,
    /// Each observation, by its number.
    pub observations: BTreeMap<u32, ObservationPlace>,
    /// Frames of each camera, in the order of their arrival.
    pub frames: BTreeMap<String, Vec<FramePlace>>,
    /// Number of frames that are no pictures of the size that the plant announced.
    pub unfit_frames: u64,
}

impl EpisodeIndex {
    /// Leaves out the frames that the controller refused, by camera and number, and sorts the others by their stamps. A camera
    /// without any other frame is left out.
    pub fn without(mut self, is_refused: impl Fn(&str, u32) -> bool) -> Self {
        for (camera, frames) in &mut self.frames {
            frames.retain(|frame| !is_refused(camera, frame.sequence));
            frames.sort_by_key(|frame| (frame.stamp_ns, frame.sequence));
        }
        self.frames.retain(|_, frames| !frames.is_empty());
        self
    }

    /// Returns the frame of a camera that belongs to an observation: the newest that was taken no later, or the first of the
    /// episode.
    pub fn frame(&self, camera: &str, stamp_ns: u64) -> Option<FramePlace> {
        let frames = self.frames.get(camera)?;
        let later = frames.partition_point(|frame| frame.stamp_ns <= stamp_ns);
        frames.get(later.saturating_sub(1)).copied()
    }
}

/// Reader of the index.
pub struct IndexReader {
    /// `None` once the end was reached.
    reader: Option<ObservationReader>,
    pub begin: RecordingBegin,
    /// The episode whose entries come next.
    next: Option<RecordedEpisode>,
    /// What is missing, as the run says; `None` before the end, and where the run was killed.
    pub end: Option<RecordingEnd>,
    /// Why the file is not complete, once its end was reached.
    pub fault: Option<String>,
}

impl IndexReader {
    /// Opens the file.
    ///
    /// # Errors
    /// [`DatasetError::Source`] for a file that is none of observations.
    pub fn open(path: &Path) -> Result<Self, DatasetError> {
        let mut reader =
            ObservationReader::open(path).map_err(|error| DatasetError::source(path, strip(path, &error)))?;
        match reader.next_entry() {
            Next::Entry(_, ObservationEntry::Begin(begin)) => {
                Ok(Self { reader: Some(reader), begin, next: None, end: None, fault: None })
            }
            Next::Entry(..) => Err(DatasetError::source(path, "it does not begin as a run begins it")),
            Next::Over(fault) => {
                let reason = fault.unwrap_or_else(|| "it holds nothing".into());
                Err(DatasetError::source(path, reason))
            }
        }
    }

    /// Reads on to the next episode, and all of it; `None` at the end of the file.
    pub fn next_episode(&mut self) -> Result<Option<EpisodeIndex>, String> {
        let Some(episode) = self.next.take().or_else(|| self.seek()) else { return Ok(None) };
        let schema = episode.schema().map_err(|error| format!("episode {}: {error}", episode.episode))?;
        let number = episode.episode;
        let mut index = EpisodeIndex {
            episode,
            schema,
            observations: BTreeMap::new(),
            frames: BTreeMap::new(),
            unfit_frames: 0,
        };
        while let Some((offset, entry)) = self.entry() {
            match entry {
                ObservationEntry::Episode(next) => {
                    self.next = Some(next);
                    break;
                }
                ObservationEntry::Observation(found) if found.episode == number => {
                    if found.values.len() != index.schema.width() {
                        let (found, valid) = (found.values.len(), index.schema.width());
                        return Err(format!(
                            "episode {number}: found {found} values; valid is {valid}, as announced"
                        ));
                    }
                    let RecordedObservation { sequence, stamp_ns, now_ns: arrived_ns, .. } = found;
                    index.observations.insert(sequence, ObservationPlace { offset, stamp_ns, arrived_ns });
                }
                ObservationEntry::Frame(found) if found.episode == number => {
                    let announced = index.schema.feature(&found.camera);
                    let announced = announced.filter(|feature| feature.kind == FeatureKind::Rgb);
                    let fits = announced.is_some_and(|feature| {
                        size(&found.data).is_ok_and(|[height, width]| feature.shape[..2] == [height, width])
                    });
                    if fits {
                        let place = FramePlace { stamp_ns: found.stamp_ns, sequence: found.sequence, offset };
                        index.frames.entry(found.camera).or_default().push(place);
                    } else {
                        index.unfit_frames += 1;
                    }
                }
                // Of an episode that is over.
                ObservationEntry::Observation(_)
                | ObservationEntry::Frame(_)
                | ObservationEntry::Begin(_) => {}
                ObservationEntry::End(end) => self.end = Some(end),
            }
        }
        Ok(Some(index))
    }

    /// Reads on to the beginning of an episode.
    fn seek(&mut self) -> Option<RecordedEpisode> {
        while let Some((_, entry)) = self.entry() {
            match entry {
                ObservationEntry::Episode(episode) => return Some(episode),
                ObservationEntry::End(end) => self.end = Some(end),
                _ => {}
            }
        }
        None
    }

    fn entry(&mut self) -> Option<(u64, ObservationEntry)> {
        match self.reader.as_mut()?.next_entry() {
            Next::Entry(offset, entry) => Some((offset, entry)),
            Next::Over(fault) => {
                (self.fault, self.reader) = (fault, None);
                None
            }
        }
    }
}

/// Returns an error's text without the path that it begins with.
pub fn strip(path: &Path, error: &impl ToString) -> String {
    let text = error.to_string();
    let rest = text.strip_prefix(&path.display().to_string()).and_then(|rest| rest.strip_prefix(": "));
    rest.map_or(text.clone(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_the_newest_that_was_taken_no_later_and_no_refused_one() {
        let place =
            |stamp_ns: u64, sequence: u32| FramePlace { stamp_ns, sequence, offset: u64::from(sequence) };
        let first = aegis_core::Observation::of(&[("a", &[0.0])]).unwrap();
        let frames = BTreeMap::from([
            ("front".to_owned(), vec![place(20, 1), place(10, 2), place(30, 3), place(40, 4)]),
            ("rear".to_owned(), vec![place(5, 7)]),
        ]);
        let index = EpisodeIndex {
            episode: RecordedEpisode::of(1, &first),
            schema: Schema::clone(&first.schema),
            observations: BTreeMap::new(),
            frames,
            unfit_frames: 0,
        };
        let index = index.without(|camera, sequence| camera == "rear" || sequence == 3);
        let found = [5, 10, 25, 35, 50].map(|stamp| index.frame("front", stamp).unwrap().sequence);
        assert_eq!(found, [2, 2, 1, 1, 4]);
        assert_eq!((index.frame("rear", 9), index.frames.len()), (None, 1));
    }
}

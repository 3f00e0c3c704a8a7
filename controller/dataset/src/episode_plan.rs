//! Rows of a run's episodes, by the run's record alone: which observation each row has, and which command was sent on it.

use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;

use aegis_core::control::{ControlSource, Intervention, Mode, Output, TickRecord};
use aegis_recorder::EpisodeEnd;

/// Observation, as the record of the control periods knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeenObservation {
    /// Number of the observation within its episode.
    pub sequence: u32,
    /// Time of its arrival on the controller's clock.
    pub received: Duration,
}

/// One control period of an episode.
#[derive(Clone, Debug, PartialEq)]
pub struct PlannedRow {
    /// The newest observation that a policy may read by then; `None` where none had come.
    pub newest: Option<SeenObservation>,
    /// The command that was sent.
    pub action: Vec<f32>,
    pub source: ControlSource,
    pub risk: f64,
    pub intervention: bool,
    /// Time since the episode's first period.
    pub time: Duration,
}

/// One episode.
#[derive(Clone, Debug, PartialEq)]
pub struct PlannedEpisode {
    pub number: u64,
    pub rows: Vec<PlannedRow>,
    pub end: EpisodeEnd,
    /// Frames that the controller refused, each by the index of its camera in the settings and its number.
    pub refused: BTreeSet<(u32, u32)>,
    began: Duration,
}

/// Planner of a run's episodes, one control period after another.
#[derive(Debug)]
pub struct EpisodePlanner {
    before: Mode,
    episode: Option<PlannedEpisode>,
    intervention: Intervention,
    risk: f64,
    /// Episode of the newest observation that a policy may read, and the observation.
    newest: Option<(u64, SeenObservation)>,
}

impl Default for EpisodePlanner {
    fn default() -> Self {
        Self {
            before: Mode::Idle,
            episode: None,
            intervention: Intervention::default(),
            risk: f64::NAN,
            newest: None,
        }
    }
}

impl EpisodePlanner {
    /// Takes a control period. Returns the episode that ends in it.
    pub fn take(&mut self, period: &TickRecord<'_>) -> Option<PlannedEpisode> {
        let (inputs, output) = (&period.inputs, &period.output);
        if let Some(stamp) = inputs.observation.filter(|stamp| stamp.fault.is_none())
            && self
                .newest
                .is_none_or(|(episode, seen)| episode != stamp.episode || seen.sequence < stamp.sequence)
        {
            let seen = SeenObservation { sequence: stamp.sequence, received: stamp.received };
            self.newest = Some((stamp.episode, seen));
        }
        if period.begins()
            && let Some(number) = inputs.wishes.start
        {
            let (rows, refused) = (Vec::new(), BTreeSet::new());
            self.episode = Some(PlannedEpisode {
                number,
                rows,
                end: EpisodeEnd::Unfinished,
                refused,
                began: inputs.now,
            });
            (self.intervention, self.risk) = (Intervention::default(), f64::NAN);
        }
        let intervention = self.intervention.after_period(output);
        if let Some(decision) = &output.decision {
            self.risk = if decision.score.is_flagged() { f64::NAN } else { decision.score.risk() };
        }
        if let Some(episode) = &mut self.episode {
            let frames = inputs.cameras.iter().flat_map(|cameras| cameras.frames.iter());
            let refused = frames.filter(|frame| frame.fault.is_some() && frame.episode == episode.number);
            episode.refused.extend(refused.map(|frame| (frame.camera, frame.sequence)));
            if let Some(source) = source(output).filter(|_| output.send) {
                episode.rows.push(PlannedRow {
                    newest: self.newest.filter(|(found, _)| *found == episode.number).map(|(_, seen)| seen),
                    action: period.command.to_vec(),
                    source,
                    risk: self.risk,
                    intervention,
                    time: inputs.now.saturating_sub(episode.began),
                });
            }
        }
        let end = EpisodeEnd::of(period, self.before);
        self.before = output.mode;
        let end = end?;
        self.episode.take().map(|episode| PlannedEpisode { end, ..episode })
    }

    /// Returns the episode that had not ended at the end of the record.
    pub fn finish(self) -> Option<PlannedEpisode> {
        self.episode
    }
}

/// Returns the source of a period's command; where a person is the backup, they drive in the strong policy's place.
fn source(output: &Output) -> Option<ControlSource> {
    let source = ControlSource::of(output)?;
    let by_hand = source == ControlSource::Strong && output.call.is_some();
    Some(if by_hand { ControlSource::Operator } else { source })
}

/// Returns the ranges of consecutive rows that are kept.
pub fn segments(keep: impl IntoIterator<Item = bool>) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = Vec::new();
    for (index, _) in keep.into_iter().enumerate().filter(|(_, keep)| *keep) {
        match found.last_mut() {
            Some(last) if last.end == index => last.end += 1,
            _ => found.push(index..index + 1),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use aegis_core::control::CallReport;

    use super::*;

    #[test]
    fn a_person_drives_in_the_strong_policys_place() {
        let output = |mode, call| Output {
            mode,
            cause: None,
            send: true,
            step: 0,
            ask_weak: None,
            ask_strong: None,
            decision: None,
            driver: None,
            limited: 0,
            notices: Default::default(),
            call,
        };
        let by_hand = || Some(CallReport::default());
        for (mode, call, expected) in [
            (Mode::Strong, None, Some(ControlSource::Strong)),
            (Mode::Strong, by_hand(), Some(ControlSource::Operator)),
            (Mode::Weak, by_hand(), Some(ControlSource::Weak)),
            (Mode::Holding, by_hand(), Some(ControlSource::Hold)),
            (Mode::SafeStop, by_hand(), None),
        ] {
            assert_eq!(source(&output(mode, call)), expected, "{mode:?}");
        }
    }

    #[test]
    fn rows_that_are_left_out_part_an_episode() {
        assert_eq!(segments([true, true, false, true, false, false, true]), [0..2, 3..4, 6..7]);
        assert!(segments([false; 3]).is_empty());
        assert_eq!(segments([true; 3]), vec![0..3]);
    }
}

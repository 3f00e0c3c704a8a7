//! Rows of a robot's run: joins the record of its control periods with its observations and frames.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aegis_core::control::TickRecord;
use aegis_recorder::EpisodeEnd;
use aegis_recorder::observations::{
    OBSERVATION_FILE, ObservationEntry, ObservationFile, RecordedObservation,
};
use aegis_recorder::run_log::{Ending, FrameError, RunHeader, RunReader};
use serde_json::json;

use crate::episode_index::{EpisodeIndex, IndexReader, ObservationPlace, strip};
use crate::episode_plan::{EpisodePlanner, PlannedEpisode, PlannedRow, segments};
use crate::features::Features;
use crate::picture::Picture;
use crate::writer::{EpisodeNote, Row};
use crate::{DatasetError, Export, Selection};

/// Name of the record in a run's folder.
pub const RUN_FILE: &str = "run.aegis";

/// Adds the rows of the run in `folder` to an export. Returns notes for people: what is missing, and which episodes are left out.
/// A record that ends early or is damaged is read up to its last whole period.
///
/// # Errors
/// A folder without observations or with those of another run, a run that is in the export already or that withheld its commands, features other than the export's, damage, and
/// [`DatasetError::Write`].
pub fn export(folder: &Path, selection: &Selection, out: &mut Export) -> Result<Vec<String>, DatasetError> {
    RunExport::open(folder)?.run(selection, out)
}

/// A run that is exported.
struct RunExport {
    name: String,
    record: PathBuf,
    observed: PathBuf,
    header: RunHeader,
    reader: RunReader,
    index: IndexReader,
    file: RefCell<ObservationFile>,
    /// Damage at which reading the record ended.
    damage: Option<String>,
    /// Whether a chosen episode has an intervention.
    has_intervention: bool,
    notes: Vec<String>,
}

impl RunExport {
    fn open(folder: &Path) -> Result<Self, DatasetError> {
        let (record, observed) = (folder.join(RUN_FILE), folder.join(OBSERVATION_FILE));
        let reader = RunReader::open(&record)
            .map_err(|error| DatasetError::source(&record, strip(&record, &error)))?;
        if !observed.is_file() {
            let advice = "valid is the folder of a run whose robot file has record_observations = true: a run without it keeps \
                          what decisions need, and no values";
            return Err(DatasetError::source(folder, format!("{OBSERVATION_FILE}: found none; {advice}")));
        }
        let index = IndexReader::open(&observed)?;
        if index.begin.dry_run {
            let reason = "found a dry run, which sent no command; valid is a run that drove its robot";
            return Err(DatasetError::source(&observed, reason));
        }
        let file = ObservationFile::open(&observed)
            .map_err(|error| DatasetError::source(&observed, strip(&observed, &error)))?;
        let name = folder
            .file_name()
            .map_or_else(|| folder.display().to_string(), |name| name.to_string_lossy().into_owned());
        let header = reader.header.clone();
        Ok(Self {
            name,
            record,
            observed,
            header,
            reader,
            index,
            file: RefCell::new(file),
            damage: None,
            has_intervention: false,
            notes: Vec::new(),
        })
    }

    fn run(mut self, selection: &Selection, out: &mut Export) -> Result<Vec<String>, DatasetError> {
        let record_sha256 = digest(&self.record)?;
        out.claim(&self.record, &record_sha256)?;
        let before = out.counts();
        let mut planner = EpisodePlanner::default();
        let mut chosen = Vec::new();
        loop {
            let bytes = match self.reader.next_period() {
                Ok(bytes) => bytes,
                Err(error @ FrameError::Damaged { .. }) => {
                    self.damage = Some(error.to_string());
                    None
                }
                Err(error) => return Err(DatasetError::source(&self.record, error)),
            };
            let Some(bytes) = bytes else { break };
            out.go_on()?;
            let period: TickRecord<'_> = rmp_serde::from_slice(&bytes)
                .map_err(|error| DatasetError::source(&self.record, format!("a control period: {error}")))?;
            if let Some(episode) = planner.take(&period) {
                self.episode(&episode, selection, out, &mut chosen)?;
            }
        }
        if let Some(episode) = planner.finish() {
            self.episode(&episode, selection, out, &mut chosen)?;
        }
        if let Some(missing) = selection.episodes.iter().find(|number| !chosen.contains(*number)) {
            let reason = format!(
                "--episodes: found {missing}; valid is an episode of this run with rows and, with --only-successful, won"
            );
            return Err(DatasetError::source(&self.record, reason));
        }
        // To the end of the file, for what it says of itself.
        while self
            .index
            .next_episode()
            .map_err(|reason| DatasetError::source(&self.observed, reason))?
            .is_some()
        {}
        self.note_endings();
        let after = out.counts();
        if selection.only_interventions && !self.has_intervention && !chosen.is_empty() {
            self.notes.push("--only-interventions: no chosen episode has an intervention".into());
            out.note_without_intervention();
        }
        out.add_source(
            &self.header.plant,
            json!({
                "kind": "run",
                "folder": self.name,
                "files": { RUN_FILE: record_sha256, OBSERVATION_FILE: digest(&self.observed)? },
                "program": self.header.program,
                "plant": self.header.plant,
                "models": self.header.digests,
                "only_interventions": selection.only_interventions,
                "only_successful": selection.only_successful,
                "episodes": after[0] - before[0],
                "rows": after[1] - before[1],
                "notes": self.notes,
            }),
        );
        Ok(self.notes)
    }

    /// Writes an episode, where it is chosen and its observations are there.
    fn episode(
        &mut self,
        planned: &PlannedEpisode,
        selection: &Selection,
        out: &mut Export,
        chosen: &mut Vec<u64>,
    ) -> Result<(), DatasetError> {
        let success = planned.end == EpisodeEnd::Goal;
        if planned.rows.is_empty() || !selection.has(planned.number, success) {
            return Ok(());
        }
        chosen.push(planned.number);
        self.has_intervention |= planned.rows.iter().any(|row| row.intervention);
        let Some(index) = self.find(planned.number)? else {
            self.notes.push(format!(
                "episode {} is left out: its observations are not in {OBSERVATION_FILE}",
                planned.number
            ));
            return Ok(());
        };
        self.check_is_of_this_run(planned, &index)?;
        let settings = &self.header.recipe.settings;
        let indices: BTreeMap<&str, u32> =
            (0..).zip(&settings.cameras).map(|(index, camera)| (&*camera.name, index)).collect();
        let refused = |camera: &str, sequence: u32| {
            indices.get(camera).is_some_and(|index| planned.refused.contains(&(*index, sequence)))
        };
        let index = index.without(refused);
        let cameras =
            out.features().map_or_else(|| index.frames.keys().cloned().collect(), Features::cameras);
        if let Some(camera) = cameras.iter().find(|camera| !index.frames.contains_key(*camera)) {
            self.notes.push(format!(
                "episode {} is left out: it has no frame of camera {camera} that fits",
                planned.number
            ));
            return Ok(());
        }
        let features = Features::of(&index.schema, &cameras, self.header.recipe.rest.len(), settings.rate_hz)
            .map_err(|reason| {
                DatasetError::source(&self.observed, format!("episode {}: {reason}", planned.number))
            })?;
        if index.unfit_frames > 0 {
            let unfit = index.unfit_frames;
            self.notes.push(format!(
                "episode {}: {unfit} frames are no pictures of the announced size",
                planned.number
            ));
        }
        let place = |row: &PlannedRow| index.observations.get(&row.newest?.sequence).copied();
        let has = |row: &PlannedRow| place(row).is_some();
        let without = planned.rows.iter().filter(|row| !has(row)).count();
        if without > 0 {
            let all = planned.rows.len();
            self.notes.push(format!("episode {}: {without} of {all} rows are left out: their observations are not in {OBSERVATION_FILE}", planned.number));
        }
        let keep =
            planned.rows.iter().map(|row| has(row) && (row.intervention || !selection.only_interventions));
        let note = EpisodeNote {
            task: index.episode.instruction.clone(),
            success,
            end: planned.end.to_string(),
            source: format!("{}, episode {}", self.name, planned.number),
        };
        let mut newest = Newest::default();
        for segment in segments(keep) {
            out.writer(&self.observed, &features)?.begin_episode(note.clone())?;
            for row in &planned.rows[segment] {
                out.go_on()?;
                let Some(ObservationPlace { offset, stamp_ns, .. }) = place(row) else { continue };
                newest
                    .observe(&self.file, offset)
                    .map_err(|reason| DatasetError::source(&self.observed, reason))?;
                let mut pictures = Vec::with_capacity(cameras.len());
                for camera in &cameras {
                    let Some(frame) = index.frame(camera, stamp_ns) else { continue };
                    let data = newest
                        .picture(&self.file, camera, frame.offset)
                        .map_err(|reason| DatasetError::source(&self.observed, reason))?;
                    let age = (i128::from(stamp_ns) - i128::from(frame.stamp_ns)) as f64 / 1e9;
                    pictures.push(Picture { data, age });
                }
                out.writer(&self.observed, &features)?
                    .row(&Row {
                        values: &newest.values,
                        pictures: &pictures,
                        action: &row.action,
                        source: row.source,
                        risk: row.risk,
                        intervention: row.intervention,
                        time: row.time.as_secs_f64(),
                    })
                    .map_err(|error| match error {
                        DatasetError::Source { path, reason } => DatasetError::source(
                            &self.observed,
                            format!("episode {}: camera {}: {reason}", planned.number, path.display()),
                        ),
                        other => other,
                    })?;
            }
            out.writer(&self.observed, &features)?.end_episode()?;
        }
        Ok(())
    }

    /// Checks that each observation of an episode came when the record says that it did: the run stamps both files with the same clock, so
    /// that those of another run differ.
    fn check_is_of_this_run(
        &self,
        planned: &PlannedEpisode,
        index: &EpisodeIndex,
    ) -> Result<(), DatasetError> {
        for seen in planned.rows.iter().filter_map(|row| row.newest) {
            let Some(place) = index.observations.get(&seen.sequence) else { continue };
            let received = seen.received.as_nanos();
            if u128::from(place.arrived_ns) != received {
                let (number, sequence, arrived) = (planned.number, seen.sequence, place.arrived_ns);
                let reason = format!(
                    "episode {number}: observation {sequence}: found an arrival at {arrived} ns; valid is {received} ns, as {RUN_FILE} has it: \
                     the two files are of different runs, so put each run's own beside its record"
                );
                return Err(DatasetError::source(&self.observed, reason));
            }
        }
        Ok(())
    }

    /// Reads the index on to an episode; `None` where the file has none with this number.
    fn find(&mut self, number: u64) -> Result<Option<EpisodeIndex>, DatasetError> {
        loop {
            let found =
                self.index.next_episode().map_err(|reason| DatasetError::source(&self.observed, reason))?;
            match found {
                Some(found) if found.episode.episode < number => {}
                found => return Ok(found.filter(|found| found.episode.episode == number)),
            }
        }
    }

    fn note_endings(&mut self) {
        let early = match self.reader.ending() {
            Some(Ending::Within { offset }) => {
                Some(format!("it ends early, within the period that begins at byte {offset}"))
            }
            Some(Ending::Unmarked { offset }) => {
                Some(format!("it ends early, at byte {offset} and without an end mark"))
            }
            Some(Ending::Whole) | None => self.damage.clone(),
        };
        let read = "what comes before is exported";
        self.notes.extend(early.map(|early| format!("{RUN_FILE}: {early}; {read}")));
        let fault = self.index.fault.as_ref();
        self.notes.extend(fault.map(|fault| format!("{OBSERVATION_FILE}: {fault}; {read}")));
        if let Some(end) = self.index.end.filter(|end| end.dropped_observations + end.dropped_frames > 0) {
            let (observations, frames) = (end.dropped_observations, end.dropped_frames);
            self.notes.push(format!(
                "{OBSERVATION_FILE}: the run dropped {observations} observations and {frames} frames"
            ));
        }
    }
}

fn digest(path: &Path) -> Result<String, DatasetError> {
    aegis_files::sha256(path).map_err(|error| DatasetError::source(path, error))
}

/// The newest observation and pictures, which the next row may have again.
#[derive(Default)]
struct Newest {
    offset: Option<u64>,
    values: Vec<f64>,
    pictures: BTreeMap<String, (u64, Arc<Vec<u8>>)>,
}

impl Newest {
    fn observe(&mut self, file: &RefCell<ObservationFile>, offset: u64) -> Result<(), String> {
        if self.offset == Some(offset) {
            return Ok(());
        }
        let entry = file.borrow_mut().entry(offset).map_err(|error| error.to_string())?;
        let ObservationEntry::Observation(RecordedObservation { values, .. }) = entry else {
            return Err(format!("byte {offset}: no observation any more: it was changed meanwhile"));
        };
        (self.offset, self.values) = (Some(offset), values);
        Ok(())
    }

    fn picture(
        &mut self,
        file: &RefCell<ObservationFile>,
        camera: &str,
        offset: u64,
    ) -> Result<Arc<Vec<u8>>, String> {
        if let Some((known, data)) = self.pictures.get(camera)
            && *known == offset
        {
            return Ok(Arc::clone(data));
        }
        let entry = file.borrow_mut().entry(offset).map_err(|error| error.to_string())?;
        let ObservationEntry::Frame(frame) = entry else {
            return Err(format!("byte {offset}: no frame any more: it was changed meanwhile"));
        };
        let data = Arc::new(frame.data);
        self.pictures.insert(camera.to_owned(), (offset, Arc::clone(&data)));
        Ok(data)
    }
}

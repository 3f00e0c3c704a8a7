//! Rows of a study's stored episodes. A store keeps results and no observations, so each episode is simulated again, bit for bit,
//! and its rows are written while it runs.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use aegis_core::control::{ControlSource, Intervention};
use aegis_core::{
    ChunkRecord, Disturbance, EpisodeKey, Frame, Observation, Plant, PlantError, Recorder, Start, StepRecord,
    Transition,
};
use aegis_dataset::{DatasetError, EpisodeNote, Export, Features, Picture, Row, Selection};
use aegis_experiments::episode::context::EpisodeSettings;
use aegis_experiments::episode::outcome::EpisodeResult;
use aegis_experiments::run::runner;
use aegis_policies::card::ModelCard;
use aegis_probe::origin::{Origin, Starts};
use aegis_recorder::pictures::png_of;
use aegis_sim::camera::USUAL_CAMERAS;
use aegis_sim::{Cameras, LiberoPlant};
use serde_json::json;

use super::of_dataset;
use crate::commands::experiment::Registered;
use crate::commands::replay::stored::Stored;
use crate::exit::{Exit, Failure, OrExit, failure};
use crate::host::HostArguments;
use crate::progress;
use crate::scene_digests::scenes;
use crate::study_loader::Study;

/// Random stream of the sensor, as an episode draws it.
const SENSOR: &str = "sensor";

/// Which episodes are written, and how.
pub struct Chosen<'a> {
    pub registered: &'a Registered,
    pub arm: &'a str,
    /// Keys of the episodes; all where there are none.
    pub keys: &'a BTreeSet<EpisodeKey>,
    pub selection: &'a Selection,
    /// Height and width of pictures that no policy reads.
    pub pictures: Option<[u32; 2]>,
    pub host: &'a HostArguments,
}

/// Adds the stored episodes of the study in `folder` to an export. Returns notes for people.
///
/// # Errors
/// A study whose plants another process serves, an episode that the store lacks, and one whose result differs from the stored one.
pub fn export(folder: &Path, chosen: &Chosen<'_>, out: &mut Export) -> Result<Vec<String>, Failure> {
    let stored = Stored::open(folder, chosen.registered, chosen.host)?;
    stored.check_arm(chosen.arm)?;
    let store_sha256 = stored.sha256()?;
    out.claim(folder, &store_sha256).map_err(of_dataset)?;
    for key in chosen.keys {
        stored.result(*key, chosen.arm)?;
    }
    let is_chosen = |result: &&EpisodeResult| {
        result.arm == *chosen.arm
            && (chosen.keys.is_empty() || chosen.keys.contains(&result.key))
            && (result.success || !chosen.selection.only_successful)
    };
    let results: Vec<&EpisodeResult> = stored.results.iter().filter(is_chosen).collect();
    let study = stored.study();
    let suite = study.native_suite("an export, which simulates each stored episode again,")?;
    let rate_hz = suite.task(0).map_or(0.0, |task| task.control_freq);
    let plant = match chosen.pictures {
        None => study.simulator(suite).map_err(|error| failure(Exit::Setup, error.to_string()))?,
        Some(_) if stored.reads_pictures()? => {
            let valid = "valid is none: the plan's policies read pictures, and those are written";
            return Err(failure(Exit::Input, format!("--pictures: found a size; {valid}")));
        }
        Some([height, width]) => {
            let cameras = Cameras::new(&USUAL_CAMERAS, width, height).or_exit(Exit::Input)?;
            LiberoPlant::with_cameras(suite.clone(), cameras)
        }
    };
    let shots = Shots::default();
    let has_pictures = chosen.pictures.is_some() || stored.reads_pictures()?;
    let observed = ObservedPlant { plant, has_pictures, shots: shots.clone() };
    let mut context = stored.context(Box::new(observed))?;
    let (before, name) = (out.counts(), folder.file_name().unwrap_or(folder.as_os_str()).to_string_lossy());
    let bar = progress::bar("episodes simulated again", results.len());
    for result in &results {
        let task = result.key.start.task;
        let what = runner::describe(result.key, result.arm.as_str());
        let mut rows = StoredRows {
            out: &mut *out,
            folder,
            shots: &shots,
            settings: stored.settings(),
            key: result.key,
            note: EpisodeNote {
                task: suite.task(task).map_or_else(String::new, |task| task.language.clone()),
                success: result.success,
                end: if result.success { "goal" } else { "horizon" }.into(),
                source: format!("{name}, {what}"),
            },
            rate_hz,
            only_interventions: chosen.selection.only_interventions,
            before: None,
            intervention: Intervention::default(),
            is_intervention: false,
            risk: f64::NAN,
            is_open: false,
            written: Ok(()),
        };
        stored.run_again(&mut context, result, &mut rows)?;
        rows.end().map_err(of_dataset)?;
        out.go_on().map_err(of_dataset)?;
        bar.inc();
    }
    bar.finish_and_clear();
    let after = out.counts();
    out.add_source(
        suite.name(),
        json!({
            "kind": "study",
            "folder": name,
            "store": store_sha256,
            "arm": chosen.arm,
            "origin": origin(study, stored.results.iter().filter(|result| {
                chosen.keys.is_empty() || chosen.keys.contains(&result.key)
            }).map(|result| result.key))?,
            "only_interventions": chosen.selection.only_interventions,
            "only_successful": chosen.selection.only_successful,
            "episodes": after[0] - before[0],
            "rows": after[1] - before[1],
        }),
    );
    let mut notes = Vec::new();
    if chosen.selection.only_interventions && after[1] == before[1] && !results.is_empty() {
        notes.push(format!("--only-interventions: no chosen episode of {} has an intervention", chosen.arm));
        out.note_without_intervention();
    }
    Ok(notes)
}

/// Returns where the rows come from: the starts of all episodes among which they were chosen, so that no study is judged on a start
/// that a policy learned from.
fn origin(study: &Study, keys: impl IntoIterator<Item = EpisodeKey>) -> Result<Origin, Failure> {
    let digest = |card: &Path| Ok(ModelCard::load(card).or_exit(Exit::Input)?.model_sha256());
    let plan = &study.plan;
    Ok(Origin {
        suite: plan.suite.clone(),
        suite_sha256: Some(scenes(&plan.suite)?.content_sha256()),
        starts: Starts::of(keys),
        master_seed: plan.master_seed,
        sample_seed: plan.sample_seed,
        weak_sha256: Some(digest(&plan.models.weak)?),
        strong_sha256: Some(digest(&plan.models.strong)?),
        sensor: Some(plan.sensor),
        settle_steps: Some(plan.settle_steps),
        disturbances: plan.disturbances,
    })
}

/// The plant after a control step.
struct Shot {
    observation: Observation,
    pictures: Vec<Picture>,
}

/// The newest shot, which the plant puts in and the recorder takes out.
#[derive(Clone, Default)]
struct Shots(Arc<Mutex<Option<Result<Shot, PlantError>>>>);

impl Shots {
    fn put(&self, shot: Result<Shot, PlantError>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(shot);
    }

    fn take(&self) -> Option<Result<Shot, PlantError>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// A simulator whose observation and pictures are kept after each control step.
struct ObservedPlant {
    plant: LiberoPlant,
    has_pictures: bool,
    shots: Shots,
}

impl ObservedPlant {
    fn keep(&mut self, observation: &Observation) {
        let pictures = if self.has_pictures { self.pictures() } else { Ok(Vec::new()) };
        let observation = observation.clone();
        self.shots.put(pictures.map(|pictures| Shot { observation, pictures }));
    }

    fn pictures(&mut self) -> Result<Vec<Picture>, PlantError> {
        let frames = self.plant.frames()?;
        let picture = |frame: Frame| {
            let png = png_of([frame.width, frame.height], &frame.rgb).map_err(PlantError::Backend)?;
            Ok(Picture { data: Arc::new(png), age: 0.0 })
        };
        frames.into_iter().map(picture).collect()
    }
}

impl Plant for ObservedPlant {
    fn reset(&mut self, start: Start) -> Result<Observation, PlantError> {
        self.reset_disturbed(start, None)
    }

    fn reset_disturbed(
        &mut self,
        start: Start,
        disturbance: Option<&Disturbance>,
    ) -> Result<Observation, PlantError> {
        let observation = self.plant.reset_disturbed(start, disturbance)?;
        self.keep(&observation);
        Ok(observation)
    }

    fn step(&mut self, action: &[f32]) -> Result<Transition, PlantError> {
        let transition = self.plant.step(action)?;
        self.keep(&transition.observation);
        Ok(transition)
    }

    fn state(&self, out: &mut Vec<f64>) {
        self.plant.state(out);
    }

    fn frames(&mut self) -> Result<Vec<Frame>, PlantError> {
        self.plant.frames()
    }
}

/// Recorder of one episode, which writes a row for each of its control steps.
struct StoredRows<'a> {
    out: &'a mut Export,
    folder: &'a Path,
    shots: &'a Shots,
    settings: &'a EpisodeSettings,
    key: EpisodeKey,
    note: EpisodeNote,
    rate_hz: f64,
    only_interventions: bool,
    /// The plant before the next control step.
    before: Option<Result<Shot, PlantError>>,
    intervention: Intervention,
    is_intervention: bool,
    risk: f64,
    /// Whether an episode of the data set has begun and not ended.
    is_open: bool,
    written: Result<(), DatasetError>,
}

impl StoredRows<'_> {
    /// Ends the episode. Returns the first error of its rows.
    fn end(mut self) -> Result<(), DatasetError> {
        std::mem::replace(&mut self.written, Ok(()))?;
        self.close()
    }

    /// Ends the data set's episode, if one has begun.
    fn close(&mut self) -> Result<(), DatasetError> {
        match (std::mem::take(&mut self.is_open), self.features()) {
            (true, Some(features)) => self.out.writer(self.folder, &features)?.end_episode(),
            _ => Ok(()),
        }
    }

    /// Returns the features of the export so far.
    fn features(&self) -> Option<Features> {
        self.out.features().cloned()
    }

    fn write(
        &mut self,
        before: Option<Result<Shot, PlantError>>,
        step: &StepRecord<'_>,
    ) -> Result<(), DatasetError> {
        self.out.go_on()?;
        let wrong = |reason: String| DatasetError::source(self.folder, reason);
        let shot = before.ok_or_else(|| wrong("a control step without an observation before it".into()))?;
        let Shot { mut observation, pictures } = shot.map_err(|error| wrong(error.to_string()))?;
        if self.only_interventions && !self.is_intervention {
            return self.close();
        }
        let cameras: Vec<String> = match pictures.is_empty() {
            true => Vec::new(),
            false => observation.schema.cameras().map(|camera| camera.name.to_string()).collect(),
        };
        // As policies read it: at a boundary these are the very numbers that the policies read.
        self.settings
            .sensor
            .apply(&mut observation, &mut self.settings.streams.at(self.key, SENSOR, step.step));
        let features =
            Features::of(&observation.schema, &cameras, step.action.len(), self.rate_hz).map_err(wrong)?;
        let writer = self.out.writer(self.folder, &features)?;
        if !std::mem::replace(&mut self.is_open, true) {
            writer.begin_episode(self.note.clone())?;
        }
        writer.row(&Row {
            values: &observation.values,
            pictures: &pictures,
            action: step.action,
            source: ControlSource::from(step.driver),
            risk: self.risk,
            intervention: self.is_intervention,
            time: f64::from(step.step) / self.rate_hz,
        })
    }
}

impl Recorder for StoredRows<'_> {
    fn chunk(&mut self, record: &ChunkRecord) {
        let score = record.decision.score;
        self.risk = if score.is_flagged() { f64::NAN } else { score.risk() };
        self.is_intervention = self.intervention.after_boundary(&record.decision);
        if self.before.is_none() {
            self.before = self.shots.take();
        }
    }

    fn step(&mut self, record: &StepRecord<'_>) {
        let before = self.before.take();
        self.before = self.shots.take();
        if self.written.is_ok() {
            self.written = self.write(before, record);
        }
    }
}

//! One export: a data set of several sources, which all have the same features.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aegis_core::control::ControlSource;
use serde_json::{Map, Value, json};

use crate::DatasetError;
use crate::features::Features;
use crate::writer::DatasetWriter;

/// Version of `meta/aegis.json`.
const ORIGIN: u32 = 1;

/// Which rows of a source are written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Numbers of the episodes; all where there are none.
    pub episodes: BTreeSet<u64>,
    /// Whether only rows of interventions are written, each intervention as an episode of the data set.
    pub only_interventions: bool,
    /// Whether only episodes that reached their goal are written.
    pub only_successful: bool,
}

impl Selection {
    /// Returns whether an episode with this number and outcome is chosen.
    pub(crate) fn has(&self, episode: u64, success: bool) -> bool {
        (self.episodes.is_empty() || self.episodes.contains(&episode)) && (success || !self.only_successful)
    }
}

/// What an export has written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finished {
    /// Number of episodes of the data set.
    pub episodes: usize,
    /// Number of rows.
    pub rows: usize,
}

/// An export in progress.
pub struct Export {
    place: PathBuf,
    program: String,
    writer: Option<DatasetWriter>,
    robot: String,
    sources: Vec<Value>,
    /// SHA-256 of each source, and where it is.
    claimed: BTreeMap<String, PathBuf>,
    /// Number of sources of which only interventions were to be written and that have none.
    without_intervention: usize,
    /// Set by whoever ends the export early.
    told: Arc<AtomicBool>,
}

impl Export {
    /// Begins an export to `place`; `program` is the name and the version of the program.
    ///
    /// # Errors
    /// [`DatasetError::Source`] where something is at `place`: nothing is written over.
    pub fn new(place: &Path, program: &str) -> Result<Self, DatasetError> {
        if place.symlink_metadata().is_ok() {
            return Err(DatasetError::source(place, "is there already, and is kept; valid is a new folder"));
        }
        Ok(Self {
            place: place.to_owned(),
            program: program.into(),
            writer: None,
            robot: String::new(),
            sources: Vec::new(),
            claimed: BTreeMap::new(),
            without_intervention: 0,
            told: Arc::default(),
        })
    }

    /// Ends the export once `told` is set, with [`DatasetError::Told`].
    pub fn end_when(&mut self, told: Arc<AtomicBool>) {
        self.told = told;
    }

    /// Checks that no signal has ended the export. Every source calls this after each of its steps.
    ///
    /// # Errors
    /// [`DatasetError::Told`].
    pub fn go_on(&self) -> Result<(), DatasetError> {
        if self.told.load(Ordering::Acquire) { Err(DatasetError::Told) } else { Ok(()) }
    }

    /// Takes the content of a source, by its SHA-256, into the export.
    ///
    /// # Errors
    /// [`DatasetError::Source`] for content that the export has already: its rows would count twice.
    pub fn claim(&mut self, source: &Path, sha256: &str) -> Result<(), DatasetError> {
        if let Some(before) = self.claimed.insert(sha256.into(), source.to_owned()) {
            let found =
                format!("found the same content as in {}; valid is each source once", before.display());
            return Err(DatasetError::source(source, found));
        }
        Ok(())
    }

    /// Notes that only interventions of a source were to be written, and that it has none.
    pub fn note_without_intervention(&mut self) {
        self.without_intervention += 1;
    }

    /// Returns the features of the data set; `None` before the first source.
    pub fn features(&self) -> Option<&Features> {
        self.writer.as_ref().map(DatasetWriter::features)
    }

    /// Returns the writer for rows of a source with these features. The first source decides what the data set has.
    ///
    /// # Errors
    /// Features that differ from those of the first source, by name, and [`DatasetError::Write`].
    pub fn writer(&mut self, source: &Path, features: &Features) -> Result<&mut DatasetWriter, DatasetError> {
        if let Some(difference) =
            self.writer.as_ref().and_then(|writer| writer.features().difference(features))
        {
            let advice = "export what differs into a data set of its own";
            return Err(DatasetError::source(source, format!("{difference}; {advice}")));
        }
        if self.writer.is_none() {
            self.writer = Some(DatasetWriter::create(&self.place, features.clone())?);
        }
        self.writer.as_mut().ok_or_else(|| DatasetError::source(source, "no data set"))
    }

    /// Returns the number of episodes and of rows so far.
    pub fn counts(&self) -> [usize; 2] {
        self.writer.as_ref().map_or([0; 2], DatasetWriter::counts)
    }

    /// Notes a source for `meta/aegis.json`: what it is, and how many of its episodes and rows were written. `robot` names its
    /// plant; the first one is the data set's.
    pub fn add_source(&mut self, robot: &str, about: Value) {
        if self.robot.is_empty() {
            self.robot = robot.into();
        }
        self.sources.push(about);
    }

    /// Completes the data set.
    ///
    /// # Errors
    /// [`DatasetError::Empty`] where there is no row, [`DatasetError::Told`], and [`DatasetError::Write`].
    pub fn finish(self) -> Result<Finished, DatasetError> {
        self.go_on()?;
        let Self { program, writer, robot, sources, without_intervention, .. } = self;
        let [episodes, rows] = writer.as_ref().map_or([0; 2], DatasetWriter::counts);
        let Some(writer) = writer.filter(|_| rows > 0) else {
            let reason = match without_intervention {
                0 => "no episode that was chosen has a row with its observation",
                _ => {
                    "only interventions were to be written, and no episode that was chosen has one with its observations"
                }
            };
            return Err(DatasetError::Empty(reason.into()));
        };
        let numbers: Map<String, Value> =
            ControlSource::ALL.iter().map(|source| (source.name().into(), source.number().into())).collect();
        let origin = json!({
            "version": ORIGIN,
            "program": program,
            "control_source": numbers,
            "observation": writer.features().parts(),
            "sources": sources,
        });
        writer.finish(&robot, &origin)?;
        Ok(Finished { episodes, rows })
    }
}

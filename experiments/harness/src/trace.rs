//! Step traces: what every arm did at every control step of one key.
//! A forked arm is recorded from its fork on; before it, the weak arm's rows are its own.

mod columns;
mod file;
mod read;
mod recorded_arm;
mod verify;

use aegis_core::record::NoRecorder;
use aegis_core::{ChunkRecord, Driver, Recorder, StepRecord};

use crate::arm::ArmName;
use crate::key::EpisodeKey;

pub use file::{ArmNotes, Boundary, Layout, Notes, Row, TraceFile};
pub use read::TraceFileError;
pub use verify::{Conduct, TraceCheck, verify};

/// Gives each arm of a set of twins the recorder that listens to it.
pub trait TwinRecorder {
    /// The recorder of the arm that runs now.
    fn arm(&mut self, name: &ArmName) -> &mut dyn Recorder;

    /// Notes that the arm that runs now fired at this control step of the weak path, before any step of its own.
    /// Ignored where not overridden.
    fn fired(&mut self, _step: u32) {}
}

impl TwinRecorder for NoRecorder {
    fn arm(&mut self, _name: &ArmName) -> &mut dyn Recorder {
        self
    }
}

/// Collects the control steps of the twins of one key.
#[derive(Default)]
pub struct Trace {
    /// Arms in the order in which they ran, each with its fires before its own steps.
    arms: Vec<(String, Vec<u32>)>,
    rows: Vec<Row>,
    /// What the next step begins with, where it begins a chunk.
    boundary: Option<Boundary>,
    /// Digest of the state path as it was last told.
    path: [u8; 16],
}

impl TwinRecorder for Trace {
    fn arm(&mut self, name: &ArmName) -> &mut dyn Recorder {
        if self.arms.last().is_none_or(|(last, _)| *name != **last) {
            self.arms.push((name.as_str().to_owned(), Vec::new()));
        }
        self
    }

    fn fired(&mut self, step: u32) {
        if let Some((_, fired)) = self.arms.last_mut() {
            fired.push(step);
        }
    }
}

impl Recorder for Trace {
    fn chunk(&mut self, record: &ChunkRecord) {
        let score = record.decision.score;
        self.boundary = Some(Boundary {
            fired: record.decision.fired,
            handed_over: record.decision.handed_over,
            score: if score.is_flagged() { f64::NAN } else { score.risk() },
            prefix: self.path,
        });
    }

    fn step(&mut self, record: &StepRecord<'_>) {
        self.rows.push(Row {
            arm: self.arms.last().map_or_else(String::new, |(name, _)| name.clone()),
            step: record.step,
            strong: record.driver == Driver::Strong,
            success: record.success,
            action: record.action.to_vec(),
            end_effector: record.observation.proprioception.end_effector.position,
            boundary: self.boundary.take(),
            path: self.path,
        });
    }

    fn state_path(&mut self, digest: [u8; 16]) {
        self.path = digest;
    }
}

impl Trace {
    /// What was collected, as a file of either layout.
    pub fn file(&self, layout: Layout, key: EpisodeKey, chunk_steps: u32) -> TraceFile {
        let file = TraceFile { notes: None, rows: self.rows.clone() };
        match layout {
            Layout::One => file,
            Layout::Two => file.with_notes(key, chunk_steps, &self.arms),
        }
    }
}

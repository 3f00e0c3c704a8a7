//! Step traces: what every arm did at every control step of one key. A forked arm is recorded from its fork on; its
//! earlier control steps are the weak arm's rows.

mod columns;
mod file;
mod read;
mod recorded_arm;
mod row;
mod verify;

use aegis_core::record::NoRecorder;
use aegis_core::{ChunkRecord, Driver, Recorder, StepRecord};

use crate::episode::arm::ArmName;
use aegis_core::EpisodeKey;

pub use file::{ArmNotes, Notes, TraceFile};
pub use read::TraceFileError;
pub use recorded_arm::Conduct;
pub use row::{Boundary, Layout, Row};
pub use verify::{TraceCheck, verify};

/// Source of recorders for the arms of one set.
pub trait TwinRecorder {
    /// Returns the recorder of the arm that runs now.
    fn arm(&mut self, name: &ArmName) -> &mut dyn Recorder;

    /// Records that the current arm fired at this control step of the weak trajectory, before any control step of its
    /// own. The default implementation ignores the call.
    fn fired(&mut self, _step: u32) {}
}

impl TwinRecorder for NoRecorder {
    fn arm(&mut self, _name: &ArmName) -> &mut dyn Recorder {
        self
    }
}

/// Recorder of the control steps of all arms of one key.
#[derive(Default)]
pub struct Trace {
    /// Arms in the order in which they ran, each with the control steps at which it fired before its own rows.
    arms: Vec<(String, Vec<u32>)>,
    rows: Vec<Row>,
    /// Boundary record of the next control step, where that step begins a chunk.
    boundary: Option<Boundary>,
    /// Newest digest of the state path.
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
            end_effector: record.observation.end_effector().unwrap_or([f64::NAN; 3]),
            boundary: self.boundary.take(),
            path: self.path,
        });
    }

    fn state_path(&mut self, digest: [u8; 16]) {
        self.path = digest;
    }
}

impl Trace {
    /// Returns the recorded rows as a trace file of either layout.
    pub fn file(&self, layout: Layout, key: EpisodeKey, chunk_steps: u32) -> TraceFile {
        let file = TraceFile { notes: None, rows: self.rows.clone() };
        match layout {
            Layout::One => file,
            Layout::Two => file.with_notes(key, chunk_steps, &self.arms),
        }
    }
}

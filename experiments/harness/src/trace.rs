//! Step traces: what every arm did at every control step of one key, as a Parquet file.
//! A forked arm is recorded from its fork on; before it, the weak arm's rows are its own.

use std::collections::HashMap;
use std::sync::Arc;

use aegis_core::record::NoRecorder;
use aegis_core::{ChunkRecord, Driver, Recorder, StepRecord};
use arrow::array::{ArrayRef, BooleanArray, Float32Array, Float64Array, StringArray, UInt32Array};

use crate::arm::ArmName;
use crate::parquet_file::{bytes, list};

/// Gives each arm of a set of twins the recorder that listens to it.
pub trait TwinRecorder {
    /// The recorder of the arm that runs now.
    fn arm(&mut self, name: &ArmName) -> &mut dyn Recorder;
}

impl TwinRecorder for NoRecorder {
    fn arm(&mut self, _name: &ArmName) -> &mut dyn Recorder {
        self
    }
}

/// Collects the control steps of the twins of one key.
#[derive(Default)]
pub struct Trace {
    arm: String,
    arms: Vec<String>,
    steps: Vec<u32>,
    strong: Vec<bool>,
    success: Vec<bool>,
    actions: Vec<f32>,
    width: usize,
    positions: Vec<f64>,
}

impl TwinRecorder for Trace {
    fn arm(&mut self, name: &ArmName) -> &mut dyn Recorder {
        name.as_str().clone_into(&mut self.arm);
        self
    }
}

impl Recorder for Trace {
    /// Scores and hand-overs are in the results.
    fn chunk(&mut self, _record: &ChunkRecord) {}

    fn step(&mut self, record: &StepRecord<'_>) {
        self.arms.push(self.arm.clone());
        self.steps.push(record.step);
        self.strong.push(record.driver == Driver::Strong);
        self.success.push(record.success);
        self.actions.extend_from_slice(record.action);
        self.width = record.action.len();
        self.positions.extend(record.observation.proprioception.end_effector.position);
    }
}

impl Trace {
    /// The file: `arm`, `step`, `strong` (who drove), `success` (after the step), `action` `float32[width]` as sent and
    /// `end_effector` `float64[3]` in metres, world frame, after the step. Equal traces give equal bytes.
    ///
    /// # Errors
    /// What Arrow or Parquet reports, and a trace without a step.
    pub fn parquet(self) -> Result<Vec<u8>, String> {
        if self.steps.is_empty() {
            return Err("no control step was recorded".into());
        }
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("arm", Arc::new(StringArray::from(self.arms))),
            ("step", Arc::new(UInt32Array::from(self.steps))),
            ("strong", Arc::new(BooleanArray::from(self.strong))),
            ("success", Arc::new(BooleanArray::from(self.success))),
            ("action", list(Arc::new(Float32Array::from(self.actions)), self.width)?),
            ("end_effector", list(Arc::new(Float64Array::from(self.positions)), 3)?),
        ];
        bytes(columns, HashMap::new())
    }
}

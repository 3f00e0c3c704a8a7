//! MuJoCo's integration state, copied out and restored: the part of a snapshot that belongs to MuJoCo.
//! A few kilobytes in MuJoCo's layout.

use std::sync::Arc;

use aegis_core::policy::PlantError;
use mujoco_rs::prelude::{MjData, MjModel, MjtState};

use crate::error::backend;

/// Components of the state on which MuJoCo's next step depends, including the solver's warm start.
const INTEGRATION: u32 = MjtState::mjSTATE_INTEGRATION as u32;

/// Integration state in MuJoCo's layout.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Integration(Box<[f64]>);

impl Integration {
    pub fn of(data: &MjData<Arc<MjModel>>) -> Self {
        Self(data.state(INTEGRATION))
    }

    /// Copies the state of `data` into this value; both must have the same model.
    pub fn read(&mut self, data: &MjData<Arc<MjModel>>) {
        data.read_state_into(INTEGRATION, &mut self.0);
    }

    /// Copies this state into `data`, which continues from it.
    pub fn write(&self, data: &mut MjData<Arc<MjModel>>) -> Result<(), PlantError> {
        data.set_state(&self.0, INTEGRATION).map_err(backend)
    }

    /// Returns the number of values.
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

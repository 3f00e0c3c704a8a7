//! What MuJoCo integrates from, copied out and put back: the part of a snapshot that is MuJoCo's own.
//! A few kilobytes in MuJoCo's layout.

use std::sync::Arc;

use aegis_core::policy::PlantError;
use mujoco_rs::prelude::{MjData, MjModel, MjtState};

use crate::error::backend;

/// Everything that MuJoCo's next step depends on, the solver's warm start included.
const INTEGRATION: u32 = MjtState::mjSTATE_INTEGRATION as u32;

/// A state in MuJoCo's own layout.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Integration(Box<[f64]>);

impl Integration {
    pub fn of(data: &MjData<Arc<MjModel>>) -> Self {
        Self(data.state(INTEGRATION))
    }

    /// Makes this the state of `data`, whose model must be the same.
    pub fn read(&mut self, data: &MjData<Arc<MjModel>>) {
        data.read_state_into(INTEGRATION, &mut self.0);
    }

    /// Makes this the state that `data` goes on from.
    pub fn write(&self, data: &mut MjData<Arc<MjModel>>) -> Result<(), PlantError> {
        data.set_state(&self.0, INTEGRATION).map_err(backend)
    }

    /// How many values it has.
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

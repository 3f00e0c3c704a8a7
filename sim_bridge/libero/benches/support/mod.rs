//! A recorded rollout, repeated by the plant or by plain `mj_step` with the same actuator commands.
//! Both end in the same state bit for bit, contacts included, which is checked before anything is measured.

use std::error::Error;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

use aegis_core::policy::{Plant, PlantError, Start};
use aegis_sim::LiberoPlant;
use mujoco_rs::prelude::{MjData, MjModel};

/// A plant with a recorded rollout, and plain MuJoCo with the same scene and the plant's actuator commands.
pub struct Replay {
    pub plant: LiberoPlant,
    start: Start,
    actions: Vec<Vec<f64>>,
    bare: MjData<Arc<MjModel>>,
    /// The plant's complete state after the reset.
    restored: Vec<f64>,
    /// Actuator commands, `[steps * substeps, nu]`.
    controls: Vec<f64>,
}

impl Replay {
    /// Executes `actions` once and records the actuator commands. `folder` is the folder of the plant's suite.
    ///
    /// # Errors
    /// Errors of the plant or of MuJoCo, and `mj_step` ending in another state than the plant.
    pub fn record(
        mut plant: LiberoPlant,
        folder: &Path,
        start: Start,
        actions: Vec<Vec<f64>>,
    ) -> Result<Self, Box<dyn Error>> {
        plant.reset(start)?;
        let mut restored = Vec::new();
        plant.state(&mut restored);
        let mut controls = Vec::new();
        for action in &actions {
            plant.apply_traced(action, &mut controls)?;
        }
        let scene = folder.join(format!("tasks/{:02}/physics.xml", start.task));
        let bare = MjData::try_new(Arc::new(MjModel::from_xml(&scene)?))?;
        let mut replay = Self { plant, start, actions, bare, restored, controls };
        replay.reset_bare();
        replay.run_bare();
        let states = replay.bare.qpos().iter().chain(replay.bare.qvel());
        let same = replay.plant.state_flat()[1..].iter().eq(states);
        same.then_some(replay).ok_or_else(|| "mj_step went through other states than the plant".into())
    }

    /// Resets [`Replay::plant`] to the start of [`Replay::run_plant`].
    pub fn reset_plant(&mut self) -> Result<(), PlantError> {
        self.plant.reset(self.start).map(drop)
    }

    /// Executes the rollout with [`Replay::plant`].
    pub fn run_plant(&mut self) -> Result<(), Box<dyn Error>> {
        run(&self.actions, &mut self.plant)
    }

    /// Executes the rollout with another plant.
    #[allow(dead_code, reason = "not every benchmark has one")]
    pub fn run(&self, plant: &mut LiberoPlant) -> Result<(), Box<dyn Error>> {
        run(&self.actions, plant)
    }

    /// Resets plain MuJoCo to the start of [`Replay::run_bare`].
    pub fn reset_bare(&mut self) {
        let (nq, nv) = (self.bare.qpos().len(), self.bare.qvel().len());
        self.bare.reset();
        self.bare.set_time(self.restored[0]);
        self.bare.qpos_mut().copy_from_slice(&self.restored[1..=nq]);
        self.bare.qvel_mut().copy_from_slice(&self.restored[1 + nq..][..nv]);
        let warm_start = &self.restored[self.restored.len() - nv..];
        self.bare.qacc_warmstart_mut().copy_from_slice(warm_start);
        self.bare.forward();
    }

    /// Executes the same physics steps as [`Replay::run_plant`], by `mj_step` alone.
    pub fn run_bare(&mut self) {
        let nu = self.bare.ctrl().len();
        for control in self.controls.chunks_exact(nu) {
            self.bare.ctrl_mut().copy_from_slice(control);
            self.bare.step();
        }
    }
}

fn run(actions: &[Vec<f64>], plant: &mut LiberoPlant) -> Result<(), Box<dyn Error>> {
    for action in actions {
        black_box(plant.apply(action)?);
    }
    Ok(())
}

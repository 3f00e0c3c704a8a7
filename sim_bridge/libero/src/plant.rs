//! `LiberoPlant`: one LIBERO environment, stepped at the control rate exactly as in upstream.
//! This module has physics, controller memory and observations; drawing is in `camera.rs`.

use std::sync::Arc;

use aegis_core::policy::{Plant, PlantError, Saved, Start, Transition};
use aegis_core::{Disturbance, Frame, Observation, Pose, Schema};
use mujoco_rs::prelude::{MjData, MjModel, MjtWarning};
use nalgebra::{Rotation3, UnitQuaternion, Vector6};

use crate::binding::{BoundTask, Memory};
use crate::camera::{Cameras, DrawnState, Renderer};
use crate::error::backend;
use crate::gripper::FINGERS;
use crate::integration::Integration;
use crate::osc::{ArmState, COMMAND};
use crate::schema::schema;
use crate::snapshot::Snapshot;
use crate::suite::Suite;
use crate::task::AfterReset;

/// Number of values of an action: x, y, z, rotation about x, y, z, gripper, each in −1 to 1. A positive gripper value
/// closes the gripper.
pub const ACTION: usize = COMMAND + 1;

/// One environment over a suite. It may be sent to another thread; compiled models are shared through the suite.
///
/// A control step follows robosuite 1.4 and LIBERO: 25 physics steps of 2 ms, with the controller run before each.
/// Upstream's additional forward passes change neither state nor warm start, so they are left out here.
/// In the first physics step of an episode the controller uses the arm state that upstream's reset left, not the restored
/// one: upstream restores an initial state without updating its controller, and upstream's evaluation results include
/// this effect.
///
/// Observations read the simulation's arrays at the end of a control step: joint and finger positions are current, while
/// the poses of the grip site and the objects come from the last forward pass, one physics step (2 ms) earlier. After a
/// reset both are from the same state. Upstream's `step` returns an observation that is sampled yet another physics step
/// earlier, by its sensors' clock. The quaternion `eef_site_quaternion` is that of the grip site's rotation
/// matrix; its largest component is positive. `schema.rs` lists the features.
#[derive(Debug)]
pub struct LiberoPlant {
    suite: Suite,
    episode: Option<Episode>,
    renderer: Option<Renderer>,
}

#[derive(Debug)]
pub(crate) struct Episode {
    pub(crate) task: usize,
    pub(crate) bound: Arc<BoundTask>,
    /// Features and actions, with the plant's cameras.
    pub(crate) schema: Arc<Schema>,
    pub(crate) data: MjData<Arc<MjModel>>,
    pub(crate) memory: Memory,
    pub(crate) start_time: f64,
    pub(crate) step: u32,
    /// Disturbance that the episode has, its step counted from the reset.
    pub(crate) disturbance: Option<Disturbance>,
    /// State from which the last forward pass was computed.
    pub(crate) last_pass: Integration,
    pub(crate) seen: DrawnState,
}

impl LiberoPlant {
    /// Creates an environment without cameras; it needs a reset before the first step.
    pub fn new(suite: Suite) -> Self {
        Self { suite, episode: None, renderer: None }
    }

    /// Creates an environment whose [`Plant::frames`] returns the pictures of these cameras.
    ///
    /// The physics is the same bit for bit as without cameras. Textured scenes are compiled, and OpenGL is opened, when a
    /// picture is first requested.
    pub fn with_cameras(suite: Suite, cameras: Cameras) -> Self {
        Self { suite, episode: None, renderer: Some(Renderer::new(cameras)) }
    }

    /// Returns the physical state in upstream's layout: time, positions, velocities, `[1 + nq + nv]`. Empty before a reset.
    pub fn state_flat(&self) -> Vec<f64> {
        let mut out = Vec::new();
        if let Some(episode) = &self.episode {
            episode.physical_state(&mut out);
        }
        out
    }

    /// Returns the fingers' velocities in m/s, in the order of the feature `gripper_positions`, which has no velocities beside it. Zeros
    /// before a reset.
    pub fn finger_velocities(&self) -> [f64; FINGERS] {
        let read = |episode: &Episode| episode.bound.finger_dofs.map(|address| episode.data.qvel()[address]);
        self.episode.as_ref().map(read).unwrap_or_default()
    }

    /// Executes one control step with an action in double precision, as upstream takes it: `[7]`, each in −1 to 1; values
    /// beyond are clipped.
    ///
    /// [`Plant::step`] does the same for a policy's single-precision actions.
    pub fn apply(&mut self, action: &[f64]) -> Result<Transition, PlantError> {
        self.advance(action, |_| ())
    }

    /// Does the same as [`LiberoPlant::apply`], and appends the actuator commands of each physics step, `[substeps, nu]`.
    ///
    /// Plain `mj_step` with these commands passes through the same states, bit for bit.
    pub fn apply_traced(
        &mut self,
        action: &[f64],
        controls: &mut Vec<f64>,
    ) -> Result<Transition, PlantError> {
        self.advance(action, |sent| controls.extend_from_slice(sent))
    }

    fn advance(&mut self, action: &[f64], sent: impl FnMut(&[f64])) -> Result<Transition, PlantError> {
        let episode = self.episode.as_mut().ok_or(PlantError::NotReset)?;
        let wrong = |found| PlantError::Action { expected: ACTION, found };
        let action: &[f64; ACTION] =
            action.try_into().map_err(|_| wrong(format!("{} values", action.len())))?;
        if let Some(index) = action.iter().position(|value| !value.is_finite()) {
            return Err(wrong(format!("{} at index {index}", action[index])));
        }
        episode.control_step(action, sent)?;
        Ok(Transition { success: episode.success(), observation: episode.observation() })
    }

    /// Starts an episode of `task` from a physical state in upstream's layout: time, positions, velocities,
    /// `[1 + nq + nv]`. Everything else is as after [`Plant::reset`], which does the same for the suite's own initial states.
    ///
    /// # Errors
    /// [`PlantError::State`] where the state does not fit the task, and errors of compiling the scene.
    pub fn reset_from(&mut self, task: usize, state: &[f64]) -> Result<Observation, PlantError> {
        let suite = self.suite.clone();
        let info = suite.info(task)?;
        let expected = 1 + info.nq + info.nv;
        let wrong = |found| PlantError::State { expected, found };
        if state.len() != expected {
            return Err(wrong(format!("{} values", state.len())));
        }
        if let Some(index) = state.iter().position(|value| !value.is_finite()) {
            return Err(wrong(format!("{} at index {index}", state[index])));
        }
        let episode = self.environment(task)?;
        episode.restore(state, &info.after_reset);
        Ok(episode.observation())
    }

    /// Returns whether the goal is met, by the last forward pass; false before a reset.
    pub fn success(&self) -> bool {
        self.episode.as_ref().is_some_and(Episode::success)
    }

    pub(crate) fn episode(&self) -> Option<&Episode> {
        self.episode.as_ref()
    }

    /// Returns the task's environment, compiled or reused. MuJoCo's reset makes a reused environment equal to a new one.
    pub(crate) fn environment(&mut self, task: usize) -> Result<&mut Episode, PlantError> {
        let reusable = self.episode.take().filter(|episode| episode.task == task);
        let episode = match reusable {
            Some(episode) => episode,
            None => {
                let cameras = self.renderer.as_ref().map(Renderer::cameras);
                let schema = schema(self.suite.info(task)?, cameras)
                    .map_err(|error| PlantError::Backend(error.to_string()))?;
                Episode::new(task, self.suite.bound(task)?, Arc::new(schema))?
            }
        };
        Ok(self.episode.insert(episode))
    }
}

impl Plant for LiberoPlant {
    fn reset(&mut self, start: Start) -> Result<Observation, PlantError> {
        let state = self.suite.start(start)?;
        self.reset_from(start.task, &state)
    }

    /// Does the same as [`Plant::reset`] for an episode with a disturbance; `disturbance.rs` says what each kind does here.
    fn reset_disturbed(
        &mut self,
        start: Start,
        disturbance: Option<&Disturbance>,
    ) -> Result<Observation, PlantError> {
        let observation = self.reset(start)?;
        if let Some(disturbance) = disturbance {
            self.episode.as_mut().ok_or(PlantError::NotReset)?.accept(*disturbance)?;
        }
        Ok(observation)
    }

    fn step(&mut self, action: &[f32]) -> Result<Transition, PlantError> {
        let action: Vec<f64> = action.iter().copied().map(f64::from).collect();
        self.apply(&action)
    }

    /// Appends time, positions, velocities, the controller's target (position, then orientation row by row), the
    /// normalised finger commands and the solver's warm start.
    fn state(&self, out: &mut Vec<f64>) {
        let Some(episode) = &self.episode else { return };
        episode.physical_state(out);
        out.extend(episode.memory.target.position.iter());
        out.extend(episode.memory.target.orientation.transpose().iter());
        out.extend(episode.memory.fingers);
        out.extend(episode.data.qacc_warmstart());
    }

    fn save(&self) -> Result<Option<Saved>, PlantError> {
        Ok(Some(Saved::new(self.snapshot()?)))
    }

    fn resume(&mut self, saved: &Saved) -> Result<Observation, PlantError> {
        self.restore(saved.kept::<Snapshot>()?)
    }

    /// Draws the pictures of upstream's observation; see [`Cameras`]. Returns no pictures before the first reset.
    fn frames(&mut self) -> Result<Vec<Frame>, PlantError> {
        let (Some(renderer), Some(episode)) = (&mut self.renderer, &self.episode) else {
            return Ok(Vec::new());
        };
        renderer.draw(self.suite.textured(episode.task)?, &episode.seen)
    }
}

impl Episode {
    fn new(task: usize, bound: Arc<BoundTask>, schema: Arc<Schema>) -> Result<Self, PlantError> {
        let data = MjData::try_new(Arc::clone(&bound.model)).map_err(backend)?;
        let last_pass = Integration::of(&data);
        Ok(Self {
            task,
            data,
            memory: bound.memory.clone(),
            start_time: 0.0,
            step: 0,
            disturbance: None,
            last_pass,
            seen: DrawnState::default(),
            bound,
            schema,
        })
    }

    fn restore(&mut self, state: &[f64], after: &AfterReset) {
        let nq = self.bound.model.nq() as usize;
        self.data.reset();
        self.data.set_time(state[0]);
        self.data.qpos_mut().copy_from_slice(&state[1..=nq]);
        self.data.qvel_mut().copy_from_slice(&state[1 + nq..]);
        self.data.ctrl_mut().copy_from_slice(&after.ctrl);
        self.data.qacc_warmstart_mut().copy_from_slice(&after.qacc_warmstart);
        self.data.forward();
        self.last_pass.read(&self.data);
        self.memory = self.bound.memory.clone();
        self.start_time = state[0];
        self.step = 0;
        self.disturbance = None;
        self.seen.start(self.data.qpos());
    }

    fn control_step(
        &mut self,
        action: &[f64; ACTION],
        mut sent: impl FnMut(&[f64]),
    ) -> Result<(), PlantError> {
        let command = Vector6::from_column_slice(&action[..COMMAND]);
        let grip = self.disturb(action[COMMAND]);
        self.seen.begin_step(self.data.qpos());
        for substep in 0..self.bound.substeps {
            self.data.step1();
            if substep + DrawnState::BEFORE_LAST == self.bound.substeps {
                self.seen.sample(self.data.qpos());
            }
            let mut arm = self.bound.arm.read(&self.data);
            if let Some(stale) = self.memory.stale_arm.take() {
                arm = ArmState { bias: arm.bias, ..stale };
            }
            if substep == 0 {
                self.bound.osc.command(&command, &arm, &mut self.memory.target);
            }
            let torques = self.bound.osc.torques(&self.memory.target, &arm);
            self.bound.gripper.advance(grip, &mut self.memory.fingers);
            let fingers = self.bound.gripper.control(&self.memory.fingers);
            let ctrl = self.data.ctrl_mut();
            for (actuator, torque) in self.bound.arm_actuators.iter().zip(torques.iter()) {
                ctrl[*actuator] = *torque;
            }
            for (actuator, position) in self.bound.finger_actuators.iter().zip(fingers) {
                ctrl[*actuator] = position;
            }
            sent(ctrl);
            if substep + 1 == self.bound.substeps {
                self.last_pass.read(&self.data);
            }
            self.data.step2();
        }
        if self.diverged() {
            return Err(PlantError::Diverged { step: self.step });
        }
        self.step += 1;
        Ok(())
    }

    /// Returns whether the simulation diverged. MuJoCo replaces a state that it cannot integrate by the default state and only
    /// counts a warning.
    pub(crate) fn diverged(&self) -> bool {
        let bad = [MjtWarning::mjWARN_BADQPOS, MjtWarning::mjWARN_BADQVEL, MjtWarning::mjWARN_BADQACC];
        bad.iter().any(|warning| self.data.warning()[*warning as usize].number > 0)
            || self.data.qpos().iter().chain(self.data.qvel()).any(|value| !value.is_finite())
    }

    pub(crate) fn observation(&self) -> Observation {
        let (position, orientation) = self.bound.arm.grip_pose(&self.data);
        let site = UnitQuaternion::from_rotation_matrix(&Rotation3::from_matrix_unchecked(orientation));
        let (qpos, qvel) = (self.data.qpos(), self.data.qvel());
        let xyzw = |[w, x, y, z]: [f64; 4]| [x, y, z, w];
        let mut values = Vec::with_capacity(self.schema.width());
        values.extend(self.bound.arm.positions.map(|address| qpos[address]));
        values.extend(self.bound.arm.dofs.map(|address| qvel[address]));
        values.extend(position.iter());
        values.extend(xyzw(self.data.xquat()[self.bound.hand]));
        values.extend([site.i, site.j, site.k, site.w]);
        values.extend(self.bound.fingers.map(|address| qpos[address]));
        for body in &self.bound.objects {
            let Pose { position, orientation } = self.body_pose(*body);
            values.extend(position);
            values.extend(xyzw(orientation));
        }
        Observation {
            step: self.step,
            plant_time: self.data.time() - self.start_time,
            task: self.task,
            instruction: Arc::clone(&self.bound.instruction),
            schema: Arc::clone(&self.schema),
            values,
            frames: [].into(),
        }
    }

    fn success(&self) -> bool {
        self.bound.goal.holds(&self.data)
    }

    pub(crate) fn body_pose(&self, body: usize) -> Pose {
        Pose { position: self.data.xpos()[body], orientation: self.data.xquat()[body] }
    }

    fn physical_state(&self, out: &mut Vec<f64>) {
        out.push(self.data.time());
        out.extend(self.data.qpos());
        out.extend(self.data.qvel());
    }
}

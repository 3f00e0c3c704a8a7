//! New initial states: drawn as upstream draws them, then held against the physics, and refused where upstream would
//! go on with objects in one another, falling over, or already where the task wants them.

use std::ops::AddAssign;
use std::sync::Arc;

use aegis_core::policy::PlantError;
use mujoco_rs::prelude::{MjData, MjModel};
use nalgebra::{Matrix3, Vector3};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::placement::{Crowded, Placements, Site};
use crate::plant::{Episode, LiberoPlant};
use crate::suite::Suite;

/// Draws of one start before giving up. The worst task of LIBERO refuses fewer than two in three.
pub const ATTEMPTS: u32 = 100;
/// Control steps with the null action after which objects have to be at rest: one second. Objects start up to 0.17 m
/// above their support, and a toppled one needs most of a second to come to rest.
pub const SETTLE_STEPS: u32 = 20;
/// Metres that geoms of different bodies may be in one another as drawn, where objects still hang in the air.
pub const MAX_DRAWN_OVERLAP: f64 = 0.001;
/// Metres that they may be in one another at rest. MuJoCo's contacts give way under a load.
pub const MAX_RESTING_OVERLAP: f64 = 0.005;
/// Metres that an object may move in the plane while it settles. One that slides farther was pushed or rolled off.
pub const MAX_SHIFT: f64 = 0.03;
/// Metres that it may come down: more than the 0.17 m that upstream drops an object from, less than a table's height.
pub const MAX_DROP: f64 = 0.25;
/// Radians that it may tip over. A bowl on the edge of a drawer rests at 0.3.
pub const MAX_TILT: f64 = 0.5;
/// Metres per second at which an object is not at rest.
pub const MAX_SPEED: f64 = 0.05;

/// Stay, gripper open.
const NULL_ACTION: [f64; 7] = [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -1.0];
/// 32-bit words set apart for each attempt; an attempt that tries every place for every object uses a third.
const WORDS_PER_ATTEMPT: u128 = 1 << 20;

/// Why a draw is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// No room for an object beside those placed before it.
    Crowded,
    /// An object is in something else, as drawn or at rest.
    Overlap,
    /// An object moved, came down, tipped over or kept moving beyond the bounds while it settled.
    Fell,
    /// The goal holds before anything was done.
    GoalHolds,
    /// The physics left the finite numbers.
    Diverged,
}

/// How many draws were refused, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Rejections {
    /// See [`Rejection::Crowded`].
    pub crowded: u32,
    /// See [`Rejection::Overlap`].
    pub overlap: u32,
    /// See [`Rejection::Fell`].
    pub fell: u32,
    /// See [`Rejection::GoalHolds`].
    pub goal_holds: u32,
    /// See [`Rejection::Diverged`].
    pub diverged: u32,
}

impl Rejections {
    /// Counts one more.
    pub fn count(&mut self, rejection: Rejection) {
        *match rejection {
            Rejection::Crowded => &mut self.crowded,
            Rejection::Overlap => &mut self.overlap,
            Rejection::Fell => &mut self.fell,
            Rejection::GoalHolds => &mut self.goal_holds,
            Rejection::Diverged => &mut self.diverged,
        } += 1;
    }

    /// All of them.
    pub fn total(&self) -> u32 {
        self.crowded + self.overlap + self.fell + self.goal_holds + self.diverged
    }
}

impl AddAssign for Rejections {
    fn add_assign(&mut self, other: Self) {
        self.crowded += other.crowded;
        self.overlap += other.overlap;
        self.fell += other.fell;
        self.goal_holds += other.goal_holds;
        self.diverged += other.diverged;
    }
}

/// A drawn initial state and the draws refused on the way to it.
#[derive(Clone, Debug, PartialEq)]
pub struct SampledStart {
    /// Time, positions, velocities, `[1 + nq + nv]`: time 0 and all at rest, as in upstream's recorded states, with
    /// objects where they were placed and not yet come down.
    pub state: Vec<f64>,
    /// What was refused.
    pub rejections: Rejections,
}

/// Draws initial states of one task. The state of an index depends on seed, suite, task and index alone.
#[derive(Debug)]
pub struct StartSampler {
    plant: LiberoPlant,
    suite: String,
    seed: u64,
    task: usize,
    physical_check: bool,
}

impl StartSampler {
    /// A sampler with a plant of its own to try draws on.
    ///
    /// # Errors
    /// Unknown tasks, scenes that do not compile, and scenes exported without placements.
    pub fn new(suite: &Suite, task: usize, seed: u64) -> Result<Self, PlantError> {
        if suite.bound(task)?.placements.is_none() {
            return Err(PlantError::Backend(format!(
                "task {task} of {}: task.json: placements: missing; export the scenes again",
                suite.name()
            )));
        }
        let plant = LiberoPlant::new(suite.clone());
        Ok(Self { plant, suite: suite.name().to_owned(), seed, task, physical_check: true })
    }

    /// Takes every draw that upstream would take: no physical check and no check of the goal.
    pub fn unchecked(mut self) -> Self {
        self.physical_check = false;
        self
    }

    /// The initial state of an index.
    ///
    /// # Errors
    /// [`PlantError::Backend`] when [`ATTEMPTS`] draws were refused, with the reasons.
    pub fn draw(&mut self, index: usize) -> Result<SampledStart, PlantError> {
        let mut rejections = Rejections::default();
        for attempt in 0..ATTEMPTS {
            let mut generator = self.generator(index, attempt);
            let refused = match self.place(&mut generator)? {
                Ok(state) => match self.refuse(&state)? {
                    None => return Ok(SampledStart { state, rejections }),
                    Some(reason) => reason,
                },
                Err(Crowded) => Rejection::Crowded,
            };
            rejections.count(refused);
        }
        Err(PlantError::Backend(format!(
            "task {}: initial state {index} of sample seed {}: all {ATTEMPTS} draws refused: {rejections:?}",
            self.task, self.seed
        )))
    }

    /// Why the physics or the goal speak against a state, `[1 + nq + nv]`; `None` if nothing does.
    ///
    /// # Errors
    /// What the plant reports, except that it diverged.
    pub fn refuse(&mut self, state: &[f64]) -> Result<Option<Rejection>, PlantError> {
        if !self.physical_check {
            return Ok(None);
        }
        let episode = self.plant.start_from(self.task, state)?;
        if overlap(episode) > MAX_DRAWN_OVERLAP {
            return Ok(Some(Rejection::Overlap));
        }
        if episode.bound.goal.holds(&episode.data) {
            return Ok(Some(Rejection::GoalHolds));
        }
        let before: Vec<_> = bodies(episode).map(|body| (body, pose(&episode.data, body))).collect();
        let mut holds = false;
        for _ in 0..SETTLE_STEPS {
            match self.plant.apply(&NULL_ACTION) {
                Ok(transition) => holds = transition.success,
                Err(PlantError::Diverged { .. }) => return Ok(Some(Rejection::Diverged)),
                Err(error) => return Err(error),
            }
        }
        let episode = self.plant.episode().ok_or(PlantError::NotReset)?;
        Ok(if before.into_iter().any(|(body, placed)| fell(&episode.data, body, placed)) {
            Some(Rejection::Fell)
        } else if overlap(episode) > MAX_RESTING_OVERLAP {
            Some(Rejection::Overlap)
        } else if holds {
            Some(Rejection::GoalHolds)
        } else {
            None
        })
    }

    /// The stream of one attempt. Drawing more in one never shifts another.
    fn generator(&self, index: usize, attempt: u32) -> ChaCha8Rng {
        let mut hasher = Sha256::new();
        hasher.update(b"aegis-start-v1");
        for part in [self.seed, self.task as u64, index as u64] {
            hasher.update(part.to_le_bytes());
        }
        hasher.update(self.suite.as_bytes());
        let mut generator = ChaCha8Rng::from_seed(hasher.finalize().into());
        generator.set_word_pos(u128::from(attempt) * WORDS_PER_ATTEMPT);
        generator
    }

    /// One draw of everything that a reset draws.
    fn place(&mut self, generator: &mut ChaCha8Rng) -> Result<Result<Vec<f64>, Crowded>, PlantError> {
        let episode = self.plant.environment(self.task)?;
        let bound = Arc::clone(&episode.bound);
        let Some(placements) = &bound.placements else { return Err(PlantError::NotReset) };
        let data = &mut episode.data;
        data.reset();
        placements.draw_joints(generator, data.qpos_mut());
        data.forward();
        let local = site_positions(data, placements);
        if let Err(crowded) = placements.draw_objects(generator, &local, data.qpos_mut()) {
            return Ok(Err(crowded));
        }
        let mut state = vec![0.0];
        state.extend(data.qpos());
        state.extend(data.qvel());
        Ok(Ok(state))
    }
}

type Data = MjData<Arc<MjModel>>;

/// Each site in the frame of its body.
fn site_positions(data: &Data, placements: &Placements) -> Vec<Vector3<f64>> {
    placements
        .sites()
        .map(|Site { site, body, .. }| {
            let (position, orientation) = pose(data, *body);
            orientation.transpose() * (Vector3::from(data.site_xpos()[*site]) - position)
        })
        .collect()
}

fn pose(data: &Data, body: usize) -> (Vector3<f64>, Matrix3<f64>) {
    (data.xpos()[body].into(), Matrix3::from_row_slice(&data.xmat()[body]))
}

fn bodies(episode: &Episode) -> impl Iterator<Item = usize> {
    episode.bound.objects.iter().map(|(_, body)| *body)
}

/// How deep the deepest contact of a movable object is, metres.
fn overlap(episode: &Episode) -> f64 {
    let model = &episode.bound.model;
    let objects: Vec<usize> = bodies(episode).collect();
    let movable = |geom: i32| {
        let body = model.geom_bodyid()[geom as usize] as usize;
        objects.contains(&(model.body_rootid()[body] as usize))
    };
    let touching = episode.data.contact().iter().filter(|contact| contact.geom.into_iter().any(movable));
    touching.map(|contact| -contact.dist).fold(0.0, f64::max)
}

/// Whether an object left the place that it was given.
fn fell(data: &Data, body: usize, (position, orientation): (Vector3<f64>, Matrix3<f64>)) -> bool {
    let (now, turned) = pose(data, body);
    let moved = now - position;
    // What pointed up in the object's frame, and points where now.
    let upright = orientation.row(2).dot(&turned.row(2)).clamp(-1.0, 1.0);
    let velocity = Vector3::from_column_slice(&data.cvel()[body][3..]);
    moved.xy().norm() > MAX_SHIFT
        || moved.z < -MAX_DROP
        || upright.acos() > MAX_TILT
        || velocity.norm() > MAX_SPEED
}

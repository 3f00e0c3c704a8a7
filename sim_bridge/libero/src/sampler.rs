//! Sampler of new initial states: drawn as in upstream, then checked by simulation. Draws are refused where objects
//! overlap, fall over, or already meet the goal; upstream would accept these.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::AddAssign;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use aegis_core::policy::{PlantError, Start};
use mujoco_rs::prelude::{MjData, MjModel, MjtObjBase};
use nalgebra::{Matrix3, Vector3};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::binding::BoundTask;
use crate::placement::{Crowded, Placements, Site};
use crate::plant::{Episode, LiberoPlant};
use crate::schema::NULL_ACTION;
use crate::settling::Settling;
pub use crate::settling::{MAX_DROP, MAX_SHIFT, MAX_SPEED, MAX_TILT};
use crate::suite::{FurtherStarts, Suite};
use crate::task::TaskInfo;

/// Maximum number of draws for one start. In the worst task of the four suites about half of the draws are refused.
pub const ATTEMPTS: u32 = 100;
/// Number of control steps with the null action after which objects must be at rest: two seconds. Upstream drops objects
/// from up to 0.17 m, and places some so deep in a table that they are thrown 0.6 m up and land after more than one second.
pub const SETTLE_STEPS: u32 = 40;
/// Number of recorded initial states whose median defines how an object of a task usually settles. Some objects slide or
/// tip over from every one of upstream's states and are not refused for that.
pub const USUAL_STATES: usize = 9;
/// Maximum penetration of an object into another, a fixture or the robot as drawn, metres. As drawn, objects hang in the
/// air.
pub const MAX_DRAWN_OVERLAP: f64 = 0.001;
/// Maximum penetration of an object at rest into anything, metres. MuJoCo's contacts are soft under a load.
pub const MAX_RESTING_OVERLAP: f64 = 0.005;
/// Number of 32-bit words of the stream reserved for each attempt; an attempt that uses all tries for every object needs a
/// third of them.
const WORDS_PER_ATTEMPT: u128 = 1 << 20;

/// Reason why a draw is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// No free position for an object beside those placed before it.
    Crowded,
    /// An object penetrates another, a fixture or the robot as drawn, or anything at rest.
    Overlap,
    /// An object settled farther from its position, at another height or more tilted than usual, or kept moving.
    Fell,
    /// The goal is met as drawn or during settling, before any action of a policy.
    GoalHolds,
    /// The simulation diverged.
    Diverged,
}

/// Number of refused draws, by reason.
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
    /// Counts one refused draw.
    pub fn count(&mut self, rejection: Rejection) {
        *match rejection {
            Rejection::Crowded => &mut self.crowded,
            Rejection::Overlap => &mut self.overlap,
            Rejection::Fell => &mut self.fell,
            Rejection::GoalHolds => &mut self.goal_holds,
            Rejection::Diverged => &mut self.diverged,
        } += 1;
    }

    /// Returns the number of all refused draws.
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

/// A drawn initial state and the draws that were refused before it.
#[derive(Clone, Debug, PartialEq)]
pub struct SampledStart {
    /// Time, positions, velocities, `[1 + nq + nv]`. As in upstream's recorded states, time is 0, velocities are zero, and
    /// objects are where they were placed, before they fall and settle.
    pub state: Vec<f64>,
    /// The refused draws.
    pub rejections: Rejections,
}

/// Sampler of initial states of one task. The state of an index depends on seed, suite, task and index alone.
#[derive(Debug)]
pub struct StartSampler {
    plant: LiberoPlant,
    suite: Suite,
    seed: u64,
    task: usize,
    physical_check: bool,
    /// Root bodies of objects, fixtures and the robot.
    solid: BTreeSet<i32>,
}

/// Initial states beyond the recorded ones, each drawn when first requested.
#[derive(Debug)]
struct SampledStarts {
    seed: u64,
    drawn: Mutex<BTreeMap<(usize, usize), Arc<Draw>>>,
}

/// A state, or a message why none was drawn.
type Draw = OnceLock<Result<Vec<f64>, String>>;

impl Suite {
    /// Returns the same suite with unlimited initial states: from [`Self::initial_state_count`] upwards, an initial state is
    /// drawn from the stream of (`seed`, suite, task, index), the same in every plant; see [`StartSampler`].
    pub fn with_sampled_starts(&self, seed: u64) -> Self {
        self.with_further_starts(Arc::new(SampledStarts { seed, drawn: Mutex::default() }))
    }
}

impl FurtherStarts for SampledStarts {
    fn state(&self, recorded: &Suite, Start { task, initial_state }: Start) -> Result<Vec<f64>, PlantError> {
        let draw = {
            let mut drawn = self.drawn.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(drawn.entry((task, initial_state)).or_default())
        };
        draw.get_or_init(|| {
            let start = StartSampler::new(recorded, task, self.seed)
                .and_then(|mut sampler| sampler.draw(initial_state));
            start.map(|start| start.state).map_err(|error| error.to_string())
        })
        .clone()
        .map_err(PlantError::Backend)
    }
}

impl StartSampler {
    /// Creates a sampler with its own plant for checking draws.
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
        let solid = solid(&*suite.bound(task)?, suite.task(task));
        Ok(Self { plant, suite: suite.clone(), seed, task, physical_check: true, solid })
    }

    /// Disables the checks of physics and goal, so that every draw that upstream would accept is accepted.
    pub fn unchecked(mut self) -> Self {
        self.physical_check = false;
        self
    }

    /// Draws the initial state of an index.
    ///
    /// # Errors
    /// [`PlantError::Backend`] with the reasons where [`ATTEMPTS`] draws were refused.
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

    /// Checks a state, `[1 + nq + nv]`, by simulation; returns the reason for a refusal, or `None` where it is accepted.
    ///
    /// # Errors
    /// Errors of the plant, except [`PlantError::Diverged`], which is returned as [`Rejection::Diverged`].
    pub fn refuse(&mut self, state: &[f64]) -> Result<Option<Rejection>, PlantError> {
        if !self.physical_check {
            return Ok(None);
        }
        let Self { plant, suite, task, .. } = self;
        let usual = suite.usual_settling(*task, || usual_settling(suite, *task, plant))?;
        self.plant.reset_from(self.task, state)?;
        let episode = self.plant.episode().ok_or(PlantError::NotReset)?;
        if overlap(episode, |root| self.solid.contains(&root)) > MAX_DRAWN_OVERLAP {
            return Ok(Some(Rejection::Overlap));
        }
        if self.plant.success() {
            return Ok(Some(Rejection::GoalHolds));
        }
        let (settled, held) = match settle(&mut self.plant) {
            Err(PlantError::Diverged { .. }) => return Ok(Some(Rejection::Diverged)),
            settled => settled?,
        };
        let episode = self.plant.episode().ok_or(PlantError::NotReset)?;
        Ok(if held {
            Some(Rejection::GoalHolds)
        } else if settled.iter().zip(&*usual).any(|(settling, usual)| settling.fell(usual)) {
            Some(Rejection::Fell)
        } else if overlap(episode, |_| true) > MAX_RESTING_OVERLAP {
            Some(Rejection::Overlap)
        } else {
            None
        })
    }

    /// Returns the random stream of one attempt. The number of draws in one attempt does not change another attempt.
    fn generator(&self, index: usize, attempt: u32) -> ChaCha8Rng {
        let mut hasher = Sha256::new();
        hasher.update(b"aegis-start-v1");
        for part in [self.seed, self.task as u64, index as u64] {
            hasher.update(part.to_le_bytes());
        }
        hasher.update(self.suite.name().as_bytes());
        let mut generator = ChaCha8Rng::from_seed(hasher.finalize().into());
        generator.set_word_pos(u128::from(attempt) * WORDS_PER_ATTEMPT);
        generator
    }

    /// Draws everything that a reset draws, once; returns the state `[1 + nq + nv]`.
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

/// Returns the position of each site in the frame of its body, metres.
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

/// Lets a plant that was just reset settle under the null action; returns how each object moved, and whether the goal was
/// met at any step.
fn settle(plant: &mut LiberoPlant) -> Result<(Vec<Settling>, bool), PlantError> {
    let episode = plant.episode().ok_or(PlantError::NotReset)?;
    let bodies: Vec<usize> = episode.bound.objects.clone();
    let placed: Vec<_> = bodies.iter().map(|body| pose(&episode.data, *body)).collect();
    let mut held = false;
    for _ in 0..SETTLE_STEPS {
        held |= plant.apply(&NULL_ACTION.map(f64::from))?.success;
    }
    let data = &plant.episode().ok_or(PlantError::NotReset)?.data;
    let settlings = bodies.iter().zip(placed).map(|(body, (position, orientation))| {
        let (now, turned) = pose(data, *body);
        let moved = now - position;
        Settling {
            shift: moved.xy().norm(),
            drop: -moved.z,
            // The third row of an orientation matrix is the world frame's z axis in the object's frame.
            tilt: orientation.row(2).dot(&turned.row(2)).clamp(-1.0, 1.0).acos(),
            speed: Vector3::from_column_slice(&data.cvel()[*body][3..]).norm(),
        }
    });
    Ok((settlings.collect(), held))
}

/// Returns the median settling over recorded states, for each object.
fn usual_settling(
    suite: &Suite,
    task: usize,
    plant: &mut LiberoPlant,
) -> Result<Arc<[Settling]>, PlantError> {
    let states = USUAL_STATES.min(suite.initial_state_count(task).unwrap_or(0));
    let settled = (0..states)
        .map(|initial_state| {
            plant.reset_from(task, &suite.start(Start { task, initial_state })?)?;
            settle(plant).map(|(settled, _)| settled)
        })
        .collect::<Result<Vec<_>, _>>()?;
    let objects = settled.first().map_or(0, Vec::len);
    let median = |object: usize, of: fn(&Settling) -> f64| {
        let mut values: Vec<f64> = settled.iter().map(|state| of(&state[object])).collect();
        values.sort_unstable_by(f64::total_cmp);
        values[values.len() / 2]
    };
    Ok((0..objects)
        .map(|object| Settling {
            shift: median(object, |settling| settling.shift),
            drop: median(object, |settling| settling.drop),
            tilt: median(object, |settling| settling.tilt),
            speed: median(object, |settling| settling.speed),
        })
        .collect())
}

/// Returns the root bodies that an object may not overlap as drawn. Tables and floors are not among them: upstream draws
/// some objects into tables and floors, from where they are thrown up and land again.
fn solid(bound: &BoundTask, info: Option<&TaskInfo>) -> BTreeSet<i32> {
    let model = &bound.model;
    let fixtures = info.into_iter().flat_map(|info| &info.fixtures);
    let fixtures =
        fixtures.filter_map(|fixture| model.name_to_id(MjtObjBase::mjOBJ_BODY, &fixture.root_body));
    let robot = model.site_bodyid()[bound.arm.grip_site] as usize;
    let objects = bound.objects.iter().copied();
    objects.chain(fixtures).chain([robot]).map(|body| model.body_rootid()[body]).collect()
}

/// Returns the depth of the deepest contact of an object with any body whose root body passes `counts`, metres.
fn overlap(episode: &Episode, counts: impl Fn(i32) -> bool) -> f64 {
    let model = &episode.bound.model;
    let objects: BTreeSet<i32> =
        episode.bound.objects.iter().map(|body| model.body_rootid()[*body]).collect();
    let deep = episode.data.contact().iter().filter_map(|contact| {
        let [first, second] =
            contact.geom.map(|geom| model.body_rootid()[model.geom_bodyid()[geom as usize] as usize]);
        let counted =
            (objects.contains(&first) && counts(second)) || (objects.contains(&second) && counts(first));
        counted.then_some(-contact.dist)
    });
    // A NaN depth counts as infinite: `f64::max` would ignore NaN.
    deep.fold(0.0, |most, depth| if depth.is_nan() { f64::INFINITY } else { most.max(depth) })
}

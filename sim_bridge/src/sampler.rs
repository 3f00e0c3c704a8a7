//! New initial states: drawn as upstream draws them, then held against the physics, and refused where upstream would
//! go on with objects in one another, falling over, or already where the task wants them.

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
use crate::settling::Settling;
pub use crate::settling::{MAX_DROP, MAX_SHIFT, MAX_SPEED, MAX_TILT};
use crate::suite::{FurtherStarts, Suite};
use crate::task::TaskInfo;

/// Draws of one start before giving up. The worst task of the four suites refuses about half of its draws.
pub const ATTEMPTS: u32 = 100;
/// Control steps with the null action after which objects have to be at rest: two seconds. Upstream drops objects from
/// up to 0.17 m, and puts some so far into a table that they are thrown 0.6 m up and come down after more than one.
pub const SETTLE_STEPS: u32 = 40;
/// Recorded initial states whose median says how an object of a task usually settles. Some objects slide or tip over
/// from every one of upstream's states, and are not refused for that.
pub const USUAL_STATES: usize = 9;
/// Metres that an object may be in another, in a fixture or in the robot as drawn. All of them hang in the air.
pub const MAX_DRAWN_OVERLAP: f64 = 0.001;
/// Metres that it may be in anything at rest. MuJoCo's contacts give way under a load.
pub const MAX_RESTING_OVERLAP: f64 = 0.005;
/// Stay, gripper open.
const NULL_ACTION: [f64; 7] = [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -1.0];
/// 32-bit words set apart for each attempt; an attempt that tries every place for every object uses a third.
const WORDS_PER_ATTEMPT: u128 = 1 << 20;

/// Why a draw is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// No room for an object beside those placed before it.
    Crowded,
    /// An object is in another, a fixture or the robot as drawn, or in anything at rest.
    Overlap,
    /// An object settled farther from its place, at another height or more tipped over than usual, or kept moving.
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
    suite: Suite,
    seed: u64,
    task: usize,
    physical_check: bool,
    /// Root bodies of objects, fixtures and the robot.
    solid: BTreeSet<i32>,
}

/// Starts beyond the recorded ones, each drawn when first asked for.
#[derive(Debug)]
struct SampledStarts {
    seed: u64,
    drawn: Mutex<BTreeMap<(usize, usize), Arc<Draw>>>,
}

/// A state, or why there is none.
type Draw = OnceLock<Result<Vec<f64>, String>>;

impl Suite {
    /// The same suite with starts without end: from [`Self::initial_state_count`] upwards, an initial state is drawn
    /// from the stream of (`seed`, suite, task, index), the same in every plant; see [`StartSampler`].
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
        let solid = solid(&*suite.bound(task)?, suite.task(task));
        Ok(Self { plant, suite: suite.clone(), seed, task, physical_check: true, solid })
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

    /// The stream of one attempt. Drawing more in one never shifts another.
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

/// Lets a plant that was just reset settle under the null action: how each object moved, and whether the goal held at
/// any step.
fn settle(plant: &mut LiberoPlant) -> Result<(Vec<Settling>, bool), PlantError> {
    let episode = plant.episode().ok_or(PlantError::NotReset)?;
    let bodies: Vec<usize> = episode.bound.objects.iter().map(|(_, body)| *body).collect();
    let placed: Vec<_> = bodies.iter().map(|body| pose(&episode.data, *body)).collect();
    let mut held = false;
    for _ in 0..SETTLE_STEPS {
        held |= plant.apply(&NULL_ACTION)?.success;
    }
    let data = &plant.episode().ok_or(PlantError::NotReset)?.data;
    let settlings = bodies.iter().zip(placed).map(|(body, (position, orientation))| {
        let (now, turned) = pose(data, *body);
        let moved = now - position;
        Settling {
            shift: moved.xy().norm(),
            drop: -moved.z,
            // The third row of an orientation is the world's upward axis in the object's frame.
            tilt: orientation.row(2).dot(&turned.row(2)).clamp(-1.0, 1.0).acos(),
            speed: Vector3::from_column_slice(&data.cvel()[*body][3..]).norm(),
        }
    });
    Ok((settlings.collect(), held))
}

/// The median over recorded states, object by object.
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

/// Root bodies of whatever an object may not be drawn into. Tables and floors are not among them: upstream draws some
/// objects into those on purpose or not, from where they are thrown up and come down again.
fn solid(bound: &BoundTask, info: Option<&TaskInfo>) -> BTreeSet<i32> {
    let model = &bound.model;
    let fixtures = info.into_iter().flat_map(|info| &info.fixtures);
    let fixtures =
        fixtures.filter_map(|fixture| model.name_to_id(MjtObjBase::mjOBJ_BODY, &fixture.root_body));
    let robot = model.site_bodyid()[bound.arm.grip_site] as usize;
    let objects = bound.objects.iter().map(|(_, body)| *body);
    objects.chain(fixtures).chain([robot]).map(|body| model.body_rootid()[body]).collect()
}

/// How deep the deepest contact is of an object with anything whose root body `counts`, metres.
fn overlap(episode: &Episode, counts: impl Fn(i32) -> bool) -> f64 {
    let model = &episode.bound.model;
    let objects: BTreeSet<i32> =
        episode.bound.objects.iter().map(|(_, body)| model.body_rootid()[*body]).collect();
    let deep = episode.data.contact().iter().filter_map(|contact| {
        let [first, second] =
            contact.geom.map(|geom| model.body_rootid()[model.geom_bodyid()[geom as usize] as usize]);
        let counted =
            (objects.contains(&first) && counts(second)) || (objects.contains(&second) && counts(first));
        counted.then_some(-contact.dist)
    });
    // A depth that is no number is no small one.
    deep.fold(0.0, |most, depth| if depth.is_nan() { f64::INFINITY } else { most.max(depth) })
}

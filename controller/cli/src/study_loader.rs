//! Loads a study: reads its plan, and opens and checks the files that the plan names.
//! Builds the plants and the episode contexts of worker threads, and finds the ONNX Runtime library, the scenes and the
//! cache.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use aegis_core::EpisodeKey;
use aegis_core::policy::repeats;
use aegis_core::{Heads, Observation, Plant, Policy, PolicyError, Rule, Start};
use aegis_experiments::episode::context::{EpisodeContext, EpisodeSettings};
use aegis_experiments::episode::streams::Streams;
use aegis_experiments::plan::Plan;
use aegis_experiments::run::runner::SetupError;
use aegis_policies::card::{ActivationSpec, ModelCard};
use aegis_policies::{OnnxPolicy, OnnxRuntime, ProviderChoice};
use aegis_probe::file::ProbeFile;
use aegis_probe::{Models, StateRange};
use aegis_sim::{Cameras, LiberoPlant, Suite};
use clap::Args;

use crate::exit::{Exit, Failure, OrExit, failure, tell};
use crate::host::HostArguments;
use crate::paths::{beside, cache_folder, shipped, variable};
use crate::remote::{Place, Remote, RemoteArguments};
use crate::served::open_policy;
use crate::world::{AnnouncedPlant, World};

/// Version of the ONNX Runtime library that setup places in the cache.
const ONNX_RUNTIME: &str = "1.32.0";

/// Arguments of every verb that loads a study.
#[derive(Args, Clone, Debug)]
pub struct StudyArguments {
    /// Settings of the study; the shipped ones when left out
    #[arg(long, value_name = "FILE")]
    pub plan: Option<PathBuf>,
    /// Worker threads; results do not depend on it
    #[arg(long, value_name = "N", default_value_t = default_workers())]
    pub workers: usize,
    #[command(flatten)]
    pub host: HostArguments,
    #[command(flatten)]
    pub remote: RemoteArguments,
}

pub fn default_workers() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// A plan, with the resources that worker threads share.
pub struct Study {
    /// Path that the plan was read from.
    pub path: PathBuf,
    /// The plan's settings, with model paths resolved against the plan's folder.
    pub plan: Plan,
    /// The plan's suite.
    pub world: World,
    /// The ONNX Runtime library.
    pub runtime: OnnxRuntime,
    /// Worker threads that were asked for.
    workers: usize,
    /// Where another process serves the plants, where one does.
    place: Option<Place>,
    /// The session with that process, opened for the first plant.
    remote: OnceLock<Result<Option<Remote>, String>>,
}

impl Study {
    /// Reads the plan, loads its suite, and loads the ONNX Runtime library.
    ///
    /// # Errors
    /// Files that are missing or not valid; `--connect` for a plan whose suite is simulated here, because nothing could say that
    /// the plants there are those of the registered scenes.
    pub fn open(arguments: &StudyArguments) -> Result<Self, Failure> {
        let study = Self::open_anywhere(arguments)?;
        if let (World::Native(suite), Some(place)) = (&study.world, &study.place) {
            return Err(failure(
                Exit::Input,
                format!(
                    "--connect: found {}, but the plan's suite {} is simulated here; leave --connect out. A plan with a `plant` is \
                     about plants of another process, and `aegis demo` drives one in place of a simulated suite",
                    place.name(),
                    suite.name()
                ),
            ));
        }
        Ok(study)
    }

    /// Does the same as [`Self::open`] for a verb of which no claim is made: with `--connect`, its plants are those of another
    /// process, whatever the suite.
    pub fn open_anywhere(arguments: &StudyArguments) -> Result<Self, Failure> {
        let place = arguments.remote.checked()?;
        let path = arguments.plan.clone().unwrap_or_else(shipped_plan);
        let host = arguments.host.settings()?;
        let plan = Plan::load(&path).or_exit(Exit::Input)?;
        let world = World::checked(&plan, &path)?;
        let runtime = onnx_runtime()?.with_settings(host).or_exit(Exit::Input)?;
        let workers = arguments.workers;
        Ok(Self { path, plan, world, runtime, workers, place, remote: OnceLock::new() })
    }

    /// Returns the number of worker threads: one for each plant where another process serves them.
    pub fn workers(&self) -> usize {
        self.place.as_ref().map_or(self.workers, Place::count)
    }

    /// Returns whether another process serves the plants.
    pub fn is_elsewhere(&self) -> bool {
        self.place.is_some()
    }

    /// Returns the plan's suite, which has to be simulated here; `what` names what needs it, for messages.
    pub fn native_suite(&self, what: &str) -> Result<&Suite, Failure> {
        match &self.world {
            World::Native(suite) => Ok(suite),
            World::Served { suite, .. } => Err(failure(
                Exit::Input,
                format!(
                    "{}: plant: the plants of {} are served by another process, and {what} needs a suite that is simulated here; leave \
                     `plant` out and name such a suite",
                    self.path.display(),
                    suite.suite
                ),
            )),
        }
    }

    /// Returns the paths of the plan, the weak card, the strong card and the probe.
    pub fn inputs(&self) -> [&Path; 4] {
        let Models { weak, strong, probe } = &self.plan.models;
        [&self.path, weak, strong, probe]
    }

    /// Returns the key of every episode of the plan's range called `range`. `argument` is the command-line argument that
    /// gave the name; the error for an unknown range names it.
    pub fn keys(&self, argument: &str, range: &str) -> Result<Vec<EpisodeKey>, Failure> {
        Ok(share(&self.plan, argument, range)?.keys(self.tasks()))
    }

    /// Returns the indices, within the suite, of the plan's tasks.
    pub fn tasks(&self) -> Vec<usize> {
        self.plan.task_list(self.world.task_count())
    }

    /// Returns the weak policy's card and the activation that the probe reads.
    pub fn watched(&self) -> Result<(ModelCard, ActivationSpec), Failure> {
        watched(&self.plan.models)
    }

    /// Loads the plan's probe, and checks that it was fitted on the weak policy's model, tensor and width.
    pub fn probe(&self) -> Result<ProbeFile, Failure> {
        probe(&self.plan.models)
    }

    /// Returns the plan's rule with the thresholds of `probe`.
    pub fn rule(&self, probe: &ProbeFile) -> Result<Rule, Failure> {
        rule(&self.plan, probe)
    }

    /// Returns the settings that every episode of the study runs with.
    pub fn settings(&self) -> EpisodeSettings {
        EpisodeSettings {
            gate: self.plan.gate.clone(),
            ask_strong: false,
            sensor: self.plan.sensor,
            settle_steps: self.plan.settle_steps,
            disturbances: self.plan.disturbances,
            null_action: self.world.null_action(),
            streams: Streams::new(self.plan.master_seed),
            fork: true,
        }
    }

    /// Checks both policies' chunks and opens both models once, so that a bad model ends the verb before the first episode.
    pub fn check_models(&self) -> Result<(), Failure> {
        check_chunks(&self.path, &self.plan, &self.world)?;
        check_tasks(&self.path, &self.plan, &self.world)?;
        self.check_disturbances()?;
        for card in [&self.plan.models.weak, &self.plan.models.strong] {
            if ModelCard::load(card).or_exit(Exit::Input)?.server.is_some() {
                self.check_served(card)?;
                continue;
            }
            let policy = OnnxPolicy::open(&self.runtime, card).or_exit(Exit::Input)?;
            if self.runtime.settings().provider != ProviderChoice::Cpu {
                tell!("{}: runs on {}", card.display(), policy.provider());
            }
        }
        Ok(())
    }

    /// Checks that the plants can apply each kind of disturbance that the plan draws, in every task: simulated ones by the
    /// task's goal, those of another process by a reset with one.
    fn check_disturbances(&self) -> Result<(), Failure> {
        let Some(settings) = &self.plan.disturbances else { return Ok(()) };
        let refused = |reason: String| {
            Err(failure(Exit::Input, format!("{}: disturbances: {reason}", self.path.display())))
        };
        if let (World::Native(suite), false) = (&self.world, self.is_elsewhere()) {
            let fixed = |task: &usize| suite.task(*task).is_some_and(|task| task.target().is_none());
            return match self.tasks().into_iter().find(fixed).filter(|_| settings.displaces()) {
                None => Ok(()),
                Some(task) => refused(format!(
                    "found a displacement, and the goal of task {task} of {} names no object that moves freely; valid is a plan \
                     without [disturbances.displacement], or with `tasks` that have such an object",
                    suite.name()
                )),
            };
        }
        let mut plant = self.plant(0).map_err(|error| failure(Exit::Failed, error.to_string()))?;
        for task in self.tasks() {
            // What a plant cannot do without a disturbance either is no fault of the disturbance.
            plant.reset(Start { task, initial_state: 0 }).or_exit(Exit::Failed)?;
            for example in settings.examples(self.plan.gate.horizon_steps) {
                let start = Start { task, initial_state: 0 };
                if let Err(error) = plant.reset_disturbed(start, Some(&example)) {
                    return refused(format!("task {task}, {}: {error}", example.effect.kind()));
                }
            }
        }
        Ok(())
    }

    /// Opens a policy that another process serves, and asks it twice: a policy that answers differently makes a run that cannot be
    /// repeated, and twins that differ.
    fn check_served(&self, card: &Path) -> Result<(), Failure> {
        let refused = |reason: String| failure(Exit::Input, reason);
        let mut policy = open_policy(&self.runtime, card).map_err(|error| refused(error.to_string()))?;
        let mut plant = self.plant(0).map_err(|error| refused(error.to_string()))?;
        let task = self.tasks().first().copied().unwrap_or(0);
        let mut seen = plant.reset(Start { task, initial_state: 0 }).or_exit(Exit::Input)?;
        if policy.reads_frames() {
            seen.frames = plant.frames().or_exit(Exit::Failed)?.into();
        }
        let unlike = unlike(&mut *policy, &seen);
        if let Some(how) = unlike.map_err(|error| refused(format!("{}: {error}", card.display())))? {
            tell!("warning: {}: {how}", card.display());
        }
        Ok(())
    }

    /// Builds the context of one worker's episodes, with a plant of its own.
    pub fn context(&self, worker: usize, probe: &Heads) -> Result<EpisodeContext, SetupError> {
        self.parties_around(self.plant(worker)?, probe)
    }

    /// Returns the plant of one worker: a simulator with the cameras that the plan's policies read, or a plant that another process
    /// serves.
    pub fn plant(&self, worker: usize) -> Result<Box<dyn Plant>, SetupError> {
        let open = || self.place.as_ref().map(Place::open).transpose().map_err(|error| error.to_string());
        let remote = self.remote.get_or_init(open);
        match (&self.world, remote.as_ref().map_err(Clone::clone)?) {
            (World::Native(suite), None) => Ok(Box::new(self.simulator(suite)?)),
            (World::Native(_), Some(remote)) => remote.claim(worker),
            (World::Served { suite, .. }, Some(remote)) => {
                Ok(Box::new(AnnouncedPlant { plant: remote.claim(worker)?, suite: suite.clone() }))
            }
            (World::Served { suite, .. }, None) => Err(format!(
                "--connect: missing; the plants of {} are in another process: valid is --connect tcp/HOST:PORT --plant NAME, with a \
                 --plant for each worker",
                suite.suite
            )
            .into()),
        }
    }

    /// Builds a simulator of the plan's suite with the cameras that its policies read.
    pub fn simulator(&self, suite: &Suite) -> Result<LiberoPlant, SetupError> {
        let models = &self.plan.models;
        Ok(plant_for(suite, &[ModelCard::load(&models.weak)?, ModelCard::load(&models.strong)?])?)
    }

    /// Builds the context of one worker's episodes, with a plant that the caller made.
    pub fn parties_around(&self, plant: Box<dyn Plant>, probe: &Heads) -> Result<EpisodeContext, SetupError> {
        Ok(EpisodeContext {
            plant,
            weak: open_policy(&self.runtime, &self.plan.models.weak)?,
            strong: open_policy(&self.runtime, &self.plan.models.strong)?,
            probe: probe.clone(),
        })
    }
}

/// Asks a served policy repeatedly for one inference; returns in words how its answers differ, if they do.
///
/// # Errors
/// As [`Policy::infer`].
pub fn unlike(
    policy: &mut dyn Policy,
    observation: &Observation,
) -> Result<Option<&'static str>, PolicyError> {
    if !repeats(policy, observation, 0)? {
        return Ok(Some(
            "answers differ when it is asked twice, so nothing that it does can be repeated, and twins of an experiment differ; \
             draw noise from the seed of `reset`, in a policy with `remembers = True`",
        ));
    }
    if policy.remembers() {
        return Ok(None);
    }
    policy.begin(0);
    let (first, second) = (policy.infer(observation)?, policy.infer(observation)?);
    Ok((first != second).then_some(
        "it says that it does not remember, and answers the same question differently within an episode; several workers would mix \
         their episodes: valid is `remembers = True`",
    ))
}

/// Refuses models whose chunks have fewer actions than the plan's `gate.chunk_steps`, or not the suite's action width. `located` is
/// the plan with resolved model paths; `path` is the plan's file, which errors name.
pub fn check_chunks(path: &Path, located: &Plan, world: &World) -> Result<(), Failure> {
    let (plan, width) = (path.display(), world.null_action().len());
    for card in [&located.models.weak, &located.models.strong] {
        let chunk = ModelCard::load(card).or_exit(Exit::Input)?.chunk;
        let (card, steps) = (card.display(), located.gate.chunk_steps);
        if chunk.steps() < steps as usize {
            let valid = format!("at most {}, the actions that {card} proposes at a time", chunk.steps());
            return Err(failure(
                Exit::Input,
                format!("{plan}: gate.chunk_steps: found {steps}; valid is {valid}"),
            ));
        }
        if chunk.width != width {
            let message =
                format!("{card}: chunk.width: found {}; valid is {width}, the suite's actions", chunk.width);
            return Err(failure(Exit::Input, message));
        }
    }
    Ok(())
}

/// Refuses models that have no class for a task of the plan. `located` is the plan with resolved model paths; `path` is the
/// plan's file, which errors name.
pub fn check_tasks(path: &Path, located: &Plan, world: &World) -> Result<(), Failure> {
    let tasks = located.task_list(world.task_count());
    [&located.models.weak, &located.models.strong].into_iter().try_for_each(|card| {
        let card = ModelCard::load(card).or_exit(Exit::Input)?;
        knows_tasks(&card, &tasks, &format!("{} runs", path.display()), world.name())
    })
}

/// Refuses a model that has no class for one of these tasks of a suite. `runs` says what runs them, for the error.
pub fn knows_tasks(card: &ModelCard, tasks: &[usize], runs: &str, suite: &str) -> Result<(), Failure> {
    let Some(largest) = tasks.iter().copied().max() else { return Ok(()) };
    card.check_task(largest, &format!("{runs} task {largest} of suite {suite}")).or_exit(Exit::Input)
}

fn watched(models: &Models) -> Result<(ModelCard, ActivationSpec), Failure> {
    let card = ModelCard::load(&models.weak).or_exit(Exit::Input)?;
    let spec = card.probed().or_exit(Exit::Input)?.clone();
    Ok((card, spec))
}

/// Returns a plan's rule with the thresholds of `probe`, and refuses a rule for which the probe has none.
pub fn rule(plan: &Plan, probe: &ProbeFile) -> Result<Rule, Failure> {
    let others = plan.study.iter().flat_map(|study| study.rules.values());
    for rule in std::iter::once(&plan.rule).chain(others) {
        probe.check_rule(&plan.models.probe, rule, &plan.gate).or_exit(Exit::Input)?;
    }
    let rule = plan.rule.rule(&probe.calibration, probe.settings.trend_window);
    let lacks = matches!(&rule, Rule::Disagreement(settings) if settings.fire.is_nan());
    if let Some(error) = rule.trigger().err().filter(|_| lacks) {
        return Err(failure(Exit::Input, format!("{}: {error}", plan.models.probe.display())));
    }
    Ok(rule)
}

/// Loads the probe of these models, and checks that it was fitted on the weak model, its tensor and width.
pub fn probe(models: &Models) -> Result<ProbeFile, Failure> {
    let (card, spec) = watched(models)?;
    ProbeFile::load(&models.probe, &card.model_sha256(), &spec.tensor, spec.width).or_exit(Exit::Input)
}

/// Builds a plant with the cameras that these models read, or without cameras where the models read none.
///
/// # Errors
/// Models that read pictures of different sizes, because all cameras of a plant have one size.
pub fn plant_for(suite: &Suite, cards: &[ModelCard]) -> Result<LiberoPlant, String> {
    let specs = || cards.iter().flat_map(|card| card.images().map(move |image| (card, image)));
    let Some((first, size)) = specs().next() else { return Ok(LiberoPlant::new(suite.clone())) };
    let [height, width] = size.rendered();
    if let Some((other, image)) = specs().find(|(_, image)| image.rendered() != [height, width]) {
        let path = |card: &ModelCard| card.path.display().to_string();
        let [found_height, found_width] = image.rendered();
        return Err(format!(
            "{}: frames: found {found_width}×{found_height} pixels; valid is the {width}×{height} of {}; a plant's cameras have \
             one size, and an image with resize = \"pad\" or \"stretch\" may be drawn in another (render)",
            path(other),
            path(first),
        ));
    }
    let mut names: Vec<&str> = Vec::new();
    for (_, image) in specs() {
        if !names.contains(&image.camera.as_str()) {
            names.push(&image.camera);
        }
    }
    let cameras = Cameras::new(&names, width, height).map_err(|error| error.to_string())?;
    Ok(LiberoPlant::with_cameras(suite.clone(), cameras))
}

/// Returns the plan's range called `name`. `argument` is the command-line argument that gave the name; the error for an
/// unknown range names it.
pub fn share(plan: &Plan, argument: &str, name: &str) -> Result<StateRange, Failure> {
    let named = plan.ranges.named();
    let found = named.iter().find(|(known, _)| *known == name);
    found.map(|(_, share)| *share).ok_or_else(|| {
        let valid = named.map(|(known, _)| known).join(", ");
        failure(Exit::Input, format!("{argument}: found {name}; valid is {valid}"))
    })
}

/// Loads the ONNX Runtime library that [`onnx_library`] finds.
pub fn onnx_runtime() -> Result<OnnxRuntime, Failure> {
    OnnxRuntime::load(&onnx_library()?).or_exit(Exit::Setup)
}

/// Returns the path of the ONNX Runtime library: the one that `AEGIS_ORT_LIBRARY` names, else the one in the release that
/// this program lies in, else the one that setup placed in the cache.
pub fn onnx_library() -> Result<PathBuf, Failure> {
    if let Some(library) = variable("AEGIS_ORT_LIBRARY") {
        return Ok(library);
    }
    let name = format!("libonnxruntime.so.{ONNX_RUNTIME}");
    let cached = || Ok(cache_folder()?.join(format!("lib/onnxruntime-{ONNX_RUNTIME}")).join(&name));
    beside(&format!("lib/{name}")).map_or_else(cached, Ok)
}

/// Returns the path of the demo's plan, which ships with this program.
pub fn shipped_plan() -> PathBuf {
    shipped("experiments/demo.toml")
}

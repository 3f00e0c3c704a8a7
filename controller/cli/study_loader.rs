//! A study at the edge of the program: the plan, and everything on disk that it names, opened and checked.
//! Workers get their own plants and sessions from here.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use aegis_core::{Plant, Probe, Rule};
use aegis_experiments::EpisodeKey;
use aegis_experiments::episode::{EpisodeContext, EpisodeSettings};
use aegis_experiments::plan::{Models, Plan, StateRange};
use aegis_experiments::probe::file::ProbeFile;
use aegis_experiments::runner::SetupError;
use aegis_experiments::streams::Streams;
use aegis_policies::card::{ActivationSpec, ModelCard};
use aegis_policies::{OnnxPolicy, OnnxRuntime, ProviderChoice};
use aegis_sim::{Cameras, LiberoPlant, Suite};
use clap::Args;

use crate::exit::{Exit, Failure, OrExit, failure, tell};
use crate::host::HostArguments;
use crate::paths::{beside, shipped, variable};

/// Version of the ONNX Runtime library that setup places in the cache.
const ONNX_RUNTIME: &str = "1.32.0";
/// The null action of an OSC_POSE arm: stay, gripper open.
pub const NULL_ACTION: [f32; 7] = [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -1.0];

/// Arguments that every verb of a study takes.
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
}

pub fn default_workers() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// A plan and what is shared between workers.
pub struct Study {
    /// Where the plan was read from.
    pub path: PathBuf,
    /// The settings.
    pub plan: Plan,
    /// The scenes.
    pub suite: Suite,
    /// The inference library.
    pub runtime: OnnxRuntime,
}

impl Study {
    /// Reads the plan, then opens scenes and library.
    pub fn open(arguments: &StudyArguments) -> Result<Self, Failure> {
        let path = arguments.plan.clone().unwrap_or_else(shipped_plan);
        let host = arguments.host.settings()?;
        let plan = Plan::load(&path).or_exit(Exit::Input)?;
        let suite = suite_of(&plan, &path)?;
        let runtime = onnx_runtime()?.with_settings(host).or_exit(Exit::Input)?;
        Ok(Self { path, plan, suite, runtime })
    }

    /// Files that it is made of.
    pub fn inputs(&self) -> [&Path; 4] {
        let Models { weak, strong, probe } = &self.plan.models;
        [&self.path, weak, strong, probe]
    }

    /// Every episode of a range, which an argument of the command line named.
    pub fn keys(&self, argument: &str, range: &str) -> Result<Vec<EpisodeKey>, Failure> {
        Ok(share(&self.plan, argument, range)?.keys(self.tasks()))
    }

    /// The tasks of the plan.
    pub fn tasks(&self) -> Vec<usize> {
        self.plan.task_list(self.suite.task_count())
    }

    /// The weak policy's card and the tensor that a probe may read.
    pub fn watched(&self) -> Result<(ModelCard, ActivationSpec), Failure> {
        watched(&self.plan.models)
    }

    /// The plan's probe, held against the weak policy's model.
    pub fn probe(&self) -> Result<ProbeFile, Failure> {
        probe(&self.plan.models)
    }

    /// The rule of the plan with the thresholds of a probe.
    pub fn rule(&self, probe: &ProbeFile) -> Rule {
        self.plan.rule.rule(&probe.calibration, probe.settings.trend_window)
    }

    /// Settings of an episode.
    pub fn settings(&self) -> EpisodeSettings {
        EpisodeSettings {
            gate: self.plan.gate.clone(),
            ask_strong: false,
            sensor: self.plan.sensor,
            settle_steps: self.plan.settle_steps,
            null_action: NULL_ACTION.to_vec(),
            streams: Streams::new(self.plan.master_seed),
            fork: true,
        }
    }

    /// Opens both policies once, so that a bad model ends the verb before the first episode.
    pub fn check_models(&self) -> Result<(), Failure> {
        check_chunks(&self.path, &self.plan)?;
        for card in [&self.plan.models.weak, &self.plan.models.strong] {
            let policy = OnnxPolicy::open(&self.runtime, card).or_exit(Exit::Input)?;
            if self.runtime.settings().provider != ProviderChoice::Cpu {
                tell!("{}: runs on {}", card.display(), policy.provider());
            }
        }
        Ok(())
    }

    /// A worker's own parties, around a plant of its own.
    pub fn parties(&self, probe: &Probe) -> Result<EpisodeContext, SetupError> {
        self.parties_around(Box::new(self.plant()?), probe)
    }

    /// A plant with the cameras that the plan's policies read.
    pub fn plant(&self) -> Result<LiberoPlant, SetupError> {
        let models = &self.plan.models;
        Ok(plant_for(&self.suite, &[ModelCard::load(&models.weak)?, ModelCard::load(&models.strong)?])?)
    }

    /// The same around a plant that the caller made.
    pub fn parties_around(&self, plant: Box<dyn Plant>, probe: &Probe) -> Result<EpisodeContext, SetupError> {
        Ok(EpisodeContext {
            plant,
            weak: Box::new(OnnxPolicy::open(&self.runtime, &self.plan.models.weak)?),
            strong: Box::new(OnnxPolicy::open(&self.runtime, &self.plan.models.strong)?),
            probe: probe.clone(),
        })
    }
}

/// Refuses models whose chunks are not those that the plan runs; model paths as they are read from here.
pub fn check_chunks(path: &Path, located: &Plan) -> Result<(), Failure> {
    let (plan, width) = (path.display(), NULL_ACTION.len());
    for card in [&located.models.weak, &located.models.strong] {
        let chunk = ModelCard::load(card).or_exit(Exit::Input)?.chunk;
        let (card, steps) = (card.display(), located.gate.chunk_steps);
        if chunk.horizon != steps as usize {
            let valid = format!("{}, the actions that {card} proposes at a time", chunk.horizon);
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

/// The scenes of a plan, which have all the starts that it names.
pub fn suite_of(plan: &Plan, path: &Path) -> Result<Suite, Failure> {
    let suite = load_suite(&plan.suite, plan.sample_seed)?;
    plan.check_tasks(path, suite.task_count()).or_exit(Exit::Input)?;
    let tasks = plan.task_list(suite.task_count());
    let counts = tasks.into_iter().filter_map(|task| suite.initial_state_count(task));
    plan.check_starts(path, counts.min().unwrap_or(0)).or_exit(Exit::Input)?;
    Ok(suite)
}

fn watched(models: &Models) -> Result<(ModelCard, ActivationSpec), Failure> {
    let card = ModelCard::load(&models.weak).or_exit(Exit::Input)?;
    let Some(spec) = card.activation.clone() else {
        let path = models.weak.display();
        return Err(failure(Exit::Input, format!("{path}: activation: missing; a watched policy needs one")));
    };
    Ok((card, spec))
}

/// The probe of these models, held against the weak one.
pub fn probe(models: &Models) -> Result<ProbeFile, Failure> {
    let (card, spec) = watched(models)?;
    ProbeFile::load(&models.probe, &card.model_sha256(), &spec.tensor, spec.width).or_exit(Exit::Input)
}

/// A plant with the cameras that these models read, or without any.
pub fn plant_for(suite: &Suite, cards: &[ModelCard]) -> Result<LiberoPlant, String> {
    let specs = || cards.iter().flat_map(|card| card.frames.iter().map(move |spec| (card, spec)));
    let Some((first, size)) = specs().next() else { return Ok(LiberoPlant::new(suite.clone())) };
    if let Some((other, spec)) =
        specs().find(|(_, spec)| (spec.width, spec.height) != (size.width, size.height))
    {
        let path = |card: &ModelCard| card.path.display().to_string();
        return Err(format!(
            "{}: frames: found {}×{} pixels; valid is the {}×{} of {}; a plant's cameras have one size",
            path(other),
            spec.width,
            spec.height,
            size.width,
            size.height,
            path(first),
        ));
    }
    let mut names: Vec<&str> = Vec::new();
    for (_, spec) in specs() {
        if !names.contains(&spec.camera.as_str()) {
            names.push(&spec.camera);
        }
    }
    let cameras = Cameras::new(&names, size.width, size.height).map_err(|error| error.to_string())?;
    Ok(LiberoPlant::with_cameras(suite.clone(), cameras))
}

/// A range of the plan by name, which an argument of the command line gave.
pub fn share(plan: &Plan, argument: &str, name: &str) -> Result<StateRange, Failure> {
    let named = plan.ranges.named();
    let found = named.iter().find(|(known, _)| *known == name);
    found.map(|(_, share)| *share).ok_or_else(|| {
        let valid = named.map(|(known, _)| known).join(", ");
        failure(Exit::Input, format!("{argument}: found {name}; valid is {valid}"))
    })
}

/// The inference library that AEGIS_ORT_LIBRARY names, that of the release around this program, or setup's in the cache.
pub fn onnx_runtime() -> Result<OnnxRuntime, Failure> {
    OnnxRuntime::load(&onnx_library()?).or_exit(Exit::Setup)
}

/// Where the inference library is looked for.
pub fn onnx_library() -> Result<PathBuf, Failure> {
    if let Some(library) = variable("AEGIS_ORT_LIBRARY") {
        return Ok(library);
    }
    let name = format!("libonnxruntime.so.{ONNX_RUNTIME}");
    let cached = || Ok(cache_folder()?.join(format!("lib/onnxruntime-{ONNX_RUNTIME}")).join(&name));
    beside(&format!("lib/{name}")).map_or_else(cached, Ok)
}

/// Suites that setup brings.
pub const SUITES: [&str; 4] = ["libero_spatial", "libero_object", "libero_goal", "libero_10"];

/// The plan of the demo.
pub fn shipped_plan() -> PathBuf {
    shipped("experiments/demo.toml")
}

/// Where a suite's scenes are looked for: `AEGIS_SCENES`, the release around this program, or the cache.
pub fn scenes_folder(name: &str) -> Result<PathBuf, Failure> {
    if let Some(scenes) = variable("AEGIS_SCENES") {
        return Ok(scenes);
    }
    let released = beside(&format!("share/aegis/scenes/{name}"));
    released.map_or_else(|| Ok(cache_folder()?.join("scenes").join(name)), Ok)
}

/// What to do where a suite's scenes are not where they are looked for.
pub fn scenes_advice(name: &str) -> String {
    if variable("AEGIS_SCENES").is_some() {
        return format!("AEGIS_SCENES names one suite's folder: unset it, or name that of {name}");
    }
    if SUITES.contains(&name) {
        return format!("run `cargo xtask setup --suite {name}`");
    }
    format!("valid is {}, which setup brings, or a suite whose folder AEGIS_SCENES names", SUITES.join(", "))
}

/// A suite's scenes, with a seed also initial states past the recorded ones.
pub fn load_suite(name: &str, sample_seed: Option<u64>) -> Result<Suite, Failure> {
    let scenes = scenes_folder(name)?;
    if let Err(error) = std::fs::metadata(&scenes)
        && error.kind() != ErrorKind::NotFound
    {
        let advice = "valid is a folder that you may read: look at it and at those around it, or name another by AEGIS_CACHE \
                      or AEGIS_SCENES";
        return Err(failure(Exit::Setup, format!("{}: cannot read: {error}; {advice}", scenes.display())));
    }
    if !scenes.is_dir() {
        let known = SUITES.contains(&name) || variable("AEGIS_SCENES").is_some();
        let exit = if known { Exit::Setup } else { Exit::Input };
        let place = scenes.display();
        return Err(failure(
            exit,
            format!("{place}: no scenes of suite {name} here; {}", scenes_advice(name)),
        ));
    }
    let suite = Suite::load(&scenes).or_exit(Exit::Setup)?;
    if suite.name() != name {
        let reason = format!("found the scenes of suite {}; valid is suite {name}", suite.name());
        return Err(failure(Exit::Setup, format!("{}: {reason}; {}", scenes.display(), scenes_advice(name))));
    }
    Ok(sample_seed.map_or_else(|| suite.clone(), |seed| suite.with_sampled_starts(seed)))
}

/// `AEGIS_CACHE`, or `aegis` in the user's cache folder.
pub fn cache_folder() -> Result<PathBuf, Failure> {
    variable("AEGIS_CACHE")
        .or_else(|| variable("XDG_CACHE_HOME").map(|cache| cache.join("aegis")))
        .or_else(|| variable("HOME").map(|home| home.join(".cache/aegis")))
        .ok_or_else(|| failure(Exit::Setup, "no cache folder: set AEGIS_CACHE or HOME"))
}

//! `aegis demonstrate`: records demonstrations of the scripted expert for `policies/train`.
//! The expert reads exact poses; the file contains the observations that a policy will read.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use aegis_core::PolicyError;
use aegis_experiments::run::demonstrations::{Collectors, Disturbance, Keeping, collect, write};
use aegis_experiments::run::runner::SetupError;
use aegis_files::Written;
use aegis_policies::ModelCard;
use aegis_policies::expert::Expert;
use aegis_policies::layout::Layout;
use aegis_probe::origin::{Origin, Starts};
use aegis_sim::{Cameras, LiberoPlant};
use clap::Args;

use crate::exit::{Exit, Failure, OrExit, failure, say};
use crate::files;
use crate::progress;
use crate::scene_digests::scenes;
use crate::served::open_policy;
use crate::study_loader::{Study, StudyArguments, knows_tasks, plant_for};

/// Arguments of `aegis demonstrate`.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  aegis demonstrate --out runs/demonstrations.safetensors --replicates 2 --rate 0.02\n  \
                  aegis demonstrate --out runs/pictures.safetensors --starts 50..80 --frames-every 5"
)]
pub struct DemonstrateArguments {
    #[command(flatten)]
    study: StudyArguments,
    /// Where the demonstrations go; the starts that they are of go beside it, as NAME.origin.json
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Initial states instead of the plan's training range, for example 0..20
    #[arg(long, value_name = "FIRST..END", value_parser = starts)]
    starts: Option<(usize, usize)>,
    /// Episodes per task and initial state
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = replicates)]
    replicates: u64,
    /// Seed of the disturbances; the plan's master seed when left out
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Chance per control step that a disturbance begins
    #[arg(long, value_name = "P", default_value_t = 0.0, value_parser = probability)]
    rate: f64,
    /// Standard deviation of a noisy disturbance, in action units
    #[arg(long, value_name = "SD", default_value_t = 0.6, value_parser = deviation)]
    noise_sd: f64,
    /// Card of a policy that drives part of the time, for demonstrations from the states that it gets into
    #[arg(long, value_name = "CARD")]
    learner: Option<PathBuf>,
    /// Chance that the learner drives from the start of an episode
    #[arg(long, value_name = "P", default_value_t = 0.7, value_parser = probability)]
    learner_start: f64,
    /// Also keep the pictures of both cameras, every N control steps, 128 pixels wide and high
    #[arg(long, value_name = "N")]
    frames_every: Option<NonZeroU32>,
}

/// Pixels along each side of a picture.
const PICTURE: u32 = 128;

fn probability(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (0.0..=1.0).contains(&value) { Ok(value) } else { Err("valid is 0 to 1".into()) }
}

fn deviation(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if value >= 0.0 && value.is_finite() { Ok(value) } else { Err("valid is 0 or more, and finite".into()) }
}

fn replicates(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(count) if count > 0 => Ok(count),
        _ => Err("valid is 1 or more".into()),
    }
}

fn starts(text: &str) -> Result<(usize, usize), String> {
    let valid = || "valid is FIRST..END with FIRST below END, for example 0..20".to_owned();
    let (first, end) = text.split_once("..").ok_or_else(valid)?;
    let range = (first.parse().map_err(|_| valid())?, end.parse().map_err(|_| valid())?);
    if range.0 < range.1 { Ok(range) } else { Err(valid()) }
}

/// Runs `aegis demonstrate`.
pub fn run(arguments: &DemonstrateArguments) -> Result<(), Failure> {
    let mut study = Study::open(&arguments.study)?;
    let suite = study.native_suite("the scripted expert")?.clone();
    let origin_file = arguments.out.with_extension("origin.json");
    let inputs: Vec<&Path> = [study.path.as_path()].into_iter().chain(arguments.learner.as_deref()).collect();
    files::check_place("--out", &arguments.out, Written::Tensors, &inputs)?;
    files::check_place("--out", &origin_file, Written::Json("suite"), &inputs)?;
    study.plan.master_seed = arguments.seed.unwrap_or(study.plan.master_seed);
    let mut share = study.plan.ranges.training;
    share.replicates = arguments.replicates;
    (share.first, share.end) = arguments.starts.unwrap_or((share.first, share.end));
    share
        .validate()
        .map_err(|reason| failure(Exit::Input, format!("--starts and --replicates: {reason}")))?;
    let keys = share.keys(study.tasks());
    let settings = study.settings();
    let disturbance = Disturbance {
        rate: arguments.rate,
        noise_sd: arguments.noise_sd,
        learner_start: arguments.learner_start,
    };
    let mut cards = Vec::new();
    if let Some(card) = &arguments.learner {
        open_policy(&study.runtime, card).map_err(|error| failure(Exit::Input, error.to_string()))?;
        let card = ModelCard::load(card).or_exit(Exit::Input)?;
        knows_tasks(&card, &study.tasks(), &format!("{} runs", study.path.display()), suite.name())?;
        cards.push(card);
    }
    if arguments.frames_every.is_some() && cards.iter().any(|card: &ModelCard| card.images().next().is_some())
    {
        let message =
            "--frames-every: a learner that looks has cameras of its own; valid is without --learner";
        return Err(failure(Exit::Input, message));
    }
    let plant = || match arguments.frames_every {
        None => Ok(plant_for(&suite, &cards)?),
        Some(_) => {
            let cameras = Cameras::new(&Cameras::LIBERO, PICTURE, PICTURE)?;
            Ok::<_, SetupError>(LiberoPlant::with_cameras(suite.clone(), cameras))
        }
    };
    let open = |_| {
        let learner = match &arguments.learner {
            Some(card) => Some(open_policy(&study.runtime, card)?),
            None => None,
        };
        let expert = Expert::new("akita_black_bowl_1", "plate_1");
        Ok(Collectors {
            plant: Box::new(plant()?),
            expert: Box::new(move |observation| match expert.action(observation) {
                Ok(action) => Ok(action.to_vec()),
                Err(error) => Err(PolicyError::Observation(error.to_string())),
            }),
            learner,
        })
    };
    let bar = progress::bar("demonstrations", keys.len());
    let demonstrations = collect(
        &keys,
        arguments.study.workers,
        &settings,
        disturbance,
        &Keeping { encode: &|seen| Layout::LowDim.encode(seen), frames_every: arguments.frames_every },
        &open,
        &progress::follow(&bar),
    )
    .or_exit(Exit::Failed)?;
    bar.finish_and_clear();
    let tasks = keys.iter().map(|key| key.start.task);
    write(&arguments.out, tasks.zip(&demonstrations), None).or_exit(Exit::Failed)?;
    // The origin has a file of its own, so that the bytes of the demonstrations are the same as before origins were
    // recorded.
    let origin = Origin {
        suite: study.plan.suite.clone(),
        suite_sha256: Some(scenes(&study.plan.suite)?.content_sha256()),
        starts: Starts::of(keys.iter().copied()),
        master_seed: study.plan.master_seed,
        sample_seed: study.plan.sample_seed,
        weak_sha256: None,
        strong_sha256: None,
        sensor: Some(study.plan.sensor),
        settle_steps: Some(study.plan.settle_steps),
        // Demonstrations have bursts of their own, which `--rate` sets, and none of the plan's disturbances.
        disturbances: None,
    };
    let text = serde_json::to_string_pretty(&origin).or_exit(Exit::Failed)? + "\n";
    files::write(&origin_file, text.as_bytes())?;
    let kept = demonstrations.iter().filter(|demonstration| demonstration.success).count();
    say!("{}: {kept} of {} demonstrations succeeded and were kept", arguments.out.display(), keys.len());
    for task in study.tasks() {
        let of_task: Vec<bool> = keys
            .iter()
            .zip(&demonstrations)
            .filter(|(key, _)| key.start.task == task)
            .map(|(_, demonstration)| demonstration.success)
            .collect();
        let won = of_task.iter().filter(|success| **success).count();
        say!("  task {task}: {won} of {}", of_task.len());
    }
    Ok(())
}

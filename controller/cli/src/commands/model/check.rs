//! `aegis model check`: checks a policy against a plant without moving the plant.

use std::path::PathBuf;
use std::time::Duration;

use aegis_core::{Activation, Chunk, Plant, PlantError, Policy, PolicyError, Start};
use aegis_policies::check::{self, Finding, Verdict, follows, influence, recorded, seam};
use aegis_policies::{ModelCard, OnnxPolicy, OpenError};
use clap::Args;

use super::observe::PlantChoice;
use crate::exit::{Exit, Failure, OrExit, failure, say};
use crate::served::open_policy;
use crate::study_loader::{onnx_runtime, unlike};

/// Number of chunks with which the simulator is driven for the check of the seam.
const CHUNKS: usize = 8;

/// Arguments of `aegis model check`.
#[derive(Args)]
#[command(after_help = "Examples:\n  aegis model check mine.toml --suite libero_goal\n  \
                        aegis model check mine.toml --recorded rollout.npz\n  \
                        aegis model check mine.toml --connect tcp/127.0.0.1:7447 --plant robot\n\n\
                        A plant of another process is claimed and reset, and gets no command. ROLLOUT.npz has the inputs \
                        and outputs of the network in the training code: an array for each input, by its tensor's name, \
                        and `action`; the first axis counts inferences. Exit code 1 means that a fault was found.")]
pub struct CheckArguments {
    /// Card of the policy
    #[arg(value_name = "CARD")]
    card: PathBuf,
    #[command(flatten)]
    plant: PlantChoice,
    /// Inputs and actions that the training code recorded, as numpy.savez writes them
    #[arg(long, value_name = "FILE")]
    recorded: Option<PathBuf>,
    /// Milliseconds that one inference may take, also in the warm-up; the graph is interrupted then
    #[arg(long, value_name = "MS", default_value_t = 60_000, value_parser = clap::value_parser!(u64).range(1..))]
    deadline_ms: u64,
    /// Print one JSON object: `findings`, each with `check`, `verdict` (good, warning, fault or unknown) and `text`; the numbers of
    /// `faults` and `warnings`; and the `error` that ended the verb, or null
    #[arg(long)]
    json: bool,
}

/// Runs `aegis model check`. Findings are printed also where a later check could not be made.
pub fn run(arguments: &CheckArguments) -> Result<(), Failure> {
    let mut findings = Vec::new();
    let outcome = find(arguments, &mut findings);
    let faults = findings.iter().filter(|finding| finding.verdict == Verdict::Fault).count();
    let outcome = outcome.and_then(|()| {
        if faults == 0 {
            return Ok(());
        }
        let found = if faults == 1 { "1 fault" } else { &format!("{faults} faults") };
        let (card, plant) = (arguments.card.display(), arguments.plant.name());
        Err(failure(Exit::Failed, format!("{card}: {found} on {plant}")))
    });
    tell(arguments, &findings, outcome.as_ref().err());
    outcome
}

/// Makes every check, and adds what each found.
fn find(arguments: &CheckArguments, findings: &mut Vec<Finding>) -> Result<(), Failure> {
    let card = ModelCard::load(&arguments.card).or_exit(Exit::Input)?;
    if card.server.is_some() {
        return find_served(arguments, &card, findings);
    }
    let recording = arguments.recorded.as_deref().map(|path| recorded::Recording::load(path, &card));
    let recording = recording.transpose().or_exit(Exit::Input)?;
    let limit = Duration::from_millis(arguments.deadline_ms);
    let mut policy = OnnxPolicy::open_within(&onnx_runtime()?, &arguments.card, limit).map_err(unopened)?;
    findings.extend(check::files(&card));
    let mut seen = arguments.plant.observe(&card)?;
    let observations = &seen.observations;
    let first = &observations[0];
    findings.extend(check::binding(&mut policy, first).map_err(|error| ended(Exit::Input, error))?);
    if let Some((suite, tasks)) = &seen.suite
        && let Err(error) =
            card.check_task(tasks.saturating_sub(1), &format!("suite {suite} has {tasks} tasks"))
    {
        findings.push(Finding::new("binding", Verdict::Warning, error.to_string()));
    }
    let failed = |error| ended(Exit::Failed, error);
    findings.extend(check::actions(&mut policy, observations).map_err(failed)?);
    findings.extend(influence::dead_inputs(&mut policy, observations).map_err(failed)?);
    findings.extend(follows::joints_followed(&mut policy, observations).map_err(failed)?);
    findings.extend(check::extremes(&mut policy, first).map_err(failed)?);
    if let Some(recording) = &recording {
        findings.push(recorded::actions_agree(&mut policy, recording).map_err(failed)?);
        let given = check::encoded(&mut policy, observations).map_err(failed)?;
        let labels = check::labels(&policy, first);
        findings.extend(recorded::plant_agrees(&card, recording, &given, &labels));
    }
    findings.push(if seen.is_simulated {
        let (steps, task) = (card.chunk.steps(), first.task);
        let chunks = drive(&mut policy, &mut *seen.plant, task, steps).map_err(failed)?;
        seam::seam(&chunks, steps)
    } else {
        Finding::new("chunk seam", Verdict::Unknown, "not measured: the plant is not moved")
    });
    Ok(())
}

/// Checks a policy that another process serves. Its inputs are unknown, so only its replies are checked.
fn find_served(
    arguments: &CheckArguments,
    card: &ModelCard,
    findings: &mut Vec<Finding>,
) -> Result<(), Failure> {
    let refused = |error: PolicyError| failure(Exit::Input, error.to_string());
    if let Some(path) = &arguments.recorded {
        let reason = "found a served policy, whose tensors are unknown; valid is a model in a file";
        return Err(failure(Exit::Input, format!("--recorded: {}: {reason}", path.display())));
    }
    let policy = open_policy(&onnx_runtime()?, &arguments.card);
    let mut policy = policy.map_err(|error| failure(Exit::Input, error.to_string()))?;
    let mut seen = arguments.plant.observe(card)?;
    policy.bind(&seen.observations[0].schema).map_err(refused)?;
    findings.push(Finding::new("binding", Verdict::Good, format!("reads {}", card.reads())));
    let (mut chunks, mut unfit) = (Vec::new(), None);
    for observation in &seen.observations {
        policy.begin(0);
        let found = policy.infer(observation).map_err(refused)?;
        let values = found.activation.iter().flat_map(Activation::values);
        unfit = unfit.or_else(|| values.clone().position(|value| !value.is_finite()));
        chunks.push(found.chunk);
    }
    if let Some(index) = unfit {
        let text = format!("value {index} is not finite; no probe can be fitted on it");
        findings.push(Finding::new("activation", Verdict::Fault, text));
    }
    findings.push(check::within_bounds(&chunks, &seen.observations[0].schema));
    findings.push(match unlike(&mut *policy, &seen.observations[0]).map_err(refused)? {
        None => Finding::new("asked twice", Verdict::Good, "the same answer, bit for bit"),
        Some(how) => Finding::new("asked twice", Verdict::Warning, how),
    });
    for what in ["dead inputs", "order of joints", "extreme values"] {
        let text = "not checked: the policy's tensors are in its process";
        findings.push(Finding::new(what, Verdict::Unknown, text));
    }
    findings.push(if seen.is_simulated {
        let (steps, task) = (card.chunk.steps(), seen.observations[0].task);
        seam::seam(&drive(&mut *policy, &mut *seen.plant, task, steps).map_err(refused)?, steps)
    } else {
        Finding::new("chunk seam", Verdict::Unknown, "not measured: the plant is not moved")
    });
    Ok(())
}

/// Returns the failure of a policy that does not open.
fn unopened(error: OpenError) -> Failure {
    match error {
        OpenError::WarmUp { path, source } => {
            ended(Exit::Input, source).prefixed(format_args!("{}: warm-up", path.display()))
        }
        other => failure(Exit::Input, other),
    }
}

/// Returns the failure of an inference, with the setting of a deadline that it missed.
fn ended(exit: Exit, error: PolicyError) -> Failure {
    match error {
        PolicyError::Deadline { .. } => {
            let advice = "--deadline-ms sets the deadline of one inference; a loop in the graph may be endless on these inputs";
            failure(exit, format!("{error}: {advice}"))
        }
        other => failure(exit, other),
    }
}

fn tell(arguments: &CheckArguments, findings: &[Finding], error: Option<&Failure>) {
    if arguments.json {
        let count = |verdict: Verdict| findings.iter().filter(|finding| finding.verdict == verdict).count();
        let outcome = serde_json::json!({
            "card": arguments.card.display().to_string(),
            "plant": arguments.plant.name(),
            "findings": findings,
            "faults": count(Verdict::Fault),
            "warnings": count(Verdict::Warning),
            "error": error.map(ToString::to_string),
        });
        say!("{outcome}");
        return;
    }
    for Finding { check, verdict, text } in findings {
        let verdict = match verdict {
            Verdict::Good => "good",
            Verdict::Warning => "warning",
            Verdict::Fault => "fault",
            Verdict::Unknown => "unknown",
        };
        say!("{verdict:8}{check}: {text}");
    }
}

/// Drives the simulator from a task's first start with a few chunks, and returns the chunks.
fn drive(
    policy: &mut dyn Policy,
    plant: &mut dyn Plant,
    task: usize,
    steps: usize,
) -> Result<Vec<Chunk>, PolicyError> {
    let lost = |error: PlantError| PolicyError::Backend(error.to_string());
    let reads_frames = policy.reads_frames();
    let start = Start { task, initial_state: 0 };
    let mut observation = plant.reset(start).map_err(lost)?;
    let mut chunks = Vec::new();
    policy.begin(0);
    for _ in 0..CHUNKS {
        if reads_frames {
            observation.frames = plant.frames().map_err(lost)?.into();
        }
        let chunk = policy.infer(&observation)?.chunk;
        for step in 0..steps {
            let Some(action) = chunk.action(step) else { break };
            observation = plant.step(action).map_err(lost)?.observation;
        }
        chunks.push(chunk);
    }
    Ok(chunks)
}

//! Checks of a policy against a plant, without moving the plant: the source of each input, inputs without influence, permuted joints,
//! values that are not finite, and agreement with recordings of the training code.
//!
//! Every check returns findings. Where the policy's structure does not allow an inference, the finding is [`Verdict::Unknown`], with
//! the reason.

pub mod assignment;
pub mod follows;
pub mod influence;
pub mod recorded;
pub mod seam;

use aegis_core::control::LARGEST;
use aegis_core::{ActionChannel, Chunk, Observation, Policy, PolicyError, Schema};
use serde::Serialize;

use crate::card::{GripperSpec, ModelCard};
use crate::inputs::{Input, Rotation};
use crate::onnx::OnnxPolicy;
use crate::term;

/// Verdict of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// No fault was found.
    Good,
    /// May be a fault or intended.
    Warning,
    /// The policy or its card is wrong for this plant.
    Fault,
    /// The policy's structure or the available data do not allow the check.
    Unknown,
}

/// One result of a check.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    /// What was checked.
    pub check: &'static str,
    /// Verdict.
    pub verdict: Verdict,
    /// Description, with names and numbers.
    pub text: String,
}

impl Finding {
    /// Returns a finding.
    pub fn new(check: &'static str, verdict: Verdict, text: impl Into<String>) -> Self {
        Self { check, verdict, text: text.into() }
    }
}

/// Values of every input tensor of a policy at one inference, row-major, in the order of the card.
pub type Tensors = Vec<Vec<f64>>;

/// Returns the values of the policy's inputs for each observation, each as the first of an episode.
///
/// # Errors
/// [`PolicyError`] for an observation that lacks a feature or picture of the policy.
pub fn encoded(policy: &mut OnnxPolicy, observations: &[Observation]) -> Result<Vec<Tensors>, PolicyError> {
    let mut encode = |observation| {
        policy.begin(0);
        policy.encode(observation)
    };
    observations.iter().map(&mut encode).collect()
}

/// Returns labels of the values of each input of a bound policy, one for each value of a vector.
pub fn labels(policy: &OnnxPolicy, observation: &Observation) -> Vec<Vec<String>> {
    let each = policy.card().inputs.iter().map(|input| match input {
        Input::Vector(spec) => term::labels(spec, &observation.schema),
        _ => Vec::new(),
    });
    each.collect()
}

/// Describes the binding of the policy: every input with its features, units and frames, and every channel of its actions.
///
/// # Errors
/// [`PolicyError::Observation`] where the policy does not fit the plant.
pub fn binding(policy: &mut OnnxPolicy, observation: &Observation) -> Result<Vec<Finding>, PolicyError> {
    const CHECK: &str = "binding";
    let schema = &observation.schema;
    policy.bind(schema)?;
    let mut findings = Vec::new();
    for input in &policy.card().inputs {
        let text = match input {
            Input::Vector(spec) => {
                let terms = spec.terms.iter().map(|term| term::described(term, schema));
                let past = if spec.history > 1 {
                    format!(", {} observations, oldest first", spec.history)
                } else {
                    String::new()
                };
                format!("{}{past}", terms.collect::<Vec<_>>().join(", "))
            }
            Input::Image(spec) => {
                let turned = if spec.rotate == Rotation::Half { ", turned by 180°" } else { "" };
                let mirrored = if spec.flip { ", mirrored" } else { "" };
                format!("camera {}, {}×{} pixels{turned}{mirrored}", spec.camera, spec.width, spec.height)
            }
            Input::Tokens(spec) => {
                let tokens = policy.tokens(&spec.tensor, &observation.instruction)?;
                format!("{:?}, by {}: {tokens}", &*observation.instruction, spec.tokenizer.display())
            }
            Input::Instruction(_) => format!("{:?}", &*observation.instruction),
            Input::Mask(spec) => format!("which values of {} are tokens", spec.of),
            Input::Noise(_) => "standard normal noise".into(),
            Input::State(spec) => format!("output {} of the previous inference", spec.output),
            Input::Prefix(_) => {
                "the rest of the policy's chunk in execution; none at the start of an episode".into()
            }
            Input::PrefixLength(spec) => format!("number of actions in {}", spec.of),
            Input::Constant(_) => "the same numbers each time".into(),
        };
        findings.push(Finding::new(CHECK, Verdict::Good, format!("{} <- {text}", input.tensor())));
    }
    let chunk = &policy.card().chunk;
    let channels = schema.actions();
    let (verdict, text) = if channels.is_empty() {
        let text =
            "the plant announces no names of its channels: the order of the policy's values is assumed";
        (Verdict::Warning, text.to_owned())
    } else {
        let named = |channel: &ActionChannel| {
            let unit = &channel.semantics;
            if unit.is_empty() { channel.name.to_string() } else { format!("{} ({unit})", channel.name) }
        };
        // In the policy's order: the card's names, or the plant's.
        let all: Vec<String> = if chunk.names.is_empty() {
            channels.iter().map(named).collect()
        } else {
            let of = |name: &String| channels.iter().find(|channel| *channel.name == **name).map(named);
            chunk.names.iter().filter_map(of).collect()
        };
        let mut text = format!("{} -> {}", chunk.tensor, all.join(", "));
        let affine = chunk.affine();
        if !affine.is_identity() {
            text += &format!("; each{}", affine.described());
        }
        if let Some(GripperSpec { value, threshold, closed, open }) = &chunk.gripper {
            text += &format!("; value {value} becomes {closed} above {threshold}, else {open}");
        }
        (Verdict::Good, text)
    };
    findings.push(Finding::new(CHECK, verdict, text));
    Ok(findings)
}

/// Finds files of a card outside of its folder. Their digests are checked, but they do not move with the card. External weights of a
/// model are refused outside of the model's folder.
pub fn files(card: &ModelCard) -> Vec<Finding> {
    card.files_outside()
        .into_iter()
        .map(|(field, path)| {
            let text = format!(
                "{field}: {} lies outside of the card's folder, and does not move with the card",
                path.display()
            );
            Finding::new("files", Verdict::Warning, text)
        })
        .collect()
}

/// Checks that equal inputs give equal actions, and that actions are within the bounds of the plant's channels.
///
/// # Errors
/// [`PolicyError`] of an inference that fails.
pub fn actions(policy: &mut OnnxPolicy, observations: &[Observation]) -> Result<Vec<Finding>, PolicyError> {
    const CHECK: &str = "actions";
    let mut findings = Vec::new();
    for observation in observations {
        policy.begin(0);
        let tensors = policy.encode(observation)?;
        let bits = |values: Vec<f64>| values.into_iter().map(f64::to_bits).collect::<Vec<_>>();
        let (first, again) = (bits(policy.respond(&tensors)?), bits(policy.respond(&tensors)?));
        if first != again {
            let text = "the graph gives different actions for equal inputs: it draws random numbers of its own. Export it without \
                        them, or with the noise as an input";
            findings.push(Finding::new(CHECK, Verdict::Fault, text));
            return Ok(findings);
        }
        policy.begin(0);
        let chunk = policy.infer(observation)?.chunk;
        if let Some(text) = beyond_bounds(&chunk, &observation.schema) {
            findings.push(Finding::new(CHECK, Verdict::Warning, text));
            return Ok(findings);
        }
    }
    let text = "equal inputs give equal actions, and all are within the plant's bounds";
    findings.push(Finding::new(CHECK, Verdict::Good, text));
    Ok(findings)
}

/// Describes the first action of a chunk that is beyond the bounds of its channel.
fn beyond_bounds(chunk: &Chunk, schema: &Schema) -> Option<String> {
    (0..chunk.horizon()).find_map(|step| {
        let mut channels = schema.actions().iter().zip(chunk.action(step).unwrap_or_default());
        channels.find_map(|(ActionChannel { name, bounds: [low, high], .. }, value)| {
            let is_beyond = value < low || value > high;
            is_beyond
                .then(|| format!("{name}: found {value} in step {step}; the plant executes {low} to {high}"))
        })
    })
}

/// Checks that the actions of chunks are within the bounds of the plant's channels.
pub fn within_bounds(chunks: &[Chunk], schema: &Schema) -> Finding {
    match chunks.iter().find_map(|chunk| beyond_bounds(chunk, schema)) {
        Some(text) => Finding::new("actions", Verdict::Warning, text),
        None => Finding::new("actions", Verdict::Good, "all are within the plant's bounds"),
    }
}

/// Finds actions that are not finite for observations that a controller accepts: each component in turn at ±1e6.
///
/// # Errors
/// [`PolicyError`] of an inference that fails for another reason.
pub fn extremes(policy: &mut OnnxPolicy, observation: &Observation) -> Result<Vec<Finding>, PolicyError> {
    const CHECK: &str = "extreme values";
    let mut found = Vec::new();
    let mut tried = 0;
    for (feature, range) in observation.schema.ranges() {
        for (component, index) in range.enumerate() {
            for value in [-LARGEST, LARGEST] {
                let mut seen = observation.clone();
                seen.values[index] = value;
                policy.begin(0);
                tried += 1;
                match policy.infer(&seen) {
                    Ok(_) | Err(PolicyError::Observation(_)) => {}
                    Err(PolicyError::NotFinite { .. }) => {
                        found.push(format!("{}[{component}] = {value:e}", feature.name));
                    }
                    Err(error) => return Err(error),
                }
            }
        }
    }
    Ok(vec![if found.is_empty() {
        Finding::new(CHECK, Verdict::Good, format!("every action is finite, {tried} observations tried"))
    } else {
        let text = format!(
            "the action is not finite at {}; a controller refuses such a chunk and stops",
            found.join(", ")
        );
        Finding::new(CHECK, Verdict::Warning, text)
    }])
}

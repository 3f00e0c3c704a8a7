//! Dead inputs: values of an input whose change never changes an action.

use aegis_core::{Frame, Observation, Policy, PolicyError};

use crate::card::ModelCard;
use crate::check::{Finding, Tensors, Verdict, encoded, labels};
use crate::inputs::Input;
use crate::onnx::OnnxPolicy;

const CHECK: &str = "dead inputs";
/// Changes of one value, as shares of its size or of 1, whichever is larger.
const CHANGES: [f64; 6] = [0.1, -0.1, 1.0, -1.0, 10.0, -10.0];

/// Finds the values of vectors, and the whole pictures, states and noises, whose change never changes an action. Each is changed
/// from every one of `observations`, by a tenth, once and ten times its size, up and down; a picture becomes black, white and its
/// negative.
///
/// # Errors
/// [`PolicyError`] of an inference that fails.
pub fn dead_inputs(
    policy: &mut OnnxPolicy,
    observations: &[Observation],
) -> Result<Vec<Finding>, PolicyError> {
    let Some(first) = observations.first() else { return Ok(Vec::new()) };
    let names = labels(policy, first);
    let mut bases = Vec::new();
    for tensors in encoded(policy, observations)? {
        let actions = policy.respond(&tensors)?;
        bases.push((tensors, actions));
    }
    let (mut findings, mut living) = (Vec::new(), 0);
    for (index, input) in policy.card().inputs.clone().iter().enumerate() {
        let tensor = input.tensor();
        match input {
            Input::Vector(_) => {
                let mut dead = Vec::new();
                for value in 0..bases[0].0[index].len() {
                    if moves(policy, &bases, |tensors, change| {
                        let number = &mut tensors[index][value];
                        *number += change * number.abs().max(1.0);
                    })? {
                        living += 1;
                    } else {
                        let label = names[index].get(value).map_or("", String::as_str);
                        dead.push(format!("{tensor}[{value}], {label}"));
                    }
                }
                findings.extend(dead.into_iter().map(|what| {
                    let text = format!("{what}: no change of it changes the action");
                    Finding::new(CHECK, Verdict::Fault, text)
                }));
            }
            Input::Image(spec) => {
                if pictures_matter(policy, observations, &spec.camera)? {
                    living += 1;
                } else {
                    let text = format!(
                        "{tensor}, camera {}: black, white and its negative give the same action",
                        spec.camera
                    );
                    findings.push(Finding::new(CHECK, Verdict::Fault, text));
                }
            }
            Input::Noise(_) | Input::State(_) | Input::Prefix(_) => {
                let lengths = prefix_lengths(policy.card(), tensor);
                let actions = (bases[0].0[index].len() / policy.card().chunk.width) as f64;
                if moves(policy, &bases, |tensors, change| {
                    tensors[index].iter_mut().for_each(|number| *number += change);
                    lengths.iter().for_each(|length| tensors[*length].fill(actions));
                })? {
                    living += 1;
                } else {
                    let text = format!("{tensor}: no change of it changes the action");
                    findings.push(Finding::new(CHECK, Verdict::Warning, text));
                }
            }
            Input::Tokens(_) => {
                if moves(policy, &bases, |tensors, change| turn(&mut tensors[index], change))? {
                    living += 1;
                } else {
                    let text = format!("{tensor}: other instructions of the same words give the same action");
                    findings.push(Finding::new(CHECK, Verdict::Warning, text));
                }
            }
            Input::Mask(_) | Input::PrefixLength(_) | Input::Constant(_) | Input::Instruction(_) => {}
        }
    }
    if findings.is_empty() {
        findings.extend(unread_features(policy, observations)?);
    }
    if findings.is_empty() {
        let from = observations.len();
        let text =
            format!("{living} values and pictures, and each changes the action; observations tried: {from}");
        findings.push(Finding::new(CHECK, Verdict::Good, text));
    }
    Ok(findings)
}

/// Returns the indices of the inputs that hold the length of a prefix. A prefix of no actions may change nothing.
fn prefix_lengths(card: &ModelCard, prefix: &str) -> Vec<usize> {
    let holds = |input: &Input| matches!(input, Input::PrefixLength(length) if length.of == prefix);
    card.inputs.iter().enumerate().filter(|(_, input)| holds(input)).map(|(index, _)| index).collect()
}

/// Finds features that the card reads and that never change an executed action because of the card's own steps: a scale of 0, a
/// difference of a feature and itself, a clip that leaves one value.
fn unread_features(
    policy: &mut OnnxPolicy,
    observations: &[Observation],
) -> Result<Vec<Finding>, PolicyError> {
    let mut names: Vec<String> = Vec::new();
    for input in &policy.card().inputs {
        let Input::Vector(spec) = input else { continue };
        for term in &spec.terms {
            if !names.contains(&term.feature) {
                names.push(term.feature.clone());
            }
        }
    }
    let mut findings = Vec::new();
    for name in names {
        if !feature_matters(policy, observations, &name)? {
            let text = format!(
                "{name}: no change of it changes an executed action; check scale, offset, clip and gripper of the card"
            );
            findings.push(Finding::new(CHECK, Verdict::Fault, text));
        }
    }
    Ok(findings)
}

/// Returns whether a change of a component of a feature changes an executed action, from any observation; true for names that are
/// not features of the plant, such as the task, which are not changed.
fn feature_matters(
    policy: &mut OnnxPolicy,
    observations: &[Observation],
    name: &str,
) -> Result<bool, PolicyError> {
    for observation in observations {
        let Some(range) = observation.schema.range(name) else { return Ok(true) };
        policy.begin(0);
        let before = policy.infer(observation)?.chunk;
        for (component, change) in range.flat_map(|component| CHANGES.map(|change| (component, change))) {
            let mut seen = observation.clone();
            let value = &mut seen.values[component];
            *value += change * value.abs().max(1.0);
            policy.begin(0);
            // A refused chunk counts as changed.
            if !policy.infer(&seen).is_ok_and(|inference| inference.chunk == before) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Rotates the tokens by one index, or by more for larger changes, so that each stays a valid token.
fn turn(tokens: &mut [f64], change: f64) {
    let places = (change.abs() * 10.0) as usize % tokens.len().max(1);
    tokens.rotate_left(places.max(1).min(tokens.len()));
}

/// Returns whether a change of the tensors changes any action, from any base.
fn moves(
    policy: &mut OnnxPolicy,
    bases: &[(Tensors, Vec<f64>)],
    apply: impl Fn(&mut Tensors, f64),
) -> Result<bool, PolicyError> {
    for change in CHANGES {
        for (tensors, actions) in bases {
            let mut changed = tensors.clone();
            apply(&mut changed, change);
            // Compared bit for bit, so that an action that is not finite counts as changed.
            let found = policy.respond(&changed)?;
            if found.iter().zip(actions).any(|(found, action)| found.to_bits() != action.to_bits()) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

fn pictures_matter(
    policy: &mut OnnxPolicy,
    observations: &[Observation],
    camera: &str,
) -> Result<bool, PolicyError> {
    let changes: [fn(u8) -> u8; 3] = [|_| 0, |_| 255, |byte| 255 - byte];
    for observation in observations {
        policy.begin(0);
        let tensors = policy.encode(observation)?;
        let before = policy.respond(&tensors)?;
        for change in changes {
            let mut seen = observation.clone();
            let frames = seen.frames.iter().map(|frame| {
                let mut frame: Frame = frame.clone();
                if *frame.camera == *camera {
                    frame.rgb.iter_mut().for_each(|byte| *byte = change(*byte));
                }
                frame
            });
            seen.frames = frames.collect();
            policy.begin(0);
            let tensors = policy.encode(&seen)?;
            if policy.respond(&tensors)? != before {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

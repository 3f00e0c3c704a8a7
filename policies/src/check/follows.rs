//! Permuted joints, by finite differences: for a policy that commands positions, an action follows the position of its own joint
//! more than that of any other.

use aegis_core::{Observation, Policy, PolicyError};

use crate::check::assignment::clear_order;
use crate::check::{Finding, Verdict};
use crate::inputs::Input;
use crate::onnx::OnnxPolicy;

const CHECK: &str = "order of joints";
/// Displacement of one component, in the plant's unit.
const STEP: f64 = 0.05;
/// Least ratio of the strongest to the second strongest influence for which an order is told.
const CLEAR: f64 = 2.0;
/// Least number of components for which an order is worth telling.
const LEAST: usize = 3;

/// Compares the order of the action's channels with that of the components that they follow. Channels and components are
/// matched by name: an order can be told where at least three channels have the name of a component that the policy reads.
///
/// # Errors
/// [`PolicyError`] of an inference that fails.
pub fn joints_followed(
    policy: &mut OnnxPolicy,
    observations: &[Observation],
) -> Result<Vec<Finding>, PolicyError> {
    let Some(first) = observations.first() else { return Ok(Vec::new()) };
    let unknown = |text: String| Ok(vec![Finding::new(CHECK, Verdict::Unknown, text)]);
    // For each channel, the place of the component of its name in an observation.
    let matched: Vec<(usize, usize)> = (first.schema.actions().iter().enumerate())
        .filter_map(|(channel, action)| Some((channel, component(policy, first, &action.name)?)))
        .collect();
    if matched.len() < LEAST {
        return unknown(format!(
            "not inferable by differences: {} channels have the name of a component that the policy reads, and {LEAST} are needed; \
             actions that are rates or displacements follow no position",
            matched.len()
        ));
    }
    let mut strength = vec![vec![0.0; matched.len()]; matched.len()];
    for observation in observations {
        for (column, (_, place)) in matched.iter().enumerate() {
            let mut displaced = |by: f64| {
                let mut seen = observation.clone();
                seen.values[*place] += by;
                policy.begin(0);
                policy.infer(&seen).map(|inference| inference.chunk)
            };
            let (above, below) = (displaced(STEP)?, displaced(-STEP)?);
            for (row, (channel, _)) in matched.iter().enumerate() {
                let at = |chunk: &aegis_core::Chunk| {
                    chunk.action(0).map_or(0.0, |action| f64::from(action[*channel]))
                };
                strength[row][column] += (at(&above) - at(&below)).abs() / (2.0 * STEP);
            }
        }
    }
    let Some(order) = clear_order(&strength, CLEAR) else {
        return unknown(
            "not inferable by differences: no channel follows one joint clearly more than the others".into(),
        );
    };
    let names = |index: usize| &first.schema.actions()[matched[index].0].name;
    let wrong: Vec<String> = (order.iter().enumerate())
        .filter(|(row, column)| row != *column)
        .map(|(row, column)| format!("{} follows the position of {}", names(row), names(*column)))
        .collect();
    Ok(vec![if wrong.is_empty() {
        Finding::new(
            CHECK,
            Verdict::Good,
            format!("each of {} channels follows its own joint", matched.len()),
        )
    } else {
        Finding::new(CHECK, Verdict::Fault, format!("the order is permuted: {}", wrong.join(", ")))
    }])
}

/// Returns the place in an observation of a component of this name that the policy reads.
fn component(policy: &OnnxPolicy, observation: &Observation, name: &str) -> Option<usize> {
    let schema = &observation.schema;
    let read = policy.card().inputs.iter().flat_map(|input| match input {
        Input::Vector(spec) => spec.terms.as_slice(),
        _ => &[],
    });
    for term in read {
        let Some((feature, range)) = schema.feature(&term.feature).zip(schema.range(&term.feature)) else {
            continue;
        };
        if let Some(place) = feature.names.iter().position(|component| **component == *name) {
            return Some(range.start + place);
        }
    }
    None
}

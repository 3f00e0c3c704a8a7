//! Permuted joints and inverted signs, by finite differences: for a policy that commands positions, an action follows the position
//! of its own joint more than that of any other, and in its direction.

use aegis_core::{Observation, Policy, PolicyError};

use crate::check::assignment::clear_order;
use crate::check::{Finding, Verdict};
use crate::inputs::Input;
use crate::onnx::OnnxPolicy;
use crate::term::places_read;

const CHECK: &str = "order of joints";
/// Displacement of one component, in the plant's unit.
const STEP: f64 = 0.05;
/// Least ratio of the strongest to the second strongest influence at which an order is inferred.
const CLEAR: f64 = 2.0;
/// Least number of components for which an order is inferred.
const LEAST: usize = 3;

/// Compares the order of the action's channels with that of the components that they follow, and the signs. Channels and components are
/// matched by name: an order is inferred where at least three channels have the name of a component that the policy reads.
///
/// # Errors
/// [`PolicyError`] of an inference that fails.
pub fn joints_followed(
    policy: &mut OnnxPolicy,
    observations: &[Observation],
) -> Result<Vec<Finding>, PolicyError> {
    let Some(first) = observations.first() else { return Ok(Vec::new()) };
    let unknown = |text: String| Ok(vec![Finding::new(CHECK, Verdict::Unknown, text)]);
    // For each channel, the index in an observation of the component of the same name.
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
    let mut slopes = Vec::with_capacity(observations.len());
    for observation in observations {
        slopes.push(slopes_at(policy, observation, &matched)?);
    }
    let sum = |row: usize, column: usize| slopes.iter().map(|one| one[row][column].abs()).sum();
    let strength: Vec<Vec<f64>> =
        (0..matched.len()).map(|row| (0..matched.len()).map(|column| sum(row, column)).collect()).collect();
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
    if !wrong.is_empty() {
        let text = format!("the order is permuted: {}", wrong.join(", "));
        return Ok(vec![Finding::new(CHECK, Verdict::Fault, text)]);
    }
    let own: Vec<Vec<f64>> =
        (0..matched.len()).map(|row| slopes.iter().map(|one| one[row][row]).collect()).collect();
    let text = format!("each of {} channels follows its own joint", matched.len());
    Ok(vec![match signs(&own) {
        Signs::Agree => Finding::new(CHECK, Verdict::Good, format!("{text}, in the joint's direction")),
        Signs::Inverted(rows) => {
            let each = rows.into_iter().map(|row| names(row).to_string()).collect::<Vec<_>>().join(", ");
            let text = format!(
                "the sign is inverted: {each} falls where its joint's position rises, and the other channels rise with theirs; check \
                 scale in the card's terms and chunk"
            );
            Finding::new(CHECK, Verdict::Fault, text)
        }
        Signs::Unknown(why) => {
            Finding::new(CHECK, Verdict::Good, format!("{text}; inverted signs are not inferable: {why}"))
        }
    }])
}

/// Returns how much each channel of the first action changes with each matched component, by central differences at one
/// observation: `[channel, component]`.
fn slopes_at(
    policy: &mut OnnxPolicy,
    observation: &Observation,
    matched: &[(usize, usize)],
) -> Result<Vec<Vec<f64>>, PolicyError> {
    let mut slopes = vec![vec![0.0; matched.len()]; matched.len()];
    for (column, (_, place)) in matched.iter().enumerate() {
        let mut displaced = |by: f64| {
            let mut seen = observation.clone();
            seen.values[*place] += by;
            policy.begin(0);
            policy.infer(&seen).map(|inference| inference.chunk)
        };
        let (above, below) = (displaced(STEP)?, displaced(-STEP)?);
        for (row, (channel, _)) in matched.iter().enumerate() {
            let at =
                |chunk: &aegis_core::Chunk| chunk.action(0).map_or(0.0, |action| f64::from(action[*channel]));
            slopes[row][column] = (at(&above) - at(&below)) / (2.0 * STEP);
        }
    }
    Ok(slopes)
}

/// Signs of the slopes of channels with their own joints.
#[derive(Debug, PartialEq, Eq)]
enum Signs {
    /// Every channel rises with its joint.
    Agree,
    /// These channels, fewer than half, fall where the others rise.
    Inverted(Vec<usize>),
    /// The signs are not inferable, for this reason.
    Unknown(&'static str),
}

/// Compares the signs of the slopes of each channel with its own joint, one for each observation. A policy that commands positions
/// continues from the joint's position, so its slopes are positive; a policy that commands displacements leads back to a goal.
fn signs(own: &[Vec<f64>]) -> Signs {
    let falls = |slopes: &Vec<f64>| match (
        slopes.iter().all(|slope| *slope > 0.0),
        slopes.iter().all(|slope| *slope < 0.0),
    ) {
        (true, _) => Some(false),
        (_, true) => Some(true),
        _ => None,
    };
    let Some(falling) = own.iter().map(falls).collect::<Option<Vec<bool>>>() else {
        return Signs::Unknown("a channel rises with its joint from one observation and falls from another");
    };
    let rows: Vec<usize> = (0..own.len()).filter(|row| falling[*row]).collect();
    match rows.len() {
        0 => Signs::Agree,
        count if 2 * count < own.len() => Signs::Inverted(rows),
        _ => Signs::Unknown(
            "half of the channels or more fall where their joints rise, as displacements to a goal do",
        ),
    }
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
        let place = feature.names.iter().position(|component| **component == *name);
        let place = place.map(|place| range.start + place);
        if let Some(place) = place.filter(|place| places_read(term, schema).contains(place)) {
            return Some(place);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sign_is_inverted_only_where_most_channels_rise_from_every_observation() {
        assert_eq!(signs(&[vec![1.0, 0.9], vec![0.5, 0.4], vec![2.0, 1.0]]), Signs::Agree);
        assert_eq!(signs(&[vec![1.0, 0.9], vec![-0.5, -0.4], vec![2.0, 1.0]]), Signs::Inverted(vec![1]));
        for unknown in [
            vec![vec![1.0], vec![-1.0]],
            vec![vec![-1.0], vec![-1.0], vec![-1.0]],
            vec![vec![1.0, -1.0], vec![1.0, 1.0], vec![1.0, 1.0]],
            vec![vec![f64::NAN], vec![1.0], vec![1.0]],
            vec![vec![0.0], vec![1.0], vec![1.0]],
        ] {
            assert!(matches!(signs(&unknown), Signs::Unknown(_)), "{unknown:?}");
        }
    }
}

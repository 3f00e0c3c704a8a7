//! Observations from the requests of openpi's clients: a key is the name of a feature or of a camera, `prompt` the instruction and
//! `task` the index of the task. Pure.

use std::sync::Arc;

use aegis_core::feature::{Dtype, FeatureKind};
use aegis_core::{ActionChannel, Feature, Frame, Observation, Schema};

use crate::array::Element;
use crate::value::Value;

/// Key of the instruction.
const PROMPT: &str = "prompt";
/// Key of the index of the task.
const TASK: &str = "task";
/// Separator of the keys of nested maps in the name of a feature.
const BETWEEN: &str = "/";

/// Parts of a request.
#[derive(Default)]
struct Parts {
    features: Vec<Feature>,
    values: Vec<f64>,
    frames: Vec<Frame>,
    instruction: String,
    task: usize,
}

/// Returns the observation of a request at this step. `channels` are the names of an action's values, `known` the schema of the
/// previous request, which is reused where it is equal.
///
/// # Errors
/// The key, what was found and what is valid.
pub fn observation(
    question: Value,
    step: u32,
    channels: &[String],
    known: Option<&Arc<Schema>>,
) -> Result<Observation, String> {
    let mut parts = Parts::default();
    let Value::Map(_) = question else {
        return Err("found no map; valid is a map with a key for each feature and camera".into());
    };
    parts.take("", question)?;
    let channel = |name: &String| ActionChannel {
        name: name.as_str().into(),
        semantics: "".into(),
        bounds: [f32::NEG_INFINITY, f32::INFINITY],
        still: None,
    };
    let schema = Schema::new(parts.features, channels.iter().map(channel).collect());
    let schema = schema.map_err(|error| error.to_string())?;
    let schema = known.filter(|known| ***known == schema).cloned().unwrap_or_else(|| Arc::new(schema));
    Ok(Observation {
        step,
        plant_time: 0.0,
        task: parts.task,
        instruction: parts.instruction.into(),
        schema,
        values: parts.values,
        frames: parts.frames.into(),
    })
}

impl Parts {
    fn take(&mut self, name: &str, value: Value) -> Result<(), String> {
        match value {
            Value::Map(entries) => entries.into_iter().try_for_each(|(key, value)| {
                let key = match key {
                    Value::Text(key) => key,
                    Value::Bytes(key) => String::from_utf8_lossy(&key).into_owned(),
                    other => return Err(format!("key {}: found no text; valid is a text", other.json())),
                };
                let name = if name.is_empty() { key } else { format!("{name}{BETWEEN}{key}") };
                self.take(&name, value)
            }),
            Value::Text(text) if name == PROMPT => {
                self.instruction = text;
                Ok(())
            }
            Value::Array(array) if array.element() == Element::Unsigned(1) && array.shape().len() == 3 => {
                let [height, width, 3] = *array.shape() else {
                    let found = array.shape();
                    return Err(format!(
                        "{name}: found a picture of shape {found:?}; valid is [height, width, 3]"
                    ));
                };
                let side = |length: usize| {
                    u32::try_from(length).map_err(|_| format!("{name}: found a side of {length} pixels"))
                };
                self.frames.push(Frame {
                    camera: name.into(),
                    width: side(width)?,
                    height: side(height)?,
                    rgb: array.data().to_vec(),
                });
                self.features.push(Feature::camera(name, height, width));
                Ok(())
            }
            other => self.number(name, &other),
        }
    }

    /// Takes a feature of numbers, or the index of the task.
    fn number(&mut self, name: &str, value: &Value) -> Result<(), String> {
        let Some((shape, values)) = value.tensor() else {
            let valid = "numbers, a picture of bytes [height, width, 3], or for \"prompt\" a text";
            return Err(format!("{name}: found no array; valid is {valid}"));
        };
        if let Some(place) = values.iter().position(|value| !value.is_finite()) {
            return Err(format!("{name}: value {place} is not finite; valid are finite numbers"));
        }
        if let ([task], true) = (&values[..], name == TASK) {
            let is_index = *task >= 0.0 && task.fract() == 0.0 && *task <= f64::from(u32::MAX);
            self.task = *task as usize;
            return if is_index { Ok(()) } else { Err(format!("{TASK}: found {task}; valid is an index")) };
        }
        self.features.push(Feature {
            name: name.into(),
            shape: if shape.is_empty() { vec![1] } else { shape },
            dtype: Dtype::Float64,
            kind: FeatureKind::Tensor,
            names: Vec::new(),
            semantics: "".into(),
        });
        self.values.extend(values);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::array::Array;

    #[test]
    fn keys_are_features_cameras_the_instruction_and_the_task() {
        let question = || {
            Value::map([
                ("joints", Value::Array(Array::float32(vec![2], [0.5, -1.0]))),
                ("images", Value::map([("front", Value::Array(Array::bytes(vec![1, 2, 3], vec![7; 6])))])),
                ("prompt", Value::Text("go".into())),
                ("task", Value::Integer(3)),
                ("charge", Value::Float(0.25)),
            ])
        };
        let seen = observation(question(), 4, &["a".into()], None).unwrap();
        assert_eq!((seen.step, seen.task, &*seen.instruction), (4, 3, "go"));
        assert_eq!(
            (seen.feature("joints"), seen.feature("charge")),
            (Some(&[0.5, -1.0][..]), Some(&[0.25][..]))
        );
        assert_eq!((&*seen.frames[0].camera, seen.frames[0].width), ("images/front", 2));
        assert_eq!(&*seen.schema.actions()[0].name, "a");
        let again = observation(question(), 5, &["a".into()], Some(&seen.schema)).unwrap();
        assert!(Arc::ptr_eq(&again.schema, &seen.schema));
    }

    #[test]
    fn an_invalid_observation_is_refused_by_key() {
        let refused =
            |key: &str, value: Value| observation(Value::map([(key, value)]), 0, &[], None).unwrap_err();
        assert!(refused("a", Value::Text("x".into())).starts_with("a: found no array"));
        assert!(refused("a", Value::Float(f64::NAN)).contains("a: value 0 is not finite"));
        assert!(refused("task", Value::Float(0.5)).contains("task: found 0.5; valid is an index"));
        let picture = Value::Array(Array::bytes(vec![3, 1, 2], vec![0; 6]));
        assert!(refused("c", picture).contains("found a picture of shape [3, 1, 2]"));
        assert!(observation(Value::Nil, 0, &[], None).unwrap_err().contains("found no map"));
        assert!(refused("", Value::Float(1.0)).contains("features[0].name"));
    }
}

//! Outputs of a model: the chunk in the plant's units and order, and the activation that a probe reads.

use aegis_core::feature::Schema;
use aegis_core::{Activation, Chunk, Inference, PolicyError};

use crate::binding::{Binding, TensorSpec};
use crate::card::{ActivationSpec, ChunkSpec, GripperSpec, ModelCard, Pool};

/// Indices in the list of bound outputs.
const CHUNK: usize = 0;
const ACTIVATION: usize = 1;

/// Reader of a model's outputs.
#[derive(Debug)]
pub(crate) struct Outputs {
    chunk: ChunkSpec,
    activation: Option<ActivationSpec>,
    /// Place of each value of the activation, `[tokens, width]`, in the tensor; `None` where the tensor is in this order.
    places: Option<Vec<usize>>,
    /// For each channel of the plant, the index of the policy's value; `None` where both have the same order.
    order: Option<Vec<usize>>,
    /// Scratch space.
    numbers: Vec<f64>,
}

impl Outputs {
    /// Makes a reader; `bound` are the bound outputs.
    pub fn new(card: &ModelCard, bound: &[TensorSpec<'_>]) -> Self {
        let axes = |spec: &ActivationSpec| Some((spec.axis?, &bound.get(ACTIVATION)?.shape));
        let places = card.activation.as_ref().and_then(axes).map(|(axis, shape)| places(axis, shape));
        let (chunk, activation) = (card.chunk.clone(), card.activation.clone());
        Self { chunk, activation, places, order: None, numbers: Vec::new() }
    }

    /// Returns the index of the first output that is fed back.
    pub fn first_state(&self) -> usize {
        CHUNK + 1 + usize::from(self.activation.is_some())
    }

    /// Returns, for each channel of a plant, the index of the policy's value; `None` where the card names no values.
    ///
    /// # Errors
    /// Another number of channels, and a name that is not among them.
    pub fn order(chunk: &ChunkSpec, schema: &Schema) -> Result<Option<Vec<usize>>, String> {
        let channels = schema.actions();
        if !channels.is_empty() && channels.len() != chunk.width {
            let names: Vec<&str> = channels.iter().map(|channel| &*channel.name).collect();
            let (found, valid) = (chunk.width, channels.len());
            return Err(format!(
                "width: found {found}; valid is the {valid} of the plant: {}",
                names.join(", ")
            ));
        }
        if chunk.names.is_empty() {
            return Ok(None);
        }
        if channels.is_empty() {
            return Err("names: the plant announces no names of its channels; valid is no names, which assumes the plant's order".into());
        }
        let index = |name: &str| chunk.names.iter().position(|ours| ours == name);
        let order: Option<Vec<usize>> = channels.iter().map(|channel| index(&channel.name)).collect();
        order.map(Some).ok_or_else(|| {
            let names: Vec<&str> = channels.iter().map(|channel| &*channel.name).collect();
            format!(
                "names: found {:?}; valid are the plant's, in the policy's order: {}",
                chunk.names,
                names.join(", ")
            )
        })
    }

    /// Sets the order that [`order`](Self::order) found.
    pub fn set_order(&mut self, order: Option<Vec<usize>>) {
        self.order = order;
    }

    /// Returns the graph's own chunk of the last run, row-major `[horizon, width]`.
    pub fn raw(&self, binding: &Binding) -> Result<Vec<f64>, PolicyError> {
        let mut numbers = Vec::with_capacity(self.chunk.horizon * self.chunk.width);
        binding.read(CHUNK, &mut numbers)?;
        Ok(numbers)
    }

    /// Reads the outputs of the last run.
    ///
    /// # Errors
    /// [`PolicyError::NotFinite`] for an action that is not finite.
    pub fn read(&mut self, binding: &Binding) -> Result<Inference, PolicyError> {
        self.numbers.clear();
        binding.read(CHUNK, &mut self.numbers)?;
        let chunk = self.chunk.chunk(self.order.as_deref(), &self.numbers)?;
        let Some(spec) = &self.activation else { return Ok(Inference { chunk, activation: None }) };
        self.numbers.clear();
        binding.read(ACTIVATION, &mut self.numbers)?;
        let values: Vec<f32> = match &self.places {
            Some(places) => places.iter().map(|place| self.numbers[*place] as f32).collect(),
            None => self.numbers.iter().map(|number| *number as f32).collect(),
        };
        Ok(Inference { chunk, activation: Some(spec.pooled(values)?) })
    }
}

impl ActivationSpec {
    /// Returns the tokens of an activation `[tokens, width]` that a probe reads: all, or the last.
    ///
    /// # Errors
    /// [`PolicyError::Shape`] for values that form no whole tokens.
    pub(crate) fn pooled(&self, mut values: Vec<f32>) -> Result<Activation, PolicyError> {
        if self.pool == Pool::Last {
            values.drain(..values.len().saturating_sub(self.width));
        }
        Activation::new(self.width, values)
    }
}

impl ChunkSpec {
    /// Converts a policy's values, row-major `[horizon, width]`, to a chunk of the plant: the actions that may be executed, in the plant's
    /// units. `order` has the policy's index for each channel of the plant; `None` keeps the policy's order.
    ///
    /// # Errors
    /// [`PolicyError::NotFinite`] for an action that is not finite.
    pub(crate) fn chunk(&self, order: Option<&[usize]>, numbers: &[f64]) -> Result<Chunk, PolicyError> {
        let begin = self.skip * self.width;
        let actions = numbers.get(begin..begin + self.steps() * self.width).unwrap_or_default();
        let mut values = Vec::with_capacity(actions.len());
        for action in actions.chunks_exact(self.width) {
            match order {
                Some(order) => values.extend(order.iter().map(|index| self.value(*index, action[*index]))),
                None => {
                    values.extend(action.iter().enumerate().map(|(index, value)| self.value(index, *value)))
                }
            }
        }
        Chunk::new(self.width, values)
    }

    /// Converts one of the policy's values to the plant's unit.
    fn value(&self, index: usize, value: f64) -> f32 {
        // Neither clip nor gripper may turn a failed inference into an action: `Chunk` refuses values that are not finite.
        if !value.is_finite() {
            return value as f32;
        }
        let value = self.affine().apply(index, value);
        match &self.gripper {
            Some(GripperSpec { value: place, threshold, closed, open }) if *place == index => {
                if value > *threshold { *closed as f32 } else { *open as f32 }
            }
            _ => value as f32,
        }
    }
}

/// Returns the indices, in a row-major tensor of this shape, of the values `[tokens, width]`. The features are along `axis`, and the
/// tokens are the other axes in order.
fn places(axis: usize, shape: &[i64]) -> Vec<usize> {
    let sizes: Vec<usize> = shape.iter().map(|size| usize::try_from(*size).unwrap_or(0)).collect();
    let width = sizes.get(axis).copied().unwrap_or(1);
    let inner: usize = sizes.iter().skip(axis + 1).product();
    let outer: usize = sizes.iter().take(axis).product();
    let tokens = (0..outer).flat_map(|before| (0..inner).map(move |after| (before, after)));
    tokens
        .flat_map(|(before, after)| (0..width).map(move |feature| (before * width + feature) * inner + after))
        .collect()
}

#[cfg(test)]
mod tests {
    use aegis_core::ActionChannel;

    use super::*;
    use crate::inputs::Numbers;

    fn spec() -> ChunkSpec {
        ChunkSpec {
            tensor: "actions".into(),
            horizon: 2,
            width: 3,
            skip: 0,
            execute: None,
            names: Vec::new(),
            scale: None,
            offset: None,
            clip: None,
            gripper: None,
        }
    }

    fn plant(names: &[&str]) -> Schema {
        let channel = |name: &&str| ActionChannel {
            name: (*name).into(),
            semantics: "".into(),
            bounds: [-1.0, 1.0],
            still: Some(0.0),
        };
        Schema::new(Vec::new(), names.iter().map(channel).collect()).unwrap()
    }

    #[test]
    fn values_are_bound_by_name_and_never_by_a_guess() {
        let named =
            |names: &[&str]| ChunkSpec { names: names.iter().map(|name| (*name).into()).collect(), ..spec() };
        assert_eq!(Outputs::order(&spec(), &plant(&["a", "b", "c"])), Ok(None));
        assert_eq!(
            Outputs::order(&named(&["c", "a", "b"]), &plant(&["a", "b", "c"])),
            Ok(Some(vec![1, 2, 0]))
        );
        let refused =
            |chunk: &ChunkSpec, channels: &[&str]| Outputs::order(chunk, &plant(channels)).unwrap_err();
        assert!(refused(&named(&["a", "b", "d"]), &["a", "b", "c"]).contains("valid are the plant's"));
        assert!(refused(&named(&["a", "b", "c"]), &[]).contains("announces no names"));
        assert!(refused(&spec(), &["a", "b"]).contains("width: found 3; valid is the 2 of the plant: a, b"));
    }

    #[test]
    fn a_value_is_scaled_shifted_clipped_and_then_open_or_closed() {
        let chunk = ChunkSpec {
            scale: Some(Numbers::Each(vec![2.0, 1.0, -1.0])),
            offset: Some(Numbers::One(0.5)),
            clip: Some([-1.0, 1.0]),
            gripper: Some(GripperSpec { value: 2, threshold: 0.0, closed: 1.0, open: -1.0 }),
            ..spec()
        };
        assert_eq!([chunk.value(0, 0.2), chunk.value(0, 7.0), chunk.value(1, -0.25)], [0.9, 1.0, 0.25]);
        assert_eq!([chunk.value(2, 0.4), chunk.value(2, 0.6)], [1.0, -1.0]);
        assert!(chunk.value(2, f64::NAN).is_nan(), "what is no number is refused later, and not open");
    }

    #[test]
    fn features_are_along_any_axis() {
        // [1, 2 features, 3 places]: token by token.
        assert_eq!(places(1, &[1, 2, 3]), [0, 3, 1, 4, 2, 5]);
        assert_eq!(places(2, &[1, 2, 3]), [0, 1, 2, 3, 4, 5]);
        assert_eq!(places(1, &[1, 2, 1, 2]), [0, 2, 1, 3]);
    }
}

//! Fillers of a model's inputs: the card's inputs bound to the features of a plant, with the state that passes from one inference of
//! an episode to the next.

use std::collections::VecDeque;

use aegis_core::feature::{FeatureKind, Schema};
use aegis_core::{Observation, PolicyError};
use ort::value::TensorElementType;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use crate::binding::Binding;
use crate::image::Picture;
use crate::inputs::{ImageInput, Input, TokensInput, VectorInput};
use crate::tokens::{Tokens, Vocabulary};
use crate::vector::BoundVector;

/// Filler of one input.
#[derive(Debug)]
pub(crate) enum Filler {
    /// Numbers of the observation.
    Vector {
        bound: Box<BoundVector>,
        /// Number of observations in the tensor.
        history: usize,
        /// Values of the observations before the newest, oldest first.
        earlier: VecDeque<Vec<f64>>,
        values: Vec<f64>,
        /// Values of one observation, for a tensor of `float32`.
        single: Vec<f32>,
    },
    /// A camera's picture.
    Image(Box<Picture>),
    /// The instruction as tokens, or their mask.
    Tokens(Box<Tokens>),
    /// Noise, from a stream for this input.
    Noise { stream: u64 },
    /// Index of the output that is fed back.
    State { output: usize, values: Vec<f64> },
    /// The rest of the chunk in execution, padded by zeros.
    Prefix,
    /// Number of actions in the rest of the chunk in execution.
    PrefixLength,
    /// Values that were written once.
    Constant,
}

impl Filler {
    /// Binds an input to a plant. `len` is the number of values of its tensor, `output` the index of the output that is fed back,
    /// for a state, and `tokens` the tokens of which the input is filled or masked, with their tokenizer.
    ///
    /// # Errors
    /// A message with the card's value that does not fit the plant, and the plant's values.
    pub fn bind(
        input: &Input,
        index: usize,
        schema: &Schema,
        (len, kind): (usize, Option<TensorElementType>),
        output: usize,
        tokens: Option<(&TokensInput, &Vocabulary)>,
    ) -> Result<Self, String> {
        Ok(match input {
            Input::Tokens(_) | Input::Mask(_) => {
                let Some((spec, tokenizer)) = tokens else {
                    return Err("tokenizer: missing; valid is a tokenizer.json".into());
                };
                let is_mask = matches!(input, Input::Mask(_));
                Self::Tokens(Box::new(Tokens::new(spec, tokenizer, is_mask)?))
            }
            Input::Vector(spec) => {
                let bound = Box::new(BoundVector::bind(spec, schema)?);
                let VectorInput { history, tensor, .. } = spec;
                if bound.width() * history != len {
                    let (found, terms) = (bound.width() * history, bound.widths());
                    return Err(format!(
                        "terms: found {found} values ({terms}); valid is the {len} of {tensor:?}"
                    ));
                }
                let (values, earlier) = (Vec::with_capacity(len), VecDeque::with_capacity(*history));
                Self::Vector { bound, history: *history, earlier, values, single: Vec::new() }
            }
            Input::Image(spec) => {
                check_camera(spec, schema)?;
                Self::Image(Box::new(Picture::new(spec, kind == Some(TensorElementType::Uint8))))
            }
            Input::Noise(_) => Self::Noise { stream: index as u64 },
            Input::State(_) => Self::State { output, values: vec![0.0; len] },
            Input::Prefix(_) => Self::Prefix,
            Input::PrefixLength(_) => Self::PrefixLength,
            Input::Constant(_) => Self::Constant,
            Input::Instruction(_) => {
                return Err(
                    "kind: found \"instruction\"; valid is \"tokens\", because a tensor has no text".into()
                );
            }
        })
    }

    /// Clears the state at the start of an episode.
    pub fn begin(&mut self) {
        match self {
            Self::Vector { earlier, .. } => earlier.clear(),
            Self::State { values, .. } => values.fill(0.0),
            Self::Image(_)
            | Self::Tokens(_)
            | Self::Noise { .. }
            | Self::Prefix
            | Self::PrefixLength
            | Self::Constant => {}
        }
    }

    /// Fills the input from an observation. `seed` is that of the episode's noise, and `prefix` the rest of the chunk in execution,
    /// `[actions, width]`, with the width.
    ///
    /// # Errors
    /// [`PolicyError`] for an observation that lacks a feature or picture of the input.
    pub fn fill(
        &mut self,
        binding: &mut Binding,
        input: usize,
        observation: &Observation,
        seed: u64,
        (prefix, width): (&[f64], usize),
    ) -> Result<(), PolicyError> {
        match self {
            Self::Vector { bound, history, earlier, values, single } => {
                if *history == 1 && binding.kind(input) == Some(TensorElementType::Float32) {
                    single.clear();
                    bound.encode(observation, single)?;
                    return binding.copy(input, single);
                }
                values.clear();
                if *history == 1 {
                    bound.encode(observation, values)?;
                    return binding.write(input, values.iter().copied());
                }
                let mut newest =
                    if earlier.len() == *history { earlier.pop_front() } else { None }.unwrap_or_default();
                newest.clear();
                bound.encode(observation, &mut newest)?;
                earlier.push_back(newest);
                // Before the first observations, the first is repeated.
                let missing = *history - earlier.len();
                let first = earlier.front().into_iter().cycle().take(missing);
                first.chain(earlier.iter()).for_each(|row| values.extend_from_slice(row));
                binding.write(input, values.iter().copied())
            }
            Self::Image(picture) => picture.fill(binding, input, &observation.frames),
            Self::Tokens(tokens) => {
                let values = tokens.values(binding.len(input), &observation.instruction)?;
                binding.write(input, values.iter().copied())
            }
            Self::Noise { stream } => {
                // One stream for each input and inference, so that the noise at a boundary does not depend on earlier inferences.
                let mut random = ChaCha8Rng::seed_from_u64(seed);
                random.set_stream((*stream << 32) | u64::from(observation.step));
                let numbers = (0..binding.len(input)).map(|_| StandardNormal.sample(&mut random));
                binding.write(input, numbers)
            }
            Self::State { values, .. } => binding.write(input, values.iter().copied()),
            Self::Prefix => {
                let value = |place| prefix.get(place).copied().unwrap_or(0.0);
                binding.write(input, (0..binding.len(input)).map(value))
            }
            Self::PrefixLength => binding.write(input, std::iter::once((prefix.len() / width) as f64)),
            Self::Constant => Ok(()),
        }
    }

    /// Keeps the outputs of the inference that the next inference reads.
    ///
    /// # Errors
    /// [`PolicyError`] for a state that is not finite.
    pub fn keep(&mut self, binding: &Binding) -> Result<(), PolicyError> {
        let Self::State { output, values } = self else { return Ok(()) };
        values.clear();
        binding.read(*output, values)?;
        match values.iter().position(|value| !value.is_finite()) {
            Some(index) => Err(PolicyError::NotFinite { what: "state".into(), index }),
            None => Ok(()),
        }
    }
}

/// Checks that the plant announces the camera. A plant that announces none is accepted, because older plants announce no cameras.
pub(crate) fn check_camera(spec: &ImageInput, schema: &Schema) -> Result<(), String> {
    let cameras = schema.features().iter().filter(|feature| feature.kind == FeatureKind::Rgb);
    let names: Vec<&str> = cameras.map(|feature| &*feature.name).collect();
    if names.is_empty() || names.contains(&spec.camera.as_str()) {
        return Ok(());
    }
    Err(format!("camera: found {:?}; the plant offers {}", spec.camera, names.join(", ")))
}

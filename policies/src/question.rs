//! Request to a policy behind a WebSocket: each input of the card, filled from an observation. Pure; the caller encodes it.

use aegis_core::feature::Schema;
use aegis_core::{Observation, PolicyError};

use crate::card::MOST_VALUES;
use crate::filler::check_camera;
use crate::image::Picture;
use crate::inputs::{ConstantInput, ImageInput, Input, InstructionInput, PixelLayout};
use crate::vector::BoundVector;

/// Value of one key of a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Given {
    /// Numbers, row-major, with their shape.
    Numbers(Vec<usize>, Vec<f64>),
    /// A picture as bytes, row-major, with its shape.
    Picture(Vec<usize>, Vec<u8>),
    /// A text.
    Text(String),
}

/// One input of a card, bound to a plant.
#[derive(Debug)]
enum Source {
    Vector(Box<BoundVector>, Vec<usize>),
    Image(Box<Picture>, Vec<usize>),
    Instruction(String),
    Constant(Given),
}

/// All inputs of a card, bound to a plant.
#[derive(Debug)]
pub(crate) struct Question {
    sources: Vec<(String, Source)>,
}

impl Question {
    /// Binds inputs to what a plant announces.
    ///
    /// # Errors
    /// The index of an input, and a message with the card's value that does not fit the plant.
    pub fn bind(inputs: &[Input], schema: &Schema) -> Result<Self, (usize, String)> {
        let bound = inputs.iter().enumerate().map(|(index, input)| {
            let source = Source::bind(input, schema).map_err(|reason| (index, reason))?;
            Ok((input.tensor().to_owned(), source))
        });
        Ok(Self { sources: bound.collect::<Result<_, _>>()? })
    }

    /// Returns each key with its value for an observation, in the order of the card.
    ///
    /// # Errors
    /// The index of an input, and the [`PolicyError`] of an observation that lacks its feature or picture.
    pub fn ask(&mut self, observation: &Observation) -> Result<Vec<(String, Given)>, (usize, PolicyError)> {
        let each = self.sources.iter_mut().enumerate();
        each.map(|(index, (key, source))| {
            let given = source.given(observation).map_err(|error| (index, error))?;
            Ok((key.clone(), given))
        })
        .collect()
    }
}

impl Source {
    fn bind(input: &Input, schema: &Schema) -> Result<Self, String> {
        Ok(match input {
            Input::Vector(spec) => {
                let bound = Box::new(BoundVector::bind(spec, schema)?);
                let shape = shaped(&spec.shape, bound.width())?;
                Self::Vector(bound, shape)
            }
            Input::Image(spec) => {
                check_camera(spec, schema)?;
                let ImageInput { height, width, layout, .. } = spec;
                let [height, width] = [*height as usize, *width as usize];
                let shape = match layout {
                    PixelLayout::Hwc => vec![height, width, 3],
                    PixelLayout::Chw => vec![3, height, width],
                };
                Self::Image(Box::new(Picture::new(spec, true)), shape)
            }
            Input::Instruction(InstructionInput { template, .. }) => Self::Instruction(template.clone()),
            Input::Constant(ConstantInput { value, shape, .. }) => {
                let listed = value.values().len();
                let shape = if shape.is_empty() { vec![listed] } else { shape.clone() };
                let count = shape.iter().try_fold(1_usize, |count, size| count.checked_mul(*size));
                let Some(count) = count.filter(|count| (1..=MOST_VALUES).contains(count)) else {
                    return Err(format!("shape: found {shape:?}; valid are 1 to {MOST_VALUES} values"));
                };
                if value.count().is_some_and(|listed| listed != count) {
                    return Err(format!(
                        "value: found {listed} numbers; valid is one, or the {count} of the shape"
                    ));
                }
                Self::Constant(Given::Numbers(shape, (0..count).map(|place| value.at(place)).collect()))
            }
            Input::Tokens(_)
            | Input::Mask(_)
            | Input::Noise(_)
            | Input::State(_)
            | Input::Prefix(_)
            | Input::PrefixLength(_) => {
                return Err("kind: found a kind for models in a file; valid are \"vector\", \"image\", \"instruction\" and \"constant\"".into());
            }
        })
    }

    fn given(&mut self, observation: &Observation) -> Result<Given, PolicyError> {
        Ok(match self {
            Self::Vector(bound, shape) => {
                let mut values: Vec<f64> = Vec::with_capacity(bound.width());
                bound.encode(observation, &mut values)?;
                Given::Numbers(shape.clone(), values)
            }
            Self::Image(picture, shape) => {
                Given::Picture(shape.clone(), picture.bytes(&observation.frames)?.to_vec())
            }
            Self::Instruction(template) => {
                Given::Text(template.replace("{instruction}", &observation.instruction))
            }
            Self::Constant(given) => given.clone(),
        })
    }
}

/// Returns the shape of a vector of `width` values: the card's, or one axis.
fn shaped(shape: &[usize], width: usize) -> Result<Vec<usize>, String> {
    if shape.is_empty() {
        return Ok(vec![width]);
    }
    if shape.iter().try_fold(1_usize, |count, size| count.checked_mul(*size)) == Some(width) {
        return Ok(shape.to_vec());
    }
    Err(format!("shape: found {shape:?}; valid is a shape of {width} values"))
}

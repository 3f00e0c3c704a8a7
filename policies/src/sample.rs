//! Random inputs for a graph, and the graph's outputs in a form that is compared bit for bit.
//! Every element type for which ONNX Runtime has values is supported.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ort::session::builder::GraphOptimizationLevel;
use ort::session::{RunOptions, Session};
use ort::value::{DynValue, Outlet, Tensor, TensorElementType, ValueType};
use rand::{Rng, RngExt};

use crate::deadline::Watchdog;
use crate::graph::{Graph, GraphError, cast_model};
use crate::provider::{cpu_session, gist};
use crate::rank;
use crate::runtime::OnnxRuntime;

/// Largest number of values of one input: 1 GiB of `float32`.
pub const MOST_VALUES: i64 = 1 << 28;
/// Values of samples of a string input.
const WORDS: [&str; 2] = ["0", "1"];

/// Shapes of sampled inputs, by name, where a free size should not be 1.
pub type Shapes = BTreeMap<String, Vec<i64>>;

/// Name, element type and shape of an input to sample.
#[derive(Clone, Debug)]
pub(crate) struct Sampled {
    name: String,
    element: TensorElementType,
    shape: Vec<i64>,
}

/// A tensor's element type, shape and values. Floating-point values are stored as their bits, so equality is bit for bit.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Answer {
    pub(crate) element: TensorElementType,
    pub(crate) shape: Vec<i64>,
    pub(crate) values: Values,
}

/// The values of an [`Answer`].
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Values {
    Float32(Vec<u32>),
    Float64(Vec<u64>),
    Integers(Vec<i128>),
    Text(Vec<String>),
}

/// Returns how each input is sampled: with its shape in `shapes`, or else with the graph's shape and free sizes set to 1.
///
/// # Errors
/// [`GraphError::Limit`] for an input of which no sample can be made, and for a shape that is not the input's.
pub(crate) fn plan(graph: &Graph, inputs: &[Outlet], shapes: &Shapes) -> Result<Vec<Sampled>, GraphError> {
    let limit = |what: String, limit: String| GraphError::Limit { path: graph.path().into(), what, limit };
    if let Some(name) = shapes.keys().find(|name| !inputs.iter().any(|input| input.name() == *name)) {
        let valid = inputs.iter().map(Outlet::name).collect::<Vec<_>>().join(", ");
        return Err(limit(
            format!("--shape {name}"),
            format!("finds no input of this name; valid is {valid}"),
        ));
    }
    let sampled = |input: &Outlet| {
        let what = || format!("input {} is {}", input.name(), input.dtype());
        let ValueType::Tensor { ty: element, shape: declared, .. } = input.dtype() else {
            return Err(limit(what(), "makes samples only of tensors".into()));
        };
        let is_unranked = declared.is_empty() && graph.is_unshaped(input.name());
        if is_unranked && !shapes.contains_key(input.name()) {
            let what = format!("input {} is {}", input.name(), rank::shown(input.dtype(), true));
            let name = input.name();
            return Err(limit(
                what,
                format!("needs its sizes; give them with --shape, as --shape {name}=1,8"),
            ));
        }
        let shape = match shapes.get(input.name()) {
            Some(given) => {
                let fits = |(one, other): (&i64, &i64)| *other < 0 || one == other;
                let is_its = given.len() == declared.len() && given.iter().zip(declared.iter()).all(fits);
                // An input of unknown rank takes any shape here; the runtime refuses a wrong one.
                if !is_its && !is_unranked {
                    let found =
                        format!("--shape gives it {given:?}; valid are its own sizes, where they are fixed");
                    return Err(limit(what(), found));
                }
                given.clone()
            }
            None => declared.iter().map(|size| if *size < 0 { 1 } else { *size }).collect(),
        };
        if shape.contains(&0) {
            let none = "needs at least one value to compare, and a size is 0; export the model with a size of 1 or a free \
                        size, or give a free size with --shape";
            return Err(limit(what(), none.into()));
        }
        let count = shape.iter().try_fold(1_i64, |count, size| count.checked_mul(*size));
        if count.is_none_or(|count| count > MOST_VALUES) {
            let most = format!(
                "samples inputs of at most {MOST_VALUES} values; export the model with smaller sizes, or give free ones \
                 with --shape"
            );
            return Err(limit(what(), most));
        }
        Ok(Sampled { name: input.name().to_owned(), element: *element, shape })
    };
    inputs.iter().map(sampled).collect()
}

/// Formats the names, types and shapes of sampled inputs for messages.
pub(crate) fn described(sampled: &[Sampled]) -> String {
    let one = |one: &Sampled| format!("{} {}{:?}", one.name, one.element, one.shape);
    sampled.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// Converts values from one element type to another with the runtime's `Cast` operator. Sessions are kept for reuse.
pub(crate) struct Caster<'a> {
    runtime: &'a OnnxRuntime,
    sessions: Vec<((i32, i32), Session)>,
    /// Longest time of one inference.
    deadline: Duration,
}

impl<'a> Caster<'a> {
    /// Makes a caster. `deadline` is the longest time that a graph may take for one sample.
    pub(crate) fn new(runtime: &'a OnnxRuntime, deadline: Duration) -> Self {
        Self { runtime, sessions: Vec::new(), deadline }
    }

    fn cast(
        &mut self,
        value: &DynValue,
        from: TensorElementType,
        to: TensorElementType,
    ) -> ort::Result<DynValue> {
        let key = (number(from), number(to));
        let place = match self.sessions.iter().position(|(known, _)| *known == key) {
            Some(place) => place,
            None => {
                let model = cast_model(key.0, key.1);
                let session =
                    cpu_session(self.runtime, &model, &BTreeMap::new(), GraphOptimizationLevel::Disable)?;
                self.sessions.push((key, session));
                self.sessions.len() - 1
            }
        };
        let mut outputs = self.sessions[place].1.run(vec![("from", value)])?;
        outputs.remove("to").ok_or_else(|| ort::Error::new("the cast has no output"))
    }

    /// Draws one tensor for each input. Floating-point values are uniform in −1 to 1. Integers of up to 16 bits, such as
    /// pictures, cover their whole range. Longer integers, booleans and text are 0 or 1, which is valid for indices and masks.
    pub(crate) fn sample(
        &mut self,
        graph: &Graph,
        inputs: &[Sampled],
        generator: &mut impl Rng,
    ) -> Result<Vec<(String, DynValue)>, GraphError> {
        let one = |input: &Sampled| {
            let value = self.one(input, generator).map_err(|error| GraphError::Limit {
                path: graph.path().into(),
                what: format!("input {} is {}", input.name, input.element),
                limit: format!("has no way to make values of that type: {error}"),
            })?;
            Ok((input.name.clone(), value))
        };
        inputs.iter().map(one).collect()
    }

    fn one(&mut self, input: &Sampled, generator: &mut impl Rng) -> ort::Result<DynValue> {
        let count = input.shape.iter().product::<i64>();
        let shape = input.shape.clone();
        if input.element == TensorElementType::String {
            let words: Vec<&str> =
                (0..count).map(|_| WORDS[usize::from(generator.random::<bool>())]).collect();
            return Tensor::from_string_array((shape, &*words)).map(Tensor::into_dyn);
        }
        let whole = |low: f32, high: f32, generator: &mut dyn FnMut() -> f32| {
            (0..count).map(|_| (low + generator() * (high - low)).round()).collect::<Vec<_>>()
        };
        let mut unit = || generator.random_range(0.0_f32..1.0);
        let values = match range(input.element) {
            Some((low, high)) => whole(low, high, &mut unit),
            None => (0..count).map(|_| 2.0 * unit() - 1.0).collect(),
        };
        let value = Tensor::from_array((shape, values))?.into_dyn();
        match input.element {
            TensorElementType::Float32 => Ok(value),
            other => self.cast(&value, TensorElementType::Float32, other),
        }
    }

    /// Reads element type, shape and values of a tensor.
    fn answer(&mut self, value: &DynValue) -> ort::Result<Answer> {
        let ValueType::Tensor { ty: element, shape, .. } = value.dtype() else {
            return Err(ort::Error::new("the output is not a tensor"));
        };
        let (element, shape) = (*element, shape.to_vec());
        let integers = |values: Vec<i128>| Ok(Values::Integers(values));
        macro_rules! integers {
            ($kind:ty) => {
                integers(
                    value.try_extract_tensor::<$kind>()?.1.iter().map(|value| i128::from(*value)).collect(),
                )
            };
        }
        let values: ort::Result<Values> = match element {
            TensorElementType::Float32 => {
                let values = value.try_extract_tensor::<f32>()?.1;
                Ok(Values::Float32(values.iter().map(|value| value.to_bits()).collect()))
            }
            TensorElementType::Float64 => {
                let values = value.try_extract_tensor::<f64>()?.1;
                Ok(Values::Float64(values.iter().map(|value| value.to_bits()).collect()))
            }
            TensorElementType::String => Ok(Values::Text(value.try_extract_strings()?.1)),
            TensorElementType::Bool => integers!(bool),
            TensorElementType::Uint8 => integers!(u8),
            TensorElementType::Int8 => integers!(i8),
            TensorElementType::Uint16 => integers!(u16),
            TensorElementType::Int16 => integers!(i16),
            TensorElementType::Uint32 => integers!(u32),
            TensorElementType::Int32 => integers!(i32),
            TensorElementType::Uint64 => integers!(u64),
            TensorElementType::Int64 => integers!(i64),
            // float32 represents every value of the shorter types, and no two of them are equal there.
            other => {
                let cast = self.cast(value, other, TensorElementType::Float32)?;
                let values = cast.try_extract_tensor::<f32>()?.1;
                Ok(Values::Float32(values.iter().map(|value| value.to_bits()).collect()))
            }
        };
        Ok(Answer { element, shape, values: values? })
    }

    /// Runs a graph and reads every output.
    ///
    /// # Errors
    /// [`GraphError::Samples`] where the graph does not run, [`GraphError::Limit`] for an output that cannot be compared, and
    /// [`GraphError::Deadline`] for an inference that takes too long.
    pub(crate) fn run(
        &mut self,
        (graph, what, sampled): (&Graph, &'static str, &[Sampled]),
        session: &mut Session,
        inputs: &[(String, DynValue)],
    ) -> Result<BTreeMap<String, Answer>, GraphError> {
        let inputs: Vec<(&str, &DynValue)> =
            inputs.iter().map(|(name, value)| (name.as_str(), value)).collect();
        let refused = |reason: String| GraphError::Samples {
            path: graph.path().into(),
            what,
            inputs: described(sampled),
            reason,
        };
        let options = RunOptions::new().map_err(|error| refused(gist(&error.to_string())))?;
        let options = Arc::new(options);
        let watchdog = Watchdog::start().map_err(|error| refused(format!("deadline: {error}")))?;
        let begun = Instant::now();
        watchdog.arm(begun + self.deadline, &options);
        let ran = session.run_with_options(inputs, &*options);
        let elapsed = begun.elapsed();
        if watchdog.disarm() || elapsed > self.deadline {
            let (path, limit) = (graph.path().into(), self.deadline);
            return Err(GraphError::Deadline { path, what, elapsed, limit });
        }
        let outputs = ran.map_err(|error| refused(gist(&error.to_string())))?;
        let mut found = BTreeMap::new();
        for (name, value) in outputs {
            let answer = self.answer(&value).map_err(|error| GraphError::Limit {
                path: graph.path().into(),
                what: format!("output {name} is {}", value.dtype()),
                limit: format!(
                    "compares only tensors, so it cannot show that this output is unchanged: {error}"
                ),
            })?;
            found.insert(name.to_owned(), answer);
        }
        Ok(found)
    }
}

/// Returns the range of samples of an integer or boolean type; `None` for floating point.
fn range(element: TensorElementType) -> Option<(f32, f32)> {
    use TensorElementType as Kind;
    Some(match element {
        Kind::Uint8 => (0.0, 255.0),
        Kind::Int8 => (-128.0, 127.0),
        Kind::Uint16 => (0.0, 65_535.0),
        Kind::Int16 => (-32_768.0, 32_767.0),
        Kind::Uint4 => (0.0, 15.0),
        Kind::Int4 => (-8.0, 7.0),
        Kind::Uint2 => (0.0, 3.0),
        Kind::Int2 => (-2.0, 1.0),
        Kind::Bool | Kind::Int32 | Kind::Int64 | Kind::Uint32 | Kind::Uint64 => (0.0, 1.0),
        _ => return None,
    })
}

/// Returns an element type's number in the specification, `TensorProto.DataType`.
pub(crate) fn number(element: TensorElementType) -> i32 {
    use TensorElementType as Kind;
    match element {
        Kind::Float32 => 1,
        Kind::Uint8 => 2,
        Kind::Int8 => 3,
        Kind::Uint16 => 4,
        Kind::Int16 => 5,
        Kind::Int32 => 6,
        Kind::Int64 => 7,
        Kind::String => 8,
        Kind::Bool => 9,
        Kind::Float16 => 10,
        Kind::Float64 => 11,
        Kind::Uint32 => 12,
        Kind::Uint64 => 13,
        Kind::Complex64 => 14,
        Kind::Complex128 => 15,
        Kind::Bfloat16 => 16,
        Kind::Float8E4M3FN => 17,
        Kind::Float8E4M3FNUZ => 18,
        Kind::Float8E5M2 => 19,
        Kind::Float8E5M2FNUZ => 20,
        Kind::Uint4 => 21,
        Kind::Int4 => 22,
        Kind::Float4E2M1 => 23,
        Kind::Float8E8M0 => 24,
        Kind::Uint2 => 25,
        Kind::Int2 => 26,
        _ => 0,
    }
}

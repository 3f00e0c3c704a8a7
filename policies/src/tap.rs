//! Activation taps: lists the tensors of a graph with their types, and makes a tensor an output of the model. ONNX Runtime
//! checks that the model's other outputs stay equal bit for bit, on random samples from a fixed seed.

use std::collections::BTreeMap;
use std::time::Duration;

use aegis_files::sha256_of;
use ort::session::Session;
use ort::session::builder::GraphOptimizationLevel;
use ort::value::{Outlet, TensorElementType, ValueType};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use crate::graph::{Added, Graph, GraphError, Made, Pool};
use crate::provider::{cpu_session, gist};
use crate::rank;
use crate::runtime::OnnxRuntime;
use crate::sample::{self, Answer, Caster, Sampled, Shapes, Values};

/// Number of samples on which a tapped model is compared with the original.
pub const SAMPLES: u32 = 16;
/// Largest allowed difference between the tap in the optimised graph and in the graph as written, relative to the largest
/// value. Optimisation may change the order of sums, but must not put another tensor in the tap's place.
pub const MAX_DRIFT: f64 = 1e-4;
/// The same limit for a tensor of `float16`, which has 11 significant bits, and of `bfloat16`, which has 8.
pub const MAX_DRIFT_OF_HALVES: [f64; 2] = [1e-2, 5e-2];

/// A tensor with the type and shape that ONNX Runtime infers for it.
#[derive(Clone, Debug)]
pub struct Inspected {
    /// The tensor's name and the node that makes it.
    pub made: Made,
    /// Type and shape, for example `Tensor<f32>(1, 10, 64)`.
    pub kind: String,
}

/// The inputs, outputs and inner tensors of a model, with types such as `Tensor<f32>(1, 10, 64)`.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// Required inputs: name and type of each.
    pub inputs: Vec<(String, String)>,
    /// Outputs: name and type of each.
    pub outputs: Vec<(String, String)>,
    /// Every tensor that a node at the top level of the graph makes.
    pub tensors: Vec<Inspected>,
}

/// Settings of a tap.
#[derive(Clone, Debug)]
pub struct TapSettings<'a> {
    /// Name of the tensor to tap.
    pub tensor: &'a str,
    /// How the tensor's tokens are pooled into one vector.
    pub pool: Pool,
    /// Name of the new output. `None` means the tensor's name with a suffix; see [`Added::output`].
    pub name: Option<&'a str>,
    /// Shapes of sampled inputs, by name, where a free size should not be 1.
    pub shapes: Shapes,
    /// Largest allowed relative drift of the tap under optimisation. `None` means [`MAX_DRIFT`] or, for 16-bit tensors,
    /// [`MAX_DRIFT_OF_HALVES`].
    pub max_drift: Option<f64>,
    /// Longest time that one inference on a sample may take.
    pub deadline: Duration,
}

/// A tapped model and the results of its checks.
#[derive(Clone, Debug)]
pub struct Tapped {
    /// The model file.
    pub bytes: Vec<u8>,
    /// SHA-256 of `bytes`, lower-case hexadecimal.
    pub sha256: String,
    /// Name of the new output.
    pub output: String,
    /// Type and shape of the new output.
    pub kind: String,
    /// Outputs that were compared on [`SAMPLES`] samples and are equal bit for bit.
    pub unchanged: Vec<String>,
    /// Largest difference between the tap in the optimised graph and in the graph as written, relative to the largest value.
    pub drift: f64,
}

/// Returns a model's inputs and outputs, and every tensor that a node makes, with type and shape.
///
/// # Errors
/// [`GraphError::Runtime`] where ONNX Runtime refuses the graph.
pub fn inspect(runtime: &OnnxRuntime, graph: &Graph) -> Result<Inspection, GraphError> {
    let tensors = graph.tensors();
    let inner: Vec<String> = tensors.iter().filter(|one| !one.output).map(|one| one.name.clone()).collect();
    let opened =
        open(runtime, graph, "original", &graph.with_outputs(&inner), GraphOptimizationLevel::Disable)?;
    let unranked = rank::unranked(runtime, graph, &opened)?;
    let shown = |outlet: &Outlet| rank::shown(outlet.dtype(), unranked.contains(outlet.name()));
    let kinds: BTreeMap<&str, String> =
        opened.outputs().iter().map(|outlet| (outlet.name(), shown(outlet))).collect();
    let kind = |name: &str| kinds.get(name).cloned().unwrap_or_else(|| "unknown".into());
    let of_input = |input: &Outlet| (input.name().to_owned(), shown(input));
    // The added outputs follow the model's own outputs.
    let own = opened.outputs().len().saturating_sub(inner.len());
    let outputs = opened.outputs()[..own].iter().map(of_input).collect();
    Ok(Inspection {
        inputs: opened.inputs().iter().map(of_input).collect(),
        outputs,
        tensors: tensors.into_iter().map(|made| Inspected { kind: kind(&made.name), made }).collect(),
    })
}

/// Opens a graph as it is written, without optimisation.
///
/// # Errors
/// [`GraphError::Runtime`] where ONNX Runtime refuses the graph.
pub(crate) fn as_written(runtime: &OnnxRuntime, graph: &Graph) -> Result<Session, GraphError> {
    open(runtime, graph, "original", graph.bytes(), GraphOptimizationLevel::Disable)
}

/// Makes a tensor an output of the model, and checks that the model's other outputs do not change.
///
/// # Errors
/// [`GraphError::Tensor`] for a tensor that cannot be tapped with these settings, [`GraphError::Changed`] where an output of
/// the model changes in any bit, [`GraphError::Limit`] and [`GraphError::Samples`] for a model that cannot be compared, and
/// [`GraphError::Runtime`] where ONNX Runtime refuses a graph, and [`GraphError::Deadline`] where it takes too long.
pub fn tap(runtime: &OnnxRuntime, graph: &Graph, settings: &TapSettings<'_>) -> Result<Tapped, GraphError> {
    graph.check_tensor(settings.tensor)?;
    let mut original = open(runtime, graph, "original", graph.bytes(), GraphOptimizationLevel::All)?;
    let sampled = sample::plan(graph, original.inputs(), &settings.shapes)?;
    let mut caster = Caster::new(runtime, settings.deadline);
    let (source, shape) = tensor_kind(runtime, graph, settings.tensor, (&sampled, &mut caster))?;
    let mut added = added(graph, settings, source, &shape)?;
    let bytes = graph.with_tap(&added)?;
    let output = added.output();
    let dropped = || {
        graph.refuse(
            settings.tensor,
            "the runtime's optimisation removes this tensor; valid is another tensor".into(),
        )
    };
    // A valid file states the output's type and shape; only the runtime can infer them.
    let bytes = {
        let untyped = open(runtime, graph, "tapped", &bytes, GraphOptimizationLevel::Disable)?;
        let outlet = untyped.outputs().iter().find(|outlet| outlet.name() == output).ok_or_else(dropped)?;
        let ValueType::Tensor { shape: inferred, dimension_symbols, .. } = outlet.dtype() else {
            return Err(graph.refuse(settings.tensor, format!("the tap would be {}", outlet.dtype())));
        };
        let rank = if settings.pool == Pool::None { shape.len() } else { 2 };
        let sizes = if inferred.len() == rank { inferred.to_vec() } else { vec![-1; rank] };
        // The runtime's generated names of free sizes (`unk__…`) are valid only within one session.
        let named = |name: &String| if name.starts_with("unk__") { String::new() } else { name.clone() };
        added.shape = Some((sizes, dimension_symbols.iter().map(named).collect()));
        graph.with_tap(&added)?
    };
    let mut written = open(runtime, graph, "tapped", &bytes, GraphOptimizationLevel::Disable)?;
    let mut tapped = open(runtime, graph, "tapped", &bytes, GraphOptimizationLevel::All)?;
    let kind = {
        let outlet = written.outputs().iter().find(|outlet| outlet.name() == output).ok_or_else(dropped)?;
        outlet.dtype().to_string()
    };
    let names: Vec<String> = original.outputs().iter().map(|outlet| outlet.name().to_owned()).collect();
    let mut generator = ChaCha8Rng::seed_from_u64(0);
    let mut distance = Distance::default();
    for _ in 0..SAMPLES {
        let inputs = caster.sample(graph, &sampled, &mut generator)?;
        let before = caster.run((graph, "original", &sampled), &mut original, &inputs)?;
        let after = caster.run((graph, "tapped", &sampled), &mut tapped, &inputs)?;
        if let Some(changed) = names.iter().find(|name| before.get(*name) != after.get(*name)) {
            return Err(GraphError::Changed { path: graph.path().into(), output: changed.clone() });
        }
        let plain = caster.run((graph, "tapped", &sampled), &mut written, &inputs)?;
        let (Some(one), Some(other)) = (after.get(&output), plain.get(&output)) else {
            return Err(dropped());
        };
        distance.take(one, other).map_err(|reason| graph.refuse(settings.tensor, reason))?;
    }
    let drift = distance.relative();
    let most = settings.max_drift.unwrap_or(match source {
        TensorElementType::Float16 => MAX_DRIFT_OF_HALVES[0],
        TensorElementType::Bfloat16 => MAX_DRIFT_OF_HALVES[1],
        _ => MAX_DRIFT,
    });
    // The comparison is false for NaN, so a drift of NaN fails.
    if drift <= most {
        return Ok(Tapped { sha256: sha256_of(&bytes), bytes, output, kind, unchanged: names, drift });
    }
    let reason = format!(
        "graph optimisation changes it by {drift:.1e} of its largest value; valid is at most {most:.0e}: allow more with \
         --max-drift where the model may be that inexact"
    );
    Err(graph.refuse(settings.tensor, reason))
}

/// Returns element type and shape of a tensor. They are read from the values of one run, as the runtime does not always
/// infer shapes.
fn tensor_kind(
    runtime: &OnnxRuntime,
    graph: &Graph,
    tensor: &str,
    (sampled, caster): (&[Sampled], &mut Caster<'_>),
) -> Result<(TensorElementType, Vec<i64>), GraphError> {
    let returned = graph.tensors().iter().any(|one| one.output && one.name == tensor);
    let bytes = if returned { graph.bytes().to_vec() } else { graph.with_outputs(&[tensor.into()]) };
    let mut session = open(runtime, graph, "original", &bytes, GraphOptimizationLevel::Disable)?;
    let inputs = caster.sample(graph, sampled, &mut ChaCha8Rng::seed_from_u64(0))?;
    let outputs = caster.run((graph, "original", sampled), &mut session, &inputs)?;
    let found = outputs.get(tensor).ok_or_else(|| graph.refuse(tensor, "the runtime drops it".into()))?;
    Ok((found.element, found.shape.clone()))
}

/// Returns the addition that taps a tensor of element type `source` and this shape.
fn added<'a>(
    graph: &Graph,
    settings: &TapSettings<'a>,
    source: TensorElementType,
    shape: &[i64],
) -> Result<Added<'a>, GraphError> {
    let TapSettings { tensor, pool, name, .. } = *settings;
    let cast = match source {
        TensorElementType::Float32 => false,
        TensorElementType::Float64 | TensorElementType::Float16 | TensorElementType::Bfloat16 => true,
        other => {
            let reason = format!(
                "it is {other}{shape:?}; valid is float32, float64, float16 or bfloat16, because a probe reads float32"
            );
            return Err(graph.refuse(tensor, reason));
        }
    };
    if pool != Pool::None && shape.len() != 3 {
        let reason = format!(
            "it is {source}{shape:?}; --pool mean and last need [batch, tokens, width], --pool none takes any shape"
        );
        return Err(graph.refuse(tensor, reason));
    }
    Ok(Added { tensor, pool, name, cast, shape: None })
}

/// Largest difference between two computations of the same tensor, over all samples.
#[derive(Default)]
struct Distance {
    apart: f64,
    largest: f64,
}

impl Distance {
    fn take(&mut self, one: &Answer, other: &Answer) -> Result<(), String> {
        let (Values::Float32(values), Values::Float32(others)) = (&one.values, &other.values) else {
            return Err("found a tap that is not float32".into());
        };
        if one.shape != other.shape {
            return Err(format!("optimisation makes {:?} of its shape {:?}", one.shape, other.shape));
        }
        for (value, other) in values.iter().zip(others) {
            let (value, other) = (f64::from(f32::from_bits(*value)), f64::from(f32::from_bits(*other)));
            if !(value.is_finite() && other.is_finite()) {
                let found = if other.is_finite() { value } else { other };
                return Err(format!("found {found} on a sample; valid are finite numbers"));
            }
            self.apart = self.apart.max((value - other).abs());
            self.largest = self.largest.max(other.abs());
        }
        Ok(())
    }

    fn relative(&self) -> f64 {
        if self.largest > 0.0 { self.apart / self.largest } else { self.apart }
    }
}

fn open(
    runtime: &OnnxRuntime,
    graph: &Graph,
    what: &'static str,
    bytes: &[u8],
    level: GraphOptimizationLevel,
) -> Result<Session, GraphError> {
    cpu_session(runtime, bytes, graph.external(), level).map_err(|error| GraphError::Runtime {
        path: graph.path().into(),
        what,
        reason: gist(&error.to_string()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(values: &[f32]) -> Answer {
        Answer {
            element: TensorElementType::Float32,
            shape: vec![values.len() as i64],
            values: Values::Float32(values.iter().map(|value| value.to_bits()).collect()),
        }
    }

    #[test]
    fn nan_is_no_small_distance() {
        for wrong in [f32::NAN, f32::INFINITY] {
            for (one, other) in [(wrong, 1.0), (1.0, wrong), (wrong, wrong)] {
                let error =
                    Distance::default().take(&answer(&[0.5, one]), &answer(&[0.5, other])).unwrap_err();
                assert!(error.contains("finite numbers"), "{error}");
            }
        }
        let mut distance = Distance::default();
        distance.take(&answer(&[2.0, -4.0]), &answer(&[2.0, -4.5])).unwrap();
        assert!((distance.relative() - 0.5 / 4.5).abs() < 1e-12);
        assert!(distance.take(&answer(&[1.0]), &answer(&[1.0, 1.0])).is_err());
    }
}

//! Activation taps, held against ONNX Runtime: what a graph's tensors look like, and whether a tapped model still says
//! what it said, bit for bit. Inputs are samples from a fixed seed.

use std::collections::BTreeMap;

use ort::session::Session;
use ort::session::builder::GraphOptimizationLevel;
use ort::value::{DynValue, Outlet, Tensor, TensorElementType, ValueType};
use rand::{Rng, RngExt};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use crate::card::sha256;
use crate::graph::{Graph, GraphError, Made, Pool};
use crate::library::OnnxRuntime;
use crate::provider::cpu_session;

/// Samples on which a tapped model is held against the original.
pub const SAMPLES: u32 = 16;
/// How far the tap may be from the same tensor of the graph as written, relative to the largest value: optimisation
/// may add up in another order, and must not put another tensor in its place.
pub const MAX_DRIFT: f64 = 1e-4;

/// A tensor with what the runtime infers of it.
#[derive(Clone, Debug)]
pub struct Inspected {
    /// Which node makes it.
    pub made: Made,
    /// For example `Tensor<f32>(1, 10, 64)`.
    pub kind: String,
}

/// A tapped model.
#[derive(Clone, Debug)]
pub struct Tapped {
    /// The model.
    pub bytes: Vec<u8>,
    /// SHA-256 of it, lower-case hexadecimal.
    pub sha256: String,
    /// The output that the tap made.
    pub output: String,
    /// Its type and shape.
    pub kind: String,
    /// Outputs that were compared bit for bit, on [`SAMPLES`] samples.
    pub unchanged: Vec<String>,
    /// Largest difference between the tap and the same tensor of the graph as written, relative to its largest value.
    pub drift: f64,
}

/// Every tensor that a node makes, with type and shape.
///
/// # Errors
/// What the runtime says against the graph.
pub fn inspect(runtime: &OnnxRuntime, graph: &Graph) -> Result<Vec<Inspected>, GraphError> {
    let tensors = graph.tensors();
    let inner: Vec<String> = tensors.iter().filter(|one| !one.output).map(|one| one.name.clone()).collect();
    let opened =
        open(runtime, graph, "original", &graph.with_outputs(&inner), GraphOptimizationLevel::Disable)?;
    let kind = |name: &str| {
        let found = opened.outputs().iter().find(|outlet| outlet.name() == name);
        found.map_or("unknown".into(), |outlet| outlet.dtype().to_string())
    };
    Ok(tensors.into_iter().map(|made| Inspected { kind: kind(&made.name), made }).collect())
}

/// Makes a tensor an output of its own and shows that nothing else changed.
///
/// # Errors
/// [`GraphError::Tensor`] for a tensor that cannot be tapped so, [`GraphError::Changed`] where an output of the model
/// is not bit for bit what it was, and what the runtime says.
pub fn tap(runtime: &OnnxRuntime, graph: &Graph, tensor: &str, pool: Pool) -> Result<Tapped, GraphError> {
    let refuse =
        |reason: String| GraphError::Tensor { path: graph.path().into(), tensor: tensor.into(), reason };
    let bytes = graph.with_tap(tensor, pool)?;
    // Found out only where it has to be said: it opens the whole graph once more.
    let unfit = || {
        let inspected = inspect(runtime, graph).unwrap_or_default();
        let source = inspected.iter().find(|one| one.made.name == tensor);
        let found = source.map_or("unknown", |one| &one.kind);
        refuse(format!(
            "it is {found}; --pool mean and last need [batch, tokens, width], --pool none takes any shape"
        ))
    };
    let mut written = open(runtime, graph, "tapped", &bytes, GraphOptimizationLevel::Disable)
        .map_err(|error| if pool == Pool::None { error } else { unfit() })?;
    let output = Graph::tap_output(tensor, pool);
    let kind = {
        let outlet = written.outputs().iter().find(|outlet| outlet.name() == output);
        outlet.map(|outlet| outlet.dtype().clone()).ok_or_else(|| refuse("the runtime drops it".into()))?
    };
    let ValueType::Tensor { ty: TensorElementType::Float32, shape, .. } = &kind else {
        return Err(refuse(format!("it is {kind}; a probe reads float32")));
    };
    if pool != Pool::None && shape.len() != 2 {
        return Err(unfit());
    }
    let mut original = open(runtime, graph, "original", graph.bytes(), GraphOptimizationLevel::All)?;
    let mut tapped = open(runtime, graph, "tapped", &bytes, GraphOptimizationLevel::All)?;
    let names: Vec<String> = original.outputs().iter().map(|outlet| outlet.name().to_owned()).collect();
    let mut generator = ChaCha8Rng::seed_from_u64(0);
    let (mut drift, mut largest) = (0.0_f64, 0.0_f64);
    for _ in 0..SAMPLES {
        let inputs = sample(graph, original.inputs(), &mut generator)?;
        let before = run(graph, "original", &mut original, &inputs)?;
        let after = run(graph, "tapped", &mut tapped, &inputs)?;
        if let Some(changed) = names.iter().find(|name| before.get(*name) != after.get(*name)) {
            return Err(GraphError::Changed { path: graph.path().into(), output: changed.clone() });
        }
        let plain = run(graph, "tapped", &mut written, &inputs)?;
        let (Some(Values::F32(one)), Some(Values::F32(other))) = (after.get(&output), plain.get(&output))
        else {
            return Err(refuse("the runtime drops it".into()));
        };
        for (one, other) in one.iter().zip(other) {
            let (one, other) = (f64::from(f32::from_bits(*one)), f64::from(f32::from_bits(*other)));
            drift = drift.max((one - other).abs());
            largest = largest.max(other.abs());
        }
    }
    let drift = if largest > 0.0 { drift / largest } else { drift };
    if drift.is_nan() || drift > MAX_DRIFT {
        let reason =
            format!("optimisation moves it by {drift:.1e} of its largest value, beyond {MAX_DRIFT:.0e}");
        return Err(refuse(reason));
    }
    Ok(Tapped { sha256: sha256(&bytes), bytes, output, kind: kind.to_string(), unchanged: names, drift })
}

fn open(
    runtime: &OnnxRuntime,
    graph: &Graph,
    what: &'static str,
    bytes: &[u8],
    level: GraphOptimizationLevel,
) -> Result<Session, GraphError> {
    cpu_session(runtime, bytes, level).map_err(|error| GraphError::Runtime {
        path: graph.path().into(),
        what,
        reason: error.to_string(),
    })
}

/// A tensor's values; floating point as its bits, so that equal means bit for bit.
#[derive(Clone, Debug, PartialEq)]
enum Values {
    F32(Vec<u32>),
    F64(Vec<u64>),
    I64(Vec<i64>),
    I32(Vec<i32>),
    Bool(Vec<bool>),
}

/// One value for each input: floating point uniform in −1 to 1, integers and truth values 0 or 1, unknown sizes 1.
fn sample(
    graph: &Graph,
    inputs: &[Outlet],
    generator: &mut impl Rng,
) -> Result<Vec<(String, DynValue)>, GraphError> {
    let mut made = Vec::new();
    for input in inputs {
        let unfit = || GraphError::Sample {
            path: graph.path().into(),
            input: input.name().into(),
            found: input.dtype().to_string(),
        };
        let ValueType::Tensor { ty, shape, .. } = input.dtype() else { return Err(unfit()) };
        let shape: Vec<i64> = shape.iter().map(|size| (*size).max(1)).collect();
        let count = shape.iter().product::<i64>();
        let mut real = || (0..count).map(|_| generator.random_range(-1.0_f32..1.0)).collect::<Vec<_>>();
        let value = match ty {
            TensorElementType::Float32 => Tensor::from_array((shape, real())).map(Tensor::into_dyn),
            TensorElementType::Float64 => {
                let values: Vec<f64> = real().into_iter().map(f64::from).collect();
                Tensor::from_array((shape, values)).map(Tensor::into_dyn)
            }
            TensorElementType::Int64 => {
                let values: Vec<i64> = real().into_iter().map(|value| i64::from(value > 0.0)).collect();
                Tensor::from_array((shape, values)).map(Tensor::into_dyn)
            }
            TensorElementType::Int32 => {
                let values: Vec<i32> = real().into_iter().map(|value| i32::from(value > 0.0)).collect();
                Tensor::from_array((shape, values)).map(Tensor::into_dyn)
            }
            TensorElementType::Bool => {
                let values: Vec<bool> = real().into_iter().map(|value| value > 0.0).collect();
                Tensor::from_array((shape, values)).map(Tensor::into_dyn)
            }
            _ => return Err(unfit()),
        };
        made.push((input.name().to_owned(), value.map_err(|_| unfit())?));
    }
    Ok(made)
}

fn run(
    graph: &Graph,
    what: &'static str,
    session: &mut Session,
    inputs: &[(String, DynValue)],
) -> Result<BTreeMap<String, Values>, GraphError> {
    let refuse = |reason: String| GraphError::Runtime { path: graph.path().into(), what, reason };
    let inputs: Vec<(&str, &DynValue)> = inputs.iter().map(|(name, value)| (name.as_str(), value)).collect();
    let outputs = session.run(inputs).map_err(|error| refuse(error.to_string()))?;
    let mut found = BTreeMap::new();
    for (name, value) in outputs.iter() {
        let values = if let Ok((_, values)) = value.try_extract_tensor::<f32>() {
            Values::F32(values.iter().map(|value| value.to_bits()).collect())
        } else if let Ok((_, values)) = value.try_extract_tensor::<f64>() {
            Values::F64(values.iter().map(|value| value.to_bits()).collect())
        } else if let Ok((_, values)) = value.try_extract_tensor::<i64>() {
            Values::I64(values.to_vec())
        } else if let Ok((_, values)) = value.try_extract_tensor::<i32>() {
            Values::I32(values.to_vec())
        } else if let Ok((_, values)) = value.try_extract_tensor::<bool>() {
            Values::Bool(values.to_vec())
        } else {
            return Err(refuse(format!("output {name} is {}, which cannot be compared", value.dtype())));
        };
        found.insert(name.to_owned(), values);
    }
    Ok(found)
}

//! The ONNX Runtime host: loads the library, opens a model under its card, runs it.
//! One thread per session, so that the same observation gives the same bits on any machine of a kind.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use aegis_core::{Activation, Chunk, Inference, Observation, Policy, PolicyError};
use ort::session::Session;
use ort::session::builder::GraphOptimizationLevel;
use ort::value::{TensorElementType, TensorRef, ValueType};

use crate::card::{CardError, ModelCard};
use crate::encode;

/// The loaded ONNX Runtime library; sessions share it.
#[derive(Clone)]
pub struct OnnxRuntime {
    environment: Arc<ort::environment::Environment>,
}

/// A model, its session and its card.
pub struct OnnxPolicy {
    session: Session,
    card: ModelCard,
}

/// Why a model did not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The library is missing or is none.
    #[error("{path}: cannot load ONNX Runtime: {reason}; run `cargo xtask setup`", path = path.display())]
    Library {
        /// The library.
        path: PathBuf,
        /// What the loader said.
        reason: String,
    },
    /// The card or the digest is wrong.
    #[error(transparent)]
    Card(#[from] CardError),
    /// The runtime refuses the graph.
    #[error("{path}: ONNX Runtime refuses the model: {reason}", path = path.display())]
    Model {
        /// The weights.
        path: PathBuf,
        /// What the runtime said.
        reason: String,
    },
    /// The graph lacks a tensor that the card names.
    #[error("{path}: {field}: no {kind} named {found:?}; the graph has {valid}", path = path.display())]
    Tensor {
        /// The card.
        path: PathBuf,
        /// The field of the card.
        field: &'static str,
        /// `input` or `output`.
        kind: &'static str,
        /// The name in the card.
        found: String,
        /// The names in the graph.
        valid: String,
    },
    /// A tensor has another type or shape than the card says.
    #[error("{path}: {field}: the card expects {expected}, the graph has {found}", path = path.display())]
    Shape {
        /// The card.
        path: PathBuf,
        /// The field of the card.
        field: &'static str,
        /// Type and shape in the card.
        expected: String,
        /// Type and shape in the graph.
        found: String,
    },
    /// The first inference failed.
    #[error("{path}: warm-up: {source}", path = path.display())]
    WarmUp {
        /// The weights.
        path: PathBuf,
        /// What went wrong.
        source: PolicyError,
    },
}

impl OnnxRuntime {
    /// Loads the library at `path`, once per process.
    pub fn load(path: &Path) -> Result<Self, OpenError> {
        let library = |reason: String| OpenError::Library { path: path.to_owned(), reason };
        if !path.is_file() {
            return Err(library("no such file".into()));
        }
        let environment = ort::init_from(path)
            .map_err(|error| library(error.to_string()))?
            .with_telemetry(false)
            .build()
            .map_err(|error| library(error.to_string()))?;
        Ok(Self { environment: Arc::new(environment) })
    }
}

impl OnnxPolicy {
    /// Opens the model of a card: digest, names, types and shapes are checked here, never at step 1,000.
    pub fn open(runtime: &OnnxRuntime, card_path: &Path) -> Result<Self, OpenError> {
        let card = ModelCard::load(card_path)?;
        let weights = card.weights()?;
        let session = session(runtime, &weights, GraphOptimizationLevel::All)
            .map_err(|error| OpenError::Model { path: card.weights_path(), reason: error.to_string() })?;
        check_graph(&session, &card)?;
        let mut policy = Self { session, card };
        // A cold start must not be taken for a slow policy.
        policy
            .run(&vec![0.0; encode::WIDTH])
            .map_err(|source| OpenError::WarmUp { path: policy.card.weights_path(), source })?;
        Ok(policy)
    }

    /// The model's card.
    pub fn card(&self) -> &ModelCard {
        &self.card
    }

    /// Runs one encoded observation, `[width]`.
    fn run(&mut self, vector: &[f32]) -> Result<Inference, PolicyError> {
        let backend = |error: ort::Error| PolicyError::Backend(error.to_string());
        let input = TensorRef::from_array_view(([1, vector.len()], vector)).map_err(backend)?;
        let outputs = self
            .session
            .run(ort::inputs![self.card.observation.tensor.as_str() => input])
            .map_err(backend)?;
        let values = |name: &str| -> Result<Vec<f32>, PolicyError> {
            let tensor =
                outputs.get(name).ok_or_else(|| PolicyError::Backend(format!("no output {name}")))?;
            Ok(tensor.try_extract_tensor::<f32>().map_err(backend)?.1.to_vec())
        };
        let chunk = Chunk::new(self.card.chunk.width, values(&self.card.chunk.tensor)?)?;
        let activation = match &self.card.activation {
            Some(spec) => Some(Activation::new(spec.width, values(&spec.tensor)?)?),
            None => None,
        };
        Ok(Inference { chunk, activation })
    }
}

impl Policy for OnnxPolicy {
    fn infer(&mut self, observation: &Observation) -> Result<Inference, PolicyError> {
        let vector = encode::encode(observation)?;
        self.run(&vector)
    }
}

pub(crate) fn session(
    runtime: &OnnxRuntime,
    weights: &[u8],
    level: GraphOptimizationLevel,
) -> ort::Result<Session> {
    Session::builder(&runtime.environment)?
        .with_intra_threads(1)?
        .with_inter_threads(1)?
        .with_deterministic_compute(true)?
        .with_optimization_level(level)?
        .commit_from_memory(weights)
}

fn check_graph(session: &Session, card: &ModelCard) -> Result<(), OpenError> {
    let int = |value: usize| value as i64;
    let (observation, chunk) = (&card.observation, &card.chunk);
    check_tensor(
        card,
        session.inputs(),
        "observation.tensor",
        "input",
        &observation.tensor,
        &[1, int(observation.width)],
    )?;
    check_tensor(
        card,
        session.outputs(),
        "chunk.tensor",
        "output",
        &chunk.tensor,
        &[1, int(chunk.horizon), int(chunk.width)],
    )?;
    if let Some(spec) = &card.activation {
        check_tensor(
            card,
            session.outputs(),
            "activation.tensor",
            "output",
            &spec.tensor,
            &[1, int(spec.tokens), int(spec.width)],
        )?;
    }
    Ok(())
}

fn check_tensor(
    card: &ModelCard,
    outlets: &[ort::value::Outlet],
    field: &'static str,
    kind: &'static str,
    name: &str,
    shape: &[i64],
) -> Result<(), OpenError> {
    let outlet = outlets.iter().find(|outlet| outlet.name() == name).ok_or_else(|| OpenError::Tensor {
        path: card.path.clone(),
        field,
        kind,
        found: name.to_owned(),
        valid: outlets.iter().map(|outlet| outlet.name()).collect::<Vec<_>>().join(", "),
    })?;
    match outlet.dtype() {
        ValueType::Tensor { ty: TensorElementType::Float32, shape: found, .. } if **found == *shape => Ok(()),
        found => Err(OpenError::Shape {
            path: card.path.clone(),
            field,
            expected: format!("float32{shape:?}"),
            found: found.to_string(),
        }),
    }
}

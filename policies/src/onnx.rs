//! A policy on ONNX Runtime: opens a model under its card, runs it, and keeps to a deadline.
//! One thread per session by default, so that the same observation gives the same bits on any machine of a kind.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aegis_core::{Activation, Chunk, Inference, Observation, Policy, PolicyError};
use ort::session::{RunOptions, Session};
use ort::value::{Outlet, TensorElementType, ValueType};

use crate::binding::{Binding, TensorSpec, backend};
use crate::card::ModelCard;
use crate::deadline::{Interrupt, Watchdog};
use crate::encode;
use crate::host::Provider;
use crate::library::{OnnxRuntime, OpenError};
use crate::provider::{self, Selected};

/// Places in the lists of bound tensors.
const OBSERVATION: usize = 0;
const CHUNK: usize = 0;
const ACTIVATION: usize = 1;

/// A model, its session and its card.
pub struct OnnxPolicy {
    card: ModelCard,
    selected: Selected,
    session: Session,
    binding: Binding,
    options: Arc<RunOptions>,
    deadline: Option<Duration>,
    /// There from the first deadline on.
    watchdog: Option<Watchdog<RunOptions>>,
    /// The encoded observation; kept so that an inference allocates nothing for it.
    vector: Vec<f32>,
    /// An inference was interrupted on a device that may still be writing its answer.
    spent: bool,
}

impl Interrupt for RunOptions {
    fn interrupt(&self) {
        // It fails only without run options, which are held here.
        let _ = self.terminate();
    }
}

impl OnnxPolicy {
    /// Opens the model of a card: digest, names, types and shapes are checked here, never at step 1,000.
    ///
    /// # Errors
    /// [`OpenError`] for the card, the weights, the graph, or a provider that does not start. With provider `auto` the
    /// next one is tried, and the processor's error is the one returned.
    pub fn open(runtime: &OnnxRuntime, card_path: &Path) -> Result<Self, OpenError> {
        let card = ModelCard::load(card_path)?;
        let weights = card.weights()?;
        let candidates = runtime.settings().provider.candidates();
        let mut passed_over = Vec::new();
        for (index, provider) in candidates.iter().enumerate() {
            match Self::start(runtime, &card, &weights, *provider) {
                Ok(mut policy) => {
                    policy.selected.passed_over = passed_over;
                    return Ok(policy);
                }
                Err(error) if index + 1 == candidates.len() => return Err(error),
                Err(OpenError::Provider { reason, .. }) => passed_over.push((*provider, reason)),
                Err(error) => passed_over.push((*provider, error.to_string())),
            }
        }
        Err(OpenError::Model { path: card.weights_path(), reason: "no provider to try".into() })
    }

    fn start(
        runtime: &OnnxRuntime,
        card: &ModelCard,
        weights: &[u8],
        provider: Provider,
    ) -> Result<Self, OpenError> {
        let refused = |reason| OpenError::Model { path: card.weights_path(), reason };
        let session = provider::open(runtime, weights, provider, refused)?;
        let (inputs, outputs) = bound_tensors(&session, card)?;
        let binding = Binding::new(&session, &inputs, &outputs, provider != Provider::Cpu)
            .map_err(|error| refused(error.to_string()))?;
        let options = RunOptions::new().map_err(|error| refused(error.to_string()))?;
        let mut policy = Self {
            card: card.clone(),
            selected: Selected { provider, passed_over: Vec::new() },
            session,
            binding,
            options: Arc::new(options),
            deadline: None,
            watchdog: None,
            vector: Vec::with_capacity(encode::WIDTH),
            spent: false,
        };
        // A cold start must not be taken for a slow policy; so no deadline holds yet.
        let warm_up = |source| OpenError::WarmUp { path: card.weights_path(), source };
        for _ in 0..runtime.settings().warm_up {
            policy.infer_vector(&[0.0; encode::WIDTH]).map_err(warm_up)?;
        }
        policy.set_deadline(runtime.settings().deadline()).map_err(warm_up)?;
        Ok(policy)
    }

    /// The model's card.
    pub fn card(&self) -> &ModelCard {
        &self.card
    }

    /// What runs the model, and why not what else was asked for.
    pub fn provider(&self) -> &Selected {
        &self.selected
    }

    /// How long each inference may take from now on.
    ///
    /// # Errors
    /// [`PolicyError::Backend`] where the system gives no thread to watch with.
    pub fn set_deadline(&mut self, limit: Option<Duration>) -> Result<(), PolicyError> {
        if limit.is_some() && self.watchdog.is_none() {
            let started = Watchdog::start();
            self.watchdog =
                Some(started.map_err(|error| PolicyError::Backend(format!("deadline: {error}")))?);
        }
        self.deadline = limit;
        Ok(())
    }

    /// Runs one encoded observation, `[encode::WIDTH]`.
    ///
    /// # Errors
    /// [`PolicyError::Deadline`] where the answer did not come in time; it is thrown away even if it came later.
    pub fn infer_vector(&mut self, vector: &[f32]) -> Result<Inference, PolicyError> {
        if self.spent {
            let what =
                "an inference was interrupted on the device, so the session is spent; open the policy again";
            return Err(PolicyError::Backend(what.into()));
        }
        self.binding.write(OBSERVATION, vector)?;
        self.run()?;
        let chunk = Chunk::new(self.card.chunk.width, self.binding.read(CHUNK)?.to_vec())?;
        let activation = match &self.card.activation {
            Some(spec) => Some(Activation::new(spec.width, self.binding.read(ACTIVATION)?.to_vec())?),
            None => None,
        };
        Ok(Inference { chunk, activation })
    }

    fn run(&mut self) -> Result<(), PolicyError> {
        let (Some(limit), Some(watchdog)) = (self.deadline, &self.watchdog) else {
            return self.binding.run(&mut self.session, &self.options).map_err(backend);
        };
        let begun = Instant::now();
        watchdog.arm(begun + limit, &self.options);
        let ran = self.binding.run(&mut self.session, &self.options);
        let interrupted = watchdog.disarm();
        let elapsed = begun.elapsed();
        if interrupted {
            // The flag stays up in the old options. On the processor the run is over when it returns; a device may
            // still be at work, and the next read could be this answer.
            self.options = Arc::new(RunOptions::new().map_err(backend)?);
            self.spent = self.selected.provider != Provider::Cpu;
        }
        if interrupted || elapsed > limit {
            return Err(PolicyError::Deadline { limit, elapsed });
        }
        ran.map_err(backend)
    }
}

impl Policy for OnnxPolicy {
    fn infer(&mut self, observation: &Observation) -> Result<Inference, PolicyError> {
        let mut vector = std::mem::take(&mut self.vector);
        let inference =
            encode::encode_into(observation, &mut vector).and_then(|()| self.infer_vector(&vector));
        self.vector = vector;
        inference
    }
}

type Bindable<'a> = (Vec<TensorSpec<'a>>, Vec<TensorSpec<'a>>);

/// The tensors that the card names, held against the graph, in the order of the places above.
fn bound_tensors<'a>(session: &Session, card: &'a ModelCard) -> Result<Bindable<'a>, OpenError> {
    let int = |value: usize| value as i64;
    let (observation, chunk) = (&card.observation, &card.chunk);
    let shape = vec![1, int(observation.width)];
    let tensor = ("observation.tensor", "input", observation.tensor.as_str());
    let inputs = vec![check_tensor(card, session.inputs(), tensor, vec![shape])?];
    let shape = vec![1, int(chunk.horizon), int(chunk.width)];
    let tensor = ("chunk.tensor", "output", chunk.tensor.as_str());
    let mut outputs = vec![check_tensor(card, session.outputs(), tensor, vec![shape])?];
    if let Some(spec) = &card.activation {
        let mut shapes = vec![vec![1, int(spec.tokens), int(spec.width)]];
        if spec.tokens == 1 {
            // Pooled within the graph, as `aegis model tap` does it.
            shapes.push(vec![1, int(spec.width)]);
        }
        let tensor = ("activation.tensor", "output", spec.tensor.as_str());
        outputs.push(check_tensor(card, session.outputs(), tensor, shapes)?);
    }
    Ok((inputs, outputs))
}

/// The tensor as the graph has it, if that is `float32` of one of these shapes.
fn check_tensor<'a>(
    card: &ModelCard,
    outlets: &[Outlet],
    (field, kind, name): (&'static str, &'static str, &'a str),
    shapes: Vec<Vec<i64>>,
) -> Result<TensorSpec<'a>, OpenError> {
    let outlet = outlets.iter().find(|outlet| outlet.name() == name).ok_or_else(|| OpenError::Tensor {
        path: card.path.clone(),
        field,
        kind,
        found: name.to_owned(),
        valid: outlets.iter().map(|outlet| outlet.name()).collect::<Vec<_>>().join(", "),
    })?;
    let expected = || shapes.iter().map(|shape| format!("float32{shape:?}")).collect::<Vec<_>>().join(" or ");
    if let ValueType::Tensor { ty: TensorElementType::Float32, shape: found, .. } = outlet.dtype()
        && let Some(shape) = shapes.iter().find(|shape| ***shape == **found)
    {
        return Ok(TensorSpec { name, kind: TensorElementType::Float32, shape: shape.clone() });
    }
    Err(OpenError::Shape {
        path: card.path.clone(),
        field,
        expected: expected(),
        found: outlet.dtype().to_string(),
    })
}

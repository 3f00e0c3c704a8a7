//! A policy on ONNX Runtime: opens a model as its card describes it, runs inferences, and enforces a deadline.
//! A session has one thread by default, so the same observation gives the same bits on all machines of a kind.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aegis_core::{Activation, Chunk, Frame, Inference, Observation, Policy, PolicyError};
use ort::session::{RunOptions, Session};

use crate::binding::{Binding, backend};
use crate::card::{FrameSpec, ModelCard, Weights};
use crate::deadline::{Interrupt, Watchdog};
use crate::node_assignment::{NodeAssignment, Profile, elsewhere};
use crate::provider::{self, Selected};
use crate::runtime::{OnnxRuntime, OpenError};
use crate::session_options::{Provider, ProviderChoice};
use crate::signature::bound_tensors;

/// Indices in the lists of bound inputs and outputs.
const OBSERVATION: usize = 0;
const FIRST_FRAME: usize = 1;
const CHUNK: usize = 0;
const ACTIVATION: usize = 1;

/// A policy: a model with its session and its card.
pub struct OnnxPolicy {
    card: ModelCard,
    selected: Selected,
    session: Session,
    binding: Binding,
    options: Arc<RunOptions>,
    deadline: Option<Duration>,
    /// The watchdog, started when the first deadline is set.
    watchdog: Option<Watchdog<RunOptions>>,
    /// Buffer of the encoded observation, kept so that an inference does not allocate it.
    vector: Vec<f32>,
    /// Whether an inference was interrupted on a device, which may still be writing its result.
    spent: bool,
}

impl Interrupt for RunOptions {
    fn interrupt(&self) {
        // `terminate` fails only without run options, and `self` holds them.
        let _ = self.terminate();
    }
}

impl OnnxPolicy {
    /// Opens the model of a card. Digests, names, types and shapes are checked here, so none of them can fail later.
    ///
    /// # Errors
    /// [`OpenError`] for the card, the weights, the graph, or a provider that does not start. With provider `auto`, the next
    /// provider is tried after an error; only the error of the processor, which is the last, is returned.
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
        weights: &Weights,
        provider: Provider,
    ) -> Result<Self, OpenError> {
        let profile = (provider != Provider::Cpu).then(Profile::new);
        let (mut policy, nodes) = Self::begin(runtime, card, weights, provider, profile)?;
        if let Some(nodes) = nodes {
            let elsewhere = elsewhere(&nodes, provider);
            if runtime.settings().provider != ProviderChoice::Auto && !elsewhere.is_empty() {
                return Err(OpenError::Placement { path: card.weights_path(), provider, nodes: elsewhere });
            }
            policy.selected.elsewhere = elsewhere;
        }
        Ok(policy)
    }

    /// Returns the provider of each node of a card's graph, opened on the processor. [`Self::open`] checks the same on a GPU.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn placement(runtime: &OnnxRuntime, card_path: &Path) -> Result<Vec<NodeAssignment>, OpenError> {
        let card = ModelCard::load(card_path)?;
        let weights = card.weights()?;
        let (_, nodes) = Self::begin(runtime, &card, &weights, Provider::Cpu, Some(Profile::new()))?;
        Ok(nodes.unwrap_or_default())
    }

    /// Opens and warms up a policy on one provider. Also returns the provider of each node, if there is a `profile`.
    fn begin(
        runtime: &OnnxRuntime,
        card: &ModelCard,
        weights: &Weights,
        provider: Provider,
        profile: Option<Profile>,
    ) -> Result<(Self, Option<Vec<NodeAssignment>>), OpenError> {
        let refused = |reason| OpenError::Model { path: card.weights_path(), reason };
        let session = provider::open(runtime, weights, provider, profile.as_ref(), refused)?;
        let (inputs, outputs) = bound_tensors(&session, card)?;
        let binding = Binding::new(&session, &inputs, &outputs, provider != Provider::Cpu)
            .map_err(|error| refused(error.to_string()))?;
        let options = RunOptions::new().map_err(|error| refused(error.to_string()))?;
        let mut policy = Self {
            card: card.clone(),
            selected: Selected { provider, passed_over: Vec::new(), elsewhere: Vec::new() },
            session,
            binding,
            options: Arc::new(options),
            deadline: None,
            watchdog: None,
            vector: Vec::with_capacity(card.observation.width),
            spent: false,
        };
        // The first inferences are slow, so no deadline is set during the warm-up.
        let warm_up = |source| OpenError::WarmUp { path: card.weights_path(), source };
        let (vector, frames) = (vec![0.0; card.observation.width], black(&card.frames));
        // A profile needs at least one inference.
        let runs = runtime.settings().warm_up.max(u32::from(profile.is_some()));
        let warm = (0..runs).try_for_each(|_| policy.infer_encoded(&vector, &frames).map(drop));
        let nodes = profile.map(|profile| profile.end(&mut policy.session));
        warm.map_err(warm_up)?;
        policy.set_deadline(runtime.settings().deadline()).map_err(warm_up)?;
        Ok((policy, nodes.transpose().map_err(refused)?))
    }

    /// Returns the model's card.
    pub fn card(&self) -> &ModelCard {
        &self.card
    }

    /// Returns the provider that runs the model, and why the providers before it could not be used.
    pub fn provider(&self) -> &Selected {
        &self.selected
    }

    /// Sets the deadline of all further inferences; `None` means no limit.
    ///
    /// # Errors
    /// [`PolicyError::Backend`] where the watchdog's thread cannot be started.
    pub fn set_deadline(&mut self, limit: Option<Duration>) -> Result<(), PolicyError> {
        if limit.is_some() && self.watchdog.is_none() {
            let started = Watchdog::start();
            self.watchdog =
                Some(started.map_err(|error| PolicyError::Backend(format!("deadline: {error}")))?);
        }
        self.deadline = limit;
        Ok(())
    }

    /// Runs an inference on an encoded observation: `vector` in the card's layout, and `frames`, which must include the pictures
    /// that the card names.
    ///
    /// # Errors
    /// [`PolicyError::Observation`] where a picture is missing, [`PolicyError::Shape`] where `vector` or a picture has another
    /// size, [`PolicyError::Deadline`] where the inference took longer than the deadline (a late result is discarded), and
    /// [`PolicyError::Backend`] where the runtime fails or an inference was interrupted on a device before.
    pub fn infer_encoded(&mut self, vector: &[f32], frames: &[Frame]) -> Result<Inference, PolicyError> {
        if self.spent {
            let what =
                "an inference was interrupted on the device, so the session is spent; open the policy again";
            return Err(PolicyError::Backend(what.into()));
        }
        self.binding.write(OBSERVATION, vector)?;
        for (place, spec) in self.card.frames.iter().enumerate() {
            self.binding.write(FIRST_FRAME + place, &picture(spec, frames)?.rgb)?;
        }
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
            // The old options keep their termination flag. On the processor the run has ended when it returns; a device
            // may still be running, and a later read could return the result of this inference.
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
        let encoded = self.card.observation.layout.encode_into(observation, &mut vector);
        let inference = encoded.and_then(|()| self.infer_encoded(&vector, &observation.frames));
        self.vector = vector;
        inference
    }

    fn reads_frames(&self) -> bool {
        !self.card.frames.is_empty()
    }
}

/// Returns the picture of the camera that `spec` names, and checks its size.
fn picture<'a>(spec: &FrameSpec, frames: &'a [Frame]) -> Result<&'a Frame, PolicyError> {
    let FrameSpec { camera, height, width, .. } = spec;
    let found = frames.iter().find(|frame| *frame.camera == **camera).ok_or_else(|| {
        let seen = frames.iter().map(|frame| &*frame.camera).collect::<Vec<_>>().join(", ");
        let seen = if seen.is_empty() { "no pictures".into() } else { seen };
        PolicyError::Observation(format!("the picture of camera {camera} is missing; the plant shows {seen}"))
    })?;
    if (found.height, found.width) != (*height, *width) {
        return Err(PolicyError::Shape {
            what: format!("picture of camera {camera}"),
            expected: format!("{width}×{height} pixels"),
            found: format!("{}×{} pixels", found.width, found.height),
        });
    }
    Ok(found)
}

/// Returns black pictures for the warm-up.
fn black(specs: &[FrameSpec]) -> Vec<Frame> {
    let frame = |FrameSpec { camera, height, width, .. }: &FrameSpec| Frame {
        camera: camera.as_str().into(),
        width: *width,
        height: *height,
        rgb: vec![0; 3 * *width as usize * *height as usize],
    };
    specs.iter().map(frame).collect()
}

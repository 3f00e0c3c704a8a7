//! A policy on ONNX Runtime: opens a model as its card describes it, runs inferences, and enforces a deadline.
//! A session has one thread by default, so the same observation gives the same bits on all machines of a kind.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aegis_core::{Executing, Frame, Inference, Observation, Policy, PolicyError, Schema};
use ort::session::{RunOptions, Session};
use ort::value::TensorElementType;

use crate::binding::{Binding, backend};
use crate::card::{ModelCard, Weights};
use crate::deadline::{Interrupt, Watchdog};
use crate::filler::Filler;
use crate::image::Picture;
use crate::inputs::{ConstantInput, Input};
use crate::node_assignment::{NodeAssignment, Profile, elsewhere};
use crate::outputs::Outputs;
use crate::prefix::Prefix;
use crate::provider::{self, Selected};
use crate::runtime::{OnnxRuntime, OpenError};
use crate::session_options::{Provider, ProviderChoice};
use crate::signature::bound_tensors;
use crate::tokens::Vocabulary;

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
    outputs: Outputs,
    /// Filler of each input, bound to `schema`; empty before the first plant.
    fillers: Vec<Filler>,
    schema: Option<Arc<Schema>>,
    /// Tokenizer of each input that has one.
    tokenizers: Vec<Option<Vocabulary>>,
    /// Seed of the episode's noise.
    seed: u64,
    /// Earlier chunks, for a model that reads the rest of the executed one.
    prefix: Option<Prefix>,
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
        Self::open_with(runtime, card_path, None)
    }

    /// Opens the model of a card as [`Self::open`] does. Every inference, also of the warm-up, has this deadline, so that an endless
    /// graph is detected.
    ///
    /// # Errors
    /// As [`Self::open`], and [`OpenError::WarmUp`] with [`PolicyError::Deadline`] for a first inference that takes longer.
    pub fn open_within(runtime: &OnnxRuntime, card_path: &Path, limit: Duration) -> Result<Self, OpenError> {
        Self::open_with(runtime, card_path, Some(limit))
    }

    fn open_with(
        runtime: &OnnxRuntime,
        card_path: &Path,
        limit: Option<Duration>,
    ) -> Result<Self, OpenError> {
        let card = ModelCard::load(card_path)?;
        let weights = card.weights()?;
        let candidates = runtime.settings().provider.candidates();
        let mut passed_over = Vec::new();
        for (index, provider) in candidates.iter().enumerate() {
            match Self::start(runtime, &card, &weights, *provider, limit) {
                Ok(mut policy) => {
                    policy.selected.passed_over = passed_over;
                    return Ok(policy);
                }
                Err(error) if index + 1 == candidates.len() => return Err(error),
                Err(OpenError::Provider { reason, .. }) => passed_over.push((*provider, reason)),
                Err(error) => passed_over.push((*provider, error.to_string())),
            }
        }
        Err(OpenError::Model { path: card.weights_path(), reason: "found no provider to try".into() })
    }

    fn start(
        runtime: &OnnxRuntime,
        card: &ModelCard,
        weights: &Weights,
        provider: Provider,
        limit: Option<Duration>,
    ) -> Result<Self, OpenError> {
        let profile = (provider != Provider::Cpu).then(Profile::new);
        let (mut policy, nodes) = Self::begin(runtime, card, weights, provider, (profile, limit))?;
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
        let profile = (Some(Profile::new()), None);
        let (_, nodes) = Self::begin(runtime, &card, &weights, Provider::Cpu, profile)?;
        Ok(nodes.unwrap_or_default())
    }

    /// Opens and warms up a policy on one provider. Also returns the provider of each node, if there is a `profile`. With a
    /// `limit`, every inference has that deadline; without one, those after the warm-up have the deadline of the settings.
    fn begin(
        runtime: &OnnxRuntime,
        card: &ModelCard,
        weights: &Weights,
        provider: Provider,
        (profile, limit): (Option<Profile>, Option<Duration>),
    ) -> Result<(Self, Option<Vec<NodeAssignment>>), OpenError> {
        let refused = |reason| OpenError::Model { path: card.weights_path(), reason };
        let session = provider::open(runtime, weights, provider, profile.as_ref(), refused)?;
        let (inputs, outputs) = bound_tensors(&session, card, &weights.model)?;
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
            outputs: Outputs::new(card, &outputs),
            fillers: Vec::new(),
            schema: None,
            tokenizers: card.tokenizers()?,
            seed: 0,
            prefix: card
                .inputs
                .iter()
                .any(|input| matches!(input, Input::Prefix(_)))
                .then(|| Prefix::new(card.chunk.width, card.chunk.skip)),
            spent: false,
        };
        let warm_up = |source| OpenError::WarmUp { path: card.weights_path(), source };
        // The first inferences are slow, so the deadline of the settings is not set during the warm-up.
        policy.set_deadline(limit).map_err(warm_up)?;
        policy.write_first().map_err(warm_up)?;
        // A profile needs at least one inference.
        let runs = runtime.settings().warm_up.max(u32::from(profile.is_some()));
        let warm = (0..runs)
            .try_for_each(|_| policy.run().and_then(|()| policy.outputs.read(&policy.binding)).map(drop));
        let nodes = profile.map(|profile| profile.end(&mut policy.session));
        warm.map_err(warm_up)?;
        policy.set_deadline(limit.or(runtime.settings().deadline())).map_err(warm_up)?;
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

    /// Writes every input once: its constant, or zeros.
    fn write_first(&mut self) -> Result<(), PolicyError> {
        for (index, input) in self.card.inputs.iter().enumerate() {
            let len = self.binding.len(index);
            match input {
                Input::Constant(ConstantInput { value, .. }) => {
                    self.binding.write(index, (0..len).map(|component| value.at(component)))?;
                }
                _ => self.binding.write(index, (0..len).map(|_| 0.0))?,
            }
        }
        Ok(())
    }

    /// Runs an inference on an encoded observation: `vector` for the card's first vector, and `frames`, which must include the
    /// pictures that the card names. Other inputs keep what was written last.
    ///
    /// # Errors
    /// [`PolicyError::Observation`] where a picture is missing, [`PolicyError::Shape`] where `vector` or a picture has another
    /// size, [`PolicyError::Deadline`] where the inference took longer than the deadline (a late result is discarded), and
    /// [`PolicyError::Backend`] where the runtime fails or an inference was interrupted on a device before.
    pub fn infer_encoded(&mut self, vector: &[f32], frames: &[Frame]) -> Result<Inference, PolicyError> {
        self.check_spent()?;
        if let Some(index) = self.card.inputs.iter().position(|input| matches!(input, Input::Vector(_))) {
            self.binding.write(index, vector.iter().map(|value| f64::from(*value)))?;
        }
        for (index, input) in self.card.inputs.iter().enumerate() {
            if let Input::Image(image) = input {
                let as_bytes = self.binding.kind(index) == Some(TensorElementType::Uint8);
                Picture::new(image, as_bytes).fill(&mut self.binding, index, frames)?;
            }
        }
        self.run()?;
        self.outputs.read(&self.binding)
    }

    /// Returns the values of every input tensor for an observation, without an inference.
    ///
    /// # Errors
    /// [`PolicyError`] for an observation that lacks a feature or picture of the policy.
    pub fn encode(&mut self, observation: &Observation) -> Result<Vec<Vec<f64>>, PolicyError> {
        self.bind(&observation.schema)?;
        self.fill(observation)?;
        self.written()
    }

    /// Fills every input from an observation. An error names the card and the field.
    fn fill(&mut self, observation: &Observation) -> Result<(), PolicyError> {
        let place = self.card.inputs.iter().position(|input| matches!(input, Input::Prefix(_)));
        let room = place.map_or(0, |index| self.binding.len(index));
        let prefix = self.prefix.as_ref().map_or(&[][..], Prefix::rest);
        let prefix = (&prefix[..prefix.len().min(room)], self.card.chunk.width);
        for (index, filler) in self.fillers.iter_mut().enumerate() {
            let filled = filler.fill(&mut self.binding, index, observation, self.seed, prefix);
            filled.map_err(|error| match error {
                PolicyError::Observation(reason) => {
                    let (card, place) = (self.card.path.display(), self.card.place(index));
                    let joint = if reason.starts_with("terms[") { "." } else { ": " };
                    PolicyError::Observation(format!("{card}: {place}{joint}{reason}"))
                }
                other => other,
            })?;
        }
        Ok(())
    }

    /// Returns the tokens of an instruction as text, for the input of tokens with this tensor.
    ///
    /// # Errors
    /// [`PolicyError::Observation`] where the tokenizer refuses the instruction.
    pub fn tokens(&self, tensor: &str, instruction: &str) -> Result<String, PolicyError> {
        let of = |(index, input): (usize, &Input)| {
            input.tokens().filter(|tokens| tokens.tensor == tensor).map(|tokens| (index, tokens.clone()))
        };
        let Some((index, spec)) = self.card.inputs.iter().enumerate().find_map(of) else {
            return Ok(String::new());
        };
        let Some(vocabulary) = &self.tokenizers[index] else { return Ok(String::new()) };
        vocabulary.shown(&spec, instruction)
    }

    /// Returns the values that were written last to every input tensor, in the order of the card.
    ///
    /// # Errors
    /// [`PolicyError::Backend`] where the runtime fails.
    pub fn written(&self) -> Result<Vec<Vec<f64>>, PolicyError> {
        (0..self.card.inputs.len()).map(|index| self.binding.written(index)).collect()
    }

    /// Runs the graph on these values of its input tensors, in the order of the card, and returns the graph's own chunk: every action,
    /// before the card's scale, clip and order.
    ///
    /// # Errors
    /// [`PolicyError::Shape`] for a tensor of another size, and [`PolicyError`] of the inference.
    pub fn respond(&mut self, tensors: &[Vec<f64>]) -> Result<Vec<f64>, PolicyError> {
        self.check_spent()?;
        for (index, tensor) in tensors.iter().enumerate() {
            self.binding.write(index, tensor.iter().copied())?;
        }
        self.run()?;
        self.outputs.raw(&self.binding)
    }

    fn check_spent(&self) -> Result<(), PolicyError> {
        if !self.spent {
            return Ok(());
        }
        let what = "an inference was interrupted on the device, so the session cannot be used again; open the policy again";
        Err(PolicyError::Backend(what.into()))
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
    fn bind(&mut self, schema: &Arc<Schema>) -> Result<(), PolicyError> {
        if self.schema.as_ref().is_some_and(|known| Arc::ptr_eq(known, schema)) {
            return Ok(());
        }
        if self.schema.as_deref() == Some(&**schema) {
            self.schema = Some(Arc::clone(schema));
            return Ok(());
        }
        let refused = |place: String, reason: String| {
            let card = self.card.path.display();
            PolicyError::Observation(format!("{card}: {place}: {reason}"))
        };
        let mut fed_back = self.outputs.first_state();
        let mut fillers = Vec::with_capacity(self.card.inputs.len());
        for (index, input) in self.card.inputs.iter().enumerate() {
            let tensor = (self.binding.len(index), self.binding.kind(index));
            let tokens = match input {
                Input::Tokens(spec) => Some((index, spec)),
                Input::Mask(mask) => self.card.tokens_of(mask),
                _ => None,
            };
            let tokens = tokens.and_then(|(index, spec)| Some((spec, self.tokenizers[index].as_ref()?)));
            let filler = Filler::bind(input, index, schema, tensor, fed_back, tokens);
            fillers.push(filler.map_err(|reason| refused(self.card.place(index), reason))?);
            fed_back += usize::from(matches!(input, Input::State(_)));
        }
        let order = Outputs::order(&self.card.chunk, schema);
        let order = order.map_err(|reason| refused("chunk".into(), reason))?;
        self.outputs.set_order(order);
        self.fillers = fillers;
        self.schema = Some(Arc::clone(schema));
        Ok(())
    }

    fn begin(&mut self, seed: u64) {
        self.seed = seed;
        self.fillers.iter_mut().for_each(Filler::begin);
        if let Some(prefix) = &mut self.prefix {
            prefix.begin();
        }
    }

    fn remembers(&self) -> bool {
        self.card.inputs.iter().any(Input::remembers)
    }

    fn set_executing(&mut self, executing: Option<Executing>) {
        if let Some(prefix) = &mut self.prefix {
            prefix.set_executing(executing);
        }
    }

    fn infer(&mut self, observation: &Observation) -> Result<Inference, PolicyError> {
        self.check_spent()?;
        self.bind(&observation.schema)?;
        self.fill(observation)?;
        self.run()?;
        let inference = self.outputs.read(&self.binding)?;
        self.fillers.iter_mut().try_for_each(|filler| filler.keep(&self.binding))?;
        if let Some(prefix) = &mut self.prefix {
            prefix.keep(self.outputs.raw(&self.binding)?);
        }
        Ok(inference)
    }

    fn reads_frames(&self) -> bool {
        self.card.images().next().is_some()
    }
}

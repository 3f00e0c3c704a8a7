//! Inference of a policy on its own thread, with numbered requests, and replies through a wait-free buffer.
//! Each inference reads the newest observation at its beginning, and the reply names that observation.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{JoinHandle, Thread};
use std::time::{Duration, Instant};

use aegis_core::control::{ChunkInExecution, NoProposal, Proposal, Reply};
use aegis_core::probe::HeadsMemory;
use aegis_core::{Executing, Heads, Observation, Policy, PolicyError};

use crate::answered::Answered;

/// Number of warm-up inferences before an episode, whose results are discarded: the first inferences of a session are slow.
const WARM_UP: usize = 3;
/// Poll interval at which an idle thread checks whether it should end.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// Snapshot: an observation with its episode, sequence number and time.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Episode of the observation.
    pub episode: u64,
    /// Sequence number: the plant's control steps since the reset.
    pub sequence: u32,
    /// The observation.
    pub observation: Arc<Observation>,
    /// Time at which the observation was taken, on the run's clock; where the plant's clock is not known, the time of
    /// arrival.
    pub taken: Duration,
}

/// Inference output: chunk and score.
#[derive(Clone, Debug, Default)]
pub struct InferenceOutput {
    /// Values per action.
    pub width: usize,
    /// Actions, row-major `[horizon, width]`.
    pub values: Vec<f32>,
    /// Score of the probe; NaN without a probe.
    pub score: f64,
    /// Predicted benefit of a hold; `None` without a benefit head.
    pub benefit: Option<f64>,
}

/// Inferencer: a policy with the scoring of its activations.
pub trait Inferencer {
    /// Resets the state for a new episode.
    fn begin(&mut self);

    /// Runs an inference and discards the result, so that the next inference is fast.
    fn warm_up(&mut self, observation: &Observation);

    /// States which of the policy's chunks is executed during the next inference, as [`Policy::set_executing`] does.
    fn set_executing(&mut self, executing: Option<Executing>);

    /// Runs an inference and writes the result to `thought`.
    fn think(&mut self, observation: &Observation, thought: &mut InferenceOutput) -> Result<(), PolicyError>;
}

/// Policy with an optional probe.
pub struct ProbedPolicy {
    policy: Box<dyn Policy>,
    probe: Option<(Heads, HeadsMemory)>,
    /// Number of episodes that have begun.
    begun: u64,
}

impl ProbedPolicy {
    /// Combines a policy with the `probe` that scores the policy's activations.
    pub fn new(policy: Box<dyn Policy>, probe: Option<Heads>) -> Self {
        let with_memory = |heads: Heads| {
            let memory = heads.memory();
            (heads, memory)
        };
        Self { policy, probe: probe.map(with_memory), begun: 0 }
    }
}

impl Inferencer for ProbedPolicy {
    fn begin(&mut self) {
        if let Some((probe, memory)) = &mut self.probe {
            *memory = probe.memory();
        }
        self.begun += 1;
        self.policy.begin(self.begun);
    }

    fn warm_up(&mut self, observation: &Observation) {
        // An error is ignored here, because the next inference that counts reports it.
        let _ = self.policy.infer(observation);
    }

    fn set_executing(&mut self, executing: Option<Executing>) {
        self.policy.set_executing(executing);
    }

    fn think(&mut self, observation: &Observation, thought: &mut InferenceOutput) -> Result<(), PolicyError> {
        let inference = self.policy.infer(observation)?;
        thought.width = inference.chunk.width();
        thought.values.clear();
        thought.values.extend_from_slice(inference.chunk.values());
        (thought.score, thought.benefit) = (f64::NAN, None);
        if let Some((heads, memory)) = &mut self.probe {
            // Without an activation, or with one of another width, the score is NaN: the highest risk.
            let pooled = inference.activation.map(|activation| activation.mean_pool());
            if let Some((score, benefit)) = pooled.and_then(|pooled| heads.read(memory, &pooled).ok()) {
                thought.score = if score.is_flagged() { f64::NAN } else { score.risk() };
                thought.benefit = benefit;
            }
        }
        Ok(())
    }
}

#[derive(Clone, Debug, Default)]
struct Slot {
    request: u64,
    episode: u64,
    observed: u32,
    taken: Duration,
    took: Duration,
    failure: Option<NoProposal>,
    thought: InferenceOutput,
}

#[derive(Debug, Default)]
struct Shared {
    request: AtomicU64,
    /// The chunk in execution at the newest request, as [`packed`] writes it; written before the request.
    executing: AtomicU64,
    /// Newest episode for which the thread has warmed up.
    ready: AtomicU64,
    end: AtomicBool,
}

/// Writing side of the observations for a policy's thread.
pub struct ObservationWriter {
    newest: triple_buffer::Input<Option<Snapshot>>,
    thread: Thread,
}

impl ObservationWriter {
    /// Hands the newest observation to the policy's thread.
    pub fn show(&mut self, snapshot: Snapshot) {
        let begins =
            self.newest.input_buffer_mut().as_ref().is_none_or(|old| old.episode != snapshot.episode);
        self.newest.write(Some(snapshot));
        if begins {
            self.thread.unpark(); // The thread then warms up for the episode before the first request.
        }
    }
}

/// Policy client: the control thread's side, which sends requests and receives replies.
pub struct PolicyClient {
    shared: Arc<Shared>,
    answers: triple_buffer::Output<Slot>,
    thread: Thread,
}

impl PolicyClient {
    /// Requests an inference, and states which of the policy's chunks is executed.
    pub(crate) fn ask(&self, request: u64, executing: Option<ChunkInExecution>) {
        self.shared.executing.store(packed(executing), Ordering::Relaxed);
        self.shared.request.store(request, Ordering::Release);
        self.thread.unpark();
    }

    pub(crate) fn hear(&mut self) -> Option<Reply<'_>> {
        if !self.answers.update() {
            return None;
        }
        let slot = self.answers.output_buffer();
        let InferenceOutput { width, values, score, benefit } = &slot.thought;
        let Slot { request, episode, observed, taken, took, .. } = *slot;
        let proposal = match slot.failure {
            Some(reason) => Err(reason),
            None => Ok(Proposal {
                width: *width,
                values: Cow::Borrowed(values),
                score: *score,
                benefit: *benefit,
            }),
        };
        Some(Reply { request, episode, observed, took, proposal, taken: Some(taken) })
    }
}

/// Handle of a policy's thread, for its owner.
pub struct InferenceWorker {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl InferenceWorker {
    /// Returns whether the thread has warmed up for this episode.
    pub fn is_ready(&self, episode: u64) -> bool {
        self.shared.ready.load(Ordering::Acquire) >= episode
    }

    /// Returns whether the thread still runs.
    pub fn is_alive(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }
}

impl Drop for InferenceWorker {
    fn drop(&mut self) {
        self.shared.end.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // A panic of the thread has already been printed; the controller treats it as a policy that does not reply.
            let _ = thread.join();
        }
    }
}

/// Starts a policy's thread. `open` makes the policy on that thread; `room` is the number of values in its largest chunk.
///
/// # Errors
/// [`SpawnError`] with the error of `open`, where the thread ends while it opens the policy, and where the system
/// cannot create a thread.
pub fn spawn<E: Send + 'static>(
    name: &str,
    room: usize,
    open: impl FnOnce() -> Result<Box<dyn Inferencer>, E> + Send + 'static,
) -> Result<(ObservationWriter, PolicyClient, InferenceWorker), SpawnError<E>> {
    let shared = Arc::new(Shared::default());
    let empty = Slot {
        thought: InferenceOutput { values: vec![0.0; room], ..InferenceOutput::default() },
        ..Slot::default()
    };
    let (answer, answers) = triple_buffer::triple_buffer(&empty);
    let (newest, observations) = triple_buffer::triple_buffer(&None);
    let (opened, outcome) = std::sync::mpsc::sync_channel(1);
    let builder = std::thread::Builder::new().name(name.into());
    let thread = builder.spawn({
        let shared = Arc::clone(&shared);
        move || {
            let mut mind = match open() {
                Ok(mind) => mind,
                Err(error) => return drop(opened.send(Err(error))),
            };
            let _ = opened.send(Ok(()));
            work(mind.as_mut(), &shared, answer, observations);
        }
    })?;
    let id = thread.thread().clone();
    let thinker = InferenceWorker { shared: Arc::clone(&shared), thread: Some(thread) };
    match outcome.recv() {
        Ok(Ok(())) => {}
        Ok(Err(error)) => return Err(SpawnError::Open(error)),
        Err(_) => return Err(SpawnError::Gone),
    }
    let seat = PolicyClient { shared, answers, thread: id.clone() };
    Ok((ObservationWriter { newest, thread: id }, seat, thinker))
}

/// Error of starting a policy's thread.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError<E> {
    /// The policy cannot be opened.
    #[error("{0}")]
    Open(E),
    /// The thread ended while it opened the policy.
    #[error("the policy's thread ended while it opened the policy")]
    Gone,
    /// The system cannot create a thread.
    #[error("cannot create a policy's thread: {0}")]
    Thread(#[from] std::io::Error),
}

fn work(
    mind: &mut dyn Inferencer,
    shared: &Shared,
    mut answer: triple_buffer::Input<Slot>,
    mut observations: triple_buffer::Output<Option<Snapshot>>,
) {
    let (mut answered, mut episode) = (0, 0);
    let mut earlier = Answered::default();
    while !shared.end.load(Ordering::Acquire) {
        let snapshot = observations.read().clone();
        if let Some(snapshot) = snapshot.as_ref().filter(|snapshot| snapshot.episode != episode) {
            episode = snapshot.episode;
            (0..WARM_UP).for_each(|_| mind.warm_up(&snapshot.observation));
            mind.begin();
            earlier.clear();
            shared.ready.fetch_max(episode, Ordering::AcqRel);
        }
        let request = shared.request.load(Ordering::Acquire);
        let Some(snapshot) = snapshot.filter(|_| request != answered) else {
            std::thread::park_timeout(POLL_INTERVAL);
            continue;
        };
        answered = request;
        mind.set_executing(earlier.find(unpacked(shared.executing.load(Ordering::Relaxed))));
        let slot = answer.input_buffer_mut();
        let begin = Instant::now();
        let thought = mind.think(&snapshot.observation, &mut slot.thought);
        slot.took = begin.elapsed();
        slot.failure = thought.as_ref().err().map(reason);
        if thought.is_ok() {
            earlier.push(request);
        }
        (slot.request, slot.episode, slot.observed) = (request, snapshot.episode, snapshot.sequence);
        slot.taken = snapshot.taken;
        answer.publish();
    }
}

/// Bits of the steps in a packed [`ChunkInExecution`].
const STEPS: u32 = 24;

/// Packs request and steps of the chunk in execution into one `u64`, which is 0 without a chunk. Bits 0 to 23 are the steps, at most
/// 2^24 − 1, and the bits from 24 on the number of the request, which is at least 1.
fn packed(executing: Option<ChunkInExecution>) -> u64 {
    executing.map_or(0, |ChunkInExecution { request, steps }| {
        (request << STEPS) | u64::from(steps.min((1 << STEPS) - 1))
    })
}

fn unpacked(packed: u64) -> Option<ChunkInExecution> {
    let (request, steps) = (packed >> STEPS, (packed & ((1 << STEPS) - 1)) as u32);
    (request > 0).then_some(ChunkInExecution { request, steps })
}

fn reason(error: &PolicyError) -> NoProposal {
    match error {
        PolicyError::NotFinite { .. } => NoProposal::NotFinite,
        PolicyError::Deadline { .. } => NoProposal::Deadline,
        PolicyError::Shape { .. } | PolicyError::Observation(_) | PolicyError::Backend(_) => {
            NoProposal::Failed
        }
    }
}

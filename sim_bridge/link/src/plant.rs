//! `ZenohPlant`: a plant at the other end of a Zenoh session, behind the same trait as a plant in this process.
//! An answer is accepted only for its own request. A plant that falls silent, or whose process was restarted, is lost.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use aegis_core::{Disturbance, Frame, Observation, Plant, PlantError, Schema, Start, Transition};
use zenoh::Wait;
use zenoh::handlers::{FifoChannel, FifoChannelHandler};
use zenoh::pubsub::{Publisher, Subscriber};
use zenoh::qos::CongestionControl;
use zenoh::query::{ConsolidationMode, Querier, Reply};

use crate::KeyExprs;
use crate::error::LinkError;
use crate::heartbeat::Heartbeat;
use crate::host::nanoseconds;
use crate::presence::served_plants;
use crate::wire::{
    Action, Claim, Claimed, Code, FramesRequest, Message, Mode, Moved, Phase, Pulse, Release, Reset, Status,
    Step, WireError,
};

/// Poll interval at which the plant's heartbeat is checked while an answer is awaited.
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// Pause before a request that ended without an answer is sent again.
const AGAIN: Duration = Duration::from_millis(10);
/// Maximum number of waiting observations.
const QUEUE: usize = 64;

/// Timeouts of a controller for its plant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Time without a heartbeat after which the plant is lost.
    pub heartbeat: Duration,
    /// Limit for the answer to one step, including repeated requests.
    pub step: Duration,
    /// Limit for the answer to a reset, in which simulators load scenes.
    pub reset: Duration,
    /// Limit for a plant to appear and to grant the claim.
    pub claim: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { heartbeat: seconds(2), step: seconds(20), reset: seconds(120), claim: seconds(10) }
    }
}

/// The controller that claims a plant, and its timeouts.
#[derive(Clone, Debug)]
pub struct Claimant {
    /// Name of the controller, for messages to people.
    pub controller: String,
    /// Last episode number already used. Episodes of this claim are numbered from `after + 1`, so that no number is used
    /// twice when a controller claims the plant again.
    pub after: u64,
    /// Origin of message stamps. Stamps are the time since this instant, so that the echo of a heartbeat in a status can be
    /// compared with the claimant's own clock.
    pub clock: Instant,
    /// Whether the claimant receives the cameras' frames. Free-running only.
    pub pictures: bool,
    /// Timeouts for the plant.
    pub patience: Timeouts,
    /// Flag that ends every wait once set; the waiting call then returns [`PlantError::Lost`], a claim [`LinkError::Nobody`].
    pub end: Arc<AtomicBool>,
}

impl Claimant {
    /// Creates a claimant whose clock begins now, with default timeouts.
    pub fn new(controller: &str) -> Self {
        Self {
            controller: controller.into(),
            after: 0,
            clock: Instant::now(),
            pictures: false,
            patience: Timeouts::default(),
            end: Arc::default(),
        }
    }
}

/// Counts of faults that were tolerated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Requests that were sent again.
    pub repeated: u64,
    /// Answers and observations of another episode or step, dropped.
    pub stale: u64,
    /// Observations that never arrived, counted by gaps in their sequence numbers. Free-running only.
    pub missed: u64,
    /// Bytes that could not be decoded as a message.
    pub malformed: u64,
}

#[derive(Debug)]
struct Seen {
    status: Status,
    at: Instant,
}

/// A claimed plant over Zenoh.
#[derive(Debug)]
pub struct ZenohPlant {
    name: String,
    mode: Mode,
    patience: Timeouts,
    claimed: Claimed,
    clock: Instant,
    episode: u64,
    sequence: u32,
    /// Stamp of the newest observation received, nanoseconds on the plant's clock.
    stamp_ns: u64,
    /// Number of commands sent in this episode. Free-running only.
    commands: u32,
    state: Vec<f64>,
    /// Schema of the episode.
    schema: Option<Arc<Schema>>,
    counters: Counters,
    end: Arc<AtomicBool>,
    seen: Arc<Mutex<Option<Seen>>>,
    brief: Querier<'static>,
    patient: Querier<'static>,
    actions: Publisher<'static>,
    observations: Receiver<Vec<u8>>,
    _statuses: Subscriber<()>,
    _observations: Subscriber<()>,
    _heart: Heartbeat,
}

impl ZenohPlant {
    /// Claims the plant `name` for `controller`, a name that the plant shows to people.
    ///
    /// # Errors
    /// [`LinkError::Nobody`] where the plant is not served, [`LinkError::Refused`] where another controller holds the plant or
    /// the plant speaks another version, [`LinkError::Unread`] where the plant's answer cannot be decoded.
    pub fn claim(
        session: &zenoh::Session,
        name: &str,
        controller: &str,
        mode: Mode,
        patience: Timeouts,
    ) -> Result<Self, LinkError> {
        Self::claim_by(session, name, mode, Claimant { patience, ..Claimant::new(controller) })
    }

    /// Claims the plant `name` for a claimant with its own clock, timeouts and episode numbers.
    pub(crate) fn claim_by(
        session: &zenoh::Session,
        name: &str,
        mode: Mode,
        claimant: Claimant,
    ) -> Result<Self, LinkError> {
        let Claimant { controller, after, clock, patience, end, .. } = claimant;
        let keys = KeyExprs::of(name)?;
        // A request has one answer: consolidation would only delay the answer until the query ends.
        let at_once = ConsolidationMode::None;
        let querier = |timeout| {
            let querier = session.declare_querier(keys.request.clone()).timeout(timeout).express(true);
            querier.consolidation(at_once).wait()
        };
        let (brief, patient) = (querier(Duration::from_secs(1))?, querier(patience.reset)?);
        let claim = Claim { controller, nonce: nonce(), mode };
        let claimed = claim_plant((session, &brief), name, claim, patience.claim, &end)?;

        let seen = Arc::new(Mutex::new(None));
        let statuses = session
            .declare_subscriber(keys.status.clone())
            .callback({
                let (seen, instance) = (Arc::clone(&seen), claimed.instance);
                move |sample| {
                    if let Ok(Message::Status(status)) = Message::decode(&sample.payload().to_bytes())
                        && status.instance == instance
                    {
                        let now = Some(Seen { status, at: Instant::now() });
                        *seen.lock().unwrap_or_else(PoisonError::into_inner) = now;
                    }
                }
            })
            .wait()?;
        let (queue, observations) = sync_channel(QUEUE);
        let subscriber = session
            .declare_subscriber(keys.observation.clone())
            // The queue is full only while the controller does not step. The dropped observations show as a gap in the
            // sequence numbers.
            .callback(move |sample| drop(queue.try_send(sample.payload().to_bytes().into_owned())))
            .wait()?;
        let actions = session
            .declare_publisher(keys.action.clone())
            .congestion_control(CongestionControl::Drop)
            .express(true)
            .wait()?;
        let number = claimed.session;
        let heart = Heartbeat::start(session, &keys.pulse, move || {
            Message::from(Pulse { session: number, stamp_ns: nanoseconds(clock.elapsed()) }).encode()
        })?;
        Ok(Self {
            name: name.into(),
            mode,
            patience,
            claimed,
            clock,
            episode: after,
            sequence: 0,
            stamp_ns: 0,
            commands: 0,
            state: Vec::new(),
            schema: None,
            counters: Counters::default(),
            end,
            seen,
            brief,
            patient,
            actions,
            observations,
            _statuses: statuses,
            _observations: subscriber,
            _heart: heart,
        })
    }

    /// Returns the plant's answer to the claim.
    pub fn claimed(&self) -> &Claimed {
        &self.claimed
    }

    /// Returns the number of the episode that the last reset asked for; before the first reset, the claimant's `after`.
    pub fn episode(&self) -> u64 {
        self.episode
    }

    /// Returns `stamp_ns` of the newest observation received.
    pub(crate) fn stamp_ns(&self) -> u64 {
        self.stamp_ns
    }

    /// Returns the counts of tolerated faults since the claim.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Sends a request, repeatedly where needed, until its answer arrives.
    fn ask(&mut self, question: &Message, patience: Duration) -> Result<Message, PlantError> {
        let bytes = question.encode();
        let begin = Instant::now();
        loop {
            let querier = if patience > self.patience.step { &self.patient } else { &self.brief };
            let sent = querier.get().payload(bytes.clone()).with(FifoChannel::new(4)).wait();
            let answers = sent.map_err(|error| PlantError::Lost(error.to_string()))?;
            if let Some(answer) = self.await_answer(question, &answers, begin, patience)? {
                return Ok(answer);
            }
            self.watch(begin, patience)?;
            self.counters.repeated += 1;
            std::thread::sleep(AGAIN);
        }
    }

    /// Waits for the answer to a request; returns `None` where the query ended without an answer.
    fn await_answer(
        &mut self,
        question: &Message,
        answers: &FifoChannelHandler<Reply>,
        begin: Instant,
        patience: Duration,
    ) -> Result<Option<Message>, PlantError> {
        loop {
            match answers.recv_timeout(POLL_INTERVAL) {
                Ok(Some(reply)) => {
                    let bytes = reply.result().map(|sample| sample.payload().to_bytes());
                    match bytes.ok().map(|bytes| Message::decode(&bytes)) {
                        Some(Ok(Message::Refused(refused))) => {
                            return Err(refusal(refused.code, refused.reason));
                        }
                        Some(Ok(answer)) if answers_to(&answer, question) => return Ok(Some(answer)),
                        Some(Ok(_)) => self.counters.stale += 1,
                        // A repeated request would get the same answer.
                        Some(Err(error)) => {
                            let unread = unread(&self.name, question, &error);
                            return Err(PlantError::Backend(unread.to_string()));
                        }
                        None => self.counters.malformed += 1,
                    }
                }
                Ok(None) => self.watch(begin, patience)?,
                Err(_) => return Ok(None),
            }
        }
    }

    /// Returns [`PlantError::Lost`] where the plant is silent, where the plant sends heartbeats but has not answered in time,
    /// where the plant has stopped by itself, and where the end flag is set.
    fn watch(&self, begin: Instant, patience: Duration) -> Result<(), PlantError> {
        let lost = |reason: String| Err(PlantError::Lost(format!("{}: {reason}", self.name)));
        if self.end.load(Ordering::Acquire) {
            return lost("told to end before it answered".into());
        }
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        // Silence counts from the request, not from an earlier heartbeat.
        let last = seen.as_ref().map_or(begin, |seen| seen.at.max(begin));
        if last.elapsed() > self.patience.heartbeat {
            return lost(format!("no heartbeat for {:.1} s", last.elapsed().as_secs_f64()));
        }
        if begin.elapsed() > patience {
            return lost(format!("no answer in {:.1} s, although it lives", begin.elapsed().as_secs_f64()));
        }
        let stopped = seen.as_ref().is_some_and(|seen| {
            let Status { session, phase, episode, .. } = seen.status;
            (session, phase, episode) == (self.claimed.session, Phase::Stopped, self.episode)
        });
        if stopped { lost("it stopped by itself and waits for a reset".into()) } else { Ok(()) }
    }

    /// Takes the answer to a reset or step, or a published observation. The schema is in the answer to the reset.
    fn moved(&mut self, moved: Moved) -> Result<Transition, PlantError> {
        (self.sequence, self.stamp_ns) = (moved.sequence, moved.stamp_ns);
        self.state = moved.state;
        let wrong = |error: String| PlantError::Backend(format!("plant {:?}: {error}", self.name));
        let schema = match (moved.schema, self.schema.take()) {
            (Some(announced), known) => {
                let width = self.claimed.action_width as usize;
                let channels = announced.actions.len();
                if channels != 0 && channels != width {
                    let error = format!(
                        "schema.actions: found {channels} channels; valid is {width}, its action_width, or none"
                    );
                    return Err(wrong(error));
                }
                announced.schema(known.as_ref()).map_err(|error| wrong(format!("schema.{error}")))?
            }
            (None, Some(known)) if moved.sequence > 0 => known,
            (None, _) => {
                return Err(wrong(
                    "schema: found none in the answer to a reset; valid is its features".into(),
                ));
            }
        };
        let observation = moved.observation.at(moved.sequence, &schema);
        self.schema = Some(schema);
        let observation = observation.map_err(|error| wrong(error.to_string()))?;
        Ok(Transition { observation, success: moved.success })
    }

    /// Sends a command and waits for the next observation, whether the plant has executed the command or not.
    fn drive(&mut self, action: &[f32]) -> Result<Transition, PlantError> {
        self.commands += 1;
        let command = Action {
            session: self.claimed.session,
            episode: self.episode,
            sequence: self.commands,
            observation: self.sequence,
            stamp_ns: nanoseconds(self.clock.elapsed()),
            action: action.to_vec(),
        };
        let sent = self.actions.put(Message::from(command).encode()).wait();
        sent.map_err(|error| PlantError::Lost(error.to_string()))?;
        let begin = Instant::now();
        loop {
            match self.observations.recv_timeout(POLL_INTERVAL) {
                Ok(bytes) => match Message::decode(&bytes) {
                    Ok(Message::Moved(moved)) if self.is_news(&moved) => {
                        self.counters.missed += u64::from(moved.sequence - self.sequence - 1);
                        return self.moved(moved);
                    }
                    Ok(_) => self.counters.stale += 1,
                    Err(_) => self.counters.malformed += 1,
                },
                Err(RecvTimeoutError::Timeout) => self.watch(begin, self.patience.step)?,
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(PlantError::Lost(format!("{}: the session is closed", self.name)));
                }
            }
        }
    }

    fn is_news(&self, moved: &Moved) -> bool {
        (moved.session, moved.episode) == (self.claimed.session, self.episode)
            && moved.sequence > self.sequence
    }
}

impl Plant for ZenohPlant {
    fn reset(&mut self, start: Start) -> Result<Observation, PlantError> {
        self.reset_disturbed(start, None)
    }

    fn reset_disturbed(
        &mut self,
        start: Start,
        disturbance: Option<&Disturbance>,
    ) -> Result<Observation, PlantError> {
        let index = |value: usize, what: &str| {
            u32::try_from(value).map_err(|_| PlantError::Backend(format!("{what} {value} is beyond 32 bits")))
        };
        self.episode += 1;
        self.sequence = 0;
        self.commands = 0;
        self.state.clear();
        let reset = Reset {
            session: self.claimed.session,
            episode: self.episode,
            task: index(start.task, "task")?,
            initial_state: index(start.initial_state, "initial state")?,
            disturbance: disturbance.copied(),
        };
        match self.ask(&reset.into(), self.patience.reset)? {
            Message::Moved(moved) => Ok(self.moved(moved)?.observation),
            other => Err(PlantError::Backend(format!("{} answers a reset", other.name()))),
        }
    }

    fn step(&mut self, action: &[f32]) -> Result<Transition, PlantError> {
        if self.episode == 0 {
            return Err(PlantError::NotReset);
        }
        let expected = self.claimed.action_width as usize;
        if action.len() != expected || !action.iter().all(|value| value.is_finite()) {
            return Err(PlantError::Action { expected, found: format!("{action:?}") });
        }
        if self.mode == Mode::FreeRunning {
            return self.drive(action);
        }
        let step = Step {
            session: self.claimed.session,
            episode: self.episode,
            sequence: self.sequence + 1,
            action: action.to_vec(),
        };
        match self.ask(&step.into(), self.patience.step)? {
            Message::Moved(moved) => self.moved(moved),
            other => Err(PlantError::Backend(format!("{} answers a step", other.name()))),
        }
    }

    fn state(&self, out: &mut Vec<f64>) {
        out.extend(&self.state);
    }

    fn frames(&mut self) -> Result<Vec<Frame>, PlantError> {
        let Claimed { session, .. } = self.claimed;
        let look = FramesRequest { session, episode: self.episode, sequence: self.sequence };
        match self.ask(&look.into(), self.patience.reset)? {
            Message::Pictures(pictures) => Ok(pictures.pictures.into_iter().map(Into::into).collect()),
            other => Err(PlantError::Backend(format!("{} answers a look", other.name()))),
        }
    }
}

impl Drop for ZenohPlant {
    fn drop(&mut self) {
        let release = Message::from(Release { session: self.claimed.session }).encode();
        // A plant that does not receive the release becomes free when the heartbeat has been silent for its timeout.
        if let Ok(answers) = self.brief.get().payload(release).with(FifoChannel::new(1)).wait() {
            let _ = answers.recv_timeout(Duration::from_secs(1));
        }
    }
}

fn claim_plant(
    (session, querier): (&zenoh::Session, &Querier<'_>),
    name: &str,
    claim: Claim,
    patience: Duration,
    end: &AtomicBool,
) -> Result<Claimed, LinkError> {
    let refused = |reason: String| LinkError::Refused { name: name.into(), reason };
    let asked = Message::from(claim);
    let question = asked.encode();
    let begin = Instant::now();
    while begin.elapsed() < patience && !end.load(Ordering::Acquire) {
        let answers = querier.get().payload(question.clone()).with(FifoChannel::new(1)).wait()?;
        if let Ok(reply) = answers.recv()
            && let Ok(sample) = reply.result()
        {
            return match Message::decode(&sample.payload().to_bytes()) {
                Ok(Message::Claimed(claimed)) => Ok(claimed),
                Ok(Message::Refused(no)) => Err(refused(no.reason)),
                Ok(other) => Err(refused(format!("it answers a claim with {}", other.name()))),
                Err(error) => Err(unread(name, &asked, &error)),
            };
        }
        std::thread::sleep(AGAIN);
    }
    // Whoever may not see what else is served is told what is known.
    let others =
        if end.load(Ordering::Acquire) { Vec::new() } else { served_plants(session).unwrap_or_default() };
    Err(LinkError::Nobody { name: name.into(), others })
}

fn unread(plant: &str, question: &Message, error: &WireError) -> LinkError {
    LinkError::Unread { name: plant.into(), question: question.name(), reason: error.to_string() }
}

/// Returns whether an answer carries the numbers of the request.
fn answers_to(answer: &Message, question: &Message) -> bool {
    match (answer, question) {
        (Message::Moved(moved), Message::Reset(reset)) => {
            (moved.session, moved.episode, moved.sequence) == (reset.session, reset.episode, 0)
        }
        (Message::Moved(moved), Message::Step(step)) => {
            (moved.session, moved.episode, moved.sequence) == (step.session, step.episode, step.sequence)
        }
        (Message::Pictures(pictures), Message::FramesRequest(look)) => {
            (pictures.session, pictures.episode) == (look.session, look.episode)
                && pictures.sequence >= look.sequence
        }
        _ => false,
    }
}

fn refusal(code: Code, reason: String) -> PlantError {
    match code {
        Code::Plant => PlantError::Backend(reason),
        Code::Malformed | Code::Version | Code::Mode | Code::Policy => PlantError::Backend(reason),
        // The plant no longer runs this episode, so the episode's outcome is unknown.
        Code::Held | Code::Session | Code::Episode | Code::Sequence | Code::Stopped => {
            PlantError::Lost(reason)
        }
    }
}

/// Draws a random number that no other claim is expected to have.
pub(crate) fn nonce() -> u64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    let mut hasher = RandomState::new().build_hasher();
    hasher.write_u32(std::process::id());
    hasher.finish()
}

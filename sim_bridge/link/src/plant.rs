//! `ZenohPlant`: a plant at the other end of a Zenoh session, behind the same trait as one in this process.
//! An answer counts only for its own question; a plant that falls silent or comes back as another is lost.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use aegis_core::{Frame, Observation, Plant, PlantError, Start, Transition};
use zenoh::Wait;
use zenoh::handlers::{FifoChannel, FifoChannelHandler};
use zenoh::pubsub::{Publisher, Subscriber};
use zenoh::qos::CongestionControl;
use zenoh::query::{ConsolidationMode, Querier, Reply};

use crate::KeyExprs;
use crate::endpoint::LinkError;
use crate::heartbeat::Heartbeat;
use crate::host::nanoseconds;
use crate::wire::{
    Action, Claim, Claimed, Code, FramesRequest, Message, Mode, Moved, Phase, Pulse, Release, Reset, Status,
    Step, WireError,
};

/// Between two looks at the plant's heartbeat while an answer is awaited.
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// Before a question is asked again that ended without an answer.
const AGAIN: Duration = Duration::from_millis(10);
/// Observations that may wait; a free-running controller wants the newest.
const QUEUE: usize = 64;

/// How long to wait for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// A plant without a heartbeat for so long is lost.
    pub heartbeat: Duration,
    /// For one step, asked as often as needed.
    pub step: Duration,
    /// For a reset; simulators load scenes in it.
    pub reset: Duration,
    /// For a plant to appear and to be granted.
    pub claim: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { heartbeat: seconds(2), step: seconds(20), reset: seconds(120), claim: seconds(10) }
    }
}

/// Who claims a plant, and how it waits.
#[derive(Clone, Debug)]
pub struct Claimant {
    /// A name for people.
    pub controller: String,
    /// Episodes of this claim are numbered from one above this on, so that no number is used twice where a controller claims
    /// again.
    pub after: u64,
    /// Messages are stamped by the time since then, so that a status which echoes a heartbeat is held against a clock of the
    /// claimant's.
    pub clock: Instant,
    /// How long it waits for what.
    pub patience: Timeouts,
    /// Once set, nothing is waited for any more: whoever waits is told that the plant is lost.
    pub end: Arc<AtomicBool>,
}

impl Claimant {
    /// One whose clock begins now, and which waits as long as it waits by default.
    pub fn new(controller: &str) -> Self {
        Self {
            controller: controller.into(),
            after: 0,
            clock: Instant::now(),
            patience: Timeouts::default(),
            end: Arc::default(),
        }
    }
}

/// What went wrong without harm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Questions that had to be asked again.
    pub repeated: u64,
    /// Answers and observations of another episode or step, dropped.
    pub stale: u64,
    /// Observations that never came, told by the gap in their numbers. Free-running only.
    pub missed: u64,
    /// Messages that were none.
    pub malformed: u64,
}

#[derive(Debug)]
struct Seen {
    status: Status,
    at: Instant,
}

/// A plant over Zenoh.
#[derive(Debug)]
pub struct ZenohPlant {
    name: String,
    mode: Mode,
    patience: Timeouts,
    claimed: Claimed,
    clock: Instant,
    episode: u64,
    sequence: u32,
    /// Stamp of the newest observation that came, nanoseconds on the plant's clock.
    stamp_ns: u64,
    /// Commands sent in this episode. Free-running only.
    commands: u32,
    state: Vec<f64>,
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
    /// Claims the plant `name` for `controller`, a name for people.
    ///
    /// # Errors
    /// [`LinkError::Nobody`] where it is not served, [`LinkError::Refused`] where another controller holds it or it
    /// speaks another version.
    pub fn claim(
        session: &zenoh::Session,
        name: &str,
        controller: &str,
        mode: Mode,
        patience: Timeouts,
    ) -> Result<Self, LinkError> {
        Self::claim_by(session, name, mode, Claimant { patience, ..Claimant::new(controller) })
    }

    /// The same for a claimant of any kind.
    pub(crate) fn claim_by(
        session: &zenoh::Session,
        name: &str,
        mode: Mode,
        claimant: Claimant,
    ) -> Result<Self, LinkError> {
        let Claimant { controller, after, clock, patience, end } = claimant;
        let keys = KeyExprs::of(name)?;
        // There is one answer to a question: nothing is gained by holding it until the query is over.
        let at_once = ConsolidationMode::None;
        let querier = |timeout| {
            let querier = session.declare_querier(keys.request.clone()).timeout(timeout).express(true);
            querier.consolidation(at_once).wait()
        };
        let (brief, patient) = (querier(Duration::from_secs(1))?, querier(patience.reset)?);
        let claim = Claim { controller, nonce: nonce(), mode };
        let claimed = claim_plant(&brief, name, claim, patience.claim, &end)?;

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
            // A full queue means that nobody steps; the gap in the numbers tells.
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

    /// What the plant said of itself.
    pub fn claimed(&self) -> &Claimed {
        &self.claimed
    }

    /// The episode that the last reset began; 0 before the first.
    pub fn episode(&self) -> u64 {
        self.episode
    }

    /// `stamp_ns` of the newest observation that came.
    pub(crate) fn stamp_ns(&self) -> u64 {
        self.stamp_ns
    }

    /// What went wrong without harm since the claim.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Asks until the answer to this very question comes.
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

    /// The answer, or `None` where the question ended without one.
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
                        // Asked again, it would come again.
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

    /// Gives up on a plant that is silent, or that has not answered for too long although it lives, and when told to end.
    fn watch(&self, begin: Instant, patience: Duration) -> Result<(), PlantError> {
        let lost = |reason: String| Err(PlantError::Lost(format!("{}: {reason}", self.name)));
        if self.end.load(Ordering::Acquire) {
            return lost("told to end before it answered".into());
        }
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        // Before its first heartbeat a plant has been silent since the question.
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

    fn moved(&mut self, moved: Moved) -> Transition {
        (self.sequence, self.stamp_ns) = (moved.sequence, moved.stamp_ns);
        self.state = moved.state;
        Transition { observation: moved.observation.at(moved.sequence), success: moved.success }
    }

    /// Sends a command and waits for the next observation, whatever the plant did meanwhile.
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
                        return Ok(self.moved(moved));
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
        };
        match self.ask(&reset.into(), self.patience.reset)? {
            Message::Moved(moved) => Ok(self.moved(moved).observation),
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
            Message::Moved(moved) => Ok(self.moved(moved)),
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
        // Whoever does not hear it frees the plant when the heartbeat ends.
        if let Ok(answers) = self.brief.get().payload(release).with(FifoChannel::new(1)).wait() {
            let _ = answers.recv_timeout(Duration::from_secs(1));
        }
    }
}

fn claim_plant(
    querier: &Querier<'_>,
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
    Err(LinkError::Nobody { name: name.into() })
}

fn unread(plant: &str, question: &Message, error: &WireError) -> LinkError {
    LinkError::Unread { name: plant.into(), question: question.name(), reason: error.to_string() }
}

/// Whether an answer carries the numbers of the question.
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
        // The episode is not the plant's any more: what it would have come to is not known.
        Code::Held | Code::Session | Code::Episode | Code::Sequence | Code::Stopped => {
            PlantError::Lost(reason)
        }
    }
}

/// A number that no other claim has.
pub(crate) fn nonce() -> u64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    let mut hasher = RandomState::new().build_hasher();
    hasher.write_u32(std::process::id());
    hasher.finish()
}

//! What a control period reads and what it comes to: plain values, the same for a robot and for a record of it.
//! A record of the inputs is a record of the run: the same inputs give the same outputs, bit for bit.

use std::borrow::Cow;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::intake::ContentFault;
use super::mode::Mode;
use crate::{Decision, Driver};

/// The newest observation, without what only policies read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObservationStamp {
    /// Episode that it belongs to.
    pub episode: u64,
    /// The plant's control steps since the reset.
    pub sequence: u32,
    /// How many came since the last period, this one among them.
    pub arrived: u32,
    /// When it came, on the controller's clock.
    pub received: Duration,
    /// A digest of the content, vectors and pictures alike; 0 where none was taken.
    pub pictures: u64,
    /// Whether the task's goal holds.
    pub success: bool,
    /// What is wrong with its content. Such an observation is not shown to a policy.
    #[serde(default)]
    pub fault: Option<ContentFault>,
    /// When the plant took it, by its stamp, on the controller's clock; none where the plant's clock is not known, and in
    /// records that were written before it was.
    #[serde(default)]
    pub taken: Option<Duration>,
}

impl ObservationStamp {
    /// When the plant took it, on the controller's clock; where its clock is not known, when it came.
    pub fn taken_at(&self) -> Duration {
        self.taken.map_or(self.received, |taken| taken.min(self.received))
    }

    /// How old it is at `now`, on the controller's clock.
    pub fn age(&self, now: Duration) -> Duration {
        now.saturating_sub(self.taken_at())
    }

    /// The newer of two, standing for all that both stand for. Of another episode, the later in coming.
    pub fn joined(self, later: Self) -> Self {
        if self.episode != later.episode {
            return later;
        }
        let newer = if later.sequence > self.sequence { later } else { self };
        Self { arrived: self.arrived.saturating_add(later.arrived), ..newer }
    }
}

/// What is known of the plant itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlantHealth {
    /// When its heartbeat was last heard, on the controller's clock.
    pub heard: Duration,
    /// Set for good once the process that the episode began on has gone: another answers now, or the session ended.
    pub lost: bool,
    /// Whether it says that it stopped by itself.
    pub stopped: bool,
    /// The least round trip of heartbeats lately, which bounds what is known of its clock; none before the first.
    #[serde(default)]
    pub round_trip: Option<Duration>,
}

/// What people want, gathered since the last period.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorCommands {
    /// The emergency stop.
    pub e_stop: bool,
    /// A safe stop.
    pub stop: bool,
    /// Out of a latch.
    pub reset: bool,
    /// Begin this episode, for which the plant has been reset.
    pub start: Option<u64>,
}

/// A policy's answer to one question.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reply<'a> {
    /// The question's number.
    pub request: u64,
    /// Episode of the observation that was read.
    pub episode: u64,
    /// Its control step on the plant.
    pub observed: u32,
    /// How long the inference took, with the probe's reading.
    pub took: Duration,
    /// What came of it.
    #[serde(borrow)]
    pub proposal: Result<Proposal<'a>, NoProposal>,
    /// When that observation was taken, as in [`ObservationStamp::taken_at`]; unknown in records of format 2.
    #[serde(default, alias = "received")]
    pub taken: Option<Duration>,
}

/// A proposed chunk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Proposal<'a> {
    /// Values per action.
    pub width: usize,
    /// Actions, row-major `[horizon, width]`.
    pub values: Cow<'a, [f32]>,
    /// The risk that the probe read, for the weak policy; NaN counts as the highest.
    pub score: f64,
}

/// Why there is no chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoProposal {
    /// Too late.
    Deadline,
    /// The runtime, its device, or the other end of a line failed.
    Failed,
    /// It held a value that is not finite.
    NotFinite,
    /// Nobody was there to ask: a thread or a server has gone.
    Gone,
}

/// All that a control period reads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Inputs<'a> {
    /// Monotonic time.
    pub now: Duration,
    /// Control periods that passed unserved since the last.
    pub skipped: u32,
    /// An observation that came since the last period.
    pub observation: Option<ObservationStamp>,
    /// The plant.
    pub plant: PlantHealth,
    /// The weak policy's answer, if one came.
    #[serde(borrow)]
    pub weak: Option<Reply<'a>>,
    /// The strong policy's.
    pub strong: Option<Reply<'a>>,
    /// What people want.
    pub wishes: OperatorCommands,
    /// With a start: where the plant stands, `[channels]`. Without it an episode starts from `rest`.
    #[serde(borrow, default)]
    pub pose: Option<Cow<'a, [f32]>>,
    /// When the plant stood at `pose`, on the controller's clock: a start on an older one than is inferred on is refused.
    /// None in records that were written before it was known.
    #[serde(default)]
    pub pose_taken: Option<Duration>,
    /// Where positions are by `observation`, `[channels]`; other channels are as in `rest`. None where there is no new
    /// observation, or nothing is checked against it.
    #[serde(borrow, default)]
    pub measured: Option<Cow<'a, [f32]>>,
}

/// Why a stop was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// The emergency stop was heard.
    EStop,
    /// Somebody asked for a stop.
    Asked,
    /// No heartbeat of the plant in time.
    PlantSilent,
    /// The plant's process has gone, or another has taken its place.
    PlantLost,
    /// The plant stopped by itself.
    PlantStopped,
    /// No young enough observation for too long.
    Stale,
    /// The weak policy is lost and the strong one is no help.
    WeakLost,
    /// The strong policy is lost while it is needed.
    StrongLost,
    /// An episode's first action is too far from where the plant stands.
    FarFromStart,
    /// A position is too far from its command: a drive is off, or the robot was pushed.
    NotFollowing,
}

/// Everything worth a line in the record that happened in one period; one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Diagnostics(u32);

macro_rules! notices {
    ($($bit:literal $name:ident $text:literal),+ $(,)?) => {
        impl Diagnostics {
            $(#[doc = $text] pub const $name: Self = Self(1 << $bit);)+
            /// Every notice with its text.
            pub const ALL: [(Self, &'static str); 19] = [$((Self::$name, $text)),+];
        }
    };
}

notices! {
    0 WEAK_LATE "the weak policy missed a deadline",
    1 STRONG_LATE "the strong policy is late",
    2 WEAK_FAILED "an inference of the weak policy failed",
    3 STRONG_FAILED "an inference of the strong policy failed",
    4 REJECTED "a chunk was rejected: a value that is not finite, a shape, or an action out of bounds",
    5 CLAMPED "an action was clamped to its bounds",
    6 FOREIGN_REPLY "a reply to another question or of another episode was dropped",
    7 DUPLICATE "an observation that is not newer was dropped",
    8 GAP "observations were skipped",
    9 FOREIGN_OBSERVATION "an observation of another episode was dropped",
    10 STALE "no observation is young enough",
    11 FROZEN "the content of observations does not change",
    12 OVERRUN "control periods were missed",
    13 FLAGGED "the score is not a number and counts as the highest risk",
    14 ESCALATED "the strong policy drives because the weak one is lost",
    15 BUDGET_SPENT "the rule raised an alarm that the gate's limits do not obey",
    16 IMPLAUSIBLE "an observation was refused: a value that is not finite or out of bounds, or time that goes backward",
    17 AGED_CHUNK "a chunk was dropped: the observation that it was made from was too old when it was asked for, or when it was to be used",
    18 START_REFUSED "a start was refused: the plant stands too far from rest, where it stands is not known any more, or commands move",
}

impl Diagnostics {
    /// Adds another.
    pub fn add(&mut self, other: Self) {
        self.0 |= other.0;
    }

    /// Whether it holds another.
    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The texts of those that it holds.
    pub fn texts(self) -> impl Iterator<Item = &'static str> {
        Self::ALL.into_iter().filter(move |(notice, _)| self.has(*notice)).map(|(_, text)| text)
    }
}

/// A control period as a record holds it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TickRecord<'a> {
    /// What was read.
    #[serde(borrow)]
    pub inputs: Inputs<'a>,
    /// What it came to.
    pub output: Output,
    /// The command, `[channels]`.
    pub command: Cow<'a, [f32]>,
    /// How late the period began, nanoseconds.
    pub late_ns: u64,
    /// How long it took to decide, nanoseconds.
    pub took_ns: u64,
}

impl TickRecord<'_> {
    /// Whether an episode begins in it. Records that were written before the time of a start's pose was known do not say.
    pub fn begins(&self) -> bool {
        let wishes = &self.inputs.wishes;
        let is_asked = wishes.start.is_some() && self.inputs.pose_taken.is_some() && !wishes.e_stop;
        is_asked && !self.output.notices.has(Diagnostics::START_REFUSED)
    }
}

/// What a control period came to. The command itself is [`super::Controller::command`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Output {
    /// The mode from here on.
    pub mode: Mode,
    /// Why the last stop was made; none since the last reset.
    pub cause: Option<StopReason>,
    /// Whether a command is to be sent.
    pub send: bool,
    /// Control step of the episode that the command is for.
    pub step: u32,
    /// Number of a question to the weak policy.
    pub ask_weak: Option<u64>,
    /// Number of a question to the strong policy.
    pub ask_strong: Option<u64>,
    /// What the gate decided, at a boundary.
    pub decision: Option<Decision>,
    /// Who drives, where somebody does.
    pub driver: Option<Driver>,
    /// A bit for each channel whose command was limited.
    pub limited: u64,
    /// What else happened.
    pub notices: Diagnostics,
}

impl Output {
    /// A period in which nothing has happened yet.
    pub(super) fn of(mode: Mode) -> Self {
        Self {
            mode,
            cause: None,
            send: false,
            step: 0,
            ask_weak: None,
            ask_strong: None,
            decision: None,
            driver: None,
            limited: 0,
            notices: Diagnostics::default(),
        }
    }
}

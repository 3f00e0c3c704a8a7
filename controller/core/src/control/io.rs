//! Inputs and outputs of a control period: plain values, the same on a robot and in a record.
//! A record of the inputs is a record of the run: equal inputs give equal outputs, bit for bit.

use std::borrow::Cow;
use std::time::Duration;

use serde::ser::SerializeStruct;
use serde::{Deserialize, Serialize, Serializer};

use super::call::CallReport;
use super::frame_stamp::CameraInputs;
use super::intake::ContentFault;
use super::mode::Mode;
use super::teleop::TeleopInputs;
use crate::{Decision, Driver};

/// Observation stamp: number, times and checks of an observation, without the content that only policies read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObservationStamp {
    /// Episode of the observation.
    pub episode: u64,
    /// Sequence number: the plant's control steps since the reset.
    pub sequence: u32,
    /// Number of observations that arrived since the last period, this one included.
    pub arrived: u32,
    /// Time of arrival, on the controller's clock.
    pub received: Duration,
    /// Digest of the content, vectors and pictures alike; 0 where none was computed.
    pub pictures: u64,
    /// Whether the task's goal holds.
    pub success: bool,
    /// Fault of the content. An observation with a fault is not shown to a policy.
    #[serde(default)]
    pub fault: Option<ContentFault>,
    /// Time at which the plant took the observation, by the plant's stamp, on the controller's clock; `None` where the
    /// plant's clock is not known, and in records written before this field existed.
    #[serde(default)]
    pub taken: Option<Duration>,
}

impl ObservationStamp {
    /// Returns the time at which the plant took the observation, on the controller's clock; where the plant's clock is
    /// not known, the time of arrival.
    pub fn taken_at(&self) -> Duration {
        self.taken.map_or(self.received, |taken| taken.min(self.received))
    }

    /// Returns the age of the observation at `now`, on the controller's clock.
    pub fn age(&self, now: Duration) -> Duration {
        now.saturating_sub(self.taken_at())
    }

    /// Returns the newer of two stamps, with the number of arrivals of both. If their episodes differ, returns `later`.
    pub fn joined(self, later: Self) -> Self {
        if self.episode != later.episode {
            return later;
        }
        let newer = if later.sequence > self.sequence { later } else { self };
        Self { arrived: self.arrived.saturating_add(later.arrived), ..newer }
    }
}

/// Health of the plant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlantHealth {
    /// Time of the last heartbeat's arrival, on the controller's clock.
    pub heard: Duration,
    /// Whether the plant's process on which the episode began has gone: another process answers now, or the session
    /// ended. Stays set until the plant is claimed anew.
    pub lost: bool,
    /// Whether the plant reports that it stopped by itself.
    pub stopped: bool,
    /// Least round trip of recent heartbeats, which bounds the error of the estimated clock offset; `None` before the first.
    #[serde(default)]
    pub round_trip: Option<Duration>,
}

/// Operator commands received since the last period.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorCommands {
    /// Emergency stop.
    pub e_stop: bool,
    /// Safe stop.
    pub stop: bool,
    /// Reset: leaves a latched mode.
    pub reset: bool,
    /// Start of this episode, for which the plant has been reset.
    pub start: Option<u64>,
}

/// Reply of a policy to one request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reply<'a> {
    /// Number of the request.
    pub request: u64,
    /// Episode of the observation that was read.
    pub episode: u64,
    /// Sequence number of the observation that was read: the plant's control steps since the reset.
    pub observed: u32,
    /// Duration of the inference, with the probe's scoring.
    pub took: Duration,
    /// The proposed chunk, or why there is none.
    #[serde(borrow)]
    pub proposal: Result<Proposal<'a>, NoProposal>,
    /// Time at which that observation was taken, as in [`ObservationStamp::taken_at`]; `None` in records of format 2.
    #[serde(default, alias = "received")]
    pub taken: Option<Duration>,
}

/// Chunk that a policy proposes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Proposal<'a> {
    /// Values per action.
    pub width: usize,
    /// Actions, row-major `[horizon, width]`.
    pub values: Cow<'a, [f32]>,
    /// Score of the probe, for the weak policy; NaN counts as the highest risk.
    pub score: f64,
    /// Predicted benefit of a hold, for the weak policy; `None` where the probe has no benefit head, and then absent from records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub benefit: Option<f64>,
}

/// Reason why a reply has no chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoProposal {
    /// The inference missed its deadline.
    Deadline,
    /// The inference runtime, its device, or the remote end of a connection failed.
    Failed,
    /// The chunk held a value that is not finite.
    NotFinite,
    /// The policy's thread or server has gone.
    Gone,
}

/// Inputs of a control period.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Inputs<'a> {
    /// Monotonic time, on the controller's clock.
    pub now: Duration,
    /// Control periods that passed without being served since the last one.
    pub skipped: u32,
    /// Stamp of the newest observation that arrived since the last period.
    pub observation: Option<ObservationStamp>,
    /// Health of the plant.
    pub plant: PlantHealth,
    /// The weak policy's reply, if one arrived.
    #[serde(borrow)]
    pub weak: Option<Reply<'a>>,
    /// The strong policy's reply, if one arrived.
    pub strong: Option<Reply<'a>>,
    /// Operator commands.
    pub wishes: OperatorCommands,
    /// With a start: the plant's pose, `[channels]`. Without a pose an episode starts from the last command.
    #[serde(borrow, default)]
    pub pose: Option<Cow<'a, [f32]>>,
    /// Time at which the plant stood at `pose`, on the controller's clock. A start is refused if this is older than an
    /// observation may be for an inference. `None` in records written before this field existed.
    #[serde(default)]
    pub pose_taken: Option<Duration>,
    /// Measured positions by `observation`, `[channels]`; channels of other kinds hold their `rest` values. `None`
    /// without a new observation, or where measured positions are not checked.
    #[serde(borrow, default)]
    pub measured: Option<Cow<'a, [f32]>>,
    /// What the cameras delivered, where policies read pictures. `None` in a period without news of a camera, and absent from the
    /// records of runs without cameras.
    #[serde(borrow, default)]
    pub cameras: Option<CameraInputs<'a>>,
    /// What operators sent who drive by hand, where the backup is a person. `None` in a period without news of them, and absent from
    /// the records of other runs.
    #[serde(borrow, default)]
    pub teleop: Option<TeleopInputs<'a>>,
}

/// A record holds the fields in their order and without names, so that of the last two only those at the end may be absent.
impl Serialize for Inputs<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (teleop, cameras) = (self.teleop.is_some(), self.cameras.is_some());
        let last = if teleop { 2 } else { usize::from(cameras) };
        let mut fields = serializer.serialize_struct("Inputs", 10 + last)?;
        fields.serialize_field("now", &self.now)?;
        fields.serialize_field("skipped", &self.skipped)?;
        fields.serialize_field("observation", &self.observation)?;
        fields.serialize_field("plant", &self.plant)?;
        fields.serialize_field("weak", &self.weak)?;
        fields.serialize_field("strong", &self.strong)?;
        fields.serialize_field("wishes", &self.wishes)?;
        fields.serialize_field("pose", &self.pose)?;
        fields.serialize_field("pose_taken", &self.pose_taken)?;
        fields.serialize_field("measured", &self.measured)?;
        if cameras || teleop {
            fields.serialize_field("cameras", &self.cameras)?;
        }
        if teleop {
            fields.serialize_field("teleop", &self.teleop)?;
        }
        fields.end()
    }
}

/// Reason of a stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// An emergency stop was commanded.
    EStop,
    /// An operator commanded a stop.
    Asked,
    /// No heartbeat of the plant arrived in time.
    PlantSilent,
    /// The plant's process has gone, or another process has replaced it.
    PlantLost,
    /// The plant stopped by itself.
    PlantStopped,
    /// For too long no observation was young enough.
    Stale,
    /// For too long a camera had no young enough frame, or no frames and observation from the same time.
    CameraStale,
    /// The weak policy is lost, and the strong policy is lost too or has already driven in its place for one hold.
    WeakLost,
    /// The strong policy is lost while it is needed.
    StrongLost,
    /// An episode's first action is too far from where the plant stands.
    FarFromStart,
    /// A measured position is too far from its command: a drive is off, or the robot was pushed.
    NotFollowing,
    /// A chunk exceeded bounds or limits that stop the robot.
    ChunkRefused,
    /// The controller itself stood still for longer than the plant may be silent.
    Suspended,
    /// No operator answered a call in time.
    Unanswered,
    /// For too long no command came of the operator who drove.
    OperatorLost,
    /// The operator who drove sent a value that is not finite, or more or fewer values than there are channels.
    OperatorFault,
}

impl StopReason {
    /// Returns the reason in words.
    pub fn text(self) -> &'static str {
        match self {
            Self::EStop => "an operator sent an e-stop",
            Self::Asked => "an operator, or the end of the run, asked for a stop",
            Self::PlantSilent => "no heartbeat of the plant came in time",
            Self::PlantLost => "the plant's process has gone, or another process has replaced it",
            Self::PlantStopped => "the plant stopped by itself",
            Self::Stale => {
                "for too long no observation came that was young enough and that a policy may read"
            }
            Self::CameraStale => {
                "for too long no set of pictures came that was young enough, from the time of an observation, and that a policy may read"
            }
            Self::WeakLost => "the weak policy is lost, and the strong one may not drive on in its place",
            Self::StrongLost => "the strong policy is lost while it is needed",
            Self::FarFromStart => "the first action is too far from where the plant stands",
            Self::NotFollowing => {
                "a measured position does not follow its command: a drive is off, or the robot was pushed"
            }
            Self::ChunkRefused => "a chunk exceeded bounds or limits, which the settings answer with a stop",
            Self::Suspended => {
                "the controller itself stood still for longer than the plant may be silent, so where the robot is now is not known"
            }
            Self::Unanswered => "no operator answered the call in time",
            Self::OperatorLost => "for too long no command came of the operator who drove",
            Self::OperatorFault => {
                "the operator who drove sent a value that is not finite, or more or fewer values than there are channels"
            }
        }
    }
}

/// Diagnostics of one control period, one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Diagnostics(u32);

macro_rules! notices {
    ($($bit:literal $name:ident $text:literal),+ $(,)?) => {
        impl Diagnostics {
            $(#[doc = $text] pub const $name: Self = Self(1 << $bit);)+
            /// Every diagnostic with its text.
            pub const ALL: [(Self, &'static str); 28] = [$((Self::$name, $text)),+];
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
    19 CAMERA_STALE "a camera has no young enough frame",
    20 CAMERA_FROZEN "the pixels of a camera do not change",
    21 CAMERA_REFUSED "a frame was refused: its size, its bytes, its time, or all of its pixels equal",
    22 CAMERA_GAP "frames of a camera were skipped",
    23 UNPAIRED "no frames and observation from the same time are young enough",
    24 CHUNK_JUMP "a chunk was refused: its first action is further from the last command than one period can move it",
    25 CHUNK_MOTION "a chunk was refused: its velocity, acceleration or jerk exceeds a channel's limits",
    26 FIRST_REFUSED "an operator's first command was refused: too far from the last command, not finite, or of another length",
    27 OPERATOR_DROPPED "an operator's command was dropped: old, late, of another claim, episode or operator, or without a call",
}

impl Diagnostics {
    /// Adds the diagnostics of `other`.
    pub fn add(&mut self, other: Self) {
        self.0 |= other.0;
    }

    /// Returns whether a diagnostic of `other` is set.
    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Returns the texts of the diagnostics that are set.
    pub fn texts(self) -> impl Iterator<Item = &'static str> {
        Self::ALL.into_iter().filter(move |(notice, _)| self.has(*notice)).map(|(_, text)| text)
    }
}

/// Record of one control period.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TickRecord<'a> {
    /// Inputs of the period.
    #[serde(borrow)]
    pub inputs: Inputs<'a>,
    /// Output of the period.
    pub output: Output,
    /// The command, `[channels]`.
    pub command: Cow<'a, [f32]>,
    /// Delay with which the period began, nanoseconds.
    pub late_ns: u64,
    /// Duration of the decision, nanoseconds.
    pub took_ns: u64,
}

impl TickRecord<'_> {
    /// Returns whether an episode begins in this period. Always false for records without `pose_taken`, which do not tell.
    pub fn begins(&self) -> bool {
        let wishes = &self.inputs.wishes;
        let is_asked = wishes.start.is_some() && self.inputs.pose_taken.is_some() && !wishes.e_stop;
        is_asked && !self.output.notices.has(Diagnostics::START_REFUSED)
    }
}

/// Output of a control period. The command itself is [`super::Controller::command`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Output {
    /// Mode from this period on.
    pub mode: Mode,
    /// Reason of the last stop; `None` after a reset.
    pub cause: Option<StopReason>,
    /// Whether a command is to be sent.
    pub send: bool,
    /// Control step of the episode that the command is for.
    pub step: u32,
    /// Number of a new request to the weak policy.
    pub ask_weak: Option<u64>,
    /// Number of a new request to the strong policy.
    pub ask_strong: Option<u64>,
    /// Decision of the gate, at a boundary.
    pub decision: Option<Decision>,
    /// Policy that drives; `None` where none does.
    pub driver: Option<Driver>,
    /// Bit mask of the channels whose command was limited.
    pub limited: u64,
    /// Diagnostics of the period.
    pub notices: Diagnostics,
    /// Report on the call of an operator, where the backup is a person; absent from the records of other runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<CallReport>,
}

impl Output {
    /// Returns the output of a period in which nothing has happened yet.
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
            call: None,
        }
    }
}

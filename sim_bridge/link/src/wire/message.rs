//! Every message, field by field, with its unit, frame and bound.
//! `docs/protocol.md` is the same for people who write the other side in another language.

use serde::{Deserialize, Serialize};

use super::bounded;

/// Values per action, at most.
const ACTION: usize = 64;
/// Values of a chunk, at most.
const CHUNK: usize = 64 * ACTION;
/// Values of a complete physical state, at most.
const STATE: usize = 65_536;
/// Joints or fingers, at most.
const JOINTS: usize = 64;
/// Objects in a scene, at most.
const OBJECTS: usize = 256;
/// Cameras, at most.
const CAMERAS: usize = 8;
/// Bytes of a name, at most.
const NAME: usize = 128;
/// Bytes of a sentence, at most.
const SENTENCE: usize = 4096;

/// Who sets the pace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// The plant moves only when asked, once for each step: experiments.
    LockStep,
    /// The plant moves at its own rate with the newest action: robots.
    FreeRunning,
}

/// Asks for the plant. One controller holds it at a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// Who asks, for people.
    #[serde(deserialize_with = "bounded::text::<_, NAME>")]
    pub controller: String,
    /// A number that tells this request from any other claim, so that one sent twice is granted once.
    pub nonce: u64,
    /// Who is to set the pace.
    pub mode: Mode,
}

/// Starts an episode; ends the one before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reset {
    /// From [`Claimed`].
    pub session: u64,
    /// Number of the episode: larger than that of any earlier one of this session.
    pub episode: u64,
    /// Index of the task within the plant's suite.
    pub task: u32,
    /// Index of the task's initial state.
    pub initial_state: u32,
}

/// Asks for one control step in lock-step. Sent again with the same numbers, it is answered again and not run again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// From [`Claimed`].
    pub session: u64,
    /// From [`Reset`].
    pub episode: u64,
    /// 1 for the first step of the episode, then counting.
    pub sequence: u32,
    /// Normalised action; for an OSC_POSE arm seven values in −1 to 1.
    #[serde(deserialize_with = "bounded::list::<_, _, ACTION>")]
    pub action: Vec<f32>,
}

/// Asks for what the cameras see now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FramesRequest {
    /// From [`Claimed`].
    pub session: u64,
    /// From [`Reset`].
    pub episode: u64,
    /// The last step's number; 0 after the reset.
    pub sequence: u32,
}

/// Gives the plant back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// From [`Claimed`].
    pub session: u64,
}

/// The controller's heartbeat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pulse {
    /// From [`Claimed`].
    pub session: u64,
    /// Nanoseconds on the controller's monotonic clock.
    pub stamp_ns: u64,
}

/// A free-running controller's command; it holds until the next, or until the plant's command timeout.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Action {
    /// From [`Claimed`].
    pub session: u64,
    /// From [`Reset`].
    pub episode: u64,
    /// Counts the episode's commands from 1; one that is not larger than the last is dropped.
    pub sequence: u32,
    /// Sequence number of the observation that it answers.
    pub observation: u32,
    /// Nanoseconds on the controller's monotonic clock.
    pub stamp_ns: u64,
    /// As in [`Step`].
    #[serde(deserialize_with = "bounded::list::<_, _, ACTION>")]
    pub action: Vec<f32>,
}

/// What people may want of a controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OperatorCommand {
    /// The emergency stop: commands at rest within one control period, latched.
    EStop,
    /// A safe stop: commands come to rest within their limits, latched.
    Stop,
    /// Out of a latch. Nothing moves before a start.
    Reset,
    /// The next episode, where the controller waits for it.
    Start,
}

/// Published to a controller by whoever may operate it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Operate {
    /// What is wanted.
    pub wish: OperatorCommand,
}

/// Asks a policy for a chunk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Infer {
    /// Number of the question.
    pub request: u64,
    /// Control step of the observation.
    pub step: u32,
    /// What is seen, without pictures.
    pub observation: Observed,
}

/// Answers [`Infer`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inferred {
    /// As asked.
    pub request: u64,
    /// SHA-256 of the model's weights, lower-case hexadecimal.
    #[serde(deserialize_with = "bounded::text::<_, NAME>")]
    pub model: String,
    /// Values per action.
    pub width: u32,
    /// Actions, row-major `[horizon, width]`.
    #[serde(deserialize_with = "bounded::list::<_, _, CHUNK>")]
    pub values: Vec<f32>,
}

/// Answers [`Claim`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claimed {
    /// A number drawn when the serving process started: another one means that it was restarted.
    pub instance: u64,
    /// Names this claim in every later message.
    pub session: u64,
    /// Values per action.
    pub action_width: u32,
    /// Tasks of the suite.
    pub tasks: u32,
    /// Control period, nanoseconds.
    pub period_ns: u64,
    /// A free-running plant stops when it has had no action for so long, nanoseconds.
    pub command_timeout_ns: u64,
    /// The plant is free for others when it has had neither pulse nor request for so long, nanoseconds.
    pub controller_timeout_ns: u64,
}

/// Position and orientation in the plant's world frame.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Placement {
    /// x, y, z, metres.
    pub position: [f64; 3],
    /// Unit quaternion w, x, y, z.
    pub orientation: [f64; 4],
}

/// One named object.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Object {
    /// As the task description names it.
    #[serde(deserialize_with = "bounded::text::<_, NAME>")]
    pub name: String,
    /// Its root body, world frame.
    pub pose: Placement,
}

/// What a policy may read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Observed {
    /// Plant time since the reset, seconds.
    pub plant_time: f64,
    /// Index of the task.
    pub task: u32,
    /// The task in words.
    #[serde(deserialize_with = "bounded::text::<_, SENTENCE>")]
    pub instruction: String,
    /// Arm joints from base to wrist, radians.
    #[serde(deserialize_with = "bounded::list::<_, _, JOINTS>")]
    pub joint_positions: Vec<f64>,
    /// The grip site between the finger tips, world frame.
    pub end_effector: Placement,
    /// Finger joints, metres.
    #[serde(deserialize_with = "bounded::list::<_, _, JOINTS>")]
    pub gripper: Vec<f64>,
    /// Movable objects in the order of the task description.
    #[serde(deserialize_with = "bounded::list::<_, _, OBJECTS>")]
    pub objects: Vec<Object>,
}

/// Answers [`Reset`] and [`Step`]; published at every period by a free-running plant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Moved {
    /// As asked.
    pub session: u64,
    /// As asked.
    pub episode: u64,
    /// Control steps since the reset.
    pub sequence: u32,
    /// When it was observed, or earlier, nanoseconds on the plant's monotonic clock. What was asked for may carry the
    /// time at which the question came.
    pub stamp_ns: u64,
    /// Whether the task's goal holds.
    pub success: bool,
    /// What a policy may read.
    pub observation: Observed,
    /// The complete physical state where the plant knows it, for comparing twins bit by bit; else empty.
    #[serde(deserialize_with = "bounded::list::<_, _, STATE>")]
    pub state: Vec<f64>,
}

/// One camera's picture.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Picture {
    /// The camera's name.
    #[serde(deserialize_with = "bounded::text::<_, NAME>")]
    pub camera: String,
    /// Pixels per row.
    pub width: u32,
    /// Rows; row 0 is the top.
    pub height: u32,
    /// Red, green, blue, 8 bits each, `[height, width, 3]`, as MessagePack `bin`.
    #[serde(
        serialize_with = "bounded::as_bytes",
        deserialize_with = "bounded::bytes::<_, { super::MAX_MESSAGE }>"
    )]
    pub rgb: Vec<u8>,
}

/// Answers [`FramesRequest`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pictures {
    /// As asked.
    pub session: u64,
    /// As asked.
    pub episode: u64,
    /// As asked.
    pub sequence: u32,
    /// In the plant's order; empty for a plant without cameras.
    #[serde(deserialize_with = "bounded::list::<_, _, CAMERAS>")]
    pub pictures: Vec<Picture>,
}

/// Why something was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// Not a message of this version.
    Malformed,
    /// Another schema version.
    Version,
    /// Another controller holds the plant.
    Held,
    /// No such session: released, expired, or from before a restart.
    Session,
    /// No such episode: never reset, or over.
    Episode,
    /// A step was skipped.
    Sequence,
    /// The message does not belong to the session's mode.
    Mode,
    /// The plant stopped by itself and waits for a reset.
    Stopped,
    /// The policy gave no chunk.
    Policy,
    /// The plant cannot do it: unknown task, action of the wrong width, simulation diverged.
    Plant,
}

/// The plant did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refused {
    /// For programs.
    pub code: Code,
    /// For people.
    #[serde(deserialize_with = "bounded::text::<_, SENTENCE>")]
    pub reason: String,
}

/// What the plant is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Nobody holds it.
    Idle,
    /// Held, no episode.
    Held,
    /// An episode is on.
    Running,
    /// The plant stopped by itself; only a reset starts it again.
    Stopped,
}

/// The plant's heartbeat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Status {
    /// From [`Claimed`].
    pub instance: u64,
    /// Who holds it; 0 for nobody.
    pub session: u64,
    /// What it is doing.
    pub phase: Phase,
    /// The episode; 0 for none.
    pub episode: u64,
    /// Control steps since the reset.
    pub sequence: u32,
    /// Nanoseconds on the plant's monotonic clock.
    pub stamp_ns: u64,
    /// Messages dropped because they were malformed, stale or nobody's.
    pub dropped: u64,
    /// Requests refused.
    pub refused: u64,
    /// `stamp_ns` of the newest [`Pulse`] of the session that holds it; 0 before the first.
    pub pulse_stamp_ns: u64,
    /// When that pulse came, on the clock of `stamp_ns`, nanoseconds; 0 before the first.
    pub pulse_received_ns: u64,
}

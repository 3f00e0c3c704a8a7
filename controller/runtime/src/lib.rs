//! Real-time runtime of the controller: a control thread at a fixed rate, and one thread for each policy.
//! Threads exchange data through wait-free buffers; `aegis_core::control` alone makes the decisions.
//!
//! The control thread never waits for another thread: each period it reads its inputs, decides, hands over the command
//! and the record, and sleeps until the next period. Once an episode has begun, it allocates nothing.
//!
//! ```
//! use aegis_runtime::Clock;
//!
//! let clock = Clock::start();
//! let (before, after) = (clock.now(), clock.now());
//! assert!(before <= after, "the clock is monotonic");
//! ```

mod answered;
mod cameras;
mod clock;
mod control;
mod inference;
mod log;
mod mailbox;
mod pace;
mod plant;
mod real_time;
mod teleop;

pub use cameras::{CameraReceiver, CameraSender, camera_ring};
pub use clock::Clock;
pub use control::{
    Command, CommandReader, CommandWriter, Control, ControlLoop, ControlThread, Ports, command_channel,
};
pub use inference::{
    InferenceOutput, InferenceWorker, Inferencer, ObservationWriter, PolicyClient, ProbedPolicy, Snapshot,
    SpawnError, spawn,
};
pub use log::{LogReader, LogWriter, log_channel};
pub use mailbox::{CommandMailbox, StartAt};
pub use pace::{Pace, Schedule};
pub use plant::{Health, ObservationReceiver, ObservationSender, sightings};
pub use real_time::{RealTime, RealTimeSettings};
pub use teleop::{TeleopReceiver, TeleopSender, teleop_ring};

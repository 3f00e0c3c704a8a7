//! The real-time shell around the controller: a thread of its own at a fixed rate, and policies on threads beside it.
//! What crosses between threads goes through wait-free buffers; decisions are `aegis_core::control`'s alone.
//!
//! The control thread never waits for another: it reads what has come, decides, hands the command and the record over,
//! and sleeps until its next period. After an episode has begun it allocates nothing.

mod clock;
mod control;
mod inference;
mod log;
mod mailbox;
mod pace;
mod plant;
mod real_time;

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

//! One robot session: reads a robot file, claims the plant over Zenoh, runs the episodes one after another in real time, and
//! keeps the record, the summary and the metrics. The controller is [`aegis_core::control`], its thread is
//! `aegis_runtime`; this crate is what stands around both. A program that drives a robot needs nothing else:
//!
//! ```no_run
//! use std::path::Path;
//! use std::sync::Arc;
//!
//! use aegis_failure::{Exit, Failure, OrExit};
//! use aegis_link::Role;
//! use aegis_policies::OnnxRuntime;
//! use aegis_robot::{Robot, Run, RunOptions, Watchers};
//!
//! # fn main() -> Result<(), Failure> {
//! let robot = Robot::load(Path::new("robot.toml"))?;
//! let runtime = OnnxRuntime::load(Path::new("libonnxruntime.so")).or_exit(Exit::Setup)?;
//! let session = aegis_link::open(Role::Drive, &robot.file.connect).or_exit(Exit::Failed)?;
//! let (options, watchers) = (RunOptions::new("my program 1.0"), Watchers::none());
//! // Set the flag from a handler of signals: the run then stops the plant and ends.
//! let mut run = Run::open(&robot, &runtime, session, Arc::default(), options, watchers)?;
//! let outcome = run.episodes();
//! run.end(outcome)?.verdict
//! # }
//! ```

mod call_sender;
pub mod call_tracker;
mod camera_ages;
mod cameras;
mod claim;
pub mod collect;
mod episode_figures;
mod episodes;
pub mod events;
mod frame_inbox;
mod last_error;
mod metrics;
mod observation_recorder;
mod observed_policy;
mod operator_summary;
mod picture_recorder;
mod plant_listener;
pub mod record;
mod rerun_stream;
mod reserve;
mod robot;
mod run;
pub mod run_summary;
mod served_policy;
mod session;
mod snapshot_recorder;
mod teleop_inbox;
mod worker;

pub use episode_figures::EpisodeFigures;
pub use plant_listener::PlantListener;
pub use rerun_stream::Viewer;
pub use robot::{Robot, RobotFile, RobotModels, Strong};
pub use run::{BeginLog, End, Ended, Run, RunOptions, Watchers, stop};
pub use served_policy::{ServedPolicy, SetupError, connect, open_policy};
pub use session::{OpenInferencer, RobotSession, Sending, Unsent};
pub use worker::Worker;

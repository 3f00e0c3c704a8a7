//! Field trials: the arms of a study on a robot, whose starts a person sets up by hand. A plan names the robot file, the arms and the
//! contrasts; arms run in blocks of one episode each from the same start, in an order that is drawn from the plan's seed and that the
//! person does not see. Nothing here does any I/O; `data::field_log` keeps the log of attempts on disk.

pub mod amendments;
pub mod analysis;
pub mod attempts;
pub mod log;
pub mod plan;
pub mod schedule;
pub mod view;

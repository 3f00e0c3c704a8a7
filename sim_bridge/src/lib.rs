//! LIBERO natively on MuJoCo: the plant that upstream's Python steps, bit for bit where floating point allows.
//! Reads suites that `python/export_scenes.py` wrote; needs no Python and no display at run time.

mod arm;
pub mod arrays;
mod binding;
pub mod camera;
mod error;
mod geometry;
pub mod goal;
pub mod gripper;
mod integration;
mod model_lookup;
pub mod osc;
mod placement;
pub mod plant;
pub mod sampler;
mod settling;
pub mod snapshot;
mod step_rate;
pub mod suite;
pub mod task;

pub use camera::Cameras;
pub use error::{GoalError, SuiteError};
pub use plant::LiberoPlant;
pub use sampler::StartSampler;
pub use snapshot::Snapshot;
pub use step_rate::mj_steps_per_second;
pub use suite::Suite;
pub use task::TaskInfo;

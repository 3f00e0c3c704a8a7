//! Native LIBERO plant on MuJoCo: reproduces upstream's Python plant, bit for bit where floating point allows.
//! Reads suites that `python/export_scenes.py` wrote; needs no Python and no display at run time.
//!
//! ```no_run
//! use aegis_core::{Plant, Start};
//! use aegis_sim::{LiberoPlant, Suite};
//!
//! let suite = Suite::load("scenes/libero_spatial".as_ref())?;
//! let mut plant = LiberoPlant::new(suite);
//! let observation = plant.reset(Start { task: 3, initial_state: 12 })?;
//! println!("{}", observation.instruction);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod arm;
pub mod arrays;
mod binding;
pub mod camera;
pub mod demonstration_file;
mod displaceable;
mod disturbance;
mod error;
mod geometry;
pub mod goal;
pub mod gripper;
mod integration;
mod model_lookup;
pub mod osc;
mod placement;
pub mod plant;
pub mod published;
mod resume;
pub mod sampler;
mod scene_files;
mod schema;
mod settling;
pub mod snapshot;
mod step_rate;
pub mod suite;
pub mod task;

pub use camera::Cameras;
pub use error::{GoalError, SuiteError};
pub use plant::LiberoPlant;
pub use sampler::StartSampler;
pub use schema::NULL_ACTION;
pub use snapshot::Snapshot;
pub use step_rate::mj_steps_per_second;
pub use suite::Suite;
pub use task::TaskInfo;

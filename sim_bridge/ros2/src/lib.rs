//! A ROS 2 robot as a plant, without a ROS installation: joint states and compressed images in, joint trajectories or velocities
//! out, over Zenoh by the conventions of `rmw_zenoh`. A process of this crate is a node to the robot and a plant to a controller, so
//! that claims, limits, ages, stops and the watchdog are those of every other plant.
//!
//! `names`, `types`, `attachment`, `message`, `stamps`, `stream`, `joints`, `command`, `graph`, `refusals` and `schema` are pure: values
//! in, values out. `node`, `plant`, `images` and `serve` do the input and output.
//!
//! ```
//! use aegis_ros2::types::{Distribution, RosType};
//!
//! assert_eq!(RosType::JointState.dds(), "sensor_msgs::msg::dds_::JointState_");
//! assert_eq!(RosType::JointState.hash(Distribution::Humble), "TypeHashNotSupported");
//! ```

pub mod attachment;
pub mod command;
pub mod file;
pub mod graph;
pub mod images;
pub mod joints;
pub mod message;
pub mod names;
pub mod node;
pub mod plant;
pub mod refusals;
pub mod schema;
pub mod serve;
pub mod stamps;
pub mod stream;
pub mod types;

pub use file::{FileError, RosFile};
pub use plant::RosPlant;
pub use serve::{ServeError, serve};

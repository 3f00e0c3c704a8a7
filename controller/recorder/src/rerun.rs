//! The parts of Rerun's SDK that recordings use, under one name. The crates are named one by one because the crate `rerun`
//! also compiles Rerun's store and servers.

pub use re_sdk::external::re_log_types::BlueprintActivationCommand;
pub use re_sdk::log::ChunkBatcherConfig;
pub use re_sdk::{AsComponents, EntityPath, RecordingStream, RecordingStreamBuilder, RecordingStreamError};
pub use re_sdk_types::archetypes::{
    Clear, EncodedImage, Image, LineStrips3D, Mesh3D, Points3D, Scalars, SeriesLines, StateChange,
    StateConfiguration, TextDocument, TextLog, Transform3D, ViewCoordinates,
};
pub use re_sdk_types::components::{Color, Radius, TextLogLevel};
pub use re_sdk_types::datatypes::{Quaternion, Rgba32};
pub use re_sdk_types::{blueprint, components, datatypes};

//! Policies: the ONNX Runtime host, what a model sees of an observation, and the scripted expert.
//! Weights live in `models/`, each with a card that fixes its digest and its shapes.

mod binding;
pub mod card;
mod deadline;
pub mod encode;
pub mod expert;
pub mod external;
pub mod graph;
pub mod node_assignment;
pub mod onnx;
pub mod provider;
pub mod runtime;
pub mod sample;
pub mod session_options;
mod signature;
pub mod tap;

pub use card::{CardError, ModelCard};
pub use onnx::OnnxPolicy;
pub use provider::Selected;
pub use runtime::{OnnxRuntime, OpenError};
pub use session_options::{HostSettings, Provider, ProviderChoice};

//! Policies: the ONNX Runtime host, what a model sees of an observation, and the scripted expert.
//! Weights live in `models/`, each with a card that fixes its digest and its shapes.

mod binding;
pub mod card;
mod deadline;
pub mod encode;
pub mod expert;
pub mod external;
pub mod graph;
pub mod host;
pub mod library;
pub mod onnx;
pub mod placement;
pub mod provider;
pub mod sample;
mod signature;
pub mod tap;

pub use card::{CardError, ModelCard};
pub use host::{HostSettings, Provider, ProviderChoice};
pub use library::{OnnxRuntime, OpenError};
pub use onnx::OnnxPolicy;
pub use provider::Selected;

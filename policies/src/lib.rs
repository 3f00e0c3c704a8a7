//! Policies: the ONNX Runtime host, what a model sees of an observation, and the scripted expert.
//! Weights live in `models/`, each with a card that fixes its digest and its shapes.

pub mod card;
pub mod encode;
pub mod expert;
pub mod graph;
pub mod onnx;
pub mod tap;

pub use card::{CardError, ModelCard};
pub use onnx::{OnnxPolicy, OnnxRuntime, OpenError};

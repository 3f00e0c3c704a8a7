//! Policies: the ONNX Runtime host, the encoding of observations as model inputs, and the scripted expert.
//! Weights are in `models/`, each with a card that states its digest and its shapes.
//!
//! ```no_run
//! use aegis_policies::ModelCard;
//!
//! let card = ModelCard::load("policies/models/weak.toml".as_ref())?;
//! println!("{}: {} actions per chunk", card.model_sha256(), card.chunk.horizon);
//! # Ok::<(), aegis_policies::card::CardError>(())
//! ```

mod affine;
mod binding;
pub mod card;
pub mod check;
mod deadline;
pub mod expert;
pub mod external;
mod filler;
pub mod graph;
mod image;
pub mod inputs;
pub mod layout;
pub mod node_assignment;
pub mod onnx;
mod outputs;
mod prefix;
pub mod provider;
mod question;
mod rank;
pub mod runtime;
pub mod sample;
pub mod served;
pub mod server;
pub mod session_options;
mod signature;
pub mod sketch;
pub mod tap;
mod term;
mod tokens;
pub mod vector;

pub use card::{CardError, ModelCard};
pub use onnx::OnnxPolicy;
pub use provider::Selected;
pub use runtime::{OnnxRuntime, OpenError};
pub use session_options::{HostSettings, Provider, ProviderChoice};

//! The ONNX Runtime library: loaded once per process, queried for its providers, and shared by every session.
//! All errors of opening a model are defined here, in [`OpenError`].

use std::path::{Path, PathBuf};
use std::sync::Arc;

use aegis_core::PolicyError;
use ort::ep::{CUDA, ExecutionProvider, TensorRT};

use crate::card::CardError;
use crate::session_options::{HostSettings, Provider, SettingError};

/// The loaded ONNX Runtime library and the settings with which sessions are opened.
#[derive(Clone)]
pub struct OnnxRuntime {
    pub(crate) environment: Arc<ort::environment::Environment>,
    path: Arc<Path>,
    settings: HostSettings,
}

/// Error of opening a model.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The library is missing or cannot be loaded.
    #[error("{path}: cannot load ONNX Runtime: {reason}; run `cargo xtask setup`", path = path.display())]
    Library {
        /// The library.
        path: PathBuf,
        /// Message of the loader.
        reason: String,
    },
    /// A setting of the host is out of its range.
    #[error("host settings: {0}")]
    Setting(#[from] SettingError),
    /// The requested provider is not in the library or does not start.
    #[error("provider {provider}: {reason}; {advice}")]
    Provider {
        /// The requested provider.
        provider: Provider,
        /// Why the provider does not start.
        reason: String,
        /// Remedy.
        advice: &'static str,
    },
    /// The provider has started, but the graph or a part of it runs on another provider.
    #[error(
        "{path}: provider {provider} leaves nodes to another: {}; valid is a graph that runs entirely on it, or provider \
         auto",
        nodes.join(", "), path = path.display()
    )]
    Placement {
        /// The weights.
        path: PathBuf,
        /// The requested provider.
        provider: Provider,
        /// Each node that runs on another provider, with that provider.
        nodes: Vec<String>,
    },
    /// The card is not valid, or the weights do not match the card.
    #[error(transparent)]
    Card(#[from] CardError),
    /// ONNX Runtime refuses the graph.
    #[error("{path}: ONNX Runtime refuses the model: {reason}", path = path.display())]
    Model {
        /// The weights.
        path: PathBuf,
        /// Message of the runtime.
        reason: String,
    },
    /// The graph lacks a tensor that the card names.
    #[error("{path}: {field}: no {kind} named {found:?}; the graph has {valid}", path = path.display())]
    Tensor {
        /// The card.
        path: PathBuf,
        /// The field of the card.
        field: String,
        /// `input` or `output`.
        kind: &'static str,
        /// The name given in the card.
        found: String,
        /// The names that the graph has.
        valid: String,
    },
    /// The graph reads an input that the card does not name, so there are no values for it.
    #[error(
        "{path}: {model} reads an input {input}, which the card does not name; valid is a card with a table \
         [[inputs]] for each input (docs/reference/policies.md); it names {named}",
        path = path.display(), model = model.display()
    )]
    Unnamed {
        /// The card.
        path: PathBuf,
        /// The weights.
        model: PathBuf,
        /// The input's name in the graph, element type and shape.
        input: String,
        /// The inputs that the card names.
        named: String,
    },
    /// An input of the card cannot be filled from any plant.
    #[error("{path}: {field}: {reason}", path = path.display())]
    Input {
        /// The card.
        path: PathBuf,
        /// The field of the card.
        field: String,
        /// What was found and what would be valid.
        reason: String,
    },
    /// A tensor has another element type or shape in the graph than in the card.
    #[error("{path}: {field}: found {found}; valid is {valid}, as in the graph", path = path.display())]
    Shape {
        /// The card.
        path: PathBuf,
        /// The field of the card.
        field: String,
        /// Element type and shape in the card.
        found: String,
        /// Element type and shape in the graph.
        valid: String,
    },
    /// A warm-up inference failed, or the watchdog of the deadline could not be started.
    #[error("{path}: warm-up: {source}", path = path.display())]
    WarmUp {
        /// The weights.
        path: PathBuf,
        /// The cause.
        source: PolicyError,
    },
}

impl OnnxRuntime {
    /// Loads the library at `path`, once per process, with the default settings.
    ///
    /// # Errors
    /// [`OpenError::Library`] with the loader's message.
    pub fn load(path: &Path) -> Result<Self, OpenError> {
        let library = |reason: String| OpenError::Library { path: path.to_owned(), reason };
        if !path.is_file() {
            return Err(library("found no file".into()));
        }
        let environment = ort::init_from(path)
            .map_err(|error| library(error.to_string()))?
            .with_telemetry(false)
            .build()
            .map_err(|error| library(error.to_string()))?;
        Ok(Self { environment: Arc::new(environment), path: path.into(), settings: HostSettings::default() })
    }

    /// Returns the same library with other settings for its sessions.
    ///
    /// # Errors
    /// [`OpenError::Setting`] for a setting out of its range.
    pub fn with_settings(&self, settings: HostSettings) -> Result<Self, OpenError> {
        settings.validate()?;
        Ok(Self { settings, ..self.clone() })
    }

    /// Returns the settings with which sessions are opened.
    pub fn settings(&self) -> &HostSettings {
        &self.settings
    }

    /// Returns the path of the library.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Checks whether the library was built with a provider. Only opening a session shows whether the provider also starts.
    pub fn offers(&self, provider: Provider) -> bool {
        match provider {
            Provider::Cpu => true,
            Provider::Cuda => CUDA::is_available().unwrap_or(false),
            Provider::TensorRt => TensorRT::is_available().unwrap_or(false),
        }
    }

    /// Returns every provider that the library was built with.
    pub fn providers(&self) -> Vec<Provider> {
        let known = [Provider::Cpu, Provider::Cuda, Provider::TensorRt];
        known.into_iter().filter(|provider| self.offers(*provider)).collect()
    }
}

//! The ONNX Runtime library: loaded once, asked what it offers, and shared by every session with its settings.
//! Why a model does not open is said in one place, here.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use aegis_core::PolicyError;
use ort::ep::{CUDA, ExecutionProvider, TensorRT};

use crate::card::CardError;
use crate::session_options::{HostSettings, Provider, SettingError};

/// The loaded ONNX Runtime library, and how sessions are opened with it.
#[derive(Clone)]
pub struct OnnxRuntime {
    pub(crate) environment: Arc<ort::environment::Environment>,
    path: Arc<Path>,
    settings: HostSettings,
}

/// Why a model did not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The library is missing or is none.
    #[error("{path}: cannot load ONNX Runtime: {reason}; run `cargo xtask setup`", path = path.display())]
    Library {
        /// The library.
        path: PathBuf,
        /// What the loader said.
        reason: String,
    },
    /// A setting of the host is out of its range.
    #[error("host settings: {0}")]
    Setting(#[from] SettingError),
    /// The provider that was asked for is not there or does not start.
    #[error("provider {provider}: {reason}; {advice}")]
    Provider {
        /// What was asked for.
        provider: Provider,
        /// What is wrong with it here.
        reason: String,
        /// What to do about it.
        advice: &'static str,
    },
    /// The provider has started, and the graph runs elsewhere.
    #[error(
        "{path}: provider {provider} leaves nodes to another: {}; valid is a graph that runs on it as a whole, or provider \
         auto",
        nodes.join(", "), path = path.display()
    )]
    Placement {
        /// The weights.
        path: PathBuf,
        /// What was asked for.
        provider: Provider,
        /// What runs where.
        nodes: Vec<String>,
    },
    /// The card or the digest is wrong.
    #[error(transparent)]
    Card(#[from] CardError),
    /// The runtime refuses the graph.
    #[error("{path}: ONNX Runtime refuses the model: {reason}", path = path.display())]
    Model {
        /// The weights.
        path: PathBuf,
        /// What the runtime said.
        reason: String,
    },
    /// The graph lacks a tensor that the card names.
    #[error("{path}: {field}: no {kind} named {found:?}; the graph has {valid}", path = path.display())]
    Tensor {
        /// The card.
        path: PathBuf,
        /// The field of the card.
        field: &'static str,
        /// `input` or `output`.
        kind: &'static str,
        /// The name in the card.
        found: String,
        /// The names in the graph.
        valid: String,
    },
    /// The graph reads an input that the card does not name, so there is nothing to give it.
    #[error(
        "{path}: {model} reads an input {input}, which the card does not name; valid is a model that reads what \
         [observation] and [[frames]] name ({named}) and nothing else",
        path = path.display(), model = model.display()
    )]
    Unnamed {
        /// The card.
        path: PathBuf,
        /// The weights.
        model: PathBuf,
        /// The input's name in the graph, and its type and shape.
        input: String,
        /// The inputs that the card names.
        named: String,
    },
    /// A tensor has another type or shape than the card says.
    #[error("{path}: {field}: found {found}; valid is {valid}, as in the graph", path = path.display())]
    Shape {
        /// The card.
        path: PathBuf,
        /// The field of the card.
        field: &'static str,
        /// Type and shape in the card.
        found: String,
        /// Type and shape in the graph.
        valid: String,
    },
    /// The first inference failed.
    #[error("{path}: warm-up: {source}", path = path.display())]
    WarmUp {
        /// The weights.
        path: PathBuf,
        /// What went wrong.
        source: PolicyError,
    },
}

impl OnnxRuntime {
    /// Loads the library at `path`, once per process, with the default settings.
    ///
    /// # Errors
    /// [`OpenError::Library`] with what the loader said.
    pub fn load(path: &Path) -> Result<Self, OpenError> {
        let library = |reason: String| OpenError::Library { path: path.to_owned(), reason };
        if !path.is_file() {
            return Err(library("no such file".into()));
        }
        let environment = ort::init_from(path)
            .map_err(|error| library(error.to_string()))?
            .with_telemetry(false)
            .build()
            .map_err(|error| library(error.to_string()))?;
        Ok(Self { environment: Arc::new(environment), path: path.into(), settings: HostSettings::default() })
    }

    /// The same library, whose sessions open under these settings.
    ///
    /// # Errors
    /// [`OpenError::Setting`] for a setting out of its range.
    pub fn with_settings(&self, settings: HostSettings) -> Result<Self, OpenError> {
        settings.validate()?;
        Ok(Self { settings, ..self.clone() })
    }

    /// How sessions are opened.
    pub fn settings(&self) -> &HostSettings {
        &self.settings
    }

    /// The library's file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the library was built with a provider. Whether it also starts here, only a session can tell.
    pub fn offers(&self, provider: Provider) -> bool {
        match provider {
            Provider::Cpu => true,
            Provider::Cuda => CUDA::is_available().unwrap_or(false),
            Provider::TensorRt => TensorRT::is_available().unwrap_or(false),
        }
    }

    /// Every provider that the library was built with.
    pub fn providers(&self) -> Vec<Provider> {
        let known = [Provider::Cpu, Provider::Cuda, Provider::TensorRt];
        known.into_iter().filter(|provider| self.offers(*provider)).collect()
    }
}

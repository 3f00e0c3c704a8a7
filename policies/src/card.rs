//! The card beside a model: what it reads, what it returns, and the digest that fixes it.
//! A model whose bytes differ from its card is refused.

use std::path::{Path, PathBuf};

use serde::de::Error;
use serde::{Deserialize, Deserializer};
use sha2::{Digest, Sha256};

use crate::encode::Layout;

/// Machine-readable part of a model's card, a TOML file beside the weights.
#[derive(Clone, Debug, Deserialize)]
pub struct ModelCard {
    /// Weights, relative to the card.
    pub file: PathBuf,
    /// SHA-256 of the weights, lower-case hexadecimal.
    pub sha256: String,
    /// The vector that the model reads.
    pub observation: ObservationSpec,
    /// The pictures that it reads beside it.
    #[serde(default)]
    pub frames: Vec<FrameSpec>,
    /// What it proposes.
    pub chunk: ChunkSpec,
    /// The tensor that a probe may watch, if the model exposes one.
    pub activation: Option<ActivationSpec>,
    /// How it came about; for people, and kept as it stands.
    #[serde(default)]
    pub training: toml::Table,
    /// Where the card was read from.
    #[serde(skip)]
    pub path: PathBuf,
}

/// The observation tensor, `float32[1, width]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObservationSpec {
    /// Name of the graph input.
    pub tensor: String,
    /// Meaning of the numbers.
    #[serde(deserialize_with = "layout")]
    pub layout: Layout,
    /// How many there are.
    pub width: usize,
}

/// One camera's tensor, `uint8[1, height, width, 3]`: red, green, blue, row 0 at the top.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FrameSpec {
    /// Name of the graph input.
    pub tensor: String,
    /// The camera's name in the plant.
    pub camera: String,
    /// Rows.
    pub height: u32,
    /// Pixels per row.
    pub width: u32,
}

/// The action tensor, `float32[1, horizon, width]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChunkSpec {
    /// Name of the graph output.
    pub tensor: String,
    /// Control steps per inference.
    pub horizon: usize,
    /// Values per action.
    pub width: usize,
}

/// The tapped tensor, `float32[1, tokens, width]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActivationSpec {
    /// Name of the graph output.
    pub tensor: String,
    /// Tokens of the chunk.
    pub tokens: usize,
    /// Values per token.
    pub width: usize,
}

/// Why a card or its model is refused.
#[derive(Debug, thiserror::Error)]
pub enum CardError {
    /// A file cannot be read.
    #[error("{path}: cannot read: {source}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The card is not valid.
    #[error("{path}: not a model card: {source}", path = path.display())]
    Parse {
        /// The card.
        path: PathBuf,
        /// Line, field and what would be valid.
        source: Box<toml::de::Error>,
    },
    /// The card gives a layout another width than it has.
    #[error("{path}: observation.width: found {found}; valid is {valid} with layout {layout:?}", path = path.display())]
    Width {
        /// The card.
        path: PathBuf,
        /// Layout in the card.
        layout: &'static str,
        /// Width in the card.
        found: usize,
        /// The layout's width.
        valid: usize,
    },
    /// The weights are not those that the card describes.
    #[error("{path}: SHA-256 is {found}, the card says {expected}; the file was truncated, corrupted or swapped", path = path.display())]
    Digest {
        /// The weights.
        path: PathBuf,
        /// Digest in the card.
        expected: String,
        /// Digest of the file.
        found: String,
    },
}

impl ModelCard {
    /// Reads a card.
    pub fn load(path: &Path) -> Result<Self, CardError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| CardError::Read { path: path.to_owned(), source })?;
        let mut card: Self = toml::from_str(&text)
            .map_err(|source| CardError::Parse { path: path.to_owned(), source: Box::new(source) })?;
        let ObservationSpec { layout, width, .. } = card.observation;
        if width != layout.width() {
            return Err(CardError::Width {
                path: path.to_owned(),
                layout: layout.name(),
                found: width,
                valid: layout.width(),
            });
        }
        card.path = path.to_owned();
        Ok(card)
    }

    /// Reads the weights and holds them against the digest.
    pub fn weights(&self) -> Result<Vec<u8>, CardError> {
        let path = self.weights_path();
        let bytes = std::fs::read(&path).map_err(|source| CardError::Read { path: path.clone(), source })?;
        let found = sha256(&bytes);
        if found != self.sha256 {
            return Err(CardError::Digest { path, expected: self.sha256.clone(), found });
        }
        Ok(bytes)
    }

    /// Where the weights are.
    pub fn weights_path(&self) -> PathBuf {
        self.path.with_file_name(&self.file)
    }
}

/// A layout by its name.
fn layout<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Layout, D::Error> {
    let name = String::deserialize(deserializer)?;
    Layout::named(&name).ok_or_else(|| {
        let valid = Layout::ALL.map(|layout| format!("{:?}", layout.name())).join(" or ");
        D::Error::custom(format!("found layout {name:?}; valid is {valid}"))
    })
}

/// SHA-256 as cards and files have it, lower-case hexadecimal.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

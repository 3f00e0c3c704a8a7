//! The card beside a model: the model's inputs and outputs, and the digests of its files.
//! A model whose bytes do not match the digests of its card is refused.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aegis_files::{mistaken, read_text, same_digest, sha256_of};
use serde::de::Error;
use serde::{Deserialize, Deserializer};

use crate::encode::Layout;
use crate::external::{self, ExternalError};

/// Largest number of values of one tensor that a policy reads or returns.
const MOST_VALUES: usize = 1 << 26;

/// A model's card, a TOML file beside the weights.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelCard {
    /// Path of the weights, relative to the card.
    pub file: PathBuf,
    /// SHA-256 of the weights, lower-case hexadecimal.
    #[serde(deserialize_with = "digest")]
    pub sha256: String,
    /// Files beside the ONNX file in which the model keeps weights.
    #[serde(default)]
    pub external: Vec<ExternalFile>,
    /// The vector that the model reads.
    pub observation: ObservationSpec,
    /// The pictures that the model reads besides the vector.
    #[serde(default)]
    pub frames: Vec<FrameSpec>,
    /// The chunk of actions that the model returns.
    pub chunk: ChunkSpec,
    /// The activation that a probe may read, if the model returns one.
    pub activation: Option<ActivationSpec>,
    /// How the model was trained: a free-form table for readers, kept as parsed.
    #[serde(default)]
    pub training: toml::Table,
    /// Episodes that the model was measured to win: a free-form table for readers, kept as parsed.
    #[serde(default)]
    pub success: toml::Table,
    /// Where the card was read from.
    #[serde(skip)]
    pub path: PathBuf,
}

/// A file beside a model that holds some of its weights.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExternalFile {
    /// Path of the file relative to the folder of the weights, in that folder or below it.
    pub file: String,
    /// SHA-256 of the file, lower-case hexadecimal.
    #[serde(deserialize_with = "digest")]
    pub sha256: String,
}

/// The bytes of a model's files, all checked against the digests of the card.
#[derive(Clone, Debug)]
pub struct Weights {
    /// The ONNX file.
    pub model: Vec<u8>,
    /// Contents of the external files, by location as the model spells it.
    pub external: BTreeMap<String, Arc<[u8]>>,
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
    /// Length of the vector.
    pub width: usize,
}

/// The picture tensor of one camera, `uint8[1, height, width, 3]`: red, green, blue, row 0 at the top.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FrameSpec {
    /// Name of the graph input.
    pub tensor: String,
    /// The camera's name in the plant.
    pub camera: String,
    /// Height in pixels.
    pub height: u32,
    /// Width in pixels.
    pub width: u32,
}

/// The action tensor, `float32[1, horizon, width]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChunkSpec {
    /// Name of the graph output.
    pub tensor: String,
    /// Control steps per chunk.
    pub horizon: usize,
    /// Values per action.
    pub width: usize,
}

/// The activation tensor, `float32[1, tokens, width]`; with one token also `float32[1, width]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActivationSpec {
    /// Name of the graph output.
    pub tensor: String,
    /// Number of tokens.
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
        /// Error of the operating system.
        source: std::io::Error,
    },
    /// The card is not valid.
    #[error("{path}: not a model card: {source}", path = path.display())]
    Parse {
        /// The card.
        path: PathBuf,
        /// The line, the field, and what would be valid.
        source: Box<toml::de::Error>,
    },
    /// The card has no `[activation]`, and a probe reads this policy.
    #[error("{path}: activation: missing; a watched policy needs one", path = path.display())]
    NoActivation {
        /// The card.
        path: PathBuf,
    },
    /// The width in the card is not that of the layout.
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
    /// The card gives a tensor an empty or too large size.
    #[error(
        "{path}: {field}: found {what} of {found}; valid are 1 to {MOST_VALUES} values",
        path = path.display()
    )]
    Size {
        /// The card.
        path: PathBuf,
        /// The table of the card.
        field: &'static str,
        /// Names of the sizes.
        what: &'static str,
        /// The sizes in the card.
        found: String,
    },
    /// The file is not an ONNX model, or keeps weights where they are not allowed.
    #[error("{path}: {source}", path = path.display())]
    External {
        /// The weights.
        path: PathBuf,
        /// What is wrong.
        source: ExternalError,
    },
    /// The card and the model do not name the same external files.
    #[error("{path}: external: {reason}", path = path.display())]
    Files {
        /// The card.
        path: PathBuf,
        /// Which file, and what would be valid.
        reason: String,
    },
    /// The weights do not match the digest of the card.
    #[error("{path}: SHA-256 is {found}, the card says {expected}; {why}", path = path.display())]
    Digest {
        /// The weights.
        path: PathBuf,
        /// Digest in the card.
        expected: String,
        /// Digest of the file.
        found: String,
        /// What may have happened to the file.
        why: String,
    },
}

impl ModelCard {
    /// Reads and checks a card.
    pub fn load(path: &Path) -> Result<Self, CardError> {
        let text = read_text(path).map_err(|source| CardError::Read { path: path.to_owned(), source })?;
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
        card.check_sizes()?;
        Ok(card)
    }

    /// Checks the sizes of all tensors, before memory is allocated for them.
    fn check_sizes(&self) -> Result<(), CardError> {
        let chunk = ("chunk", "horizon × width", vec![self.chunk.horizon, self.chunk.width]);
        let activation =
            self.activation.iter().map(|one| ("activation", "tokens × width", vec![one.tokens, one.width]));
        let frames = self
            .frames
            .iter()
            .map(|one| ("frames", "height × width × 3", vec![one.height as usize, one.width as usize, 3]));
        for (field, what, sizes) in std::iter::once(chunk).chain(activation).chain(frames) {
            let count = sizes.iter().try_fold(1_usize, |count, size| count.checked_mul(*size));
            if count.is_none_or(|count| !(1..=MOST_VALUES).contains(&count)) {
                let found = sizes.iter().map(usize::to_string).collect::<Vec<_>>().join(" × ");
                return Err(CardError::Size { path: self.path.clone(), field, what, found });
            }
        }
        Ok(())
    }

    /// Reads the weights, including external files, and checks each file against its digest.
    ///
    /// # Errors
    /// [`CardError`] for a file that is missing or does not match its digest, weights outside the model's folder, and a card
    /// that does not name exactly the files that the model reads.
    pub fn weights(&self) -> Result<Weights, CardError> {
        let path = self.weights_path();
        let model = read_as(&path, &self.sha256)?;
        refuse_mistaken(&path, &model)?;
        let files =
            external::files(&model).map_err(|source| CardError::External { path: path.clone(), source })?;
        self.check_files(&files)?;
        let mut read: BTreeMap<&str, Arc<[u8]>> = BTreeMap::new();
        for one in &self.external {
            let place = path.with_file_name(&one.file);
            self.check_inside(&path, &place)?;
            read.insert(&one.file, read_as(&place, &one.sha256)?.into());
        }
        let found = files.iter().filter_map(|(location, file)| {
            read.get(file.as_str()).map(|bytes| (location.clone(), Arc::clone(bytes)))
        });
        let external = found.collect();
        Ok(Weights { model, external })
    }

    /// Returns the activation that a probe reads.
    ///
    /// # Errors
    /// A card without `[activation]`.
    pub fn probed(&self) -> Result<&ActivationSpec, CardError> {
        self.activation.as_ref().ok_or_else(|| CardError::NoActivation { path: self.path.clone() })
    }

    /// Returns the digest that identifies the model: SHA-256 of its file. For a model with external files, SHA-256 over the
    /// output of `sha256sum` for the model and for each external file, sorted by name.
    pub fn model_sha256(&self) -> String {
        if self.external.is_empty() {
            return self.sha256.clone();
        }
        let mut external: Vec<&ExternalFile> = self.external.iter().collect();
        external.sort_by(|one, other| one.file.cmp(&other.file));
        let mut lines = format!("{}  {}\n", self.sha256, self.file.display());
        for ExternalFile { file, sha256 } in external {
            lines += &format!("{sha256}  {file}\n");
        }
        sha256_of(lines.as_bytes())
    }

    /// Checks that the card names exactly the external files that the model reads, each once.
    fn check_files(&self, files: &BTreeMap<String, String>) -> Result<(), CardError> {
        let wrong = |reason| CardError::Files { path: self.path.clone(), reason };
        let read: BTreeSet<&str> = files.values().map(String::as_str).collect();
        let mut named = BTreeSet::new();
        for ExternalFile { file, .. } in &self.external {
            if !named.insert(file.as_str()) {
                return Err(wrong(format!("found {file} twice; valid is each file once")));
            }
            if !read.contains(file.as_str()) {
                let valid = read.iter().copied().collect::<Vec<_>>().join(", ");
                let valid = if valid.is_empty() { "none".into() } else { valid };
                return Err(wrong(format!(
                    "found {file}; valid is what {} reads: {valid}",
                    self.file.display()
                )));
            }
        }
        match read.iter().find(|file| !named.contains(*file)) {
            Some(file) => Err(wrong(format!(
                "{file}: missing; {} keeps weights in it, so the card needs an [[external]] table with its file and sha256",
                self.file.display()
            ))),
            None => Ok(()),
        }
    }

    /// Checks that no link leads out of the model's folder.
    fn check_inside(&self, model: &Path, place: &Path) -> Result<(), CardError> {
        let read = |source| CardError::Read { path: place.to_owned(), source };
        let Some(found) = external::led_outside(model, place).map_err(read)? else { return Ok(()) };
        let (place, found) = (place.display(), found.display());
        let reason =
            format!("{place}: a link leads to {found}; valid is a file in the model's folder or below it");
        Err(CardError::Files { path: self.path.clone(), reason })
    }

    /// Returns the path of the weights.
    pub fn weights_path(&self) -> PathBuf {
        self.path.with_file_name(&self.file)
    }
}

/// Reads a file and checks it against its digest.
fn read_as(path: &Path, expected: &str) -> Result<Vec<u8>, CardError> {
    let bytes =
        aegis_files::read_any(path).map_err(|source| CardError::Read { path: path.to_owned(), source })?;
    let found = sha256_of(&bytes);
    if same_digest(&found, expected) {
        return Ok(bytes);
    }
    refuse_mistaken(path, &bytes)?;
    let why = mistaken::kind(&bytes)
        .map_or("the file was truncated, corrupted or swapped".into(), |kind| format!("the file is {kind}"));
    Err(CardError::Digest { path: path.to_owned(), expected: expected.to_owned(), found, why })
}

/// Checks that a file is not empty, a Git LFS pointer or a web page.
fn refuse_mistaken(path: &Path, bytes: &[u8]) -> Result<(), CardError> {
    match mistaken::never_wanted(bytes) {
        Some(what) => {
            let source = std::io::Error::new(std::io::ErrorKind::InvalidData, what);
            Err(CardError::Read { path: path.to_owned(), source })
        }
        None => Ok(()),
    }
}

/// Deserializes a layout from its name.
fn layout<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Layout, D::Error> {
    let name = String::deserialize(deserializer)?;
    Layout::named(&name).ok_or_else(|| {
        let valid = Layout::ALL.map(|layout| format!("{:?}", layout.name())).join(" or ");
        D::Error::custom(format!("found layout {name:?}; valid is {valid}"))
    })
}

/// Deserializes a SHA-256 digest and converts it to lower case, as it may be input of another digest.
fn digest<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let found = String::deserialize(deserializer)?;
    let digest = found.trim().to_ascii_lowercase();
    if digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(digest);
    }
    Err(D::Error::custom(format!("found digest {found:?}; valid is SHA-256, 64 hexadecimal digits")))
}

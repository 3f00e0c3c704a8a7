//! The card beside a model: the model's inputs and outputs, and the digests of its files.
//! A model whose bytes do not match the digests of its card is refused.

mod checks;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aegis_core::feature::OBJECT_PREFIX;
use aegis_files::{mistaken, read_text, same_digest, sha256_of};
use serde::de::Error;
use serde::{Deserialize, Deserializer};

use crate::affine::Affine;
use crate::external::{self, ExternalError};
use crate::inputs::{ImageInput, Input, MaskInput, Numbers, TokensInput, VectorInput};
use crate::layout::Layout;
use crate::server::{Protocol, ServerSpec};
use crate::tokens::Vocabulary;

/// Largest number of values of one tensor that a policy reads or returns.
pub(crate) const MOST_VALUES: usize = 1 << 26;
/// Beginning of a placeholder text, which has to be replaced.
const TODO: &str = "TODO";

/// A model's card, a TOML file beside the weights.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelCard {
    /// Path of the weights, relative to the card; empty for a policy that another process serves.
    #[serde(default)]
    pub file: PathBuf,
    /// SHA-256 of the weights, lower-case hexadecimal; for a served policy, the digest that its process states; for one behind
    /// a WebSocket, the digest of its server's metadata.
    #[serde(deserialize_with = "crate::inputs::digest")]
    pub sha256: String,
    /// The process that serves the policy; `None` for a model in a file.
    pub server: Option<ServerSpec>,
    /// Files beside the ONNX file in which the model keeps weights.
    #[serde(default)]
    pub external: Vec<ExternalFile>,
    observation: Option<ObservationSpec>,
    #[serde(default)]
    frames: Vec<FrameSpec>,
    /// Inputs of the model, in the order of the card. A card of the older form, with `[observation]` and `[[frames]]`, has the
    /// inputs that these stand for.
    #[serde(default)]
    pub inputs: Vec<Input>,
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
    /// How an exporter made the model: a free-form table for readers, kept as parsed.
    #[serde(default)]
    pub export: toml::Table,
    /// Path of the card.
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
    #[serde(deserialize_with = "crate::inputs::digest")]
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

/// The observation tensor, `float32[1, width]`, by the name of a layout: the older form of one vector input.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ObservationSpec {
    tensor: String,
    #[serde(deserialize_with = "layout")]
    layout: Layout,
    width: usize,
}

/// The picture tensor of one camera, `uint8[1, height, width, 3]`: the older form of an image input.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FrameSpec {
    tensor: String,
    camera: String,
    height: u32,
    width: u32,
}

/// The action tensor: `[1, horizon, width]`, `[horizon, width]` or, with a horizon of 1, `[1, width]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChunkSpec {
    /// Name of the graph output.
    pub tensor: String,
    /// Actions that the graph returns.
    pub horizon: usize,
    /// Values per action.
    pub width: usize,
    /// Number of first actions that belong to earlier observations and are left out.
    #[serde(default)]
    pub skip: usize,
    /// Number of actions after those that may be executed; all that follow where omitted.
    pub execute: Option<usize>,
    /// Name of each value in the policy's order, as the plant names its action channels. Without names, the values are the
    /// plant's channels in order.
    #[serde(default)]
    pub names: Vec<String>,
    /// Factor, one for all values or one for each.
    pub scale: Option<Numbers>,
    /// Summand after the factor.
    pub offset: Option<Numbers>,
    /// Least and greatest value after both.
    pub clip: Option<[f64; 2]>,
    /// Threshold of a value that is open or closed.
    pub gripper: Option<GripperSpec>,
}

impl ChunkSpec {
    /// Returns the number of actions of a chunk that may be executed.
    pub fn steps(&self) -> usize {
        let left = self.horizon.saturating_sub(self.skip);
        self.execute.map_or(left, |execute| execute.min(left))
    }

    /// Returns the map from a value of the graph to the plant's unit.
    pub(crate) fn affine(&self) -> Affine<'_> {
        Affine { scale: self.scale.as_ref(), offset: self.offset.as_ref(), clip: self.clip }
    }
}

/// Conversion of one value to the plant's open or closed gripper.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GripperSpec {
    /// Index of the value within the policy's action.
    pub value: usize,
    /// Value, after scale, offset and clip, above which the gripper is closed.
    pub threshold: f64,
    /// Value that is sent for a closed gripper.
    pub closed: f64,
    /// Value that is sent for an open gripper.
    pub open: f64,
}

/// The activation tensor, of any rank: `tokens` times `width` values.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActivationSpec {
    /// Name of the graph output.
    pub tensor: String,
    /// Number of tokens: the product of every axis but that of the features and the batch.
    pub tokens: usize,
    /// Values per token.
    pub width: usize,
    /// Pooling of the tokens for a probe.
    #[serde(default)]
    pub pool: Pool,
    /// Axis of the features, counted from 0 with the batch; the last where omitted.
    pub axis: Option<usize>,
}

/// Pooling of the tokens of an activation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pool {
    /// Mean over the tokens.
    #[default]
    Mean,
    /// The last token.
    Last,
}

/// Error of a card or its model.
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
    /// Fields of a first card have not been filled in.
    #[error("{path}: fields to fill in: {fields}", path = path.display())]
    Unfilled {
        /// The card.
        path: PathBuf,
        /// Each field, with what it needs.
        fields: String,
    },
    /// The card has no `[activation]`, which a probe needs.
    #[error("{path}: activation: missing; valid is a table [activation], because a probe reads this policy", path = path.display())]
    NoActivation {
        /// The card.
        path: PathBuf,
    },
    /// An input or the chunk is described in a way that no model and no plant can have.
    #[error("{path}: {reason}", path = path.display())]
    Inputs {
        /// The card.
        path: PathBuf,
        /// The field, what was found and what would be valid.
        reason: String,
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
    #[error("{path}: SHA-256: found {found}; valid is {expected}, that in the card: {why}", path = path.display())]
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
        check_filled_in(path, &text)?;
        let mut card: Self = toml::from_str(&text).map_err(|source| match unread_input(&text) {
            Some(reason) => CardError::Inputs { path: path.to_owned(), reason },
            None => CardError::Parse { path: path.to_owned(), source: Box::new(source) },
        })?;
        card.path = path.to_owned();
        let wrong = |reason| CardError::Inputs { path: path.to_owned(), reason };
        match card.server.clone() {
            Some(server) => card.take_server(&server).map_err(wrong)?,
            None if card.file.as_os_str().is_empty() => {
                return Err(wrong("file: missing; valid is the model's file, or a table [server]".into()));
            }
            None => card.take_older_form()?,
        }
        card.check_sizes()?;
        Ok(card)
    }

    /// Converts the features and cameras of `[server]` to inputs. A server behind a WebSocket has the card's own inputs.
    fn take_server(&mut self, server: &ServerSpec) -> Result<(), String> {
        let others = [
            ("file", !self.file.as_os_str().is_empty()),
            ("external", !self.external.is_empty()),
            ("observation", self.observation.is_some()),
            ("frames", !self.frames.is_empty()),
        ];
        if let Some((field, _)) = others.into_iter().find(|(_, is_there)| *is_there) {
            let valid = match server.protocol {
                Protocol::Aegis => {
                    "server.features and server.cameras, which list what a served policy reads"
                }
                Protocol::OpenPi | Protocol::VlaEval => "a table [[inputs]] for each key of the question",
            };
            return Err(format!("{field}: found beside [server]; valid is {valid}"));
        }
        server.check(&self.sha256, &self.inputs)?;
        if server.protocol == Protocol::Aegis {
            self.inputs = server.inputs();
            return Ok(());
        }
        match self.activation.as_ref().and_then(|activation| activation.axis) {
            Some(axis) => Err(format!(
                "activation.axis: found {axis}; valid for a served policy is no axis, because its features are the last one"
            )),
            None => Ok(()),
        }
    }

    /// Converts `[observation]` and `[[frames]]` to inputs.
    fn take_older_form(&mut self) -> Result<(), CardError> {
        let path = || self.path.clone();
        let Some(ObservationSpec { tensor, layout, width }) = self.observation.clone() else {
            let reason = match (self.inputs.is_empty(), self.frames.is_empty()) {
                (true, _) => {
                    "inputs: missing; valid is a table [[inputs]] for each input of the model, or [observation]"
                }
                (false, false) => "frames: found beside [[inputs]]; valid is an input of kind \"image\"",
                (false, true) => return Ok(()),
            };
            return Err(CardError::Inputs { path: path(), reason: reason.into() });
        };
        if !self.inputs.is_empty() {
            let reason = "observation: found beside [[inputs]]; valid is an input of kind \"vector\"";
            return Err(CardError::Inputs { path: path(), reason: reason.into() });
        }
        if width != layout.width() {
            let (layout, valid) = (layout.name(), layout.width());
            return Err(CardError::Width { path: path(), layout, found: width, valid });
        }
        let shape = vec![1, width];
        let vector = VectorInput { tensor, shape, terms: layout.terms(), history: 1 };
        let image = |FrameSpec { tensor, camera, height, width }: &FrameSpec| {
            Input::Image(ImageInput::exact(tensor, camera, *height, *width))
        };
        let images: Vec<Input> = self.frames.iter().map(image).collect();
        self.inputs = [vec![Input::Vector(vector)], images].concat();
        Ok(())
    }

    /// Returns the field of the card that an input came from, for messages.
    pub(crate) fn place(&self, input: usize) -> String {
        if let Some(server) = self.server.as_ref().filter(|server| server.protocol == Protocol::Aegis) {
            let is_features = input == 0 && !server.features.is_empty();
            return if is_features { "server.features" } else { "server.cameras" }.into();
        }
        match (&self.observation, input) {
            (Some(_), 0) => "observation".into(),
            (Some(_), _) => "frames".into(),
            (None, _) => format!("inputs[{input}]"),
        }
    }

    /// Returns whether the card is of the older form, whose tensors have one element type each.
    pub(crate) fn is_of_older_form(&self) -> bool {
        self.observation.is_some()
    }

    /// Returns the images that the model reads.
    pub fn images(&self) -> impl Iterator<Item = &ImageInput> {
        self.inputs.iter().filter_map(|input| match input {
            Input::Image(image) => Some(image),
            _ => None,
        })
    }

    /// Returns the tokens that a mask belongs to.
    pub(crate) fn tokens_of(&self, mask: &MaskInput) -> Option<(usize, &TokensInput)> {
        let mut each = self.inputs.iter().enumerate();
        each.find_map(|(index, input)| match input {
            Input::Tokens(tokens) if tokens.tensor == mask.of => Some((index, tokens)),
            _ => None,
        })
    }

    /// Reads the tokenizer of each input that has one, and checks each against its digest.
    ///
    /// # Errors
    /// [`CardError`] for a file that is missing, does not match its digest or is no tokenizer.
    pub(crate) fn tokenizers(&self) -> Result<Vec<Option<Vocabulary>>, CardError> {
        let read = self.inputs.iter().enumerate().map(|(index, input)| {
            let Input::Tokens(TokensInput { tokenizer, sha256, .. }) = input else { return Ok(None) };
            let path = self.path.with_file_name(tokenizer);
            let bytes = read_as(&path, sha256)?;
            let wrong = |reason| CardError::Inputs {
                path: self.path.clone(),
                reason: format!("{}.tokenizer: {reason}", self.place(index)),
            };
            Vocabulary::read(&path, &bytes).map(Some).map_err(wrong)
        });
        read.collect()
    }

    /// Describes what the model reads: features or the name of their layout, cameras, and whether poses of objects are among them, which
    /// only a simulator knows.
    pub fn reads(&self) -> String {
        let cameras: Vec<String> = self.images().map(|image| format!("camera {}", image.camera)).collect();
        let mut parts = Vec::new();
        if let Some(ObservationSpec { layout, width, .. }) = &self.observation {
            let objects = match self.privileged().is_empty() {
                true => "robot and task, no objects",
                false => "robot, task, and the objects' poses, which only a simulator knows",
            };
            parts.push(format!("{}, {width} numbers: {objects}", layout.name()));
        } else {
            let mut names: Vec<&str> = Vec::new();
            for input in &self.inputs {
                let Input::Vector(VectorInput { terms, .. }) = input else { continue };
                for term in terms.iter().filter(|term| !term.feature.starts_with(OBJECT_PREFIX)) {
                    if !names.contains(&term.feature.as_str()) {
                        names.push(&term.feature);
                    }
                }
            }
            if !names.is_empty() {
                parts.push(names.join(", "));
            }
            let privileged = self.privileged();
            if !privileged.is_empty() {
                parts.push(format!(
                    "poses of objects, which only a simulator knows: {}",
                    privileged.join(", ")
                ));
            }
            let is_text = |input: &Input| matches!(input, Input::Tokens(_) | Input::Instruction(_));
            if self.inputs.iter().any(is_text) {
                parts.push("the instruction".into());
            }
        }
        if !cameras.is_empty() {
            parts.push(cameras.join(", "));
        }
        if parts.is_empty() {
            parts.push("no observation".into());
        }
        if let Some(server) = &self.server {
            let known = match server.protocol {
                Protocol::Aegis => "the digest that it states",
                Protocol::OpenPi | Protocol::VlaEval => "its metadata",
            };
            parts.push(format!(
                "from another process, whose weights cannot be frozen and are identified only by {known}"
            ));
        }
        parts.join("; ")
    }

    /// Returns the features that the model reads and that only a simulator knows: poses of objects.
    pub fn privileged(&self) -> Vec<&str> {
        let mut found: Vec<&str> = Vec::new();
        for input in &self.inputs {
            let Input::Vector(VectorInput { terms, .. }) = input else { continue };
            let names =
                terms.iter().flat_map(|term| [Some(&term.feature), term.relative_to.as_ref()]).flatten();
            found.extend(names.map(String::as_str).filter(|name| name.starts_with(OBJECT_PREFIX)));
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Reads the weights, including external files, and checks each file against its digest.
    ///
    /// # Errors
    /// [`CardError`] for a file that is missing or does not match its digest, weights outside the model's folder, and a card
    /// that does not name exactly the files that the model reads.
    pub fn weights(&self) -> Result<Weights, CardError> {
        if let Some(server) = &self.server {
            let reason =
                format!("server: found a policy that {} serves; valid is a model in a file", server.endpoint);
            return Err(CardError::Inputs { path: self.path.clone(), reason });
        }
        let path = self.weights_path();
        // Before the file is read: beyond the limit, it may be larger than the memory.
        let length = std::fs::metadata(&path).map_or(0, |file| file.len());
        external::check_size(length, external::MOST_BYTES)
            .map_err(|source| CardError::External { path: path.clone(), source })?;
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

    /// Checks the weights against the card, as [`weights`](Self::weights) does. Those of a served policy are in its process, and not
    /// checked.
    ///
    /// # Errors
    /// As [`weights`](Self::weights).
    pub fn check_weights(&self) -> Result<(), CardError> {
        if self.server.is_some() { Ok(()) } else { self.weights().map(drop) }
    }

    /// Returns the activation that a probe reads.
    ///
    /// # Errors
    /// A card without `[activation]`.
    pub fn probed(&self) -> Result<&ActivationSpec, CardError> {
        self.activation.as_ref().ok_or_else(|| CardError::NoActivation { path: self.path.clone() })
    }

    /// Returns the digest that identifies the model: SHA-256 of its file. For a model with external files or tokenizers, SHA-256
    /// over the output of `sha256sum` for the model and for each of them, the external files first, each kind sorted by name.
    pub fn model_sha256(&self) -> String {
        let mut tokenizers: Vec<&TokensInput> = self.inputs.iter().filter_map(Input::tokens).collect();
        if self.external.is_empty() && tokenizers.is_empty() {
            return self.sha256.clone();
        }
        tokenizers.sort_by(|one, other| one.tokenizer.cmp(&other.tokenizer));
        let mut external: Vec<&ExternalFile> = self.external.iter().collect();
        external.sort_by(|one, other| one.file.cmp(&other.file));
        let mut lines = format!("{}  {}\n", self.sha256, self.file.display());
        for ExternalFile { file, sha256 } in external {
            lines += &format!("{sha256}  {file}\n");
        }
        for TokensInput { tokenizer, sha256, .. } in tokenizers {
            lines += &format!("{sha256}  {}\n", tokenizer.display());
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
                let valid = if valid.is_empty() { "no file".into() } else { valid };
                return Err(wrong(format!(
                    "found {file}; valid are the files that {} reads: {valid}",
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

    /// Returns the fields that name a file outside of the card's folder, by `..`, an absolute path or a link, each with the file's path.
    /// Files that do not exist are left out.
    pub fn files_outside(&self) -> Vec<(String, PathBuf)> {
        let tokenizers = self.inputs.iter().enumerate().filter_map(|(index, input)| {
            let field = format!("{}.tokenizer", self.place(index));
            Some((field, self.path.with_file_name(&input.tokens()?.tokenizer)))
        });
        let named = std::iter::once(("file".to_owned(), self.weights_path())).chain(tokenizers);
        let outside = |path: &Path| external::led_outside(&self.path, path).ok().flatten();
        named.filter_map(|(field, path)| Some((field, outside(&path)?))).collect()
    }

    /// Returns the path of the weights; for a served policy that of the card.
    pub fn weights_path(&self) -> PathBuf {
        if self.server.is_some() { self.path.clone() } else { self.path.with_file_name(&self.file) }
    }
}

/// Returns a message on the input of a card that cannot be read, since the error of the whole card names only the first input's line.
fn unread_input(text: &str) -> Option<String> {
    let table: toml::Table = text.parse().ok()?;
    let inputs = table.get("inputs")?.as_array()?;
    inputs.iter().enumerate().find_map(|(index, input)| {
        let error = input.clone().try_into::<Input>().err()?;
        let tensor = input.get("tensor").map_or(String::new(), |tensor| format!(" (tensor {tensor})"));
        Some(format!("inputs[{index}]{tensor}: {}", error.message()))
    })
}

/// Refuses a card with a text that begins with TODO, as `aegis model card` writes for what it cannot infer.
fn check_filled_in(path: &Path, text: &str) -> Result<(), CardError> {
    // Text that is not TOML is refused where the card is read, with its line.
    let Ok(table) = text.parse::<toml::Table>() else { return Ok(()) };
    let mut open = vec![(String::new(), toml::Value::Table(table))];
    let mut found = Vec::new();
    while let Some((place, value)) = open.pop() {
        match value {
            toml::Value::String(text) if text.starts_with(TODO) => found.push(format!("{place}: {text}")),
            toml::Value::Table(table) => {
                open.extend(table.into_iter().map(|(key, value)| {
                    (if place.is_empty() { key } else { format!("{place}.{key}") }, value)
                }))
            }
            toml::Value::Array(list) => open.extend(
                list.into_iter().enumerate().map(|(index, value)| (format!("{place}[{index}]"), value)),
            ),
            _ => {}
        }
    }
    if found.is_empty() {
        return Ok(());
    }
    found.sort();
    Err(CardError::Unfilled { path: path.to_owned(), fields: found.join("; ") })
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

//! An ONNX graph as bytes: which tensors it has, and the same graph with one of them as an output.
//! Pure. Source of the layout: the ONNX specification, `onnx.proto3`.
//!
//! Nothing is decoded to be written again. Messages that follow one another are one message to a protobuf reader, lists
//! appended to lists; so what is added goes behind the original bytes, and nothing in those can be lost.

mod proto;

use std::path::{Path, PathBuf};

use crate::card::sha256;
use crate::external::{self, ExternalError};
use prost::Message;
use proto::{Attribute, Entry, GraphMessage, Initializer, Model, Node, ValueInfo};

/// Where a reader finds which tensor an output was tapped from.
const METADATA_PREFIX: &str = "aegis.tap.";
/// From this opset on, the axes of a reduction are an input.
const AXES_ARE_AN_INPUT: i64 = 18;

/// Why a graph cannot be read or tapped.
#[derive(Debug, thiserror::Error)]
pub enum GraphError {
    /// The file is missing or unreadable.
    #[error("{path}: cannot read: {source}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The file is no ONNX model.
    #[error("{path}: no ONNX model: {reason}", path = path.display())]
    Decode {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Weights lie outside the file, where a digest of the file does not reach.
    #[error(
        "{path}: initializer {tensor}: its values are in another file; valid is a model in one file \
         (torch.onnx.export: external_data=False)",
        path = path.display()
    )]
    External {
        /// The file.
        path: PathBuf,
        /// The first such initializer.
        tensor: String,
    },
    /// Other tensors than initializers have their values outside the file.
    #[error("{path}: {source}", path = path.display())]
    Outside {
        /// The file.
        path: PathBuf,
        /// Which, and what would be valid.
        source: ExternalError,
    },
    /// The tensor cannot be tapped.
    #[error("{path}: --tensor {tensor}: {reason}", path = path.display())]
    Tensor {
        /// The file.
        path: PathBuf,
        /// The tensor asked for.
        tensor: String,
        /// What is wrong with it, and what would be valid.
        reason: String,
    },
    /// An input of which no sample can be made.
    #[error("{path}: input {input}: cannot make a sample of {found}", path = path.display())]
    Sample {
        /// The file.
        path: PathBuf,
        /// The input.
        input: String,
        /// Its type.
        found: String,
    },
    /// ONNX Runtime refuses the graph.
    #[error("{path}: ONNX Runtime refuses the {what} graph: {reason}", path = path.display())]
    Runtime {
        /// The file.
        path: PathBuf,
        /// `original` or `tapped`.
        what: &'static str,
        /// What the runtime said.
        reason: String,
    },
    /// The tap changes what the model says.
    #[error("{path}: with the tap, {output} changes; nothing was written", path = path.display())]
    Changed {
        /// The file.
        path: PathBuf,
        /// The output that is not what it was.
        output: String,
    },
}

/// How the tokens of a tensor become one vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pool {
    /// Their mean: `[batch, tokens, width]` → `[batch, width]`.
    Mean,
    /// The last of them: `[batch, tokens, width]` → `[batch, width]`.
    Last,
    /// As it is, any shape.
    None,
}

impl Pool {
    /// As the command line and the metadata have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mean => "mean",
            Self::Last => "last",
            Self::None => "none",
        }
    }
}

/// A model file.
#[derive(Clone, Debug)]
pub struct Graph {
    path: PathBuf,
    bytes: Vec<u8>,
    model: Model,
}

/// A tensor that a node of the graph makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// Its name.
    pub name: String,
    /// The operator that makes it.
    pub operator: String,
    /// Whether the model returns it already.
    pub output: bool,
}

impl Graph {
    /// Reads a model file.
    ///
    /// # Errors
    /// [`GraphError::Read`], [`GraphError::Decode`], [`GraphError::External`], [`GraphError::Outside`].
    pub fn read(path: &Path) -> Result<Self, GraphError> {
        let bytes = std::fs::read(path).map_err(|source| GraphError::Read { path: path.into(), source })?;
        Self::from_bytes(path, bytes)
    }

    /// A model from memory; `path` is for errors.
    ///
    /// # Errors
    /// As [`Graph::read`].
    pub fn from_bytes(path: &Path, bytes: Vec<u8>) -> Result<Self, GraphError> {
        let decode = |reason: String| GraphError::Decode { path: path.into(), reason };
        let model = Model::decode(&*bytes).map_err(|error| decode(error.to_string()))?;
        let graph = model.graph.as_ref().ok_or_else(|| decode("it holds no graph".into()))?;
        if graph.nodes.is_empty() || graph.outputs.is_empty() {
            return Err(decode("its graph has no node or no output".into()));
        }
        if let Some(outside) = graph.initializers.iter().find(|one| one.location == Some(1)) {
            return Err(GraphError::External { path: path.into(), tensor: outside.name().into() });
        }
        external::files(&bytes).map_err(|source| GraphError::Outside { path: path.into(), source })?;
        Ok(Self { path: path.into(), bytes, model })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The whole model as ONNX Runtime takes it.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// SHA-256 of the file, lower-case hexadecimal.
    pub fn sha256(&self) -> String {
        sha256(&self.bytes)
    }

    /// What every node of the top level makes, in the file's order.
    pub fn tensors(&self) -> Vec<Made> {
        let Some(graph) = &self.model.graph else { return Vec::new() };
        let is_output = |name: &str| graph.outputs.iter().any(|output| output.name() == name);
        let made = graph.nodes.iter().flat_map(|node| {
            let named = node.outputs.iter().filter(|name| !name.is_empty());
            named.map(|name| Made {
                name: name.clone(),
                operator: node.operator().to_owned(),
                output: is_output(name),
            })
        });
        made.collect()
    }

    /// Every tap that the metadata records: output, and JSON of where it comes from.
    pub fn taps(&self) -> Vec<(&str, &str)> {
        let entries = self.model.metadata.iter();
        entries
            .filter_map(|entry| Some((entry.key().strip_prefix(METADATA_PREFIX)?, entry.value())))
            .collect()
    }

    /// The same model that returns these tensors as well. A name is enough: the runtime infers type and shape.
    pub fn with_outputs(&self, names: &[String]) -> Vec<u8> {
        let outputs = names.iter().map(|name| ValueInfo { name: Some(name.clone()) }).collect();
        self.followed_by(GraphMessage { outputs, ..GraphMessage::default() }, Vec::new())
    }

    /// The output that a tap makes.
    pub fn tap_output(tensor: &str, pool: Pool) -> String {
        match pool {
            Pool::None => tensor.to_owned(),
            _ => format!("{tensor}_{}", pool.name()),
        }
    }

    /// The same model with a tensor as an output of its own, pooled within the graph, and a note of it in the metadata.
    ///
    /// # Errors
    /// [`GraphError::Tensor`] where no node makes the tensor, or the model returns it already.
    pub fn with_tap(&self, tensor: &str, pool: Pool) -> Result<Vec<u8>, GraphError> {
        let refuse =
            |reason| Err(GraphError::Tensor { path: self.path.clone(), tensor: tensor.into(), reason });
        let made = self.tensors();
        if !made.iter().any(|one| one.name == tensor) {
            let alike: Vec<_> = made
                .iter()
                .map(|one| one.name.as_str())
                .filter(|name| name.contains(tensor))
                .take(5)
                .collect();
            let hint = if alike.is_empty() { String::new() } else { format!(" (like {})", alike.join(", ")) };
            return refuse(format!("no node makes it{hint}; `aegis model inspect` lists what is valid"));
        }
        let output = Self::tap_output(tensor, pool);
        if made.iter().any(|one| one.output && one.name == output) {
            return refuse(format!("the model returns {output} already"));
        }
        if pool != Pool::None && made.iter().any(|one| one.name == output) {
            return refuse(format!("a node makes a tensor named {output} already"));
        }
        let note = serde_json::json!({
            "tensor": tensor,
            "pool": pool.name(),
            "source_sha256": self.sha256(),
        });
        let mut added = match pool {
            Pool::Mean => self.mean(tensor, &output),
            Pool::Last => last(tensor, &output),
            Pool::None => GraphMessage::default(),
        };
        added.outputs.push(ValueInfo { name: Some(output.clone()) });
        let entry = Entry { key: Some(format!("{METADATA_PREFIX}{output}")), value: Some(note.to_string()) };
        Ok(self.followed_by(added, vec![entry]))
    }

    fn mean(&self, tensor: &str, output: &str) -> GraphMessage {
        let keep = Attribute::integer("keepdims", 0);
        let opset = self.model.opsets.iter().find(|one| matches!(one.domain(), "" | "ai.onnx"));
        let axis = format!("{output}_axis");
        let reduce = |inputs, attributes| Node::new("ReduceMean", inputs, output, attributes);
        if opset.is_none_or(|opset| opset.version() < AXES_ARE_AN_INPUT) {
            let axes = Attribute { name: Some("axes".into()), kind: Some(7), ints: vec![1], int: None };
            return GraphMessage {
                nodes: vec![reduce(vec![tensor.into()], vec![axes, keep])],
                ..GraphMessage::default()
            };
        }
        GraphMessage {
            nodes: vec![reduce(vec![tensor.into(), axis.clone()], vec![keep])],
            initializers: vec![Initializer::of(&axis, vec![1], 1)],
            ..GraphMessage::default()
        }
    }

    fn followed_by(&self, graph: GraphMessage, metadata: Vec<Entry>) -> Vec<u8> {
        let added = Model { opsets: Vec::new(), graph: Some(graph), metadata };
        let mut bytes = self.bytes.clone();
        bytes.extend(added.encode_to_vec());
        bytes
    }
}

fn last(tensor: &str, output: &str) -> GraphMessage {
    let index = format!("{output}_index");
    let inputs = vec![tensor.into(), index.clone()];
    GraphMessage {
        nodes: vec![Node::new("Gather", inputs, output, vec![Attribute::integer("axis", 1)])],
        initializers: vec![Initializer::of(&index, Vec::new(), -1)],
        ..GraphMessage::default()
    }
}

//! An ONNX graph as bytes: which tensors it has, and the same graph with one of them as an output.
//! Pure but for the reading. Source of the layout: the ONNX specification, `onnx.proto3`.
//!
//! Nothing is decoded to be written again. Messages that follow one another are one message to a protobuf reader, lists
//! appended to lists; so what is added goes behind the original bytes, and nothing in those can be lost.

mod added;
mod error;
mod proto;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aegis_files::mistaken;
use aegis_files::{read_any, read_bytes, sha256_of};
use prost::Message;

pub use added::{Added, Pool};
pub use error::GraphError;
use proto::{Attribute, Entry, GraphMessage, Model, Node, Opset, ValueInfo};

use crate::external;

/// Where a reader finds which tensor an output was tapped from.
const METADATA_PREFIX: &str = "aegis.tap.";
/// `TensorProto.DataType.INT4`.
const LAST_OF_FOUR_BITS: i32 = 22;

/// A model file.
#[derive(Clone, Debug)]
pub struct Graph {
    path: PathBuf,
    bytes: Vec<u8>,
    model: Model,
    /// What it keeps in other files, by location as it spells it, and each file's name and digest.
    external: BTreeMap<String, Arc<[u8]>>,
    files: BTreeMap<String, String>,
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
    /// Reads a model file, and the files beside it in which it keeps weights.
    ///
    /// # Errors
    /// [`GraphError::Read`], [`GraphError::Decode`], [`GraphError::Linked`], [`GraphError::Outside`].
    pub fn read(path: &Path) -> Result<Self, GraphError> {
        let unread = |path: &Path, source| GraphError::Read { path: path.into(), source };
        let bytes = read_bytes(path).map_err(|source| unread(path, source))?;
        let decode = |reason: String| {
            let reason = mistaken::kind(&bytes).map_or(reason, |kind| format!("found {kind}"));
            GraphError::Decode { path: path.into(), reason }
        };
        let model = Model::decode(&*bytes).map_err(|error| decode(error.to_string()))?;
        let graph = model.graph.as_ref().ok_or_else(|| decode("it holds no graph".into()))?;
        if graph.nodes.is_empty() || graph.outputs.is_empty() {
            return Err(decode("its graph has no node or no output".into()));
        }
        let named =
            external::files(&bytes).map_err(|source| GraphError::Outside { path: path.into(), source })?;
        let (mut external, mut files) = (BTreeMap::new(), BTreeMap::new());
        for (location, file) in named {
            let place = path.with_file_name(&file);
            if let Some(found) =
                external::led_outside(path, &place).map_err(|source| unread(&place, source))?
            {
                return Err(GraphError::Linked { path: place, found });
            }
            let bytes = read_any(&place).map_err(|source| unread(&place, source))?;
            files.insert(file, sha256_of(&bytes));
            external.insert(location, bytes.into());
        }
        Ok(Self { path: path.into(), bytes, model, external, files })
    }

    /// What the model keeps in other files, by location as it spells it.
    pub fn external(&self) -> &BTreeMap<String, Arc<[u8]>> {
        &self.external
    }

    /// The files beside the model in which it keeps weights, by their names from its folder on, with their SHA-256.
    pub fn files(&self) -> &BTreeMap<String, String> {
        &self.files
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
        sha256_of(&self.bytes)
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
        let outputs = names.iter().map(|name| ValueInfo { name: Some(name.clone()), kind: None }).collect();
        self.followed_by(GraphMessage { outputs, ..GraphMessage::default() }, Vec::new())
    }

    /// The version of ONNX's own operators that the model imports, where it imports any.
    fn opset(&self) -> Option<i64> {
        let own = self.model.opsets.iter().find(|one| matches!(one.domain(), "" | "ai.onnx"));
        own.map(Opset::version)
    }

    /// Every name that a tensor has, also within the graphs of nodes, and what has it.
    fn names(&self) -> BTreeSet<(&str, &'static str)> {
        let mut names = BTreeSet::new();
        let mut open: Vec<&GraphMessage> = self.model.graph.iter().collect();
        while let Some(graph) = open.pop() {
            names.extend(graph.inputs.iter().map(|input| (input.name(), "an input")));
            names.extend(graph.initializers.iter().map(|one| (one.name(), "an initializer")));
            let sparse = graph.sparse.iter().filter_map(|one| one.values.as_ref());
            names.extend(sparse.map(|one| (one.name(), "an initializer")));
            for node in &graph.nodes {
                names.extend(node.outputs.iter().map(|name| (name.as_str(), "a tensor that a node makes")));
                open.extend(node.attributes.iter().flat_map(|one| one.graph.iter().chain(&one.graphs)));
            }
        }
        names
    }

    fn followed_by(&self, graph: GraphMessage, metadata: Vec<Entry>) -> Vec<u8> {
        let added = Model { graph: Some(graph), metadata, ..Model::default() };
        let mut bytes = self.bytes.clone();
        bytes.extend(added.encode_to_vec());
        bytes
    }
}

/// A model whose input `from` of one element type is its output `to` of another, whatever the shape.
pub(crate) fn cast_model(from: i32, to: i32) -> Vec<u8> {
    let node = Node::new("Cast", vec!["from".into()], "to", vec![Attribute::integer("to", to.into())]);
    let graph = GraphMessage {
        name: Some("cast".into()),
        nodes: vec![node],
        inputs: vec![ValueInfo::of_any_shape("from", from)],
        outputs: vec![ValueInfo::of_any_shape("to", to)],
        ..GraphMessage::default()
    };
    // The first version of the format, and its opset, that has all types of four bits; the younger types need a younger one.
    let (ir_version, opset) = if from.max(to) <= LAST_OF_FOUR_BITS { (10, 21) } else { (13, 25) };
    let opset = Opset { domain: Some(String::new()), version: Some(opset) };
    Model { ir_version: Some(ir_version), opsets: vec![opset], graph: Some(graph), ..Model::default() }
        .encode_to_vec()
}

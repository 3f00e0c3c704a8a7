//! An ONNX graph as bytes: lists its tensors, and makes a copy of the model in which one of them is an output.
//! Only [`Graph::read`] accesses files. Source of the layout: the ONNX specification, `onnx.proto3`.
//!
//! The model is never decoded and encoded again. A protobuf reader merges consecutive messages into one and appends lists to
//! lists. Additions are therefore written after the original bytes, and nothing in the original can be lost.

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

/// Prefix of the metadata keys that record which tensor an output was tapped from.
const METADATA_PREFIX: &str = "aegis.tap.";
/// Beginning of the names of outputs with the number of axes of a tensor.
const RANK_PREFIX: &str = "aegis_rank_";
/// `TensorProto.DataType.INT4`.
const LAST_OF_FOUR_BITS: i32 = 22;

/// A model file and the files in which it keeps weights.
#[derive(Clone, Debug)]
pub struct Graph {
    path: PathBuf,
    bytes: Vec<u8>,
    model: Model,
    /// Contents of the external files, by location as the model spells it. `files` has each file's name and SHA-256.
    external: BTreeMap<String, Arc<[u8]>>,
    files: BTreeMap<String, String>,
    /// Largest number of bytes of the file, and of a file that is made from it.
    most: u64,
}

/// A tensor that a node of the graph produces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// Name of the tensor.
    pub name: String,
    /// Operator of the node that produces the tensor.
    pub operator: String,
    /// Whether the tensor is an output of the model already.
    pub output: bool,
}

impl Graph {
    /// Reads a model file and the external files in which the model keeps weights.
    ///
    /// # Errors
    /// [`GraphError::Read`], [`GraphError::Decode`], [`GraphError::Linked`], [`GraphError::Outside`].
    pub fn read(path: &Path) -> Result<Self, GraphError> {
        Self::read_up_to(path, external::MOST_BYTES)
    }

    /// Reads a model file of at most `most` bytes.
    fn read_up_to(path: &Path, most: u64) -> Result<Self, GraphError> {
        let unread = |path: &Path, source| GraphError::Read { path: path.into(), source };
        let outside = |source| GraphError::Outside { path: path.into(), source };
        // Before the file is read: beyond the limit, it may be larger than the memory.
        external::check_size(std::fs::metadata(path).map_or(0, |file| file.len()), most).map_err(outside)?;
        let bytes = read_bytes(path).map_err(|source| unread(path, source))?;
        let decode = |reason: String| {
            let reason = mistaken::kind(&bytes).map_or(reason, |kind| format!("found {kind}"));
            GraphError::Decode { path: path.into(), reason }
        };
        let model = Model::decode(&*bytes).map_err(|error| decode(error.to_string()))?;
        let graph = model.graph.as_ref().ok_or_else(|| decode("found no graph".into()))?;
        if graph.nodes.is_empty() || graph.outputs.is_empty() {
            return Err(decode("found a graph without nodes or without outputs".into()));
        }
        let named = external::files(&bytes).map_err(outside)?;
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
        Ok(Self { path: path.into(), bytes, model, external, files, most })
    }

    /// Returns the contents of the external files, by location as the model spells it.
    pub fn external(&self) -> &BTreeMap<String, Arc<[u8]>> {
        &self.external
    }

    /// Returns the external files in which the model keeps weights: path relative to the model's folder, and SHA-256.
    pub fn files(&self) -> &BTreeMap<String, String> {
        &self.files
    }

    /// Returns the path of the model file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the bytes of the model file, as ONNX Runtime takes them.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns SHA-256 of the model file, lower-case hexadecimal.
    pub fn sha256(&self) -> String {
        sha256_of(&self.bytes)
    }

    /// Returns the tensors that nodes at the top level of the graph produce, in the file's order.
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

    /// Returns every tap that the metadata records: the output's name, and the JSON text that describes its source.
    pub fn taps(&self) -> Vec<(&str, &str)> {
        let entries = self.model.metadata.iter();
        entries
            .filter_map(|entry| Some((entry.key().strip_prefix(METADATA_PREFIX)?, entry.value())))
            .collect()
    }

    /// Returns a copy of the model that also returns these tensors. Only names are added; the runtime infers types and shapes.
    pub fn with_outputs(&self, names: &[String]) -> Vec<u8> {
        let outputs = names.iter().map(|name| ValueInfo { name: Some(name.clone()), kind: None }).collect();
        self.followed_by(GraphMessage { outputs, ..GraphMessage::default() }, Vec::new())
    }

    /// Returns whether the file states no shape, not even the number of axes, of this input or output.
    pub fn is_unshaped(&self, name: &str) -> bool {
        self.model.graph.as_ref().is_some_and(|graph| graph.is_unshaped(name))
    }

    /// Returns a copy of the model that also returns the shapes of these tensors, and the name of each output, in order. `None`
    /// for a model without ONNX's standard operators.
    pub(crate) fn with_ranks(&self, tensors: &[String]) -> Option<(Vec<u8>, Vec<String>)> {
        self.opset()?;
        let taken: BTreeSet<&str> = self.names().into_iter().map(|(name, _)| name).collect();
        let free = (0..).map(|index| format!("{RANK_PREFIX}{index}")).filter(|name| !taken.contains(&**name));
        let names: Vec<String> = free.take(tensors.len()).collect();
        let each = tensors.iter().zip(&names);
        let nodes = each.map(|(tensor, name)| Node::new("Shape", vec![tensor.clone()], name, Vec::new()));
        let outputs = names.iter().map(|name| ValueInfo { name: Some(name.clone()), kind: None });
        let graph =
            GraphMessage { nodes: nodes.collect(), outputs: outputs.collect(), ..GraphMessage::default() };
        Some((self.followed_by(graph, Vec::new()), names))
    }

    /// Returns the version of ONNX's standard operator set that the model imports, if any.
    fn opset(&self) -> Option<i64> {
        let own = self.model.opsets.iter().find(|one| matches!(one.domain(), "" | "ai.onnx"));
        own.map(Opset::version)
    }

    /// Returns the names of all tensors, including those in subgraphs of nodes, each with the kind of tensor.
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

/// Returns whether a model file states no shape, not even the number of axes, of an input or output.
pub(crate) fn is_unshaped(model: &[u8], name: &str) -> bool {
    // Bytes that are not a model have been refused before.
    let graph = Model::decode(model).ok().and_then(|model| model.graph);
    graph.is_some_and(|graph| graph.is_unshaped(name))
}

/// Returns a model that casts its input `from` of one element type to its output `to` of another, for any shape.
pub(crate) fn cast_model(from: i32, to: i32) -> Vec<u8> {
    let node = Node::new("Cast", vec!["from".into()], "to", vec![Attribute::integer("to", to.into())]);
    let graph = GraphMessage {
        name: Some("cast".into()),
        nodes: vec![node],
        inputs: vec![ValueInfo::of_any_shape("from", from)],
        outputs: vec![ValueInfo::of_any_shape("to", to)],
        ..GraphMessage::default()
    };
    // Version 10 of the format and opset 21 are the first with all 4-bit types; types added later need newer versions.
    let (ir_version, opset) = if from.max(to) <= LAST_OF_FOUR_BITS { (10, 21) } else { (13, 25) };
    let opset = Opset { domain: Some(String::new()), version: Some(opset) };
    Model { ir_version: Some(ir_version), opsets: vec![opset], graph: Some(graph), ..Model::default() }
        .encode_to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_beyond_the_limit_of_protobuf_is_refused_with_what_to_do() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/opset13.onnx");
        let length = std::fs::metadata(&path).unwrap().len();
        let whole = Graph::read_up_to(&path, length).unwrap();
        let error = Graph::read_up_to(&path, length - 1).unwrap_err().to_string();
        let said = format!("opset13.onnx: found {length} bytes; valid is at most {}", length - 1);
        assert!(error.contains(&said) && error.contains("save_as_external_data=True"), "{error}");
        // Added nodes of a tap count too.
        let tap = Added { tensor: "hidden", pool: Pool::Mean, name: None, cast: false, shape: None };
        let error = whole.with_tap(&tap).unwrap_err().to_string();
        assert!(error.contains("bytes; valid is at most") && error.contains("external"), "{error}");
        assert!(Graph::read_up_to(&path, length + 4096).unwrap().with_tap(&tap).is_ok());
    }

    #[test]
    fn an_unstated_shape_differs_from_that_of_a_scalar() {
        let shaped = ValueInfo::tensor("scalar", 1, &[], &[]);
        let unshaped = ValueInfo::of_any_shape("any", 1);
        let graph = GraphMessage { inputs: vec![shaped], outputs: vec![unshaped], ..GraphMessage::default() };
        let model = Model { graph: Some(graph), ..Model::default() }.encode_to_vec();
        assert!(is_unshaped(&model, "any") && !is_unshaped(&model, "scalar"));
        assert!(!is_unshaped(&model, "absent") && !is_unshaped(b"no model", "any"));
    }
}

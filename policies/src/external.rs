//! External data: the files beside an ONNX model in which it keeps weights. The digest of the model file does not cover them.
//! Only [`led_outside`] accesses the file system.
//! Source of the layout: the ONNX specification, `onnx.proto3` and `ExternalData.md`.

mod proto;

use std::collections::BTreeMap;
use std::io;
use std::path::{Component, Path, PathBuf};

use prost::Message;
use proto::{Attribute, Graph, Model, Node, Sparse, Tensor};

/// Largest size of an ONNX file: protobuf reads no message of 2 GiB or more.
pub(crate) const MOST_BYTES: u64 = i32::MAX as u64;
/// `TensorProto.DataLocation.EXTERNAL`.
const EXTERNAL: i32 = 1;

/// Error of a model's external files.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExternalError {
    /// The file is larger than protobuf allows.
    #[error(
        "found {found} bytes; valid is at most {most}, the limit of protobuf: save the model with its weights in a file beside it, by \
         onnx.save_model(model, path, save_as_external_data=True)"
    )]
    Large {
        /// Bytes of the file.
        found: u64,
        /// Largest valid number.
        most: u64,
    },
    /// The bytes are not an ONNX model.
    #[error("not an ONNX model: {0}")]
    Decode(String),
    /// A tensor's location is not a file within the model's folder.
    #[error(
        "tensor {tensor}: external data: location: found {found}; valid is a file in the model's folder or below it"
    )]
    Location {
        /// The tensor.
        tensor: String,
        /// The tensor's location, as the model states it.
        found: String,
    },
    /// A tensor other than an initializer of the main graph has external data. The runtime would look for it in the working
    /// folder.
    #[error(
        "tensor {tensor}: external data in {place}; valid is external data only in initializers of the main graph: save \
         the model with this tensor inside"
    )]
    Place {
        /// The tensor.
        tensor: String,
        /// Part of the model with the tensor.
        place: &'static str,
    },
}

/// Checks the size of an ONNX file. External files have no limit.
///
/// # Errors
/// [`ExternalError::Large`].
pub(crate) fn check_size(found: u64, most: u64) -> Result<(), ExternalError> {
    if found <= most { Ok(()) } else { Err(ExternalError::Large { found, most }) }
}

/// Returns the files that hold a model's initializers: for each location, as the model spells it, the file's path relative
/// to the model's folder, with `/` between names.
///
/// # Errors
/// [`ExternalError`] for bytes that are not a model, a location that leaves the folder, and external data anywhere else than
/// in the main graph's initializers.
pub fn files(model: &[u8]) -> Result<BTreeMap<String, String>, ExternalError> {
    let model = Model::decode(model).map_err(|error| ExternalError::Decode(error.to_string()))?;
    let graph = model.graph.ok_or_else(|| ExternalError::Decode("found no graph".into()))?;
    let mut found = BTreeMap::new();
    for tensor in graph.initializers.iter().filter(|tensor| tensor.location == Some(EXTERNAL)) {
        let location = location(tensor)?;
        let file = within(&location).ok_or_else(|| refused(tensor, format!("{location:?}")))?;
        found.insert(location, file);
    }
    none_in_sparse(&graph.sparse, "a sparse initializer")?;
    none_in_nodes(&graph.nodes)?;
    for function in &model.functions {
        none_in_nodes(&function.nodes)?;
        none_in_attributes(&function.attributes)?;
    }
    for training in &model.training {
        for graph in [&training.initialization, &training.algorithm].into_iter().flatten() {
            none_in_graph(graph, "its training information")?;
        }
    }
    Ok(found)
}

/// Returns the real path of a model's file if a link leads out of the model's folder, else `None`.
///
/// # Errors
/// The operating system's error for a file or folder that is missing or cannot be read.
pub fn led_outside(model: &Path, place: &Path) -> io::Result<Option<PathBuf>> {
    let folder = model.parent().filter(|folder| !folder.as_os_str().is_empty());
    let (folder, found) = (folder.unwrap_or(Path::new(".")).canonicalize()?, place.canonicalize()?);
    Ok((!found.starts_with(&folder)).then_some(found))
}

/// Returns a tensor's name for error messages.
fn name(tensor: &Tensor) -> String {
    let name = String::from_utf8_lossy(tensor.name.as_deref().unwrap_or_default()).into_owned();
    if name.is_empty() { "without a name".into() } else { name }
}

fn refused(tensor: &Tensor, found: String) -> ExternalError {
    ExternalError::Location { tensor: name(tensor), found }
}

/// Returns the location of a tensor, which must be stated exactly once.
fn location(tensor: &Tensor) -> Result<String, ExternalError> {
    let is_location = |key: &Option<Vec<u8>>| key.as_deref() == Some(b"location".as_slice());
    let mut locations = tensor.external.iter().filter(|entry| is_location(&entry.key));
    match (locations.next(), locations.next()) {
        (Some(one), None) => {
            let bytes = one.value.clone().unwrap_or_default();
            String::from_utf8(bytes)
                .map_err(|error| refused(tensor, format!("bytes that are no text: {error}")))
        }
        (Some(_), Some(_)) => Err(refused(tensor, "more than one".into())),
        (None, _) => Err(refused(tensor, "none".into())),
    }
}

/// Returns a location as a path of plain names joined by `/`. `None` where it is absolute, empty or has other components.
fn within(location: &str) -> Option<String> {
    let mut names = Vec::new();
    for component in Path::new(location).components() {
        match component {
            Component::Normal(name) => names.push(name.to_str()?),
            Component::CurDir => {}
            _ => return None,
        }
    }
    // A backslash is part of a name on this system, but a separator on another one, so it is refused.
    (!names.is_empty() && !location.contains('\\') && !location.ends_with('/')).then(|| names.join("/"))
}

fn none_in<'a>(
    tensors: impl IntoIterator<Item = &'a Tensor>,
    place: &'static str,
) -> Result<(), ExternalError> {
    let outside = tensors.into_iter().find(|tensor| tensor.location == Some(EXTERNAL));
    outside.map_or(Ok(()), |tensor| Err(ExternalError::Place { tensor: name(tensor), place }))
}

fn none_in_sparse<'a>(
    tensors: impl IntoIterator<Item = &'a Sparse>,
    place: &'static str,
) -> Result<(), ExternalError> {
    let dense = tensors.into_iter().flat_map(|sparse| [&sparse.values, &sparse.indices]);
    none_in(dense.flatten(), place)
}

fn none_in_nodes(nodes: &[Node]) -> Result<(), ExternalError> {
    nodes.iter().try_for_each(|node| none_in_attributes(&node.attributes))
}

fn none_in_attributes(attributes: &[Attribute]) -> Result<(), ExternalError> {
    for attribute in attributes {
        none_in(attribute.tensor.iter().chain(&attribute.tensors), "an attribute of a node")?;
        none_in_sparse(attribute.sparse.iter().chain(&attribute.sparses), "an attribute of a node")?;
        for graph in attribute.graph.iter().chain(&attribute.graphs) {
            none_in_graph(graph, "a graph within a node")?;
        }
    }
    Ok(())
}

fn none_in_graph(graph: &Graph, place: &'static str) -> Result<(), ExternalError> {
    none_in(&graph.initializers, place)?;
    none_in_sparse(&graph.sparse, place)?;
    none_in_nodes(&graph.nodes)
}

#[cfg(test)]
mod tests {
    use super::proto::{Entry, Function, Training};
    use super::*;

    fn tensor(location: &str) -> Tensor {
        let entry = |key: &str, value: &str| Entry { key: Some(key.into()), value: Some(value.into()) };
        Tensor {
            name: Some(b"weight".to_vec()),
            external: vec![entry("location", location), entry("offset", "0")],
            location: Some(EXTERNAL),
        }
    }

    fn model(graph: Graph) -> Model {
        Model { graph: Some(graph), ..Model::default() }
    }

    fn of_initializers(tensors: Vec<Tensor>) -> Result<BTreeMap<String, String>, ExternalError> {
        files(&model(Graph { initializers: tensors, ..Graph::default() }).encode_to_vec())
    }

    #[test]
    fn every_file_is_named_once_by_its_path_in_the_folder() -> Result<(), ExternalError> {
        let inside = Tensor { location: None, ..tensor("never") };
        let found = of_initializers(vec![
            tensor("a.data"),
            inside,
            tensor("./a.data"),
            tensor("more//b.data"),
            tensor("a.data"),
        ])?;
        let found: Vec<_> = found.iter().map(|(one, other)| (one.as_str(), other.as_str())).collect();
        assert_eq!(found, [("./a.data", "a.data"), ("a.data", "a.data"), ("more//b.data", "more/b.data")]);
        assert!(of_initializers(Vec::new())?.is_empty());
        Ok(())
    }

    #[test]
    fn a_location_that_leaves_the_folder_is_refused() {
        for location in ["/etc/passwd", "../a.data", "more/../../a.data", "", ".", "more/", "more\\a.data"] {
            let error = of_initializers(vec![tensor(location)]).map_err(|error| error.to_string());
            let message = error.expect_err(location);
            assert!(message.contains("tensor weight") && message.contains("model's folder"), "{message}");
        }
        let mut twice = tensor("a.data");
        twice.external.push(twice.external[0].clone());
        assert!(of_initializers(vec![twice]).is_err());
        assert!(of_initializers(vec![Tensor { external: Vec::new(), ..tensor("") }]).is_err());
        let no_text = Entry { key: Some(b"location".to_vec()), value: Some(vec![0xff]) };
        assert!(of_initializers(vec![Tensor { external: vec![no_text], ..tensor("") }]).is_err());
        assert!(matches!(files(b"no model"), Err(ExternalError::Decode(_))));
        assert!(matches!(files(b""), Err(ExternalError::Decode(_))));
    }

    #[test]
    fn external_data_elsewhere_than_in_initializers_is_refused() {
        let sparse = || Sparse { values: Some(tensor("a.data")), indices: None };
        let graph = || Graph { initializers: vec![tensor("a.data")], ..Graph::default() };
        let in_node = |attribute| Node { attributes: vec![attribute] };
        let with_node = |attribute| model(Graph { nodes: vec![in_node(attribute)], ..Graph::default() });
        let empty = Attribute::default;
        let outer =
            Graph { nodes: vec![in_node(Attribute { graph: Some(graph()), ..empty() })], ..Graph::default() };
        for (index, model) in [
            model(Graph { sparse: vec![sparse()], ..Graph::default() }),
            with_node(Attribute { tensor: Some(tensor("a.data")), ..empty() }),
            with_node(Attribute { tensors: vec![tensor("a.data")], ..empty() }),
            with_node(Attribute { sparse: Some(sparse()), ..empty() }),
            with_node(Attribute { sparses: vec![sparse()], ..empty() }),
            with_node(Attribute { graph: Some(graph()), ..empty() }),
            with_node(Attribute { graphs: vec![outer], ..empty() }),
            Model {
                functions: vec![Function {
                    nodes: vec![in_node(Attribute { tensor: Some(tensor("a.data")), ..empty() })],
                    attributes: Vec::new(),
                }],
                ..model(Graph::default())
            },
            Model {
                training: vec![Training { initialization: None, algorithm: Some(graph()) }],
                ..model(Graph::default())
            },
        ]
        .into_iter()
        .enumerate()
        {
            let found = files(&model.encode_to_vec());
            assert!(matches!(found, Err(ExternalError::Place { .. })), "model {index}: {found:?}");
        }
    }
}

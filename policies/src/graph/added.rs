//! The addition of a tap to a graph: nodes that make one `float32` vector of a tensor's tokens, and an output with a name
//! that is not used in the graph yet.

use std::collections::BTreeSet;

use super::proto::{Attribute, Entry, GraphMessage, Initializer, Node, ValueInfo};
use super::{Graph, GraphError, METADATA_PREFIX};
use crate::external;

/// First opset in which the axes of a reduction are an input instead of an attribute.
const AXES_ARE_AN_INPUT: i64 = 18;
/// First opset in which `Cast` gives its target type as a number.
const CASTS_BY_NUMBER: i64 = 6;
/// `TensorProto.DataType.FLOAT`.
pub(crate) const FLOAT: i32 = 1;

/// How the tokens of a tensor are pooled into one vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pool {
    /// Mean of the tokens: `[batch, tokens, width]` → `[batch, width]`.
    Mean,
    /// The last token: `[batch, tokens, width]` → `[batch, width]`.
    Last,
    /// No pooling: the unchanged tensor, of any shape.
    None,
}

impl Pool {
    /// Returns the name used on the command line and in the metadata.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mean => "mean",
            Self::Last => "last",
            Self::None => "none",
        }
    }
}

/// The output that a tap adds, and the tensor from which the output is made.
#[derive(Clone, Debug)]
pub struct Added<'a> {
    /// Name of the tapped tensor.
    pub tensor: &'a str,
    /// How the tensor's tokens are pooled into one vector.
    pub pool: Pool,
    /// Name of the output. `None` means the tensor's name with a suffix for pool or cast; see [`Added::output`].
    pub name: Option<&'a str>,
    /// Whether the tensor has to be cast to `float32` first.
    pub cast: bool,
    /// Shape of the output, −1 for a free size, and the names of free sizes. `None` leaves the shape to the runtime.
    pub shape: Option<(Vec<i64>, Vec<String>)>,
}

impl Added<'_> {
    /// Returns the name of the output.
    pub fn output(&self) -> String {
        match (self.name, self.pool) {
            (Some(name), _) => name.to_owned(),
            (None, Pool::None) if self.cast => format!("{}_float32", self.tensor),
            (None, Pool::None) => self.tensor.to_owned(),
            (None, pool) => format!("{}_{}", self.tensor, pool.name()),
        }
    }
}

impl Graph {
    /// Checks that a node makes this tensor.
    pub(crate) fn check_tensor(&self, tensor: &str) -> Result<(), GraphError> {
        let made = self.tensors();
        if made.iter().any(|one| one.name == tensor) {
            return Ok(());
        }
        let alike = made.iter().map(|one| one.name.as_str()).filter(|name| name.contains(tensor));
        let alike: Vec<_> = alike.take(5).collect();
        let hint = if alike.is_empty() { String::new() } else { format!(" (like {})", alike.join(", ")) };
        Err(self
            .refuse(tensor, format!("no node makes it{hint}; `aegis model inspect` lists the valid names")))
    }

    /// Returns an error about a tensor of this graph.
    pub(crate) fn refuse(&self, tensor: &str, reason: String) -> GraphError {
        GraphError::Tensor { path: self.path.clone(), tensor: tensor.into(), reason }
    }

    /// Returns a copy of the model with the added output, which is recorded in the metadata.
    ///
    /// # Errors
    /// [`GraphError::Tensor`] where no node makes the tensor, the output's name is already used, or the model imports no opset
    /// with the operators that make the output.
    pub fn with_tap(&self, added: &Added<'_>) -> Result<Vec<u8>, GraphError> {
        let Added { tensor, pool, cast, .. } = *added;
        self.check_tensor(tensor)?;
        let output = added.output();
        let as_it_is = pool == Pool::None && !cast;
        self.check_name(tensor, &output, as_it_is)?;
        let opset = if as_it_is { 0 } else { self.opset_for(tensor, cast)? };
        let mut taken: BTreeSet<String> = self.names().into_iter().map(|(name, _)| name.to_owned()).collect();
        taken.insert(output.clone());
        let mut fresh = |wanted: String| {
            let mut names = std::iter::once(wanted.clone()).chain((2..).map(|n| format!("{wanted}_{n}")));
            let name = names.find(|name| !taken.contains(name)).unwrap_or(wanted);
            taken.insert(name.clone());
            name
        };
        let mut message = GraphMessage::default();
        let mut source = tensor.to_owned();
        if cast {
            let made = if pool == Pool::None { output.clone() } else { fresh(format!("{output}_float32")) };
            let to = vec![Attribute::integer("to", FLOAT.into())];
            message.nodes.push(Node::new("Cast", vec![source], &made, to));
            source = made;
        }
        match pool {
            Pool::Mean => {
                let keep = Attribute::integer("keepdims", 0);
                let reduce = |inputs, attributes| Node::new("ReduceMean", inputs, &output, attributes);
                if opset < AXES_ARE_AN_INPUT {
                    message
                        .nodes
                        .push(reduce(vec![source], vec![Attribute::integers("axes", vec![1]), keep]));
                } else {
                    let axis = fresh(format!("{output}_axis"));
                    message.initializers.push(Initializer::of(&axis, vec![1], 1));
                    message.nodes.push(reduce(vec![source, axis], vec![keep]));
                }
            }
            Pool::Last => {
                let index = fresh(format!("{output}_index"));
                message.initializers.push(Initializer::of(&index, Vec::new(), -1));
                let axis = vec![Attribute::integer("axis", 1)];
                message.nodes.push(Node::new("Gather", vec![source, index], &output, axis));
            }
            Pool::None => {}
        }
        message.outputs.push(match &added.shape {
            Some((shape, names)) => ValueInfo::tensor(&output, FLOAT, shape, names),
            None => ValueInfo { name: Some(output.clone()), kind: None },
        });
        let note = serde_json::json!({
            "tensor": tensor,
            "pool": pool.name(),
            "source_sha256": self.sha256(),
        });
        let entry = Entry { key: Some(format!("{METADATA_PREFIX}{output}")), value: Some(note.to_string()) };
        let bytes = self.followed_by(message, vec![entry]);
        external::check_size(bytes.len() as u64, self.most)
            .map_err(|source| GraphError::Outside { path: self.path.clone(), source })?;
        Ok(bytes)
    }

    /// Checks that the output's name is not empty and not used by another tensor. `as_it_is` means that the output is the tensor
    /// itself, whose name it must have.
    fn check_name(&self, tensor: &str, output: &str, as_it_is: bool) -> Result<(), GraphError> {
        if output.is_empty() {
            return Err(self.refuse(tensor, "the output's name is empty; valid is any text".into()));
        }
        let mut returned = self.model.graph.iter().flat_map(|graph| &graph.outputs);
        if returned.any(|one| one.name() == output) {
            return Err(self.refuse(tensor, format!("the model returns {output} already")));
        }
        if as_it_is {
            let renamed = output != tensor;
            let what =
                "an output without pooling has the tensor's own name; --name is valid only with pooling"
                    .to_owned();
            return if renamed { Err(self.refuse(tensor, what)) } else { Ok(()) };
        }
        match self.names().into_iter().find(|(name, _)| *name == output) {
            Some((_, what)) => {
                let reason = format!(
                    "the output would be named {output}, and {what} of the model has that name; give it another (--name)"
                );
                Err(self.refuse(tensor, reason))
            }
            None => Ok(()),
        }
    }

    /// Returns the model's opset, to which the nodes of a tap belong.
    fn opset_for(&self, tensor: &str, cast: bool) -> Result<i64, GraphError> {
        let found = self.opset().ok_or_else(|| {
            let reason = "pooling adds operators of ONNX's own domain, and the model imports no opset of it; valid is a \
                          model that imports one, or --pool none";
            self.refuse(tensor, reason.into())
        })?;
        if cast && found < CASTS_BY_NUMBER {
            let reason = format!(
                "the model is of opset {found}; making a tensor float32 needs opset {CASTS_BY_NUMBER} or newer, so export \
                 the model with a newer one"
            );
            return Err(self.refuse(tensor, reason));
        }
        Ok(found)
    }
}

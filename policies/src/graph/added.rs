//! What a tap adds to a graph: nodes that make one `float32` vector of a tensor's tokens, and an output of a name that
//! nothing has yet.

use std::collections::BTreeSet;

use super::proto::{Attribute, Entry, GraphMessage, Initializer, Node, ValueInfo};
use super::{Graph, GraphError, METADATA_PREFIX};

/// From this opset on, the axes of a reduction are an input.
const AXES_ARE_AN_INPUT: i64 = 18;
/// From this opset on, a cast names its type by a number.
const CASTS_BY_NUMBER: i64 = 6;
/// `TensorProto.DataType.FLOAT`.
pub(crate) const FLOAT: i32 = 1;

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

/// A tensor as an output of its own.
#[derive(Clone, Debug)]
pub struct Added<'a> {
    /// The tensor.
    pub tensor: &'a str,
    /// How its tokens become one vector.
    pub pool: Pool,
    /// The output's name; left out, the tensor's with what is made of it behind.
    pub name: Option<&'a str>,
    /// Whether it has to be made `float32` first.
    pub cast: bool,
    /// The output's shape, −1 for a free size, and the names of free sizes. Left out, the runtime infers it.
    pub shape: Option<(Vec<i64>, Vec<String>)>,
}

impl Added<'_> {
    /// The name of the output.
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
    /// Refuses a tensor that no node makes.
    pub(crate) fn check_tensor(&self, tensor: &str) -> Result<(), GraphError> {
        let made = self.tensors();
        if made.iter().any(|one| one.name == tensor) {
            return Ok(());
        }
        let alike = made.iter().map(|one| one.name.as_str()).filter(|name| name.contains(tensor));
        let alike: Vec<_> = alike.take(5).collect();
        let hint = if alike.is_empty() { String::new() } else { format!(" (like {})", alike.join(", ")) };
        Err(self.refuse(tensor, format!("no node makes it{hint}; `aegis model inspect` lists what is valid")))
    }

    /// An error about a tensor of this graph.
    pub(crate) fn refuse(&self, tensor: &str, reason: String) -> GraphError {
        GraphError::Tensor { path: self.path.clone(), tensor: tensor.into(), reason }
    }

    /// The same model with a tensor as an output of its own, and a note of it in the metadata.
    ///
    /// # Errors
    /// [`GraphError::Tensor`] where no node makes the tensor, the output's name is taken, or the model imports no operators
    /// that make the output.
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
        Ok(self.followed_by(message, vec![entry]))
    }

    /// Refuses a name for the output that something else has.
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
                "an output of the tensor as it is has the tensor's name; a name is for pools".to_owned();
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

    /// The opset that the nodes of a tap are of.
    fn opset_for(&self, tensor: &str, cast: bool) -> Result<i64, GraphError> {
        let found = self.opset().ok_or_else(|| {
            let reason = "pooling adds operators of ONNX's own domain, and the model imports no opset of it; valid is a \
                          model with one, or --pool none";
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

//! The parts of `onnx.proto3` that are read or added; other fields are ignored when decoding.
//! Field numbers are those of the specification.

#![allow(missing_docs, reason = "the specification documents them")]

use prost::Message;

#[derive(Clone, PartialEq, Message)]
pub struct Model {
    #[prost(int64, optional, tag = "1")]
    pub ir_version: Option<i64>,
    #[prost(message, repeated, tag = "8")]
    pub opsets: Vec<Opset>,
    #[prost(message, optional, tag = "7")]
    pub graph: Option<GraphMessage>,
    #[prost(message, repeated, tag = "14")]
    pub metadata: Vec<Entry>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Opset {
    #[prost(string, optional, tag = "1")]
    pub domain: Option<String>,
    #[prost(int64, optional, tag = "2")]
    pub version: Option<i64>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Entry {
    #[prost(string, optional, tag = "1")]
    pub key: Option<String>,
    #[prost(string, optional, tag = "2")]
    pub value: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
pub struct GraphMessage {
    #[prost(message, repeated, tag = "1")]
    pub nodes: Vec<Node>,
    #[prost(string, optional, tag = "2")]
    pub name: Option<String>,
    #[prost(message, repeated, tag = "5")]
    pub initializers: Vec<Initializer>,
    #[prost(message, repeated, tag = "11")]
    pub inputs: Vec<ValueInfo>,
    #[prost(message, repeated, tag = "12")]
    pub outputs: Vec<ValueInfo>,
    #[prost(message, repeated, tag = "15")]
    pub sparse: Vec<Sparse>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Sparse {
    #[prost(message, optional, tag = "1")]
    pub values: Option<Initializer>,
}

#[derive(Clone, PartialEq, Message)]
pub struct ValueInfo {
    #[prost(string, optional, tag = "1")]
    pub name: Option<String>,
    #[prost(message, optional, tag = "2")]
    pub kind: Option<Kind>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Kind {
    #[prost(message, optional, tag = "1")]
    pub tensor: Option<TensorKind>,
}

#[derive(Clone, PartialEq, Message)]
pub struct TensorKind {
    #[prost(int32, optional, tag = "1")]
    pub element: Option<i32>,
    #[prost(message, optional, tag = "2")]
    pub shape: Option<Shape>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Shape {
    #[prost(message, repeated, tag = "1")]
    pub axes: Vec<Axis>,
}

/// One size of a shape: fixed (`size`), free with a name, or free without a name.
#[derive(Clone, PartialEq, Message)]
pub struct Axis {
    #[prost(int64, optional, tag = "1")]
    pub size: Option<i64>,
    #[prost(string, optional, tag = "2")]
    pub name: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Node {
    #[prost(string, repeated, tag = "1")]
    pub inputs: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    pub outputs: Vec<String>,
    #[prost(string, optional, tag = "3")]
    pub name: Option<String>,
    #[prost(string, optional, tag = "4")]
    pub operator: Option<String>,
    #[prost(message, repeated, tag = "5")]
    pub attributes: Vec<Attribute>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Attribute {
    #[prost(string, optional, tag = "1")]
    pub name: Option<String>,
    #[prost(int64, optional, tag = "3")]
    pub int: Option<i64>,
    #[prost(message, optional, tag = "6")]
    pub graph: Option<GraphMessage>,
    #[prost(int64, repeated, packed = "false", tag = "8")]
    pub ints: Vec<i64>,
    #[prost(message, repeated, tag = "11")]
    pub graphs: Vec<GraphMessage>,
    /// 2 is an integer, 7 a list of integers.
    #[prost(int32, optional, tag = "20")]
    pub kind: Option<i32>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Initializer {
    #[prost(int64, repeated, packed = "false", tag = "1")]
    pub dims: Vec<i64>,
    /// 7 is a 64-bit integer.
    #[prost(int32, optional, tag = "2")]
    pub kind: Option<i32>,
    #[prost(int64, repeated, tag = "7")]
    pub values: Vec<i64>,
    #[prost(string, optional, tag = "8")]
    pub name: Option<String>,
}

impl GraphMessage {
    /// Returns whether an input or output of this name is a tensor without a shape, whose number of axes is not known.
    pub fn is_unshaped(&self, name: &str) -> bool {
        let kind = |info: &ValueInfo| info.kind.as_ref().map(|kind| kind.tensor.clone());
        let mut ends = self.inputs.iter().chain(&self.outputs).filter(|info| info.name() == name);
        // An output may have no type at all; the runtime infers it then.
        ends.any(|info| match kind(info) {
            None => true,
            Some(tensor) => tensor.is_some_and(|tensor| tensor.shape.is_none()),
        })
    }
}

impl Node {
    pub fn new(operator: &str, inputs: Vec<String>, output: &str, attributes: Vec<Attribute>) -> Self {
        Self {
            inputs,
            outputs: vec![output.into()],
            name: Some(format!("aegis_tap_{output}")),
            operator: Some(operator.into()),
            attributes,
        }
    }
}

impl Attribute {
    pub fn integer(name: &str, value: i64) -> Self {
        Self { name: Some(name.into()), kind: Some(2), int: Some(value), ..Self::default() }
    }

    pub fn integers(name: &str, values: Vec<i64>) -> Self {
        Self { name: Some(name.into()), kind: Some(7), ints: values, ..Self::default() }
    }
}

impl ValueInfo {
    /// Creates a tensor of this element type (the specification's number) and shape, −1 for a free size. `names` are the
    /// names of free sizes.
    pub fn tensor(name: &str, element: i32, shape: &[i64], names: &[String]) -> Self {
        let axis = |(place, size): (usize, &i64)| match names.get(place) {
            _ if *size >= 0 => Axis { size: Some(*size), name: None },
            Some(name) if !name.is_empty() => Axis { size: None, name: Some(name.clone()) },
            _ => Axis::default(),
        };
        let shape = Shape { axes: shape.iter().enumerate().map(axis).collect() };
        let kind = Kind { tensor: Some(TensorKind { element: Some(element), shape: Some(shape) }) };
        Self { name: Some(name.into()), kind: Some(kind) }
    }

    /// Creates a tensor of this element type and any shape.
    pub fn of_any_shape(name: &str, element: i32) -> Self {
        let tensor = Some(TensorKind { element: Some(element), shape: None });
        Self { name: Some(name.into()), kind: Some(Kind { tensor }) }
    }
}

impl Initializer {
    /// Creates an initializer that holds one 64-bit integer.
    pub fn of(name: &str, dims: Vec<i64>, value: i64) -> Self {
        Self { dims, kind: Some(7), values: vec![value], name: Some(name.into()) }
    }
}

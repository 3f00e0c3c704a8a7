//! The parts of `onnx.proto3` in which a tensor may have external data; other fields are ignored when decoding.
//! Field numbers are those of the specification. Text is read as bytes, because ONNX Runtime accepts text that is not UTF-8.

use prost::Message;

#[derive(Clone, PartialEq, Message)]
pub struct Model {
    #[prost(message, optional, tag = "7")]
    pub graph: Option<Graph>,
    #[prost(message, repeated, tag = "20")]
    pub training: Vec<Training>,
    #[prost(message, repeated, tag = "25")]
    pub functions: Vec<Function>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Training {
    #[prost(message, optional, tag = "1")]
    pub initialization: Option<Graph>,
    #[prost(message, optional, tag = "2")]
    pub algorithm: Option<Graph>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Function {
    #[prost(message, repeated, tag = "7")]
    pub nodes: Vec<Node>,
    #[prost(message, repeated, tag = "11")]
    pub attributes: Vec<Attribute>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Graph {
    #[prost(message, repeated, tag = "1")]
    pub nodes: Vec<Node>,
    #[prost(message, repeated, tag = "5")]
    pub initializers: Vec<Tensor>,
    #[prost(message, repeated, tag = "15")]
    pub sparse: Vec<Sparse>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Node {
    #[prost(message, repeated, tag = "5")]
    pub attributes: Vec<Attribute>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Attribute {
    #[prost(message, optional, tag = "5")]
    pub tensor: Option<Tensor>,
    #[prost(message, optional, tag = "6")]
    pub graph: Option<Graph>,
    #[prost(message, repeated, tag = "10")]
    pub tensors: Vec<Tensor>,
    #[prost(message, repeated, tag = "11")]
    pub graphs: Vec<Graph>,
    #[prost(message, optional, tag = "22")]
    pub sparse: Option<Sparse>,
    #[prost(message, repeated, tag = "23")]
    pub sparses: Vec<Sparse>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Sparse {
    #[prost(message, optional, tag = "1")]
    pub values: Option<Tensor>,
    #[prost(message, optional, tag = "2")]
    pub indices: Option<Tensor>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Tensor {
    #[prost(bytes = "vec", optional, tag = "8")]
    pub name: Option<Vec<u8>>,
    #[prost(message, repeated, tag = "13")]
    pub external: Vec<Entry>,
    /// Data location; 1 is an external file.
    #[prost(int32, optional, tag = "14")]
    pub location: Option<i32>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Entry {
    #[prost(bytes = "vec", optional, tag = "1")]
    pub key: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "2")]
    pub value: Option<Vec<u8>>,
}

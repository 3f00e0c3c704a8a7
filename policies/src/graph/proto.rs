//! The parts of `onnx.proto3` that are read or added; a reader passes over the rest.
//! Field numbers are the specification's.

#![allow(missing_docs, reason = "the specification documents them")]

use prost::Message;

#[derive(Clone, PartialEq, Message)]
pub struct Model {
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
    #[prost(message, repeated, tag = "5")]
    pub initializers: Vec<Initializer>,
    #[prost(message, repeated, tag = "12")]
    pub outputs: Vec<ValueInfo>,
}

#[derive(Clone, PartialEq, Message)]
pub struct ValueInfo {
    #[prost(string, optional, tag = "1")]
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
    #[prost(int64, repeated, packed = "false", tag = "8")]
    pub ints: Vec<i64>,
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
    /// 1 is another file.
    #[prost(int32, optional, tag = "14")]
    pub location: Option<i32>,
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
        Self { name: Some(name.into()), kind: Some(2), int: Some(value), ints: Vec::new() }
    }
}

impl Initializer {
    /// One 64-bit integer.
    pub fn of(name: &str, dims: Vec<i64>, value: i64) -> Self {
        Self { dims, kind: Some(7), values: vec![value], name: Some(name.into()), location: None }
    }
}

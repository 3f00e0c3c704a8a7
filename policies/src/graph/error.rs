//! Why a model file is refused, and by whom: the file, ONNX Runtime, or a limit of ours.

use std::path::PathBuf;

use crate::external::ExternalError;

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
    /// A link leads to weights outside the model's folder.
    #[error(
        "{path}: a link leads to {found}; valid is a file in the model's folder or below it",
        path = path.display(), found = found.display()
    )]
    Linked {
        /// The file that the model names.
        path: PathBuf,
        /// Where the link leads.
        found: PathBuf,
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
    /// An input of which no sample can be made, or an output whose values cannot be compared: a limit of ours.
    #[error("{path}: {what}: AEGIS {limit}", path = path.display())]
    Limit {
        /// The file.
        path: PathBuf,
        /// Which input or output, with its type and shape.
        what: String,
        /// What AEGIS cannot do with it, and what would be valid.
        limit: String,
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
    /// The graph opens, and does not run on the samples.
    #[error(
        "{path}: the {what} graph does not run on the inputs that AEGIS made for it, {inputs}: {reason}; where another size \
         of a free axis would do, give the input's whole shape (--shape NAME=1,16,8)",
        path = path.display()
    )]
    Samples {
        /// The file.
        path: PathBuf,
        /// `original` or `tapped`.
        what: &'static str,
        /// Each input with the shape that it was given.
        inputs: String,
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

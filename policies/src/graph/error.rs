//! Errors of reading and tapping a model file: faults of the file, refusals by ONNX Runtime, and limits of AEGIS.

use std::path::PathBuf;
use std::time::Duration;

use crate::external::ExternalError;

/// Error of reading or tapping a graph.
#[derive(Debug, thiserror::Error)]
pub enum GraphError {
    /// The file is missing or unreadable.
    #[error("{path}: cannot read: {source}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Error of the operating system.
        source: std::io::Error,
    },
    /// The file is not an ONNX model.
    #[error("{path}: not an ONNX model: {reason}", path = path.display())]
    Decode {
        /// The file.
        path: PathBuf,
        /// Fault of the bytes.
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
    /// The model keeps values outside its file where that is not allowed; see [`ExternalError`].
    #[error("{path}: {source}", path = path.display())]
    Outside {
        /// The file.
        path: PathBuf,
        /// Which tensor, and what would be valid.
        source: ExternalError,
    },
    /// The tensor cannot be tapped.
    #[error("{path}: --tensor {tensor}: {reason}", path = path.display())]
    Tensor {
        /// The file.
        path: PathBuf,
        /// The requested tensor.
        tensor: String,
        /// Fault of the tensor, and what would be valid.
        reason: String,
    },
    /// A limit of AEGIS: no sample can be made for an input, or the values of an output cannot be compared.
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
        /// Message of the runtime.
        reason: String,
    },
    /// The graph opens, but does not run on the samples.
    #[error(
        "{path}: the {what} graph does not run on sampled inputs, {inputs}: {reason}; where a free axis needs another size, \
         give the input's whole shape (--shape NAME=1,16,8)",
        path = path.display()
    )]
    Samples {
        /// The file.
        path: PathBuf,
        /// `original` or `tapped`.
        what: &'static str,
        /// Each input with the shape that it was given.
        inputs: String,
        /// Message of the runtime.
        reason: String,
    },
    /// An inference on a sample took too long.
    #[error(
        "{path}: the {what} graph took {:.1} s for one sample; valid is at most {:.1} s (--deadline-ms); a loop in the graph may be \
         endless on random inputs",
        elapsed.as_secs_f64(), limit.as_secs_f64(), path = path.display()
    )]
    Deadline {
        /// The file.
        path: PathBuf,
        /// `original` or `tapped`.
        what: &'static str,
        /// Time from the beginning of the inference to its end.
        elapsed: Duration,
        /// The deadline.
        limit: Duration,
    },
    /// The tap changes an output of the model.
    #[error("{path}: with the tap, {output} changes; nothing was written", path = path.display())]
    Changed {
        /// The file.
        path: PathBuf,
        /// The output whose values change.
        output: String,
    },
}

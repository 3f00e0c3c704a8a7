//! Unknown ranks: distinguishes a tensor whose number of axes the runtime does not know from a scalar, which the runtime shows alike.

use std::collections::BTreeSet;

use ort::session::Session;
use ort::session::builder::GraphOptimizationLevel;
use ort::value::{TensorElementType, ValueType};

use crate::graph::{Graph, GraphError};
use crate::provider::{cpu_session, gist};
use crate::runtime::OnnxRuntime;

/// Text after the element type of a tensor of unknown rank.
pub(crate) const UNKNOWN: &str = " of unknown rank";
/// Advice for an output of unknown rank.
pub(crate) const STATE_SIZES: &str = "export the model with the sizes of its outputs, or give its inputs their sizes and add those of \
                                      the outputs by onnx.shape_inference.infer_shapes";

/// Returns the element type of a tensor that the runtime shows without axes.
pub(crate) fn without_axes(kind: &ValueType) -> Option<TensorElementType> {
    match kind {
        ValueType::Tensor { ty, shape, .. } if shape.is_empty() => Some(*ty),
        _ => None,
    }
}

/// Formats a type as [`ValueType`] does, with [`UNKNOWN`] for an unknown rank.
pub(crate) fn shown(kind: &ValueType, is_unranked: bool) -> String {
    match without_axes(kind).filter(|_| is_unranked) {
        Some(element) => format!("Tensor<{element}>{UNKNOWN}"),
        None => kind.to_string(),
    }
}

/// Returns the inputs and outputs of `session` with an unknown rank: those without a shape in the file, and outputs that were added to
/// it, where the runtime does not infer the length of their shape.
///
/// # Errors
/// [`GraphError::Runtime`] where ONNX Runtime refuses the graph.
pub(crate) fn unranked(
    runtime: &OnnxRuntime,
    graph: &Graph,
    session: &Session,
) -> Result<BTreeSet<String>, GraphError> {
    let ends = session.inputs().iter().chain(session.outputs());
    let names: BTreeSet<String> = ends
        .filter(|outlet| without_axes(outlet.dtype()).is_some())
        .map(|outlet| outlet.name().to_owned())
        .collect();
    let names: Vec<String> = names.into_iter().collect();
    if names.is_empty() {
        return Ok(BTreeSet::new());
    }
    let Some((bytes, outputs)) = graph.with_ranks(&names) else {
        return Ok(names.into_iter().filter(|name| graph.is_unshaped(name)).collect());
    };
    let refused = |error: ort::Error| GraphError::Runtime {
        path: graph.path().into(),
        what: "original",
        reason: gist(&error.to_string()),
    };
    let opened = cpu_session(runtime, &bytes, graph.external(), GraphOptimizationLevel::Disable);
    let opened = opened.map_err(refused)?;
    let is_known = |output: &String| {
        let mut found = opened.outputs().iter().filter(|outlet| outlet.name() == output);
        found.any(|outlet| match outlet.dtype() {
            ValueType::Tensor { shape, .. } => shape.first().is_some_and(|rank| *rank >= 0),
            _ => false,
        })
    };
    let each = names.into_iter().zip(&outputs);
    Ok(each.filter(|(_, output)| !is_known(output)).map(|(name, _)| name).collect())
}

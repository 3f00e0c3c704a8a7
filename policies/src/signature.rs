//! Check of a card against the signature of its graph: name, element type and shape of each tensor that the card names.
//! The card has to name every input of the graph.

use ort::session::Session;
use ort::value::{Outlet, TensorElementType, ValueType};

use crate::binding::TensorSpec;
use crate::card::{ActivationSpec, ChunkSpec, MOST_VALUES, ModelCard};
use crate::graph::is_unshaped;
use crate::inputs::{ConstantInput, ImageInput, Input, PixelLayout};
use crate::rank::{STATE_SIZES, UNKNOWN, without_axes};
use crate::runtime::OpenError;

/// Inputs and outputs to bind.
type Bindable<'a> = (Vec<TensorSpec<'a>>, Vec<TensorSpec<'a>>);

/// Element types of inputs that are filled.
const FILLED: [TensorElementType; 8] = [
    TensorElementType::Float32,
    TensorElementType::Float64,
    TensorElementType::Float16,
    TensorElementType::Bfloat16,
    TensorElementType::Int64,
    TensorElementType::Int32,
    TensorElementType::Uint8,
    TensorElementType::Bool,
];
/// Element types of outputs that are read.
pub(crate) const READ: [TensorElementType; 4] = [
    TensorElementType::Float32,
    TensorElementType::Float64,
    TensorElementType::Float16,
    TensorElementType::Bfloat16,
];

/// Checks the tensors that the card names against the graph, and returns them in the order of binding. Inputs are in the order
/// of the card; outputs are the chunk, the activation if there is one, and the outputs that are fed back, in the order of
/// their inputs.
pub(crate) fn bound_tensors<'a>(
    session: &Session,
    card: &'a ModelCard,
    model: &[u8],
) -> Result<Bindable<'a>, OpenError> {
    let graph = (session, model);
    let inputs: Vec<TensorSpec<'a>> = card
        .inputs
        .iter()
        .enumerate()
        .map(|(index, input)| checked_input(graph, card, index, input))
        .collect::<Result<_, _>>()?;
    let ChunkSpec { tensor, horizon, width, .. } = &card.chunk;
    let (horizon, width) = (*horizon as i64, *width as i64);
    let mut shapes = vec![vec![1, horizon, width], vec![horizon, width]];
    if horizon == 1 {
        shapes.extend([vec![1, width], vec![width]]);
    }
    shapes.dedup();
    let mut outputs = vec![checked_output(graph, card, ("chunk", tensor), &shapes)?];
    if let Some(spec) = &card.activation {
        outputs.push(checked_activation(graph, card, spec)?);
    }
    for (index, input) in card.inputs.iter().enumerate() {
        let Input::State(state) = input else { continue };
        let place = card.place(index);
        let spec = &inputs[index];
        let output = checked_output(graph, card, (&place, &state.output), std::slice::from_ref(&spec.shape))?;
        if output.kind != spec.kind {
            let reason =
                format!("output {:?} is {}; valid is the input's {}", state.output, output.kind, spec.kind);
            return Err(OpenError::Input { path: card.path.clone(), field: place, reason });
        }
        outputs.push(output);
    }
    let unnamed = session.inputs().iter().find(|input| !inputs.iter().any(|spec| spec.name == input.name()));
    match unnamed {
        Some(input) => Err(OpenError::Unnamed {
            path: card.path.clone(),
            model: card.weights_path(),
            input: format!("{:?}, {}", input.name(), described(input.dtype(), is_unranked(model, input))),
            named: inputs.iter().map(|spec| spec.name).collect::<Vec<_>>().join(", "),
        }),
        None => Ok((inputs, outputs)),
    }
}

/// Returns the outlet of this name, or an error that lists the graph's outlets.
fn outlet<'o>(
    card: &ModelCard,
    outlets: &'o [Outlet],
    (field, kind, name): (String, &'static str, &str),
) -> Result<&'o Outlet, OpenError> {
    outlets.iter().find(|outlet| outlet.name() == name).ok_or_else(|| OpenError::Tensor {
        path: card.path.clone(),
        field,
        kind,
        found: name.to_owned(),
        valid: outlets.iter().map(|outlet| outlet.name()).collect::<Vec<_>>().join(", "),
    })
}

/// Returns whether the graph states no number of axes of an input or output, which the runtime shows as a scalar.
fn is_unranked(model: &[u8], outlet: &Outlet) -> bool {
    without_axes(outlet.dtype()).is_some() && is_unshaped(model, outlet.name())
}

/// Returns an input to bind: its element type in the graph, and its shape with every free axis set.
fn checked_input<'a>(
    (session, model): (&Session, &[u8]),
    card: &'a ModelCard,
    index: usize,
    input: &'a Input,
) -> Result<TensorSpec<'a>, OpenError> {
    let (place, name) = (card.place(index), input.tensor());
    let found = outlet(card, session.inputs(), (format!("{place}.tensor"), "input", name))?;
    let wrong = |reason: String| OpenError::Input { path: card.path.clone(), field: place.clone(), reason };
    let ValueType::Tensor { ty, shape: graph, .. } = found.dtype() else {
        return Err(wrong(format!("{name:?} is {}; valid is a tensor", found.dtype())));
    };
    let is_unranked = is_unranked(model, found);
    let other = |expected: String| OpenError::Shape {
        path: card.path.clone(),
        field: place.clone(),
        found: expected,
        // The card describes the graph, so the graph's type and shape are the valid ones.
        valid: described(found.dtype(), is_unranked),
    };
    let expected = match input {
        Input::Image(ImageInput { height, width, layout, .. }) => {
            let (height, width) = (i64::from(*height), i64::from(*width));
            Some(match layout {
                PixelLayout::Hwc => vec![1, height, width, 3],
                PixelLayout::Chw => vec![1, 3, height, width],
            })
        }
        other if !other.shape().is_empty() => Some(other.shape().iter().map(|size| *size as i64).collect()),
        _ => None,
    };
    if let Some(shape) = expected.as_ref().filter(|shape| shape.first().is_some_and(|batch| *batch != 1)) {
        return Err(wrong(format!("shape: found {shape:?}; valid begins with 1, the batch")));
    }
    let only = match input {
        Input::Image(_) if card.is_of_older_form() => Some(TensorElementType::Uint8),
        Input::Vector(_) if card.is_of_older_form() => Some(TensorElementType::Float32),
        _ => None,
    };
    let shape = match expected {
        Some(shape) => {
            if !(is_unranked || fits(&shape, graph)) || only.is_some_and(|only| only != *ty) {
                return Err(other(format!("{}{shape:?}", element_name(only.unwrap_or(*ty)))));
            }
            shape
        }
        None if is_unranked => {
            let graph = described(found.dtype(), true);
            return Err(wrong(format!(
                "{name:?} is {graph}; valid is a `shape` with every size, such as [1, 8]"
            )));
        }
        None => {
            let free = graph.iter().enumerate().skip(1).find(|(_, size)| **size < 0);
            if let Some((axis, _)) = free {
                let graph = described(found.dtype(), false);
                return Err(wrong(format!(
                    "axis {axis} of {name:?} is free: the graph has {graph}; valid is a `shape` with a size for each axis"
                )));
            }
            graph.iter().map(|size| (*size).max(1)).collect()
        }
    };
    if !FILLED.contains(ty) {
        let valid = FILLED.map(element_name).join(", ");
        return Err(wrong(format!("{name:?} is {}; valid is {valid}", element_name(*ty))));
    }
    let count = shape.iter().try_fold(1_i64, |count, size| count.checked_mul(*size));
    let Some(count) = count.filter(|count| (1..=MOST_VALUES as i64).contains(count)) else {
        return Err(wrong(format!("{name:?} has {shape:?}; valid are 1 to {MOST_VALUES} values")));
    };
    if let Input::Constant(ConstantInput { value, .. }) = input
        && let Some(given) = value.count().filter(|given| *given as i64 != count)
    {
        return Err(wrong(format!("value: found {given} numbers; valid is one, or the {count} of {name:?}")));
    }
    let width = card.chunk.width as i64;
    if matches!(input, Input::Prefix(_)) && (shape.last() != Some(&width) || shape.len() < 2) {
        return Err(wrong(format!(
            "{name:?} has {shape:?}; valid is [1, N, {width}], N actions of chunk.width values"
        )));
    }
    if matches!(input, Input::PrefixLength(_)) && count != 1 {
        return Err(wrong(format!("{name:?} has {shape:?}; valid is one value, the number of actions")));
    }
    Ok(TensorSpec { name, kind: *ty, shape })
}

/// Returns an output to bind, which has one of these shapes.
fn checked_output<'a>(
    (session, model): (&Session, &[u8]),
    card: &ModelCard,
    (field, name): (&str, &'a str),
    shapes: &[Vec<i64>],
) -> Result<TensorSpec<'a>, OpenError> {
    let found = outlet(card, session.outputs(), (format!("{field}.tensor"), "output", name))?;
    if session.inputs().iter().any(|input| input.name() == name) {
        let reason = format!(
            "{name:?} is an input that the graph returns unchanged; valid is an output that a node makes"
        );
        return Err(OpenError::Input { path: card.path.clone(), field: field.to_owned(), reason });
    }
    if is_unranked(model, found) {
        let reason = format!("{name:?} is {}; {STATE_SIZES}", described(found.dtype(), true));
        return Err(OpenError::Input { path: card.path.clone(), field: field.to_owned(), reason });
    }
    if let ValueType::Tensor { ty, shape: graph, .. } = found.dtype()
        && READ.contains(ty)
        && let Some(shape) = shapes.iter().find(|shape| fits(shape, graph))
    {
        return Ok(TensorSpec { name, kind: *ty, shape: shape.clone() });
    }
    let element = match found.dtype() {
        ValueType::Tensor { ty, .. } if READ.contains(ty) => *ty,
        _ => TensorElementType::Float32,
    };
    let of = |shape: &Vec<i64>| format!("{}{shape:?}", element_name(element));
    Err(OpenError::Shape {
        path: card.path.clone(),
        field: field.to_owned(),
        found: shapes.iter().map(of).collect::<Vec<_>>().join(" or "),
        valid: described(found.dtype(), false),
    })
}

/// Returns the activation to bind. Its axes but that of the features are the batch, which is 1, and the tokens.
fn checked_activation<'a>(
    graph: (&Session, &[u8]),
    card: &ModelCard,
    spec: &'a ActivationSpec,
) -> Result<TensorSpec<'a>, OpenError> {
    let ActivationSpec { tensor, tokens, width, axis, .. } = spec;
    let (tokens, width) = (*tokens as i64, *width as i64);
    let found = outlet(card, graph.0.outputs(), ("activation.tensor".into(), "output", tensor))?;
    if is_unranked(graph.1, found) {
        return checked_output(graph, card, ("activation", tensor), &[]);
    }
    let dimensions = match found.dtype() {
        ValueType::Tensor { shape, .. } => shape.to_vec(),
        _ => Vec::new(),
    };
    let last = dimensions.len().saturating_sub(1);
    let features = axis.unwrap_or(last);
    let mut shapes = vec![vec![1, tokens, width]];
    if tokens == 1 {
        // A tensor that is pooled within the graph, as by `aegis model tap`, has no axis of tokens.
        shapes.push(vec![1, width]);
    }
    // For another rank, the graph's sizes are used, with 1 for a free size, where they give the card's numbers.
    let whole: Vec<i64> = dimensions.iter().map(|size| (*size).max(1)).collect();
    let others: i64 =
        whole.iter().enumerate().filter(|(axis, _)| *axis != features).map(|(_, size)| size).product();
    if axis.is_some() && (whole.get(features) != Some(&width) || others != tokens) {
        return Err(OpenError::Shape {
            path: card.path.clone(),
            field: "activation".into(),
            found: format!("{tokens} tokens of width {width} along axis {features}"),
            valid: described(found.dtype(), false),
        });
    }
    if axis.is_some() || ![2, 3].contains(&whole.len()) {
        shapes = if whole.get(features) == Some(&width) && others == tokens { vec![whole] } else { shapes };
    }
    checked_output(graph, card, ("activation", tensor), &shapes)
}

/// Checks whether a shape matches a graph's shape, in which −1 is a free size.
fn fits(shape: &[i64], graph: &[i64]) -> bool {
    shape.len() == graph.len() && shape.iter().zip(graph).all(|(size, of)| *of < 0 || size == of)
}

/// Formats element type and shape as in cards. A free size is shown by its name in the graph, or as `free`; `is_unranked` is true where
/// the graph states no number of axes.
pub(crate) fn described(kind: &ValueType, is_unranked: bool) -> String {
    let ValueType::Tensor { ty, shape, dimension_symbols } = kind else { return kind.to_string() };
    if is_unranked {
        return format!("{}{UNKNOWN}", element_name(*ty));
    }
    let size = |(place, size): (usize, &i64)| match dimension_symbols.get(place) {
        _ if *size >= 0 => size.to_string(),
        Some(name) if !name.is_empty() => name.clone(),
        _ => "free".into(),
    };
    let sizes: Vec<String> = shape.iter().enumerate().map(size).collect();
    format!("{}[{}]", element_name(*ty), sizes.join(", "))
}

/// Returns the name of an element type as used in cards.
pub(crate) fn element_name(element: TensorElementType) -> String {
    match element {
        TensorElementType::Float32 => "float32".into(),
        TensorElementType::Float64 => "float64".into(),
        TensorElementType::Float16 => "float16".into(),
        TensorElementType::Bfloat16 => "bfloat16".into(),
        TensorElementType::Uint8 => "uint8".into(),
        TensorElementType::Int8 => "int8".into(),
        TensorElementType::Int32 => "int32".into(),
        TensorElementType::Int64 => "int64".into(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use ort::value::{Shape, SymbolicDimensions};

    use super::*;

    #[test]
    fn a_free_size_is_that_of_the_card() {
        assert!(fits(&[1, 88], &[-1, 88]) && fits(&[1, 10, 7], &[-1, -1, 7]) && fits(&[1, 88], &[1, 88]));
        assert!(!fits(&[1, 88], &[-1, 87]) && !fits(&[1, 88], &[-1, 1, 88]) && !fits(&[1, 88], &[0, 88]));
    }

    #[test]
    fn a_type_is_shown_as_a_card_has_it() {
        let kind = ValueType::Tensor {
            ty: TensorElementType::Int64,
            shape: Shape::new([-1, 16, -1]),
            dimension_symbols: SymbolicDimensions::new(["batch".into(), String::new(), String::new()]),
        };
        assert_eq!(described(&kind, false), "int64[batch, 16, free]");
        let scalar = ValueType::Tensor {
            ty: TensorElementType::Float32,
            shape: Shape::new([]),
            dimension_symbols: SymbolicDimensions::new([]),
        };
        assert_eq!(described(&scalar, false), "float32[]");
        assert_eq!(described(&scalar, true), "float32 of unknown rank");
    }
}

//! Check of a card against the signature of its graph: name, element type and shape of each tensor that the card names.
//! The card has to name every input of the graph.

use ort::session::Session;
use ort::value::{Outlet, TensorElementType, ValueType};

use crate::binding::TensorSpec;
use crate::card::ModelCard;
use crate::runtime::OpenError;

/// Inputs and outputs to bind.
type Bindable<'a> = (Vec<TensorSpec<'a>>, Vec<TensorSpec<'a>>);

/// Checks the tensors that the card names against the graph, and returns them in the order of binding. Inputs are the
/// observation and then the frames; outputs are the chunk and then the activation.
pub(crate) fn bound_tensors<'a>(session: &Session, card: &'a ModelCard) -> Result<Bindable<'a>, OpenError> {
    let int = |value: usize| value as i64;
    let (observation, chunk) = (&card.observation, &card.chunk);
    let shape = vec![1, int(observation.width)];
    let tensor = ("observation.tensor", "input", observation.tensor.as_str());
    let mut inputs =
        vec![check_tensor(card, session.inputs(), tensor, TensorElementType::Float32, vec![shape])?];
    for spec in &card.frames {
        let shape = vec![1, i64::from(spec.height), i64::from(spec.width), 3];
        let tensor = ("frames.tensor", "input", spec.tensor.as_str());
        inputs.push(check_tensor(card, session.inputs(), tensor, TensorElementType::Uint8, vec![shape])?);
    }
    let shape = vec![1, int(chunk.horizon), int(chunk.width)];
    let tensor = ("chunk.tensor", "output", chunk.tensor.as_str());
    let mut outputs =
        vec![check_tensor(card, session.outputs(), tensor, TensorElementType::Float32, vec![shape])?];
    if let Some(spec) = &card.activation {
        let mut shapes = vec![vec![1, int(spec.tokens), int(spec.width)]];
        if spec.tokens == 1 {
            // A tensor that is pooled within the graph, as by `aegis model tap`, has no axis of tokens.
            shapes.push(vec![1, int(spec.width)]);
        }
        let tensor = ("activation.tensor", "output", spec.tensor.as_str());
        outputs.push(check_tensor(card, session.outputs(), tensor, TensorElementType::Float32, shapes)?);
    }
    let unnamed = session.inputs().iter().find(|input| !inputs.iter().any(|spec| spec.name == input.name()));
    match unnamed {
        Some(input) => Err(OpenError::Unnamed {
            path: card.path.clone(),
            model: card.weights_path(),
            input: format!("{:?}, {}", input.name(), described(input.dtype())),
            named: inputs.iter().map(|spec| spec.name).collect::<Vec<_>>().join(", "),
        }),
        None => Ok((inputs, outputs)),
    }
}

/// Returns the tensor to bind, if the graph has it with this element type and one of these shapes. A size that the graph
/// leaves free, such as the batch of nearly every export, takes the card's value.
fn check_tensor<'a>(
    card: &ModelCard,
    outlets: &[Outlet],
    (field, kind, name): (&'static str, &'static str, &'a str),
    element: TensorElementType,
    shapes: Vec<Vec<i64>>,
) -> Result<TensorSpec<'a>, OpenError> {
    let outlet = outlets.iter().find(|outlet| outlet.name() == name).ok_or_else(|| OpenError::Tensor {
        path: card.path.clone(),
        field,
        kind,
        found: name.to_owned(),
        valid: outlets.iter().map(|outlet| outlet.name()).collect::<Vec<_>>().join(", "),
    })?;
    if let ValueType::Tensor { ty, shape: found, .. } = outlet.dtype()
        && *ty == element
        && let Some(shape) = shapes.iter().find(|shape| fits(shape, found))
    {
        return Ok(TensorSpec { name, kind: element, shape: shape.clone() });
    }
    let of = |shape: &Vec<i64>| format!("{}{shape:?}", element_name(element));
    Err(OpenError::Shape {
        path: card.path.clone(),
        field: field.strip_suffix(".tensor").unwrap_or(field),
        found: shapes.iter().map(of).collect::<Vec<_>>().join(" or "),
        // The card describes the graph, so the graph's type and shape are the valid ones.
        valid: described(outlet.dtype()),
    })
}

/// Checks whether a shape matches a graph's shape, in which −1 is a free size.
fn fits(shape: &[i64], graph: &[i64]) -> bool {
    shape.len() == graph.len() && shape.iter().zip(graph).all(|(size, of)| *of < 0 || size == of)
}

/// Formats element type and shape as in cards. A free size is shown by its name in the graph, or as `free`.
fn described(kind: &ValueType) -> String {
    let ValueType::Tensor { ty, shape, dimension_symbols } = kind else { return kind.to_string() };
    let size = |(place, size): (usize, &i64)| match dimension_symbols.get(place) {
        _ if *size >= 0 => size.to_string(),
        Some(name) if !name.is_empty() => name.clone(),
        _ => "free".into(),
    };
    let sizes: Vec<String> = shape.iter().enumerate().map(size).collect();
    format!("{}[{}]", element_name(*ty), sizes.join(", "))
}

/// Returns the name of an element type as used in cards.
fn element_name(element: TensorElementType) -> String {
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
    fn a_free_size_is_what_the_card_says() {
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
        assert_eq!(described(&kind), "int64[batch, 16, free]");
    }
}

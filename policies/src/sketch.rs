//! First cards: writes the text of a card from a graph and the features of a plant, with `TODO` for every value that cannot be
//! inferred. The loader refuses a card with a `TODO`, and lists the fields.

use std::collections::BTreeSet;
use std::fmt::Write;

use aegis_core::feature::{FeatureKind, Schema};
use ort::value::{Outlet, TensorElementType, ValueType};

use crate::graph::{Graph, GraphError};
use crate::rank::{self, STATE_SIZES};
use crate::runtime::OnnxRuntime;
use crate::signature::{READ, described};
use crate::tap;

/// Terms that public policies for LIBERO read as their state: 8 values.
const PUBLIC_STATE: [(&str, usize, &str); 3] = [
    ("eef_position", 3, ""),
    ("eef_quaternion", 4, ", transform = \"axis_angle\""),
    ("gripper_positions", 2, ""),
];
/// Parts of names of tensors, in lower case, by what such tensors usually hold.
const OF_NOISE: [&str; 2] = ["noise", "latent"];
const OF_MASKS: [&str; 1] = ["mask"];
const OF_STATES: [&str; 6] = ["hidden", "memory", "h_in", "c_in", "cell", "past"];
const OF_ACTIONS: [&str; 1] = ["action"];

/// Name, element type and sizes of an end of a graph; −1 is a free size.
#[derive(Clone, Debug)]
struct End {
    name: String,
    element: TensorElementType,
    shape: Vec<i64>,
    /// Whether the graph states no number of axes.
    is_unranked: bool,
    /// Type and shape as in cards.
    text: String,
}

impl End {
    fn of(outlet: &Outlet, unranked: &BTreeSet<String>) -> Option<Self> {
        let ValueType::Tensor { ty, shape, .. } = outlet.dtype() else { return None };
        let is_unranked = unranked.contains(outlet.name());
        // A name of an axis may have any character.
        let text = described(outlet.dtype(), is_unranked)
            .replace(|letter: char| letter.is_control() || letter == '"', "?");
        let (name, shape) = (outlet.name().to_owned(), shape.to_vec());
        Some(Self { name, element: *ty, shape, is_unranked, text })
    }

    fn has(&self, parts: &[&str]) -> bool {
        let name = self.name.to_lowercase();
        parts.iter().any(|part| name.contains(part))
    }

    fn is_whole(&self) -> bool {
        matches!(self.element, TensorElementType::Int64 | TensorElementType::Int32)
    }

    /// Returns the sizes after the batch.
    fn inner(&self) -> &[i64] {
        self.shape.get(1..).unwrap_or_default()
    }
}

/// Returns the text of a first card for a model on a plant with this schema.
///
/// # Errors
/// [`GraphError::Runtime`] where ONNX Runtime refuses the graph.
pub fn card(runtime: &OnnxRuntime, graph: &Graph, schema: &Schema) -> Result<String, GraphError> {
    let session = tap::as_written(runtime, graph)?;
    let unranked = rank::unranked(runtime, graph, &session)?;
    let end = |outlet: &Outlet| End::of(outlet, &unranked);
    let inputs: Vec<End> = session.inputs().iter().filter_map(end).collect();
    let outputs: Vec<End> = session.outputs().iter().filter_map(end).collect();
    let mut text = String::from(
        "# A first card by `aegis model card`: it is refused until each TODO is replaced.\n\
         # docs/reference/policies.md describes each field.\n",
    );
    let file = graph.path().file_name().unwrap_or_default().to_string_lossy();
    _ = writeln!(text, "file = {}\nsha256 = \"{}\"", quoted(&file), graph.sha256());
    for (file, sha256) in graph.files() {
        _ = write!(text, "\n[[external]]\nfile = {}\nsha256 = \"{sha256}\"\n", quoted(file));
    }
    let chunk = chunk_of(&outputs, schema);
    let mut cameras: Vec<&str> = schema
        .features()
        .iter()
        .filter(|feature| feature.kind == FeatureKind::Rgb)
        .map(|feature| &*feature.name)
        .collect();
    let mut fed_back = Vec::new();
    for input in &inputs {
        _ = write!(text, "\n[[inputs]]\ntensor = {} # {}\n", quoted(&input.name), input.text);
        text += &input_text(input, &inputs, &outputs, chunk, schema, &mut cameras, &mut fed_back);
    }
    text += &chunk_text(chunk, schema);
    let rest = outputs
        .iter()
        .filter(|end| chunk.is_none_or(|chunk| chunk.name != end.name) && !fed_back.contains(&end.name));
    for end in rest.filter(|end| !end.is_whole() && end.shape.len() >= 2).take(1) {
        let sizes: Option<Vec<i64>> = end.inner().iter().map(|size| (*size > 0).then_some(*size)).collect();
        if let Some((width, tokens)) = sizes.as_deref().and_then(<[i64]>::split_last) {
            let tokens: i64 = tokens.iter().product();
            _ = write!(
                text,
                "\n# What a probe reads; leave it out for a policy that no probe reads.\n[activation]\ntensor = {} # {}\n\
                 tokens = {tokens}\nwidth = {width}\n",
                quoted(&end.name),
                end.text
            );
        }
    }
    Ok(text)
}

fn input_text(
    input: &End,
    inputs: &[End],
    outputs: &[End],
    chunk: Option<&End>,
    schema: &Schema,
    cameras: &mut Vec<&str>,
    fed_back: &mut Vec<String>,
) -> String {
    let back = outputs.iter().find(|end| {
        let same = end.element == input.element && end.shape == input.shape;
        same && chunk.is_none_or(|chunk| chunk.name != end.name) && !fed_back.contains(&end.name)
    });
    if let (Some(output), true) = (back, input.has(&OF_STATES)) {
        fed_back.push(output.name.clone());
        return format!("kind = \"state\"\noutput = {}\n", quoted(&output.name));
    }
    if input.has(&OF_NOISE) {
        return format!("kind = \"noise\"\n{}", shape_text(input));
    }
    if let [_, one, two, three] = input.shape[..] {
        let (layout, height, width) = if one == 3 { ("chw", two, three) } else { ("hwc", one, two) };
        if one == 3 || three == 3 {
            return image_text(input, layout, [height, width], cameras);
        }
    }
    if input.has(&OF_MASKS) {
        let tokens =
            inputs.iter().find(|end| end.is_whole() && end.shape == input.shape && end.name != input.name);
        let of = tokens.map_or("TODO: the tensor of the tokens", |end| &end.name);
        return format!("kind = \"mask\"\nof = {}\n{}", quoted(of), shape_text(input));
    }
    if input.is_whole() && input.inner().len() == 1 {
        return format!(
            "kind = \"tokens\"\ntokenizer = \"TODO: the tokenizer.json of the training code, beside this card\"\n\
             sha256 = \"TODO: its SHA-256\"\n\
             # \"{{instruction}}\\n\", in double quotes, where the training code ended it with a new line.\n\
             template = \"TODO: the text that was encoded, such as {{instruction}}\"\n{}",
            shape_text(input)
        );
    }
    vector_text(input, schema)
}

/// Returns the field `shape` where an axis beyond the batch is free.
fn shape_text(input: &End) -> String {
    if !input.is_unranked && input.inner().iter().all(|size| *size > 0) {
        return String::new();
    }
    format!("shape = {}\n", quoted(&format!("TODO: sizes for {}, such as [1, 48]", input.text)))
}

fn image_text(input: &End, layout: &str, [height, width]: [i64; 2], cameras: &mut Vec<&str>) -> String {
    // A camera whose name shares a word with the tensor's, else the next.
    let name = input.name.to_lowercase();
    let shares = |camera: &&str| {
        camera.to_lowercase().split(['_', '.', '/']).any(|word| word.len() > 2 && name.contains(word))
    };
    let index = cameras.iter().position(shares).or((!cameras.is_empty()).then_some(0));
    let camera = index.map_or("TODO: a camera of the plant", |index| cameras.remove(index));
    let size = |size: i64, what: &str| {
        if size > 0 { size.to_string() } else { quoted(&format!("TODO: {what} in pixels")) }
    };
    let colours = if input.element == TensorElementType::Uint8 {
        ""
    } else {
        "# Colours are 0 to 1; mean and std, where the training code subtracted and divided outside of the graph.\n"
    };
    format!(
        "kind = \"image\"\ncamera = {}\nheight = {}\nwidth = {}\nlayout = \"{layout}\"\n\
         rotate = \"TODO: 180 where the training pictures were turned, as those of public policies for LIBERO, else 0\"\n{colours}",
        quoted(camera),
        size(height, "height"),
        size(width, "width"),
    )
}

fn vector_text(input: &End, schema: &Schema) -> String {
    let width = input.inner().last().copied().filter(|width| *width > 0);
    let past = match input.inner() {
        [rows, _] if *rows > 1 => format!("history = {rows}\n"),
        _ => String::new(),
    };
    let has = |name: &str, size: usize| schema.range(name).is_some_and(|range| range.len() == size);
    let is_public = PUBLIC_STATE.iter().all(|(name, size, _)| has(name, *size));
    let terms = if width == Some(8) && is_public {
        let lines = PUBLIC_STATE.map(|(name, _, more)| format!("    {{ feature = \"{name}\"{more} }},\n"));
        format!(
            "# As public policies for LIBERO read them; check the order against the training code.\nterms = [\n{}]\n",
            lines.concat()
        )
    } else {
        let offers: Vec<String> = schema.ranges().map(|(feature, _)| feature.to_string()).collect();
        let width = width.map_or("the".into(), |width| width.to_string());
        let text = format!(
            "TODO: features that give {width} values in the policy's order; the plant offers {}",
            offers.join(", ")
        );
        format!("terms = {}\n", quoted(&text))
    };
    format!("kind = \"vector\"\n{past}{terms}{}", shape_text(input))
}

/// Returns the output that is most likely the chunk: one named after actions, else one as wide as the plant's actions.
fn chunk_of<'a>(outputs: &'a [End], schema: &Schema) -> Option<&'a End> {
    let width = schema.actions().len() as i64;
    let mut read = outputs.iter().filter(|end| READ.contains(&end.element));
    let named = read.clone().find(|end| end.has(&OF_ACTIONS));
    let wide = read.clone().find(|end| width > 0 && end.shape.last() == Some(&width));
    named.or(wide).or(read.next())
}

fn chunk_text(chunk: Option<&End>, schema: &Schema) -> String {
    let (name, kind) = chunk
        .map_or(("TODO: an output of floating-point numbers, which the graph lacks", ""), |end| {
            (&end.name, &end.text)
        });
    let size = |size: Option<i64>, what: &str| match size {
        Some(size) if size > 0 => size.to_string(),
        _ => quoted(&format!("TODO: {what}")),
    };
    let shape = chunk.map_or(&[][..], |end| &end.shape);
    let horizon = match shape {
        [_, horizon, _] | [horizon, _] => Some(*horizon),
        _ => None,
    };
    let note = match chunk {
        Some(end) if end.is_unranked => {
            format!(
                "# The graph states no number of axes of {}, and is refused without it: {STATE_SIZES}.\n",
                quoted(&end.name)
            )
        }
        _ => String::new(),
    };
    let mut text = format!(
        "\n[chunk]\n{note}tensor = {} # {kind}\nhorizon = {}\nwidth = {}\n",
        quoted(name),
        size(horizon, "number of actions that the graph returns"),
        size(shape.last().copied(), "values per action"),
    );
    if let Some(horizon) = horizon.filter(|horizon| *horizon > 1) {
        _ = writeln!(
            text,
            "# execute = {horizon} # how many of them, where the training code executes fewer"
        );
    }
    let names: Vec<String> = schema.actions().iter().map(|channel| quoted(&channel.name)).collect();
    if !names.is_empty() {
        _ = writeln!(
            text,
            "# names = [{}] # the plant's order; write the policy's where it is another",
            names.join(", ")
        );
    }
    text
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signature::element_name;

    fn end(name: &str, element: TensorElementType, shape: &[i64]) -> End {
        let text = format!("{}{shape:?}", element_name(element));
        End { name: name.into(), element, shape: shape.to_vec(), is_unranked: false, text }
    }

    #[test]
    fn a_tensors_kind_is_inferred_from_its_name_and_shape() {
        let features = ["eef_position", "eef_quaternion", "gripper_positions"].iter().zip([3, 4, 2]);
        let mut features: Vec<aegis_core::Feature> = features
            .map(|(name, size)| aegis_core::Feature::vector(*name, &["a", "b", "c", "d"][..size], ""))
            .collect();
        features.extend(["agentview", "wrist"].map(|name| aegis_core::Feature::camera(name, 8, 8)));
        let schema = Schema::new(features, Vec::new()).unwrap();
        let (f32, i64) = (TensorElementType::Float32, TensorElementType::Int64);
        let outputs = [end("actions", f32, &[-1, 50, 7]), end("next", f32, &[1, 4])];
        let inputs = [
            end("state", f32, &[-1, 8]),
            end("wrist_image", f32, &[-1, 3, 8, 8]),
            end("image", TensorElementType::Uint8, &[-1, 8, 8, 3]),
            end("tokens", i64, &[-1, -1]),
            end("tokens_mask", i64, &[-1, -1]),
            end("noise", f32, &[-1, 50, 7]),
            end("hidden", f32, &[1, 4]),
            end("other", f32, &[1, 2, 9]),
        ];
        let (mut cameras, mut back) = (vec!["agentview", "wrist"], Vec::new());
        let texts: Vec<String> = inputs
            .iter()
            .map(|input| {
                input_text(input, &inputs, &outputs, Some(&outputs[0]), &schema, &mut cameras, &mut back)
            })
            .collect();
        let kinds = ["vector", "image", "image", "tokens", "mask", "noise", "state", "vector"];
        for (text, kind) in texts.iter().zip(kinds) {
            assert!(text.contains(&format!("kind = \"{kind}\"")), "{kind}: {text}");
        }
        assert!(
            texts[0].contains("transform = \"axis_angle\"") && !texts[0].contains("TODO"),
            "{}",
            texts[0]
        );
        assert!(
            texts[1].contains("camera = \"wrist\"") && texts[1].contains("layout = \"chw\""),
            "{}",
            texts[1]
        );
        assert!(texts[2].contains("camera = \"agentview\"") && texts[2].contains("\"hwc\""), "{}", texts[2]);
        assert!(texts[4].contains("of = \"tokens\""), "{}", texts[4]);
        assert!(
            texts[7].contains("history = 2") && texts[7].contains("TODO: features that give 9"),
            "{}",
            texts[7]
        );
        assert_eq!(chunk_of(&outputs, &schema).unwrap().name, "actions");
        let any = End { is_unranked: true, text: "float32 of unknown rank".into(), ..end("any", f32, &[]) };
        assert_eq!(
            shape_text(&any),
            "shape = \"TODO: sizes for float32 of unknown rank, such as [1, 48]\"\n"
        );
        assert_eq!(shape_text(&end("one", f32, &[])), "", "a scalar has no free size");
        assert!(chunk_text(Some(&any), &schema).contains("states no number of axes of \"any\""));
    }
}

//! Inputs of a model as its card describes them: each tensor with the source of its values. The set of kinds is closed; features
//! have the names that the plant announces.

use std::path::PathBuf;

use serde::de::Error;
use serde::{Deserialize, Deserializer};

use crate::affine::Affine;
pub use crate::affine::Numbers;

/// Name of the pseudo-feature that is the index of the task within its suite.
pub const TASK: &str = "task";
/// Largest number of classes of a one-hot term.
pub(crate) const MOST_CLASSES: usize = 65_536;

/// One input tensor of a model.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Input {
    /// Numbers of the observation, one term after another.
    Vector(VectorInput),
    /// Picture of a camera.
    Image(ImageInput),
    /// The instruction as tokens.
    Tokens(TokensInput),
    /// The instruction as text, for a policy behind a server.
    Instruction(InstructionInput),
    /// Mask of a tensor of tokens: 1 for a token, 0 for padding.
    Mask(MaskInput),
    /// Standard normal noise, drawn anew for each inference from the episode's own stream.
    Noise(PlainInput),
    /// An output of the previous inference; zeros at the first inference of an episode.
    State(StateInput),
    /// The rest of the policy's own chunk that is executed during the inference, from the first action of the new chunk on.
    Prefix(PlainInput),
    /// Number of the actions in a tensor of kind `prefix`.
    PrefixLength(PrefixLengthInput),
    /// The same numbers at every inference.
    Constant(ConstantInput),
}

impl Input {
    /// Returns the name of the graph input.
    pub fn tensor(&self) -> &str {
        match self {
            Self::Vector(VectorInput { tensor, .. })
            | Self::Image(ImageInput { tensor, .. })
            | Self::Tokens(TokensInput { tensor, .. })
            | Self::Instruction(InstructionInput { tensor, .. })
            | Self::Mask(MaskInput { tensor, .. })
            | Self::Noise(PlainInput { tensor, .. })
            | Self::State(StateInput { tensor, .. })
            | Self::Prefix(PlainInput { tensor, .. })
            | Self::PrefixLength(PrefixLengthInput { tensor, .. })
            | Self::Constant(ConstantInput { tensor, .. }) => tensor,
        }
    }

    /// Returns the sizes that the card gives to free axes of the graph; empty where it gives none.
    pub fn shape(&self) -> &[usize] {
        match self {
            Self::Vector(VectorInput { shape, .. })
            | Self::Tokens(TokensInput { shape, .. })
            | Self::Mask(MaskInput { shape, .. })
            | Self::Noise(PlainInput { shape, .. })
            | Self::State(StateInput { shape, .. })
            | Self::Prefix(PlainInput { shape, .. })
            | Self::PrefixLength(PrefixLengthInput { shape, .. })
            | Self::Constant(ConstantInput { shape, .. }) => shape,
            Self::Image(_) | Self::Instruction(_) => &[],
        }
    }

    /// Returns the tokens of an input of that kind.
    pub fn tokens(&self) -> Option<&TokensInput> {
        match self {
            Self::Tokens(tokens) => Some(tokens),
            _ => None,
        }
    }

    /// Returns whether the input depends on earlier inferences of the episode.
    pub fn remembers(&self) -> bool {
        match self {
            Self::Vector(VectorInput { history, .. }) => *history > 1,
            Self::State(_) | Self::Prefix(_) | Self::PrefixLength(_) => true,
            Self::Image(_)
            | Self::Tokens(_)
            | Self::Instruction(_)
            | Self::Mask(_)
            | Self::Noise(_)
            | Self::Constant(_) => false,
        }
    }
}

/// Numbers of the observation, as `[terms]` or, with a history, `[history, terms]`, oldest first.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VectorInput {
    /// Name of the graph input.
    pub tensor: String,
    /// Sizes for a graph with free axes beyond the first.
    #[serde(default)]
    pub shape: Vec<usize>,
    /// Parts of the vector, in order.
    pub terms: Vec<Term>,
    /// Number of observations, one per inference; before the first, the first is repeated.
    #[serde(default = "one")]
    pub history: usize,
}

/// Part of a vector: a feature, or some of its components, transformed. The steps are taken in the order of the fields.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Term {
    /// Name of the feature, or `task`.
    pub feature: String,
    /// First component and one past the last; all where omitted.
    pub slice: Option<[usize; 2]>,
    /// Names of the components, as the plant announces them, in the policy's order; in place of `slice`.
    pub components: Option<Vec<String>>,
    /// Feature of the same size that is subtracted.
    pub relative_to: Option<String>,
    /// Change of a rotation's representation.
    pub transform: Option<Transform>,
    /// Number of classes of a one-hot encoding; the value is the index of the class.
    pub one_hot: Option<usize>,
    /// Factor, one for all components or one for each.
    pub scale: Option<Numbers>,
    /// Summand after the factor, one for all components or one for each.
    pub offset: Option<Numbers>,
    /// Least and greatest value.
    pub clip: Option<[f64; 2]>,
}

impl Term {
    /// Returns a term that is an unchanged feature.
    pub fn of(feature: impl Into<String>) -> Self {
        Self { feature: feature.into(), ..Self::default() }
    }

    /// Returns the last step of the term.
    pub(crate) fn affine(&self) -> Affine<'_> {
        Affine { scale: self.scale.as_ref(), offset: self.offset.as_ref(), clip: self.clip }
    }
}

/// Change of the representation of a rotation, from a unit quaternion in the order x, y, z, w.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transform {
    /// Rotation vector, 3 values, as robosuite's `quat2axisangle` computes it.
    AxisAngle,
    /// First two columns of the rotation matrix, 6 values; Zhou et al., *On the Continuity of Rotation Representations in
    /// Neural Networks*, CVPR 2019.
    #[serde(rename = "rotation_6d")]
    Rotation6d,
}

/// Picture of a camera.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageInput {
    /// Name of the graph input.
    pub tensor: String,
    /// Name of the camera.
    pub camera: String,
    /// Height of the tensor's picture in pixels.
    pub height: u32,
    /// Width of the tensor's picture in pixels.
    pub width: u32,
    /// Order of the axes.
    #[serde(default)]
    pub layout: PixelLayout,
    /// Degrees by which the picture is turned: 0 or 180.
    #[serde(default)]
    pub rotate: Rotation,
    /// Whether the picture is mirrored left to right, after the turn.
    #[serde(default)]
    pub flip: bool,
    /// Resizing of a picture of another size.
    #[serde(default)]
    pub resize: Resize,
    /// Height and width of the picture that a simulator draws; those of the tensor where omitted.
    pub render: Option<[u32; 2]>,
    /// Mean of red, green and blue, in 0 to 1, which is subtracted. Only for tensors of floating point.
    pub mean: Option<[f64; 3]>,
    /// Standard deviation of red, green and blue, by which the difference is divided.
    pub std: Option<[f64; 3]>,
}

impl ImageInput {
    /// Returns an input that is the plant's unchanged picture, of exactly this size in pixels.
    pub(crate) fn exact(tensor: &str, camera: &str, height: u32, width: u32) -> Self {
        Self {
            tensor: tensor.into(),
            camera: camera.into(),
            height,
            width,
            layout: PixelLayout::Hwc,
            rotate: Rotation::None,
            flip: false,
            resize: Resize::Exact,
            render: None,
            mean: None,
            std: None,
        }
    }

    /// Returns height and width of the picture that a simulator draws.
    pub fn rendered(&self) -> [u32; 2] {
        self.render.unwrap_or([self.height, self.width])
    }
}

/// Order of a picture's axes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PixelLayout {
    /// `[1, height, width, 3]`.
    #[default]
    Hwc,
    /// `[1, 3, height, width]`.
    Chw,
}

/// Rotation of a picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u32")]
pub enum Rotation {
    /// No rotation.
    #[default]
    None,
    /// By 180°, as public LIBERO policies read pictures.
    Half,
}

impl TryFrom<u32> for Rotation {
    type Error = String;

    fn try_from(degrees: u32) -> Result<Self, String> {
        match degrees {
            0 => Ok(Self::None),
            180 => Ok(Self::Half),
            found => Err(format!("rotate: found {found}; valid is 0 or 180")),
        }
    }
}

/// Resizing of a picture of another size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resize {
    /// No resizing: another size is refused.
    #[default]
    Exact,
    /// Each axis by its own factor.
    #[serde(rename = "stretch")]
    EachAxis,
    /// Both axes by one factor, centred in a black picture.
    Pad,
}

/// The instruction as tokens of a `tokenizer.json`, padded to the length of the tensor.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokensInput {
    /// Name of the graph input.
    pub tensor: String,
    /// Sizes for a graph with free axes beyond the first.
    #[serde(default)]
    pub shape: Vec<usize>,
    /// Path of the tokenizer, relative to the card.
    pub tokenizer: PathBuf,
    /// SHA-256 of the tokenizer, lower-case hexadecimal.
    #[serde(deserialize_with = "digest")]
    pub sha256: String,
    /// Text that is encoded, with `{instruction}` for the instruction.
    #[serde(default = "instruction")]
    pub template: String,
    /// Side of the padding.
    #[serde(default)]
    pub side: PaddingSide,
    /// Token for padding; that of the tokenizer where omitted.
    pub pad: Option<u32>,
    /// Whether the tokenizer adds its special tokens, such as one for the beginning.
    #[serde(default = "yes")]
    pub special_tokens: bool,
}

/// The instruction as text.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InstructionInput {
    /// Key of the request.
    pub tensor: String,
    /// Text that is sent, with `{instruction}` for the instruction.
    #[serde(default = "instruction")]
    pub template: String,
}

/// Side of a tensor on which padding is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PaddingSide {
    /// After the tokens.
    #[default]
    Right,
    /// Before the tokens.
    Left,
}

/// The mask of a tensor of tokens.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MaskInput {
    /// Name of the graph input.
    pub tensor: String,
    /// Name of the graph input with the tokens.
    pub of: String,
    /// Sizes for a graph with free axes beyond the first.
    #[serde(default)]
    pub shape: Vec<usize>,
}

/// An input with only a name.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlainInput {
    /// Name of the graph input.
    pub tensor: String,
    /// Sizes for a graph with free axes beyond the first.
    #[serde(default)]
    pub shape: Vec<usize>,
}

/// The number of actions in a prefix.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrefixLengthInput {
    /// Name of the graph input.
    pub tensor: String,
    /// Name of the graph input with the prefix.
    pub of: String,
    /// Sizes for a graph with free axes beyond the first.
    #[serde(default)]
    pub shape: Vec<usize>,
}

/// An output that is fed back.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StateInput {
    /// Name of the graph input.
    pub tensor: String,
    /// Name of the graph output, of the same type and shape.
    pub output: String,
    /// Sizes for a graph with free axes beyond the first.
    #[serde(default)]
    pub shape: Vec<usize>,
}

/// An input with constant values.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConstantInput {
    /// Name of the graph input.
    pub tensor: String,
    /// The number for all values, or one number for each, row-major.
    pub value: Numbers,
    /// Sizes for a graph with free axes beyond the first.
    #[serde(default)]
    pub shape: Vec<usize>,
}

/// Deserializes a SHA-256 digest and converts it to lower case, as it may be input of another digest.
pub(crate) fn digest<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let found = String::deserialize(deserializer)?;
    let digest = found.trim().to_ascii_lowercase();
    if digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(digest);
    }
    Err(D::Error::custom(format!("found digest {found:?}; valid is SHA-256, 64 hexadecimal digits")))
}

fn instruction() -> String {
    "{instruction}".into()
}

fn yes() -> bool {
    true
}

fn one() -> usize {
    1
}

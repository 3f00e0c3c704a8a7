//! Features: what a plant announces of its observations and actions, by name, shape, unit and frame. Policies and robot
//! files are bound to a plant by these names. The fields are those of LeRobot's `FeatureSpec`, so the two map one to one.

use std::fmt::{self, Display, Formatter};
use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Name of the feature that three-dimensional views take for the end effector: its position, `[3]`, metres, world frame.
pub const END_EFFECTOR_POSITION: &str = "eef_position";
/// Name of the feature that three-dimensional views take for the end effector's orientation: a unit quaternion `[4]` in the
/// order x, y, z, w, world frame.
pub const END_EFFECTOR_QUATERNION: &str = "eef_quaternion";
/// Beginning of the names of an object's features; `object/NAME/position` is `[3]`, metres, world frame.
pub const OBJECT_PREFIX: &str = "object/";
/// End of the name of an object's position.
pub const POSITION_SUFFIX: &str = "/position";
/// End of the name of an object's orientation: a unit quaternion `[4]` in the order x, y, z, w, world frame.
pub const QUATERNION_SUFFIX: &str = "/quaternion";

/// Largest number of features of one plant.
const FEATURES: usize = 1024;
/// Largest number of values of all features together.
const VALUES: usize = 1 << 16;
/// Largest number of bytes of a name or a description.
const TEXT: usize = 512;

/// Element type of a feature where the plant measures it. Values in an observation are `f64`, which holds each of them exactly
/// up to 53 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    /// 64-bit floating point.
    Float64,
    /// 32-bit floating point.
    Float32,
    /// 64-bit integer.
    Int64,
    /// 8-bit unsigned integer.
    Uint8,
    /// Truth value: 0 or 1.
    Bool,
}

/// Kind of a feature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FeatureKind {
    /// Numbers, which stand in every observation.
    Tensor,
    /// Picture of a camera, `[height, width, 3]`, which is drawn on request.
    Rgb,
}

/// One named part of an observation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Feature {
    /// Name, unique within the plant.
    pub name: Arc<str>,
    /// Sizes of its axes.
    pub shape: Vec<usize>,
    /// Element type.
    pub dtype: Dtype,
    /// Kind.
    pub kind: FeatureKind,
    /// Names of the components along the last axis, in order; may be empty.
    #[serde(default)]
    pub names: Vec<Arc<str>>,
    /// Unit and frame in words, for example `rad` or `m, world frame`.
    #[serde(default)]
    pub semantics: Arc<str>,
}

impl Feature {
    /// Returns a vector of named components, as doubles.
    pub fn vector(name: impl Into<Arc<str>>, names: &[&str], semantics: &str) -> Self {
        let names: Vec<Arc<str>> = names.iter().map(|name| Arc::from(*name)).collect();
        let (shape, semantics) = (vec![names.len()], semantics.into());
        Self { name: name.into(), shape, dtype: Dtype::Float64, kind: FeatureKind::Tensor, names, semantics }
    }

    /// Returns the pictures of a camera.
    pub fn camera(name: impl Into<Arc<str>>, height: usize, width: usize) -> Self {
        let shape = vec![height, width, 3];
        let names = ["red", "green", "blue"].map(Arc::from).to_vec();
        let semantics = "sRGB, row 0 at the top".into();
        Self { name: name.into(), shape, dtype: Dtype::Uint8, kind: FeatureKind::Rgb, names, semantics }
    }

    /// Returns the number of values.
    pub fn size(&self) -> usize {
        self.shape.iter().product()
    }
}

impl Display for Feature {
    /// Formats the feature as `name[sizes]`.
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let sizes: Vec<String> = self.shape.iter().map(ToString::to_string).collect();
        write!(formatter, "{}[{}]", self.name, sizes.join(", "))
    }
}

/// One channel of a plant's actions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActionChannel {
    /// Name, unique among the channels.
    pub name: Arc<str>,
    /// Unit and frame in words.
    #[serde(default)]
    pub semantics: Arc<str>,
    /// Smallest and largest value that the plant executes; both infinite where the plant states no bound.
    pub bounds: [f32; 2],
    /// Value at which the channel stands still; `None` for a position, which stands still where it is.
    #[serde(default)]
    pub still: Option<f32>,
}

/// Error of a schema.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: found {found}; valid is {valid}")]
pub struct SchemaError {
    /// Feature or channel, and the field.
    pub place: String,
    /// Value found.
    pub found: String,
    /// Description of the valid values.
    pub valid: String,
}

/// Everything that a plant announces of its observations and actions.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Schema {
    features: Vec<Feature>,
    /// Index of each feature's first value in an observation, one more than there are features.
    begins: Vec<usize>,
    actions: Vec<ActionChannel>,
}

impl Schema {
    /// Checks features and action channels, and lays out the values of an observation: every tensor feature in order,
    /// row-major.
    ///
    /// # Errors
    /// A name that is empty, too long or given twice, a shape without values, component names that do not fit the shape, or
    /// bounds that are not in order.
    pub fn new(features: Vec<Feature>, actions: Vec<ActionChannel>) -> Result<Self, SchemaError> {
        let error = |place: String, found: String, valid: &str| {
            Err(SchemaError { place, found, valid: valid.to_owned() })
        };
        if features.len() > FEATURES {
            return error("features".into(), features.len().to_string(), "at most 1024");
        }
        let mut begins = vec![0];
        for (index, feature) in features.iter().enumerate() {
            let place = |field: &str| format!("features[{index}].{field}");
            check_text(&place("name"), &feature.name, 1)?;
            check_text(&place("semantics"), &feature.semantics, 0)?;
            if features[..index].iter().any(|earlier| earlier.name == feature.name) {
                return error(place("name"), format!("{:?} twice", feature.name), "each name once");
            }
            let size = feature.shape.iter().try_fold(1_usize, |size, axis| size.checked_mul(*axis));
            let Some(size) = size.filter(|size| *size > 0 && *size <= 1 << 26) else {
                return error(place("shape"), format!("{:?}", feature.shape), "1 or more values");
            };
            let last = feature.shape.last().copied().unwrap_or(1);
            if !feature.names.is_empty() && feature.names.len() != last {
                let valid = format!("{last}, one for each component of the last axis, or none");
                return error(place("names"), format!("{} names", feature.names.len()), &valid);
            }
            feature.names.iter().try_for_each(|name| check_text(&place("names"), name, 1))?;
            if feature.kind == FeatureKind::Rgb
                && (feature.shape.len(), last, feature.dtype) != (3, 3, Dtype::Uint8)
            {
                let found = format!("{:?} of {:?}", feature.shape, feature.dtype);
                return error(place("shape"), found, "[height, width, 3] of uint8 for kind rgb");
            }
            let values = if feature.kind == FeatureKind::Tensor { size } else { 0 };
            let end = begins[index] + values;
            if end > VALUES {
                return error(
                    place("shape"),
                    format!("{end} values so far"),
                    "at most 65536 of all features",
                );
            }
            begins.push(end);
        }
        for (index, channel) in actions.iter().enumerate() {
            let place = |field: &str| format!("actions[{index}].{field}");
            check_text(&place("name"), &channel.name, 1)?;
            check_text(&place("semantics"), &channel.semantics, 0)?;
            if actions[..index].iter().any(|earlier| earlier.name == channel.name) {
                return error(place("name"), format!("{:?} twice", channel.name), "each name once");
            }
            let [low, high] = channel.bounds;
            // Written so that NaN, which fails every comparison, is refused.
            let is_ordered = low <= high;
            if !is_ordered {
                return error(place("bounds"), format!("[{low}, {high}]"), "the smaller one first");
            }
            if let Some(still) = channel.still.filter(|still| !still.is_finite()) {
                return error(place("still"), still.to_string(), "a finite value, or none");
            }
        }
        Ok(Self { features, begins, actions })
    }

    /// Returns the features, in the order in which the plant announced them.
    pub fn features(&self) -> &[Feature] {
        &self.features
    }

    /// Returns the channels of an action, in order.
    pub fn actions(&self) -> &[ActionChannel] {
        &self.actions
    }

    /// Returns for each channel of an action whether its values are a motion: whether the plant stands still at zero, or has no
    /// command at which it stands still. The other channels are switches, such as those that close a hand.
    pub fn motion(&self) -> Vec<bool> {
        self.actions.iter().map(|channel| channel.still.is_none_or(|still| still == 0.0)).collect()
    }

    /// Returns the number of values of an observation.
    pub fn width(&self) -> usize {
        self.begins.last().copied().unwrap_or(0)
    }

    /// Returns the feature of this name.
    pub fn feature(&self, name: &str) -> Option<&Feature> {
        self.features.iter().find(|feature| &*feature.name == name)
    }

    /// Returns where the values of a tensor feature stand in an observation; `None` for a camera and an unknown name.
    pub fn range(&self, name: &str) -> Option<Range<usize>> {
        let index = self.features.iter().position(|feature| &*feature.name == name)?;
        let tensor = self.features[index].kind == FeatureKind::Tensor;
        tensor.then(|| self.begins[index]..self.begins[index + 1])
    }

    /// Returns what `later` announces otherwise under the same name, in words; `None` where both agree. A plant may offer other
    /// features in another episode, but what a name stands for has to stay.
    pub fn conflict(&self, later: &Self) -> Option<String> {
        let listed = |names: &[Arc<str>]| names.join(", ");
        for feature in &self.features {
            let Some(other) = later.feature(&feature.name) else { continue };
            if other.names != feature.names {
                let (found, valid) = (listed(&other.names), listed(&feature.names));
                return Some(format!(
                    "{}: found components {found}; valid are {valid}, as before",
                    feature.name
                ));
            }
            if other != feature {
                let (found, valid) = (&other.semantics, &feature.semantics);
                return Some(format!("found {other} ({found}); valid is {feature} ({valid}), as before"));
            }
        }
        if self.actions == later.actions {
            return None;
        }
        let listed = |schema: &Self| {
            schema.actions.iter().map(|channel| &*channel.name).collect::<Vec<_>>().join(", ")
        };
        Some(format!("channels: found {}; valid are {}, as before", listed(later), listed(self)))
    }

    /// Returns each camera's feature.
    pub fn cameras(&self) -> impl Iterator<Item = &Feature> {
        self.features.iter().filter(|feature| feature.kind == FeatureKind::Rgb)
    }

    /// Returns each tensor feature with the place of its values in an observation.
    pub fn ranges(&self) -> impl Iterator<Item = (&Feature, Range<usize>)> {
        let all = self.features.iter().zip(self.begins.windows(2));
        all.filter(|(feature, _)| feature.kind == FeatureKind::Tensor)
            .map(|(feature, ends)| (feature, ends[0]..ends[1]))
    }
}

fn check_text(place: &str, text: &str, least: usize) -> Result<(), SchemaError> {
    if text.len() >= least && text.len() <= TEXT && !text.chars().any(char::is_control) {
        return Ok(());
    }
    let (place, found) = (place.to_owned(), format!("{:?}", text.chars().take(60).collect::<String>()));
    Err(SchemaError { place, found, valid: format!("{least} to {TEXT} bytes without control characters") })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feature(name: &str, size: usize) -> Feature {
        let names: Vec<String> = (0..size).map(|index| index.to_string()).collect();
        Feature::vector(name, &names.iter().map(String::as_str).collect::<Vec<_>>(), "rad")
    }

    #[test]
    fn values_stand_in_the_order_of_the_features_and_pictures_take_none() {
        let features = vec![feature("a", 2), Feature::camera("eye", 4, 6), feature("b", 3)];
        let schema = Schema::new(features, Vec::new()).unwrap();
        assert_eq!((schema.width(), schema.range("a"), schema.range("b")), (5, Some(0..2), Some(2..5)));
        assert_eq!((schema.range("eye"), schema.range("c")), (None, None));
        assert_eq!(schema.feature("eye").unwrap().to_string(), "eye[4, 6, 3]");
        assert_eq!(schema.ranges().map(|(_, range)| range).collect::<Vec<_>>(), [0..2, 2..5]);
    }

    #[test]
    fn what_a_name_stands_for_stays_and_other_features_may_come_and_go() {
        let schema = |features: Vec<Feature>| Schema::new(features, Vec::new()).unwrap();
        let before = schema(vec![feature("a", 2), feature("b", 3)]);
        assert_eq!(before.conflict(&schema(vec![feature("c", 1), feature("a", 2)])), None);
        let turned = Feature { names: vec!["1".into(), "0".into()], ..feature("a", 2) };
        let error = before.conflict(&schema(vec![turned])).unwrap();
        assert_eq!(error, "a: found components 1, 0; valid are 0, 1, as before");
        let unit = Feature { semantics: "deg".into(), ..feature("a", 2) };
        assert!(
            before.conflict(&schema(vec![unit])).unwrap().contains("found a[2] (deg); valid is a[2] (rad)")
        );
        let channel =
            ActionChannel { name: "x".into(), semantics: "".into(), bounds: [-1.0, 1.0], still: None };
        let moved = Schema::new(vec![feature("a", 2)], vec![channel]).unwrap();
        assert!(before.conflict(&moved).unwrap().contains("channels: found x; valid are , as before"));
    }

    #[test]
    fn what_cannot_be_announced_is_refused_by_place() {
        let refused = |features, actions| Schema::new(features, actions).unwrap_err().to_string();
        assert!(refused(vec![feature("a", 1), feature("a", 2)], vec![]).contains("features[1].name"));
        assert!(refused(vec![feature("", 1)], vec![]).contains("features[0].name: found \"\""));
        assert!(refused(vec![feature("a", 0)], vec![]).contains("features[0].shape: found [0]"));
        let short = Feature { names: vec!["x".into()], ..feature("a", 2) };
        assert!(refused(vec![short], vec![]).contains("features[0].names: found 1 names; valid is 2"));
        let grey = Feature { shape: vec![4, 6, 1], names: vec![], ..Feature::camera("eye", 4, 6) };
        assert!(refused(vec![grey], vec![]).contains("[height, width, 3]"));
        let channel = |bounds| ActionChannel { name: "x".into(), semantics: "".into(), bounds, still: None };
        assert!(refused(vec![], vec![channel([1.0, -1.0])]).contains("actions[0].bounds: found [1, -1]"));
        assert!(refused(vec![], vec![channel([f32::NAN, 1.0])]).contains("actions[0].bounds"));
        let huge = Feature { shape: vec![usize::MAX, 2], names: vec![], ..feature("a", 1) };
        assert!(refused(vec![huge], vec![]).contains("features[0].shape"));
    }
}

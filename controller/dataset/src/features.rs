//! Features of a data set: its columns, by what a plant announces. Pure.

use std::ops::Range;

use aegis_core::Schema;
use aegis_core::control::ControlSource;
use aegis_core::feature::{FeatureKind, OBJECT_PREFIX};
use serde_json::{Map, Value, json};

/// Column of what the plant measures of itself.
pub const STATE: &str = "observation.state";
/// Column of what the plant says of objects around it.
pub const ENVIRONMENT: &str = "observation.environment_state";
/// Beginning of the names of the columns of pictures.
pub const PICTURES: &str = "observation.images.";
/// Column of the age of each camera's picture.
pub const PICTURE_AGE: &str = "picture_age";

/// Element type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Float32,
    Float64,
    Int64,
    Bool,
    /// A picture as a file of PNG or JPEG.
    Image,
}

impl Kind {
    /// Returns the name in `info.json`.
    fn name(self) -> &'static str {
        match self {
            Self::Float32 => "float32",
            Self::Float64 => "float64",
            Self::Int64 => "int64",
            Self::Bool => "bool",
            Self::Image => "image",
        }
    }
}

/// One column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    pub kind: Kind,
    pub shape: Vec<usize>,
    /// Names of the components, or of a picture's axes.
    pub names: Option<Vec<String>>,
}

impl Column {
    fn vector(name: &str, names: Vec<String>) -> Self {
        let shape = vec![names.len()];
        Self { name: name.into(), kind: Kind::Float32, shape, names: Some(names) }
    }

    fn scalar(name: &str, kind: Kind) -> Self {
        Self { name: name.into(), kind, shape: vec![1], names: None }
    }

    /// Returns the number of values of a row; of a picture, the number of its colours.
    pub fn width(&self) -> usize {
        self.shape.last().copied().unwrap_or(1)
    }
}

/// A camera of the data set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Camera {
    pub name: String,
    /// Height and width, pixels.
    pub size: [usize; 2],
}

/// One feature of the plant, with the place of its values in an observation.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Part {
    name: String,
    semantics: String,
    range: Range<usize>,
    names: Vec<String>,
}

/// Features of a data set.
#[derive(Clone, Debug, PartialEq)]
pub struct Features {
    /// Rows per second.
    pub rate_hz: f64,
    pub(crate) cameras: Vec<Camera>,
    state: Vec<Part>,
    environment: Vec<Part>,
    actions: Vec<String>,
}

impl Features {
    /// Returns the features of a plant with this schema, of which these `cameras` have pictures. `width` is the number of channels
    /// of an action, and `rate_hz` the control rate.
    ///
    /// # Errors
    /// A camera that the plant does not announce, and a number of channels other than the plant's, in words.
    pub fn of(schema: &Schema, cameras: &[String], width: usize, rate_hz: f64) -> Result<Self, String> {
        let part = |(feature, range): (&aegis_core::Feature, Range<usize>)| Part {
            name: feature.name.to_string(),
            semantics: feature.semantics.to_string(),
            names: component_names(feature),
            range,
        };
        let is_object = |part: &Part| part.name.starts_with(OBJECT_PREFIX);
        let (environment, state) = schema.ranges().map(part).partition(is_object);
        let cameras: Result<Vec<Camera>, String> = cameras
            .iter()
            .map(|name| {
                let feature = schema.feature(name).filter(|feature| feature.kind == FeatureKind::Rgb);
                let feature = feature
                    .ok_or_else(|| format!("cameras: found {name}, which the plant does not announce"))?;
                Ok(Camera { name: name.clone(), size: [feature.shape[0], feature.shape[1]] })
            })
            .collect();
        let named: Vec<String> = schema.actions().iter().map(|channel| channel.name.to_string()).collect();
        let actions = match named.len() {
            0 => (0..width).map(|channel| format!("channel_{channel}")).collect(),
            found if found == width => named,
            found => {
                return Err(format!(
                    "actions: found {found} channels of the plant, and {width} of the controller"
                ));
            }
        };
        Ok(Self { rate_hz, cameras: cameras?, state, environment, actions })
    }

    /// Returns the names of the cameras.
    pub fn cameras(&self) -> Vec<String> {
        self.cameras.iter().map(|camera| camera.name.clone()).collect()
    }

    /// Returns what `other` has otherwise, in words; `None` where one data set can hold both.
    pub fn difference(&self, other: &Self) -> Option<String> {
        if (self.rate_hz - other.rate_hz).abs() > 1e-9 * self.rate_hz {
            return Some(format!(
                "rate: found {} rows a second; valid is {}, as in the first source",
                other.rate_hz, self.rate_hz
            ));
        }
        let (ours, theirs) = (self.columns(), other.columns());
        for column in &ours {
            let Some(found) = theirs.iter().find(|found| found.name == column.name) else {
                return Some(format!("{}: found none; the first source has it", column.name));
            };
            if found.shape != column.shape {
                let (found, valid) = (&found.shape, &column.shape);
                return Some(format!(
                    "{}: found shape {found:?}; valid is {valid:?}, as in the first source",
                    column.name
                ));
            }
            let names = |column: &Column| column.names.clone().unwrap_or_default();
            let pairs = names(column).into_iter().zip(names(found)).enumerate();
            if let Some((index, (valid, found))) =
                pairs.into_iter().find(|(_, (valid, found))| valid != found)
            {
                return Some(format!(
                    "{}[{index}]: found {found}; valid is {valid}, as in the first source",
                    column.name
                ));
            }
        }
        if let Some(more) = theirs.iter().find(|found| !ours.iter().any(|column| column.name == found.name)) {
            return Some(format!("{}: found in this source; the first source has none", more.name));
        }
        // Equal names may still stand for other units.
        let parts = |features: &Self| [&features.state[..], &features.environment[..]].concat();
        let pairs = parts(self).into_iter().zip(parts(other));
        let unit = pairs.into_iter().find(|(ours, theirs)| ours.semantics != theirs.semantics);
        unit.map(|(ours, theirs)| {
            format!(
                "{}: found {:?}; valid is {:?}, as in the first source",
                ours.name, theirs.semantics, ours.semantics
            )
        })
    }

    /// Returns the values of the state and of the environment of an observation, as they are stored.
    pub(crate) fn split(&self, values: &[f64]) -> [Vec<f64>; 2] {
        [&self.state, &self.environment].map(|parts| {
            let of = |part: &Part| values.get(part.range.clone()).unwrap_or_default().to_vec();
            parts.iter().flat_map(of).collect()
        })
    }

    /// Returns whether the plant has any value of this kind: the state's, and the environment's.
    pub(crate) fn has(&self) -> [bool; 2] {
        [!self.state.is_empty(), !self.environment.is_empty()]
    }

    /// Returns every column, in the order of the data set.
    pub fn columns(&self) -> Vec<Column> {
        let names =
            |parts: &[Part]| -> Vec<String> { parts.iter().flat_map(|part| part.names.clone()).collect() };
        let mut columns: Vec<Column> = self
            .cameras
            .iter()
            .map(|camera| Column {
                name: format!("{PICTURES}{}", camera.name),
                kind: Kind::Image,
                shape: vec![camera.size[0], camera.size[1], 3],
                names: Some(["height", "width", "channel"].map(String::from).to_vec()),
            })
            .collect();
        for (name, parts) in [(STATE, &self.state), (ENVIRONMENT, &self.environment)] {
            if !parts.is_empty() {
                columns.push(Column::vector(name, names(parts)));
            }
        }
        columns.push(Column::vector("action", self.actions.clone()));
        columns.push(Column::scalar("control_source", Kind::Int64));
        columns.push(Column::scalar("risk", Kind::Float32));
        columns.push(Column::scalar("intervention", Kind::Bool));
        columns.push(Column::scalar("success", Kind::Bool));
        columns.push(Column::scalar("next.done", Kind::Bool));
        columns.push(Column::scalar("controller_time", Kind::Float64));
        if !self.cameras.is_empty() {
            columns.push(Column::vector(PICTURE_AGE, self.cameras()));
        }
        columns.push(Column::scalar("timestamp", Kind::Float32));
        for name in ["frame_index", "episode_index", "index", "task_index"] {
            columns.push(Column::scalar(name, Kind::Int64));
        }
        columns
    }

    /// Returns the features of `info.json`.
    pub(crate) fn info(&self) -> Map<String, Value> {
        let sources: Map<String, Value> =
            ControlSource::ALL.iter().map(|source| (source.name().into(), source.number().into())).collect();
        let features = self.columns().into_iter().map(|column| {
            let mut feature =
                json!({ "dtype": column.kind.name(), "shape": column.shape, "names": column.names });
            if column.name == "control_source" {
                feature["values"] = sources.clone().into();
            }
            (column.name, feature)
        });
        features.collect()
    }

    /// Returns each part of the observation columns with its unit and frame, for people.
    pub(crate) fn parts(&self) -> Value {
        let parts = |parts: &[Part]| -> Value {
            let part = |part: &Part| json!({ "name": part.name, "semantics": part.semantics, "values": part.names.len() });
            parts.iter().map(part).collect()
        };
        json!({ STATE: parts(&self.state), ENVIRONMENT: parts(&self.environment) })
    }
}

/// Returns `FEATURE.COMPONENT` for each value of a feature; numbers from 0 where the plant names none, and the feature's own name
/// for its only value.
fn component_names(feature: &aegis_core::Feature) -> Vec<String> {
    let (name, size) = (&feature.name, feature.size());
    let last = feature.shape.last().copied().unwrap_or(1);
    let named = |index: usize| match feature.names.get(index % last) {
        Some(component) if size == last => format!("{name}.{component}"),
        Some(component) => format!("{name}.{}.{component}", index / last),
        None if size == 1 => name.to_string(),
        None => format!("{name}.{index}"),
    };
    (0..size).map(named).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use aegis_core::feature::Dtype;
    use aegis_core::{ActionChannel, Feature};

    fn schema(unit: &str) -> Schema {
        let matrix = Feature {
            shape: vec![2, 2],
            dtype: Dtype::Float64,
            ..Feature::vector("matrix", &["x", "y"], "m")
        };
        let features = vec![
            Feature::camera("front", 4, 6),
            Feature::vector("angles", &["first", "second"], unit),
            Feature::vector("object/cup/position", &["x", "y", "z"], "m"),
            matrix,
            Feature { names: vec![], ..Feature::vector("load", &["?"], "N") },
        ];
        let channel = |name: &str| ActionChannel {
            name: name.into(),
            semantics: "".into(),
            bounds: [-1.0, 1.0],
            still: None,
        };
        Schema::new(features, vec![channel("turn"), channel("grip")]).unwrap()
    }

    fn features(unit: &str, rate_hz: f64) -> Features {
        Features::of(&schema(unit), &["front".into()], 2, rate_hz).unwrap()
    }

    #[test]
    fn columns_are_named_as_the_plant_names_its_values() {
        let features = features("rad", 20.0);
        let columns = features.columns();
        let column = |name: &str| columns.iter().find(|column| column.name == name).unwrap();
        let names = |name: &str| column(name).names.clone().unwrap().join(" ");
        assert_eq!(
            names(STATE),
            "angles.first angles.second matrix.0.x matrix.0.y matrix.1.x matrix.1.y load"
        );
        assert_eq!(names(ENVIRONMENT), "object/cup/position.x object/cup/position.y object/cup/position.z");
        assert_eq!((names("action"), names(PICTURE_AGE)), ("turn grip".into(), "front".into()));
        assert_eq!(column("observation.images.front").shape, [4, 6, 3]);
        let values: Vec<f64> = (0..10).map(f64::from).collect();
        let [state, environment] = features.split(&values);
        assert_eq!(
            (&state[..], &environment[..]),
            (&[0.0, 1.0, 5.0, 6.0, 7.0, 8.0, 9.0][..], &[2.0, 3.0, 4.0][..])
        );
        let info = features.info();
        assert_eq!(info["control_source"]["values"]["operator"], 2);
        assert!(info.keys().all(|name| !name.contains('/')), "LeRobot refuses such names");
    }

    #[test]
    fn what_differs_between_sources_is_named() {
        let first = features("rad", 20.0);
        assert_eq!(first.difference(&features("rad", 20.0)), None);
        let said = |other: &Features| first.difference(other).unwrap();
        assert!(said(&features("rad", 10.0)).contains("rate: found 10 rows a second; valid is 20"));
        assert!(said(&features("deg", 20.0)).contains("angles: found \"deg\"; valid is \"rad\""));
        let blind = Features::of(&schema("rad"), &[], 2, 20.0).unwrap();
        assert!(said(&blind).contains("observation.images.front: found none"));
        assert!(blind.difference(&first).unwrap().contains("observation.images.front: found in this source"));
        let bare = Schema::new(vec![Feature::vector("angles", &["second", "first"], "rad")], vec![]).unwrap();
        let bare = Features::of(&bare, &[], 2, 20.0).unwrap();
        assert!(blind.difference(&bare).unwrap().contains("observation.state: found shape [2]"));
        assert!(
            bare.columns().iter().any(|column| column
                .names
                .as_ref()
                .is_some_and(|names| names == &["channel_0", "channel_1"]))
        );
    }

    #[test]
    fn what_a_plant_does_not_have_is_refused() {
        let said = Features::of(&schema("rad"), &["rear".into()], 2, 20.0).unwrap_err();
        assert!(said.contains("found rear"), "{said}");
        let said = Features::of(&schema("rad"), &[], 3, 20.0).unwrap_err();
        assert!(said.contains("found 2 channels of the plant, and 3 of the controller"), "{said}");
    }
}

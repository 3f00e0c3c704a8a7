//! Terms bound to a plant's features: the source of a term's numbers, each step that changes them, and descriptions of both.

use std::ops::Range;

use aegis_core::feature::Schema;
use aegis_core::{Observation, PolicyError};
use nalgebra::{Quaternion, UnitQuaternion};

use crate::inputs::{MOST_CLASSES, TASK, Term, Transform, VectorInput};

/// A term bound to one schema.
#[derive(Clone, Debug)]
pub(crate) struct BoundTerm {
    pub(crate) spec: Term,
    pub(crate) source: Source,
    /// Values of an observation that are subtracted.
    pub(crate) minus: Option<Range<usize>>,
    /// Number of values that the term gives.
    pub(crate) width: usize,
}

/// Where the numbers of a term come from.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    /// The index of the task.
    Task,
    /// Consecutive values of an observation.
    Values(Range<usize>),
    /// Values of an observation at these indices.
    Picked(Vec<usize>),
}

impl Source {
    /// Returns the source for values of an observation at these indices.
    fn of(places: Vec<usize>) -> Self {
        match (places.first(), places.last()) {
            (Some(first), Some(last)) if places.windows(2).all(|pair| pair[1] == pair[0] + 1) => {
                Self::Values(*first..last + 1)
            }
            _ => Self::Picked(places),
        }
    }

    /// Returns the indices in an observation, in the order of the term; none for the task.
    fn places(&self) -> Vec<usize> {
        match self {
            Self::Task => Vec::new(),
            Self::Values(range) => range.clone().collect(),
            Self::Picked(places) => places.clone(),
        }
    }
}

/// Checks the fields of a term that do not depend on a plant.
///
/// # Errors
/// The field, what was found and what would be valid.
pub(crate) fn check(term: &Term) -> Result<(), String> {
    let Some(names) = &term.components else { return Ok(()) };
    if term.slice.is_some() {
        return Err("components: found beside slice; valid is one of both".into());
    }
    if names.is_empty() {
        return Err(
            "components: found an empty list; valid are names of components, or no field for all of them"
                .into(),
        );
    }
    match names.iter().enumerate().find(|(index, name)| names[..*index].contains(name)) {
        Some((_, name)) => Err(format!("components: found {name:?} twice; valid is each name once")),
        None => Ok(()),
    }
}

/// Returns the indices in an observation that a term reads; none for the task and for a term that does not fit.
pub(crate) fn places_read(term: &Term, schema: &Schema) -> Vec<usize> {
    BoundTerm::bind(term, schema).map_or(Vec::new(), |bound| bound.source.places())
}

/// Finds components of a feature, whose values are at `all` in an observation, by their names.
fn named(name: &str, components: &[String], all: &Range<usize>, schema: &Schema) -> Result<Source, String> {
    let offered = schema.feature(name).map_or(&[][..], |feature| &feature.names);
    if offered.len() != all.len() {
        let (found, size) = (offered.len(), all.len());
        return Err(format!(
            "components: found {components:?}; the plant names {found} components of {name:?} for its {size} values; valid is slice"
        ));
    }
    let place = |component: &String| {
        let place = offered.iter().position(|offered| **offered == **component);
        place.map(|place| all.start + place).ok_or_else(|| {
            let offered = offered.iter().map(|offered| &**offered).collect::<Vec<_>>().join(", ");
            format!("components: found {component:?}; the plant's components of {name:?} are {offered}")
        })
    };
    Ok(Source::of(components.iter().map(place).collect::<Result<_, _>>()?))
}

/// Describes a term: its feature with unit, and every step that changes it.
pub(crate) fn described(term: &Term, schema: &Schema) -> String {
    let mut text = term.feature.clone();
    if let Some([first, end]) = term.slice {
        text += &format!("[{first}..{end}]");
    }
    if let Some(components) = &term.components {
        text += &format!("[{}]", components.join(", "));
    }
    let unit = schema.feature(&term.feature).map_or("", |feature| &feature.semantics);
    if !unit.is_empty() {
        text += &format!(" ({unit})");
    }
    if let Some(other) = &term.relative_to {
        text += &format!(" less {other}");
    }
    match term.transform {
        Some(Transform::AxisAngle) => text += " as a rotation vector",
        Some(Transform::Rotation6d) => text += " as two columns of a matrix",
        None => {}
    }
    if let Some(classes) = term.one_hot {
        text += &format!(" as one of {classes}");
    }
    text + &term.affine().described()
}

/// Returns a label for each value of a vector input: feature and component, as the plant names them.
pub(crate) fn labels(input: &VectorInput, schema: &Schema) -> Vec<String> {
    let mut labels = Vec::new();
    for term in &input.terms {
        let name = &term.feature;
        let Ok(bound) = BoundTerm::bind(term, schema) else { continue };
        let names = schema.feature(name).map_or(&[][..], |feature| &feature.names);
        let (begin, places) = (schema.range(name).map_or(0, |all| all.start), bound.source.places());
        let component = |place: usize| places.get(place).map_or(place, |place| place - begin);
        labels.extend((0..bound.width).map(|place| match (term.transform, term.one_hot) {
            (Some(Transform::AxisAngle), _) => format!("axis_angle({name})[{place}]"),
            (Some(Transform::Rotation6d), _) => format!("rotation_6d({name})[{place}]"),
            (None, Some(_)) => format!("{name} = {place}"),
            (None, None) => match names.get(component(place)) {
                Some(component) => format!("{name}.{component}"),
                None => format!("{name}[{}]", component(place)),
            },
        }));
    }
    let steps =
        (0..input.history).rev().map(|ago| if ago == 0 { String::new() } else { format!(", {ago} before") });
    steps
        .flat_map(|ago| labels.iter().map(move |label| format!("{label}{ago}")).collect::<Vec<_>>())
        .collect()
}

impl BoundTerm {
    /// Binds a term to the features of a plant.
    ///
    /// # Errors
    /// The field, the card's value and the plant's values.
    pub(crate) fn bind(term: &Term, schema: &Schema) -> Result<Self, String> {
        let offered = || {
            let names: Vec<String> = schema.ranges().map(|(feature, _)| feature.to_string()).collect();
            let names = if names.is_empty() { "no features".into() } else { names.join(", ") };
            format!("the plant offers {names}, and the index {TASK}")
        };
        let find = |field: &str, name: &str| {
            schema.range(name).ok_or_else(|| format!("{field}: found {name:?}; {}", offered()))
        };
        check(term)?;
        let (source, size) = match (&*term.feature, &term.components) {
            (TASK, None) if schema.range(TASK).is_none() => (Source::Task, 1),
            (TASK, Some(found)) if schema.range(TASK).is_none() => {
                return Err(format!("components: found {found:?}; valid is none: {TASK} is one number"));
            }
            (name, Some(components)) => {
                let source = named(name, components, &find("feature", name)?, schema)?;
                (source, components.len())
            }
            (name, None) => {
                let all = find("feature", name)?;
                let [first, end] = term.slice.unwrap_or([0, all.len()]);
                if first >= end || end > all.len() {
                    let most = all.len();
                    return Err(format!(
                        "slice: found [{first}, {end}]; valid is within 0 and {most}, not empty"
                    ));
                }
                (Source::Values(all.start + first..all.start + end), end - first)
            }
        };
        let minus = term.relative_to.as_ref().map(|name| find("relative_to", name)).transpose()?;
        if let Some(minus) = minus.as_ref().filter(|minus| minus.len() != size) {
            let found = minus.len();
            return Err(format!(
                "relative_to: found a feature of {found} values; valid is {size}, as the term has"
            ));
        }
        let size = match (term.transform, term.one_hot) {
            (Some(_), _) if size != 4 => {
                return Err(format!("transform: found {size} values; valid is a quaternion's 4: x, y, z, w"));
            }
            (Some(_), Some(_)) => return Err("one_hot: found beside transform; valid is one of both".into()),
            (Some(Transform::AxisAngle), None) => 3,
            (Some(Transform::Rotation6d), None) => 6,
            (None, Some(_)) if size != 1 => {
                return Err(format!("one_hot: found {size} values; valid is 1, the index of a class"));
            }
            (None, Some(classes)) => classes,
            (None, None) => size,
        };
        term.affine().check(size)?;
        Ok(Self { spec: term.clone(), source, minus, width: size })
    }

    /// Appends the values of one observation to `out`.
    ///
    /// # Errors
    /// [`PolicyError::Observation`] for an index beyond a one-hot term's classes.
    pub(crate) fn encode(&self, observation: &Observation, out: &mut Vec<f64>) -> Result<(), PolicyError> {
        let begin = out.len();
        match &self.source {
            Source::Task => out.push(observation.task as f64),
            Source::Values(range) => out.extend_from_slice(read(observation, range)?),
            Source::Picked(places) => {
                for place in places {
                    out.extend_from_slice(read(observation, &(*place..*place + 1))?);
                }
            }
        }
        if let Some(minus) = &self.minus {
            let others = read(observation, minus)?;
            out[begin..].iter_mut().zip(others).for_each(|(value, other)| *value -= other);
        }
        if let Some(transform) = self.spec.transform {
            let quaternion: [f64; 4] = [out[begin], out[begin + 1], out[begin + 2], out[begin + 3]];
            out.truncate(begin);
            match transform {
                Transform::AxisAngle => out.extend_from_slice(&axis_angle(quaternion)),
                Transform::Rotation6d => out.extend_from_slice(&rotation_columns(quaternion)),
            }
        }
        if let Some(classes) = self.spec.one_hot {
            let index = out[begin];
            // Written so that NaN is refused too.
            let is_class = index >= 0.0 && index < classes as f64;
            if !is_class {
                let reason = too_few(&self.spec.feature, classes, index);
                return Err(PolicyError::Observation(reason));
            }
            out[begin] = 0.0;
            out.resize(begin + classes, 0.0);
            out[begin + index as usize] = 1.0;
        }
        let affine = self.spec.affine();
        for (component, value) in out[begin..].iter_mut().enumerate() {
            *value = affine.apply(component, *value);
        }
        Ok(())
    }
}

/// Returns the error for a value that is not one of a one-hot term's classes: the field, what was found and what would be valid.
pub(crate) fn too_few(feature: &str, classes: usize, value: f64) -> String {
    // Any other value is not an index, and no number of classes would make it valid.
    let valid = if value >= 0.0 && value <= MOST_CLASSES as f64 {
        format!("valid is at least {}", value.floor() + 1.0)
    } else {
        format!("valid is a value of 0 to {}", classes.saturating_sub(1))
    };
    format!("one_hot: found {classes}, the number of classes, and {feature} {value}; {valid}")
}

fn read<'a>(observation: &'a Observation, range: &Range<usize>) -> Result<&'a [f64], PolicyError> {
    observation.values.get(range.clone()).ok_or_else(|| PolicyError::Shape {
        what: "observation".into(),
        expected: format!("{} values", observation.schema.width()),
        found: format!("{} values", observation.values.len()),
    })
}

/// Returns the first two columns of the rotation matrix of a unit quaternion x, y, z, w.
#[inline]
pub(crate) fn rotation_columns([x, y, z, w]: [f64; 4]) -> [f64; 6] {
    let rotation = UnitQuaternion::from_quaternion(Quaternion::new(w, x, y, z));
    let matrix = rotation.to_rotation_matrix();
    let matrix = matrix.matrix();
    [matrix[(0, 0)], matrix[(1, 0)], matrix[(2, 0)], matrix[(0, 1)], matrix[(1, 1)], matrix[(2, 1)]]
}

/// Returns the rotation vector of a unit quaternion x, y, z, w, as robosuite 1.4 computes it (`transform_utils.quat2axisangle`):
/// w is clipped to −1 and 1, and a rotation by less than about 1e-8 is none.
pub(crate) fn axis_angle([x, y, z, w]: [f64; 4]) -> [f64; 3] {
    let w = w.clamp(-1.0, 1.0);
    let sine = (1.0 - w * w).sqrt();
    // `math.isclose(den, 0.0)` of Python, with its relative tolerance, is true for zero alone.
    if sine == 0.0 {
        return [0.0; 3];
    }
    [x, y, z].map(|axis| axis * 2.0 * w.acos() / sine)
}

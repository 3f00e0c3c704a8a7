//! Vector inputs bound to a plant's features: every name is looked up and every size is checked once, and an inference only
//! copies numbers.

use std::ops::Range;

use aegis_core::feature::Schema;
use aegis_core::{Observation, PolicyError};
use nalgebra::{Quaternion, UnitQuaternion};

use crate::inputs::{TASK, Term, Transform, VectorInput, check_clip};

/// Number type of an encoded vector, to which doubles are rounded.
pub trait Rounded: Copy {
    /// Rounds a double.
    fn of(value: f64) -> Self;
}

impl Rounded for f32 {
    #[inline]
    fn of(value: f64) -> Self {
        value as Self
    }
}

impl Rounded for f64 {
    #[inline]
    fn of(value: f64) -> Self {
        value
    }
}

/// A vector input bound to one schema.
#[derive(Clone, Debug)]
pub struct BoundVector {
    terms: Vec<BoundTerm>,
    /// The same terms as steps that copy numbers.
    steps: Steps,
    width: usize,
    /// Number of values that an observation needs.
    needs: usize,
    /// Values of one term, before they are rounded.
    exact: Vec<f64>,
}

/// Terms as steps that copy numbers, kind by kind, each with its place in the vector. Steps of one kind follow each other, so that
/// a processor need not guess which comes next.
#[derive(Clone, Debug, Default)]
struct Steps {
    /// Copies three values, such as a point, from the first place to the second.
    points: Vec<(usize, usize)>,
    /// Differences of three values at the first place and three at the second, to the third.
    differences: Vec<(usize, usize, usize)>,
    /// First two columns of the rotation matrix of the quaternion at the first place, to the second.
    rotations: Vec<(usize, usize)>,
    /// Copies these values to a place.
    copies: Vec<(Range<usize>, usize)>,
    /// The index of the task as one of this many classes, at a place.
    classes: Vec<(usize, usize)>,
    /// Every other term, by its index, at a place.
    others: Vec<(usize, usize)>,
}

impl Steps {
    fn of(terms: &[BoundTerm]) -> Self {
        let (mut steps, mut place) = (Self::default(), 0);
        for (index, term) in terms.iter().enumerate() {
            let Term { transform, one_hot, scale, offset, clip, .. } = &term.spec;
            let is_scaled = scale.is_some() || offset.is_some() || clip.is_some();
            match (&term.source, &term.minus, transform, one_hot) {
                (Source::Values(from), None, None, None) if !is_scaled && from.len() == 3 => {
                    steps.points.push((from.start, place));
                }
                (Source::Values(from), Some(minus), None, None) if !is_scaled && from.len() == 3 => {
                    steps.differences.push((from.start, minus.start, place));
                }
                (Source::Values(from), None, None, None) if !is_scaled => {
                    steps.copies.push((from.clone(), place));
                }
                (Source::Values(from), None, Some(Transform::Rotation6d), None) if !is_scaled => {
                    steps.rotations.push((from.start, place));
                }
                (Source::Task, None, None, Some(classes)) if !is_scaled => {
                    steps.classes.push((*classes, place));
                }
                _ => steps.others.push((index, place)),
            }
            place += term.width;
        }
        steps
    }
}

#[derive(Clone, Debug)]
struct BoundTerm {
    spec: Term,
    source: Source,
    minus: Option<Range<usize>>,
    /// Number of values that the term gives.
    width: usize,
}

#[derive(Clone, Debug)]
enum Source {
    Task,
    Values(Range<usize>),
}

impl BoundVector {
    /// Binds the terms of an input to the features of a plant.
    ///
    /// # Errors
    /// Term, field, what the card says and what the plant offers.
    pub fn bind(input: &VectorInput, schema: &Schema) -> Result<Self, String> {
        let bound = input.terms.iter().enumerate().map(|(index, term)| {
            BoundTerm::bind(term, schema).map_err(|error| format!("terms[{index}].{error}"))
        });
        let terms: Vec<BoundTerm> = bound.collect::<Result<_, _>>()?;
        let width = terms.iter().map(|term| term.width).sum();
        let steps = Steps::of(&terms);
        Ok(Self { terms, steps, width, needs: schema.width(), exact: Vec::new() })
    }

    /// Returns the number of values of one observation.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Returns the number of values of each term, in words.
    pub fn widths(&self) -> String {
        let each = self.terms.iter().map(|term| format!("{} {}", term.spec.feature, term.width));
        each.collect::<Vec<_>>().join(", ")
    }

    /// Appends the values of one observation to `out`.
    ///
    /// # Errors
    /// [`PolicyError::Observation`] for an index beyond a one-hot term's classes.
    pub fn encode<T: Rounded>(
        &mut self,
        observation: &Observation,
        out: &mut Vec<T>,
    ) -> Result<(), PolicyError> {
        let values = &observation.values[..];
        if values.len() < self.needs {
            return Err(PolicyError::Shape {
                what: "observation".into(),
                expected: format!("{} values", self.needs),
                found: format!("{} values", values.len()),
            });
        }
        let begin = out.len();
        out.resize(begin + self.width, T::of(0.0));
        let filled = &mut out[begin..];
        for (from, place) in &self.steps.points {
            filled[*place..*place + 3].copy_from_slice(&some::<3>(values, *from).map(T::of));
        }
        for (from, minus, place) in &self.steps.differences {
            let (one, other) = (some::<3>(values, *from), some::<3>(values, *minus));
            filled[*place..*place + 3].copy_from_slice(&[0, 1, 2].map(|axis| T::of(one[axis] - other[axis])));
        }
        for (from, place) in &self.steps.rotations {
            filled[*place..*place + 6].copy_from_slice(&rotation_columns(some(values, *from)).map(T::of));
        }
        for (from, place) in &self.steps.copies {
            let places = filled[*place..].iter_mut().zip(&values[from.clone()]);
            places.for_each(|(place, value)| *place = T::of(*value));
        }
        for (classes, place) in &self.steps.classes {
            let Some(place) = filled[*place..*place + classes].get_mut(observation.task) else {
                let (found, last) = (observation.task, classes.saturating_sub(1));
                let reason = format!("{TASK}: found {found}; valid is 0 to {last}");
                return Err(PolicyError::Observation(reason));
            };
            *place = T::of(1.0);
        }
        for (index, place) in &self.steps.others {
            self.exact.clear();
            self.terms[*index].encode(observation, &mut self.exact)?;
            let places = filled[*place..].iter_mut().zip(&self.exact);
            places.for_each(|(place, value)| *place = T::of(*value));
        }
        Ok(())
    }
}

/// Returns the values from a place on.
#[inline]
fn some<const COUNT: usize>(values: &[f64], at: usize) -> [f64; COUNT] {
    let values = &values[at..at + COUNT];
    std::array::from_fn(|place| values[place])
}

/// Describes a term: its feature with unit, and every step that changes it.
pub(crate) fn described(term: &Term, schema: &Schema) -> String {
    let mut text = term.feature.clone();
    if let Some([first, end]) = term.slice {
        text += &format!("[{first}..{end}]");
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
    for (word, numbers) in [("times", &term.scale), ("plus", &term.offset)] {
        if let Some(numbers) = numbers {
            text += &format!(" {word} {:?}", numbers.values());
        }
    }
    if let Some([low, high]) = term.clip {
        text += &format!(" clipped to {low} and {high}");
    }
    text
}

/// Returns a label for each value of a vector input: feature and component, as the plant names them.
pub(crate) fn labels(input: &VectorInput, schema: &Schema) -> Vec<String> {
    let mut labels = Vec::new();
    for term in &input.terms {
        let name = &term.feature;
        let Ok(bound) = BoundTerm::bind(term, schema) else { continue };
        let names = schema.feature(name).map_or(&[][..], |feature| &feature.names);
        let first = term.slice.map_or(0, |[first, _]| first);
        labels.extend((0..bound.width).map(|place| match (term.transform, term.one_hot) {
            (Some(Transform::AxisAngle), _) => format!("axis_angle({name})[{place}]"),
            (Some(Transform::Rotation6d), _) => format!("rotation_6d({name})[{place}]"),
            (None, Some(_)) => format!("{name} = {place}"),
            (None, None) => match names.get(first + place) {
                Some(component) => format!("{name}.{component}"),
                None => format!("{name}[{}]", first + place),
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
    fn bind(term: &Term, schema: &Schema) -> Result<Self, String> {
        let offered = || {
            let names: Vec<String> = schema.ranges().map(|(feature, _)| feature.to_string()).collect();
            let names = if names.is_empty() { "no features".into() } else { names.join(", ") };
            format!("the plant offers {names}, and the index {TASK}")
        };
        let find = |field: &str, name: &str| {
            schema.range(name).ok_or_else(|| format!("{field}: found {name:?}; {}", offered()))
        };
        let (source, size) = match &*term.feature {
            TASK if schema.range(TASK).is_none() => (Source::Task, 1),
            name => {
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
        for (field, numbers) in [("scale", &term.scale), ("offset", &term.offset)] {
            let Some(numbers) = numbers else { continue };
            if let Some(count) = numbers.count().filter(|count| *count != size) {
                return Err(format!("{field}: found {count} numbers; valid is one, or {size}"));
            }
            if numbers.values().iter().any(|number| !number.is_finite()) {
                return Err(format!("{field}: found {:?}; valid are finite numbers", numbers.values()));
            }
        }
        check_clip(term.clip)?;
        Ok(Self { spec: term.clone(), source, minus, width: size })
    }

    fn encode(&self, observation: &Observation, out: &mut Vec<f64>) -> Result<(), PolicyError> {
        let begin = out.len();
        match &self.source {
            Source::Task => out.push(observation.task as f64),
            Source::Values(range) => out.extend_from_slice(read(observation, range)?),
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
                let (name, last) = (&self.spec.feature, classes.saturating_sub(1));
                return Err(PolicyError::Observation(format!("{name}: found {index}; valid is 0 to {last}")));
            }
            out[begin] = 0.0;
            out.resize(begin + classes, 0.0);
            out[begin + index as usize] = 1.0;
        }
        let Term { scale, offset, clip, .. } = &self.spec;
        for (component, value) in out[begin..].iter_mut().enumerate() {
            if let Some(scale) = scale {
                *value *= scale.at(component);
            }
            if let Some(offset) = offset {
                *value += offset.at(component);
            }
            if let Some([low, high]) = clip {
                *value = value.clamp(*low, *high);
            }
        }
        Ok(())
    }
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
fn rotation_columns([x, y, z, w]: [f64; 4]) -> [f64; 6] {
    let rotation = UnitQuaternion::from_quaternion(Quaternion::new(w, x, y, z));
    let matrix = rotation.to_rotation_matrix();
    let matrix = matrix.matrix();
    [matrix[(0, 0)], matrix[(1, 0)], matrix[(2, 0)], matrix[(0, 1)], matrix[(1, 1)], matrix[(2, 1)]]
}

/// Returns the rotation vector of a unit quaternion x, y, z, w, as robosuite 1.4 computes it (`transform_utils.quat2axisangle`):
/// w is clipped to −1 and 1, and a rotation by less than about 1e-8 is none.
fn axis_angle([x, y, z, w]: [f64; 4]) -> [f64; 3] {
    let w = w.clamp(-1.0, 1.0);
    let sine = (1.0 - w * w).sqrt();
    // `math.isclose(den, 0.0)` of Python, with its relative tolerance, is true for zero alone.
    if sine == 0.0 {
        return [0.0; 3];
    }
    [x, y, z].map(|axis| axis * 2.0 * w.acos() / sine)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use aegis_core::Feature;

    use super::*;
    use crate::inputs::Numbers;

    fn observation() -> Observation {
        let features = vec![
            Feature::vector("joints", &["a", "b", "c"], "rad"),
            Feature::vector("hand", &["x", "y", "z"], "m"),
            Feature::vector("turn", &["x", "y", "z", "w"], ""),
        ];
        let half = std::f64::consts::FRAC_1_SQRT_2;
        Observation {
            step: 0,
            plant_time: 0.0,
            task: 3,
            instruction: "".into(),
            schema: Arc::new(Schema::new(features, Vec::new()).unwrap()),
            values: vec![0.1, 0.2, 0.3, 1.0, 2.0, 3.0, half, 0.0, 0.0, half],
            frames: [].into(),
        }
    }

    fn encoded(term: Term) -> Result<Vec<f64>, String> {
        let seen = observation();
        let input = VectorInput { tensor: "x".into(), shape: vec![], terms: vec![term], history: 1 };
        let mut bound = BoundVector::bind(&input, &seen.schema)?;
        let mut out: Vec<f64> = Vec::new();
        bound.encode(&seen, &mut out).map_err(|error| error.to_string())?;
        assert_eq!(out.len(), bound.width());
        Ok(out)
    }

    #[test]
    fn each_step_of_a_term_is_taken_in_the_order_of_the_fields() {
        assert_eq!(encoded(Term::of("joints")).unwrap(), [0.1, 0.2, 0.3]);
        assert_eq!(encoded(Term { slice: Some([1, 3]), ..Term::of("joints") }).unwrap(), [0.2, 0.3]);
        let relative = Term { relative_to: Some("hand".into()), ..Term::of("joints") };
        assert_eq!(encoded(relative).unwrap(), [0.1 - 1.0, 0.2 - 2.0, 0.3 - 3.0]);
        let scaled = Term {
            scale: Some(Numbers::Each(vec![10.0, 10.0, 0.0])),
            offset: Some(Numbers::One(-1.5)),
            clip: Some([-1.0, 1.0]),
            ..Term::of("joints")
        };
        assert_eq!(encoded(scaled).unwrap(), [-0.5, 0.5, -1.0]);
        let task = encoded(Term { one_hot: Some(5), ..Term::of("task") }).unwrap();
        assert_eq!(task, [0.0, 0.0, 0.0, 1.0, 0.0]);
        assert_eq!(encoded(Term::of("task")).unwrap(), [3.0]);
    }

    #[test]
    fn rotations_are_those_of_robosuite_and_of_their_matrix() {
        let vector = encoded(Term { transform: Some(Transform::AxisAngle), ..Term::of("turn") }).unwrap();
        let quarter = std::f64::consts::FRAC_PI_2;
        assert!((vector[0] - quarter).abs() < 1e-15 && vector[1..] == [0.0, 0.0], "{vector:?}");
        let columns = encoded(Term { transform: Some(Transform::Rotation6d), ..Term::of("turn") }).unwrap();
        for (found, valid) in columns.iter().zip([1.0, 0.0, 0.0, 0.0, 0.0, 1.0]) {
            assert!((found - valid).abs() < 1e-15, "{columns:?}");
        }
        assert_eq!(axis_angle([0.0, 0.0, 0.0, 1.0]), [0.0; 3]);
        assert_eq!(axis_angle([0.0, 0.0, 0.0, -1.0 - 1e-9]), [0.0; 3]);
    }

    #[test]
    fn what_does_not_fit_is_named_with_what_the_plant_offers() {
        let refused = |term: Term| encoded(term).unwrap_err();
        let error = refused(Term::of("elbows"));
        assert!(
            error.starts_with("terms[0].feature: found \"elbows\"; the plant offers joints[3], hand[3]"),
            "{error}"
        );
        assert!(refused(Term { slice: Some([2, 5]), ..Term::of("joints") }).contains("slice: found [2, 5]"));
        let short = Term { relative_to: Some("hand".into()), slice: Some([0, 2]), ..Term::of("joints") };
        assert!(refused(short).contains("relative_to: found a feature of 3 values; valid is 2"));
        let turned = Term { transform: Some(Transform::AxisAngle), ..Term::of("joints") };
        assert!(refused(turned).contains("transform: found 3 values; valid is a quaternion's 4"));
        assert!(
            refused(Term { one_hot: Some(3), ..Term::of("task") }).contains("task: found 3; valid is 0 to 2")
        );
        assert!(refused(Term { one_hot: Some(3), ..Term::of("joints") }).contains("one_hot: found 3 values"));
        let scaled = Term { scale: Some(Numbers::Each(vec![1.0])), ..Term::of("joints") };
        assert!(refused(scaled).contains("scale: found 1 numbers; valid is one, or 3"));
        let clipped = Term { clip: Some([1.0, f64::NAN]), ..Term::of("joints") };
        assert!(refused(clipped).contains("clip: found [1, NaN]"));
    }
}

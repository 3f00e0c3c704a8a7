//! Vector inputs bound to a plant's features: every name is looked up and every size is checked once, and an inference only
//! copies numbers.

use std::ops::Range;

use aegis_core::feature::Schema;
use aegis_core::{Observation, PolicyError};

use crate::inputs::{TASK, Term, Transform, VectorInput};
use crate::term::{BoundTerm, Source, rotation_columns, too_few};

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
    /// Values of one term before rounding.
    exact: Vec<f64>,
}

/// Terms as steps that copy numbers, kind by kind, each with its index in the vector. Steps of one kind are consecutive, which avoids
/// branch mispredictions.
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
    /// The index of the task as one of this many classes, of the term with this index, at a place.
    classes: Vec<(usize, usize, usize)>,
    /// Every other term, by its index, at a place.
    others: Vec<(usize, usize)>,
}

impl Steps {
    fn of(terms: &[BoundTerm]) -> Self {
        let (mut steps, mut place) = (Self::default(), 0);
        for (index, term) in terms.iter().enumerate() {
            let Term { transform, one_hot, .. } = &term.spec;
            let is_scaled = !term.spec.affine().is_identity();
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
                    steps.classes.push((*classes, index, place));
                }
                _ => steps.others.push((index, place)),
            }
            place += term.width;
        }
        steps
    }
}

impl BoundVector {
    /// Binds the terms of an input to the features of a plant.
    ///
    /// # Errors
    /// Term, field, the card's value and the plant's values.
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

    /// Returns a text with the number of values of each term.
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
        for (classes, index, place) in &self.steps.classes {
            let Some(place) = filled[*place..*place + classes].get_mut(observation.task) else {
                let reason = too_few(TASK, *classes, observation.task as f64);
                return Err(of_term(*index, PolicyError::Observation(reason)));
            };
            *place = T::of(1.0);
        }
        for (index, place) in &self.steps.others {
            self.exact.clear();
            let encoded = self.terms[*index].encode(observation, &mut self.exact);
            encoded.map_err(|error| of_term(*index, error))?;
            let places = filled[*place..].iter_mut().zip(&self.exact);
            places.for_each(|(place, value)| *place = T::of(*value));
        }
        Ok(())
    }
}

/// Names the term of a card whose values an observation does not give.
fn of_term(index: usize, error: PolicyError) -> PolicyError {
    match error {
        PolicyError::Observation(reason) => PolicyError::Observation(format!("terms[{index}].{reason}")),
        other => other,
    }
}

/// Returns `COUNT` values from an index on.
#[inline]
fn some<const COUNT: usize>(values: &[f64], at: usize) -> [f64; COUNT] {
    let values = &values[at..at + COUNT];
    std::array::from_fn(|place| values[place])
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use aegis_core::Feature;

    use super::*;
    use crate::inputs::Numbers;
    use crate::term::axis_angle;

    fn observation() -> Observation {
        let features = vec![
            Feature::vector("joints", &["a", "b", "c"], "rad"),
            Feature::vector("hand", &["x", "y", "z"], "m"),
            Feature::vector("turn", &["x", "y", "z", "w"], ""),
            Feature { names: [].into(), ..Feature::vector("plain", &["1", "2"], "") },
        ];
        let half = std::f64::consts::FRAC_1_SQRT_2;
        Observation {
            step: 0,
            plant_time: 0.0,
            task: 3,
            instruction: "".into(),
            schema: Arc::new(Schema::new(features, Vec::new()).unwrap()),
            values: vec![0.1, 0.2, 0.3, 1.0, 2.0, 3.0, half, 0.0, 0.0, half, 7.0, 8.0],
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
        let named = |names: &[&str]| Some(names.iter().map(|name| (*name).into()).collect());
        assert_eq!(
            encoded(Term { components: named(&["b", "c"]), ..Term::of("joints") }).unwrap(),
            [0.2, 0.3]
        );
        let turned =
            Term { components: named(&["z", "x"]), scale: Some(Numbers::One(2.0)), ..Term::of("hand") };
        assert_eq!(encoded(turned).unwrap(), [6.0, 2.0], "in the policy's order");
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
    fn a_picked_component_keeps_the_name_that_the_plant_gives_it() {
        let seen = observation();
        let terms = vec![
            Term { components: Some(vec!["z".into(), "x".into()]), ..Term::of("hand") },
            Term { slice: Some([1, 3]), ..Term::of("joints") },
        ];
        let input = VectorInput { tensor: "x".into(), shape: vec![], terms, history: 1 };
        let labels = crate::term::labels(&input, &seen.schema);
        assert_eq!(labels, ["hand.z", "hand.x", "joints.b", "joints.c"]);
        assert_eq!(crate::term::described(&input.terms[0], &seen.schema), "hand[z, x] (m)");
        assert_eq!(crate::term::places_read(&input.terms[0], &seen.schema), [5, 3]);
    }

    #[test]
    fn rotations_equal_those_of_robosuite_and_of_their_matrix() {
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
    fn a_mismatch_is_named_with_the_plants_values() {
        let refused = |term: Term| encoded(term).unwrap_err();
        let error = refused(Term::of("elbows"));
        assert!(
            error.starts_with("terms[0].feature: found \"elbows\"; the plant offers joints[3], hand[3]"),
            "{error}"
        );
        assert!(refused(Term { slice: Some([2, 5]), ..Term::of("joints") }).contains("slice: found [2, 5]"));
        for (names, feature, said) in [
            (
                &["b", "d"][..],
                "joints",
                "terms[0].components: found \"d\"; the plant's components of \"joints\" are a, b, c",
            ),
            (&["a", "a"], "joints", "terms[0].components: found \"a\" twice"),
            (&[], "joints", "terms[0].components: found an empty list"),
            (&["a"], "plain", "the plant names 0 components of \"plain\" for its 2 values; valid is slice"),
            (&["a"], "task", "valid is none: task is one number"),
        ] {
            let components = Some(names.iter().map(|name| (*name).into()).collect());
            let error = refused(Term { components, ..Term::of(feature) });
            assert!(error.contains(said), "{error}");
        }
        let both = Term { slice: Some([0, 1]), components: Some(vec!["a".into()]), ..Term::of("joints") };
        assert!(refused(both).contains("components: found beside slice"));
        let short = Term { relative_to: Some("hand".into()), slice: Some([0, 2]), ..Term::of("joints") };
        assert!(refused(short).contains("relative_to: found a feature of 3 values; valid is 2"));
        let turned = Term { transform: Some(Transform::AxisAngle), ..Term::of("joints") };
        assert!(refused(turned).contains("transform: found 3 values; valid is a quaternion's 4"));
        for scale in [None, Some(Numbers::One(1.0))] {
            let error = refused(Term { one_hot: Some(3), scale, ..Term::of("task") });
            assert!(
                error.contains(
                    "terms[0].one_hot: found 3, the number of classes, and task 3; valid is at least 4"
                ),
                "{error}"
            );
        }
        assert!(refused(Term { one_hot: Some(3), ..Term::of("joints") }).contains("one_hot: found 3 values"));
        let scaled = Term { scale: Some(Numbers::Each(vec![1.0])), ..Term::of("joints") };
        assert!(
            refused(scaled).contains("scale: found 1 numbers; valid is one number for all components, or 3")
        );
        let clipped = Term { clip: Some([1.0, f64::NAN]), ..Term::of("joints") };
        assert!(refused(clipped).contains("clip: found [1, NaN]"));
    }
}

//! The affine map of terms and actions: scale, offset and clip of a card, applied in this order. Pure.

use serde::Deserialize;

/// One number for all components, or one for each.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum Numbers {
    /// One number for all components.
    One(f64),
    /// One number for each component.
    Each(Vec<f64>),
}

impl Numbers {
    /// Returns the number for a component.
    pub fn at(&self, component: usize) -> f64 {
        match self {
            Self::One(number) => *number,
            Self::Each(numbers) => numbers.get(component).copied().unwrap_or(f64::NAN),
        }
    }

    /// Returns how many components the numbers are for; `None` for any number.
    pub fn count(&self) -> Option<usize> {
        match self {
            Self::One(_) => None,
            Self::Each(numbers) => Some(numbers.len()),
        }
    }

    /// Returns all numbers.
    pub fn values(&self) -> &[f64] {
        match self {
            Self::One(number) => std::slice::from_ref(number),
            Self::Each(numbers) => numbers,
        }
    }
}

/// Scale, offset and clip of one term or of the chunk; each may be absent.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Affine<'a> {
    pub(crate) scale: Option<&'a Numbers>,
    pub(crate) offset: Option<&'a Numbers>,
    pub(crate) clip: Option<[f64; 2]>,
}

impl Affine<'_> {
    /// Returns whether the map changes no value.
    pub(crate) fn is_identity(&self) -> bool {
        self.scale.is_none() && self.offset.is_none() && self.clip.is_none()
    }

    /// Maps the value of a component: times the scale, plus the offset, then clipped.
    #[inline]
    pub(crate) fn apply(&self, component: usize, mut value: f64) -> f64 {
        if let Some(scale) = self.scale {
            value *= scale.at(component);
        }
        if let Some(offset) = self.offset {
            value += offset.at(component);
        }
        if let Some([low, high]) = self.clip {
            value = value.clamp(low, high);
        }
        value
    }

    /// Checks the map against the number of components that it is for. A valid clip never lets [`apply`](Self::apply) panic.
    ///
    /// # Errors
    /// The field, what was found and what would be valid.
    pub(crate) fn check(&self, width: usize) -> Result<(), String> {
        for (field, numbers) in [("scale", self.scale), ("offset", self.offset)] {
            let Some(numbers) = numbers else { continue };
            if let Some(count) = numbers.count().filter(|count| *count != width) {
                return Err(format!(
                    "{field}: found {count} numbers; valid is one number for all components, or {width}"
                ));
            }
            if let Some(number) = numbers.values().iter().find(|number| !number.is_finite()) {
                return Err(format!("{field}: found {number}; valid are finite numbers"));
            }
        }
        match self.clip {
            Some([low, high]) if low.is_nan() || high.is_nan() || low > high => {
                Err(format!("clip: found [{low}, {high}]; valid is the smaller number first"))
            }
            _ => Ok(()),
        }
    }

    /// Describes each step of the map, in order.
    pub(crate) fn described(&self) -> String {
        let mut text = String::new();
        for (word, numbers) in [("times", self.scale), ("plus", self.offset)] {
            if let Some(numbers) = numbers {
                text += &format!(" {word} {:?}", numbers.values());
            }
        }
        if let Some([low, high]) = self.clip {
            text += &format!(" clipped to {low} and {high}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_scaled_then_shifted_then_clipped_to_the_same_bits_as_by_hand() {
        let (each, one) = (Numbers::Each(vec![0.1, -3.7, 1e300]), Numbers::One(0.7));
        for (component, factor) in [0.1, -3.7, 1e300].into_iter().enumerate() {
            for value in [0.3, -0.0, 1e10, -7.1e-320, f64::INFINITY, f64::MIN_POSITIVE] {
                let scaled = Affine { scale: Some(&each), ..Affine::default() };
                let shifted = Affine { offset: Some(&one), ..scaled };
                let clipped = Affine { clip: Some([-0.5, 0.5]), ..shifted };
                let bits = |affine: Affine<'_>| affine.apply(component, value).to_bits();
                assert_eq!(bits(Affine::default()), value.to_bits());
                assert_eq!(bits(scaled), (value * factor).to_bits());
                assert_eq!(bits(shifted), (value * factor + 0.7).to_bits());
                assert_eq!(bits(clipped), (value * factor + 0.7).clamp(-0.5, 0.5).to_bits());
            }
        }
        assert!(Affine { clip: Some([0.0, 1.0]), ..Affine::default() }.apply(0, f64::NAN).is_nan());
    }

    #[test]
    fn wrong_counts_of_numbers_and_reversed_clips_are_refused() {
        let (two, wrong) = (Numbers::Each(vec![1.0, 2.0]), Numbers::One(f64::INFINITY));
        let refused = |affine: Affine<'_>| affine.check(3).unwrap_err();
        let all = Affine { scale: Some(&two), ..Affine::default() };
        assert!(
            refused(all).starts_with("scale: found 2 numbers; valid is one number for all components, or 3")
        );
        assert!(
            refused(Affine { offset: Some(&wrong), ..Affine::default() }).starts_with("offset: found inf")
        );
        for clip in [[1.0, -1.0], [f64::NAN, 1.0], [0.0, f64::NAN]] {
            assert!(refused(Affine { clip: Some(clip), ..Affine::default() }).starts_with("clip: found ["));
        }
        assert_eq!(all.check(2), Ok(()));
    }
}

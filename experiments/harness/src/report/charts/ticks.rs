//! Ticks at whole numbers along an axis, for counts and control steps.
//! [`whole_ticks`] computes the ticks; [`Ticked`] is an axis with given ticks.

use std::ops::Range;

use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint, Ranged};
use plotters::coord::types::RangedCoordf64;

/// An axis with given ticks, instead of those that plotters would choose.
pub(super) struct Ticked {
    axis: RangedCoordf64,
    ticks: Vec<f64>,
}

impl Ticked {
    /// Creates an axis over a range, with these ticks.
    pub(super) fn new(range: Range<f64>, ticks: Vec<f64>) -> Self {
        Self { axis: range.into(), ticks }
    }
}

impl Ranged for Ticked {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        self.axis.map(value, limit)
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        if hint.weight().allow_light_points() { Vec::new() } else { self.ticks.clone() }
    }

    fn range(&self) -> Range<f64> {
        self.axis.range()
    }
}

/// Returns whole numbers from `low` to `high`, 1, 2 or 5 times a power of ten apart. There are at most `most` of them, and
/// at least one where the range contains a whole number. Zero is among them where the range contains it.
pub(super) fn whole_ticks(low: f64, high: f64, most: usize) -> Vec<f64> {
    let ends = |step: f64| ((low / step).ceil(), (high / step).floor());
    let steps = (0..16).flat_map(|power| [1.0, 2.0, 5.0].map(|digit| digit * 10_f64.powi(power)));
    let fits = |step: &f64| {
        let (first, last) = ends(*step);
        last - first < most.max(1) as f64
    };
    let Some(step) = steps.into_iter().find(fits) else { return Vec::new() };
    let (first, last) = ends(step);
    (first as i64..=last as i64).map(|count| count as f64 * step).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_whole_and_none_comes_twice() {
        for (low, high, most, expected) in [
            // For few episodes, ticks at halves would be labelled 0, 0, 1, 2, 2.
            (-0.3, 2.4, 6, &[0.0, 1.0, 2.0][..]),
            (-3.4, 9.6, 6, &[-2.0, 0.0, 2.0, 4.0, 6.0, 8.0]),
            (0.0, 0.4, 6, &[0.0]),
            (0.0, 700.0, 3, &[0.0, 500.0]),
            (0.0, 210.0, 14, &[0.0, 20.0, 40.0, 60.0, 80.0, 100.0, 120.0, 140.0, 160.0, 180.0, 200.0]),
            (0.2, 0.8, 6, &[]),
        ] {
            assert_eq!(whole_ticks(low, high, most), expected, "{low} to {high}, at most {most}");
        }
        assert!(whole_ticks(0.0, f64::INFINITY, 6).is_empty(), "an axis without an end has none");
        assert!(whole_ticks(f64::NAN, 1.0, 6).is_empty());
    }
}

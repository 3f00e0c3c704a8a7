//! The seam between chunks: the jump from the last executed action of a chunk to the first action of the next. Pure.

use aegis_core::Chunk;

use crate::check::{Finding, Verdict};

const CHECK: &str = "chunk seam";
/// Ratio of the median jump at a seam to the median change within chunks above which a warning is given.
const ROUGH: f64 = 10.0;

/// Compares the jumps at seams with the changes within chunks. `chunks` are those of one episode in order, each executed for
/// `steps` actions.
pub fn seam(chunks: &[Chunk], steps: usize) -> Finding {
    let distance = |one: &[f32], other: &[f32]| {
        one.iter().zip(other).map(|(one, other)| f64::from((one - other).abs())).fold(0.0, f64::max)
    };
    let jumps = chunks.windows(2).filter_map(|pair| {
        let last = pair[0].action(steps.checked_sub(1)?)?;
        Some(distance(last, pair[1].action(0)?))
    });
    let within = chunks.iter().flat_map(|chunk| {
        (1..steps).filter_map(|step| Some(distance(chunk.action(step - 1)?, chunk.action(step)?)))
    });
    let (jumps, within): (Vec<f64>, Vec<f64>) = (jumps.collect(), within.collect());
    let (Some(jump), Some(change)) = (median(jumps.clone()), median(within)) else {
        let text = "not measured: fewer than two chunks, or chunks of one action, whose every step is a seam";
        return Finding::new(CHECK, Verdict::Unknown, text);
    };
    let largest = jumps.iter().copied().fold(0.0, f64::max);
    let rough = jump > ROUGH * change.max(1e-6);
    let text = format!(
        "largest change of a channel from one action to the next: {jump:.3} at a seam (median of {}, largest {largest:.3}), \
         {change:.3} within a chunk (median)",
        jumps.len()
    );
    Finding::new(CHECK, if rough { Verdict::Warning } else { Verdict::Good }, text)
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seam_that_jumps_gives_a_warning() {
        let ramp = |from: f32| Chunk::new(1, (0..4).map(|step| from + step as f32 * 0.1).collect()).unwrap();
        assert_eq!(seam(&[ramp(0.0), ramp(0.4), ramp(0.8)], 4).verdict, Verdict::Good);
        assert_eq!(seam(&[ramp(0.0), ramp(5.0), ramp(-5.0)], 4).verdict, Verdict::Warning);
        assert_eq!(seam(&[ramp(0.0)], 4).verdict, Verdict::Unknown);
    }
}

//! Training of the heads without a closed-form solution: mini-batch Adam on the penalised loss.
//! Deterministic: one thread, a fixed order of sums, and one stream of random numbers per seed.

use super::data::{Sequence, Standardised};

/// Trajectories per update.
const BATCH: usize = 32;
/// Step size at the start; it falls linearly to zero, so that the last updates average over batches.
const STEP: f64 = 0.01;
/// Decay rates of both moments: the defaults of the source of [`minimise`], as is [`GUARD`].
const DECAY: (f64, f64) = (0.9, 0.999);
/// Guard against a division by zero.
const GUARD: f64 = 1e-8;

/// Array of values to be fitted.
pub(super) struct Array<'a> {
    pub values: &'a mut [f64],
    /// Whether the L2 penalty applies: true for weights, false for biases.
    pub penalised: bool,
}

/// Head whose loss has a gradient. The gradient is stored as a head of the same shape.
pub(super) trait Differentiable: Clone {
    /// Scratch space of one pass.
    type Work;

    /// Returns scratch space for trajectories of up to `longest` boundaries.
    fn work(&self, longest: usize) -> Self::Work;

    /// Returns every value to be fitted, always in the same order.
    fn arrays(&mut self) -> Vec<Array<'_>>;

    /// Returns the loss of one trajectory, whose weights sum to one, and adds the slopes of that loss to `gradient`.
    fn accumulate(&self, sequence: &Sequence<'_>, work: &mut Self::Work, gradient: &mut Self) -> f64;
}

/// Minimises the sum of the trajectories' losses plus `penalty · ½‖weights‖²`, in `epochs` passes over the data.
///
/// Source: Kingma, Ba, *Adam: A Method for Stochastic Optimization*, ICLR 2015, algorithm 1.
pub(super) fn minimise<H: Differentiable>(
    mut head: H,
    data: &Standardised,
    penalty: f64,
    epochs: usize,
    random: &mut SplitMix64,
) -> H {
    let sequences: Vec<Sequence<'_>> = data.sequences().collect();
    let mut order: Vec<usize> = (0..sequences.len()).collect();
    let mut work = head.work(data.longest());
    let [mut gradient, mut first, mut second] = [zero(&head), zero(&head), zero(&head)];
    let updates = epochs * sequences.len().div_ceil(BATCH);
    let penalty = penalty / sequences.len() as f64;
    let mut update = 0;
    for _ in 0..epochs {
        random.shuffle(&mut order);
        for batch in order.chunks(BATCH) {
            gradient.arrays().into_iter().for_each(|array| array.values.fill(0.0));
            for index in batch {
                head.accumulate(&sequences[*index], &mut work, &mut gradient);
            }
            let step = STEP * (1.0 - update as f64 / updates as f64);
            update += 1;
            let corrections = (1.0 - DECAY.0.powf(update as f64), 1.0 - DECAY.1.powf(update as f64));
            let moments = first.arrays().into_iter().zip(second.arrays());
            for ((values, slopes), (first, second)) in
                head.arrays().into_iter().zip(gradient.arrays()).zip(moments)
            {
                let penalty = if values.penalised { penalty } else { 0.0 };
                for (index, value) in values.values.iter_mut().enumerate() {
                    let slope = slopes.values[index] / batch.len() as f64 + penalty * *value;
                    let (first, second) = (&mut first.values[index], &mut second.values[index]);
                    *first = DECAY.0 * *first + (1.0 - DECAY.0) * slope;
                    *second = DECAY.1 * *second + (1.0 - DECAY.1) * slope * slope;
                    *value -= step * (*first / corrections.0) / ((*second / corrections.1).sqrt() + GUARD);
                }
            }
        }
    }
    head
}

fn zero<H: Differentiable>(head: &H) -> H {
    let mut zero = head.clone();
    zero.arrays().into_iter().for_each(|array| array.values.fill(0.0));
    zero
}

/// Small pseudorandom generator, for the initial weights and the order of the trajectories.
///
/// Source: Steele, Lea, Flood, *Fast Splittable Pseudorandom Number Generators*, OOPSLA 2014, figure 17.
pub(super) struct SplitMix64(u64);

impl SplitMix64 {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number drawn uniformly from `[0, 1)`, with 53 bits.
    pub(super) fn uniform(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Returns `count` initial weights of a layer between `inputs` and `outputs` units.
    ///
    /// Source: Glorot, Bengio, *Understanding the difficulty of training deep feedforward neural networks*, AISTATS
    /// 2010, equation 16.
    pub(super) fn glorot(&mut self, count: usize, inputs: usize, outputs: usize) -> Vec<f64> {
        let bound = (6.0 / (inputs + outputs) as f64).sqrt();
        (0..count).map(|_| bound * (2.0 * self.uniform() - 1.0)).collect()
    }

    /// Shuffles by the Fisher–Yates algorithm.
    fn shuffle(&mut self, values: &mut [usize]) {
        for last in (1..values.len()).rev() {
            values.swap(last, (self.uniform() * (last + 1) as f64) as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{mlp, recurrent};
    use super::*;

    #[test]
    fn the_stream_is_the_published_one() {
        // Reference output of the generator for the seed 1234567.
        let mut random = SplitMix64::new(1_234_567);
        assert_eq!(
            [random.next(), random.next(), random.next()],
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]
        );
    }

    /// Checks every slope against a central difference, at parameters away from the initial ones.
    fn check_gradient<H: Differentiable>(mut head: H, random: &mut SplitMix64) {
        for array in head.arrays() {
            array.values.iter_mut().for_each(|value| *value += random.uniform() - 0.5);
        }
        let rows: Vec<f64> = (0..15).map(|_| 4.0 * random.uniform() - 2.0).collect();
        for failed in [false, true] {
            let sequence = Sequence { rows: &rows, width: 3, failed };
            let mut work = head.work(5);
            let mut gradient = zero(&head);
            head.accumulate(&sequence, &mut work, &mut gradient);
            let slopes: Vec<Vec<f64>> = gradient.arrays().iter().map(|array| array.values.to_vec()).collect();
            for (part, slopes) in slopes.iter().enumerate() {
                for (index, slope) in slopes.iter().enumerate() {
                    let mut loss_at = |shift: f64| {
                        let mut moved = head.clone();
                        moved.arrays()[part].values[index] += shift;
                        moved.accumulate(&sequence, &mut work, &mut zero(&head))
                    };
                    let difference = (loss_at(1e-5) - loss_at(-1e-5)) / 2e-5;
                    assert!(
                        (slope - difference).abs() < 1e-8,
                        "array {part}, value {index}: slope {slope}, difference {difference}"
                    );
                }
            }
            assert!(slopes.iter().all(|slopes| slopes.iter().any(|slope| slope.abs() > 1e-4)));
        }
    }

    #[test]
    fn slopes_of_the_hidden_layer_agree_with_differences() {
        let mut random = SplitMix64::new(1);
        check_gradient(mlp::start(3, 4, 0.3, &mut random), &mut random);
    }

    #[test]
    fn slopes_through_time_agree_with_differences() {
        let mut random = SplitMix64::new(2);
        check_gradient(recurrent::start(3, 4, 0.3, &mut random), &mut random);
    }
}

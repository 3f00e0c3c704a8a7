//! Comparison of the three heads: capacity, repeatability of fits, and files that read back.
//! The data are simulated from a fixed seed.
#![allow(clippy::expect_used, clippy::unwrap_used)] // Helpers of tests, which clippy takes for other code.

use aegis_core::probe::{Head, Recurrent};
use aegis_core::{HeadKind, Probe, Score};
use aegis_probe::training::{FitOptions, Trajectory, fit};

struct Noise(u64);

impl Noise {
    /// Returns a number drawn uniformly from `[-1, 1)`.
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
    }

    fn sign(&mut self) -> f64 {
        self.next().signum()
    }
}

/// Returns trajectories that fail where the first two features differ in sign, which no line separates.
fn exclusive_or(count: usize, seed: u64) -> Vec<Trajectory> {
    let mut noise = Noise(seed);
    (0..count)
        .map(|_| {
            let (a, b) = (noise.sign(), noise.sign());
            let features = (0..5).map(|_| vec![a + 0.3 * noise.next(), b + 0.3 * noise.next(), noise.next()]);
            Trajectory { features: features.collect(), failed: a != b }
        })
        .collect()
}

/// Returns trajectories in which one boundary raises the first feature and one the second; a trajectory fails where the
/// first feature rises first. Both outcomes show the same features, only in another order.
fn order_in_time(count: usize, seed: u64) -> Vec<Trajectory> {
    let mut noise = Noise(seed);
    (0..count)
        .map(|_| {
            let failed = noise.sign() > 0.0;
            let (early, late) = if failed { (0, 1) } else { (1, 0) };
            let mut features: Vec<Vec<f64>> =
                (0..8).map(|_| (0..4).map(|_| 0.3 * noise.next()).collect()).collect();
            let gap = 2 + (1.5 + 1.5 * noise.next()) as usize;
            features[1][early] += 2.0;
            features[1 + gap][late] += 2.0;
            Trajectory { features, failed }
        })
        .collect()
}

fn options(kind: HeadKind) -> FitOptions {
    FitOptions { kind, penalty: 0.1, hidden: 6, seed: 5, epochs: 40 }
}

fn fitted(trajectories: &[Trajectory], kind: HeadKind) -> Probe {
    fit(&trajectories.iter().collect::<Vec<_>>(), &options(kind)).unwrap()
}

/// Returns the share of trajectories whose last score agrees with their outcome.
fn accuracy(probe: &Probe, trajectories: &[Trajectory]) -> f64 {
    let right = trajectories
        .iter()
        .filter(|one| (probe.trace(&one.features).unwrap().last().unwrap().risk() > 0.5) == one.failed)
        .count();
    right as f64 / trajectories.len() as f64
}

#[test]
fn outcomes_that_no_line_separates_need_a_hidden_layer() {
    let (training, test) = (exclusive_or(200, 1), exclusive_or(200, 2));
    assert!(accuracy(&fitted(&training, HeadKind::Linear), &test) < 0.7);
    assert!(accuracy(&fitted(&training, HeadKind::Mlp), &test) > 0.95);
    assert!(accuracy(&fitted(&training, HeadKind::Recurrent), &test) > 0.95);
}

#[test]
fn outcomes_that_depend_on_order_need_a_recurrent_head() {
    let (training, test) = (order_in_time(300, 3), order_in_time(200, 4));
    assert!(accuracy(&fitted(&training, HeadKind::Linear), &test) < 0.7);
    assert!(accuracy(&fitted(&training, HeadKind::Mlp), &test) < 0.7);
    assert!(accuracy(&fitted(&training, HeadKind::Recurrent), &test) > 0.95);
}

#[test]
fn fits_repeat_bit_by_bit_and_differ_by_seed() {
    let training = exclusive_or(80, 1);
    let all: Vec<&Trajectory> = training.iter().collect();
    for kind in HeadKind::ALL {
        let probe = fitted(&training, kind);
        assert_eq!(
            serde_json::to_string(&probe).unwrap(),
            serde_json::to_string(&fitted(&training, kind)).unwrap()
        );
        let other = fit(&all, &FitOptions { seed: 6, ..options(kind) }).unwrap();
        assert_eq!(other == probe, kind == HeadKind::Linear);
    }
}

#[test]
fn a_heavy_penalty_leaves_the_share_of_failures() {
    let mut training = exclusive_or(90, 1);
    training.iter_mut().enumerate().for_each(|(index, one)| one.failed = index % 3 == 0);
    for kind in HeadKind::ALL {
        let heavy = FitOptions { penalty: 1e5, epochs: 200, ..options(kind) };
        let probe = fit(&training.iter().collect::<Vec<_>>(), &heavy).unwrap();
        for score in probe.trace(&training[0].features).unwrap() {
            assert!((score.risk() - 1.0 / 3.0).abs() < 0.02, "{kind}: {}", score.risk());
        }
    }
}

/// Returns activations as wide as the demo's, with signal in a few features.
fn wide(count: usize, width: usize) -> Vec<Trajectory> {
    let mut noise = Noise(9);
    (0..count)
        .map(|index| {
            let failed = index % 3 == 0;
            let shift = if failed { 0.3 } else { 0.0 };
            let features = (0..6).map(|_| (0..width).map(|_| noise.next() + shift).collect());
            Trajectory { features: features.collect(), failed }
        })
        .collect()
}

#[test]
fn files_read_back_exactly_and_stay_small() {
    let training = wide(60, 64);
    for (kind, parameters) in [(HeadKind::Linear, 65), (HeadKind::Mlp, 529), (HeadKind::Recurrent, 1761)] {
        let few = FitOptions { hidden: 8, epochs: 10, ..options(kind) };
        let probe = fit(&training.iter().collect::<Vec<_>>(), &few).unwrap();
        assert_eq!((probe.kind(), probe.width(), probe.parameters()), (kind, 64, parameters));
        let text = serde_json::to_string(&probe).unwrap();
        assert!(text.len() < 16_000, "{kind}: {} bytes", text.len());
        let read: Probe = serde_json::from_str(&text).unwrap();
        assert_eq!(read, probe);
        assert_eq!(read.validate(), Ok(()));
        let named = format!(r#""kind":"{kind}""#);
        assert!(text.contains(&named));
        let unknown = text.replacen(&named, &format!(r#"{named},"temperature":1.0"#), 1);
        assert!(serde_json::from_str::<Probe>(&unknown).unwrap_err().to_string().contains("temperature"));
    }
}

#[test]
fn a_score_reads_the_past_and_not_the_future() {
    let (training, test) = (order_in_time(60, 3), order_in_time(1, 4).remove(0));
    let probe = fitted(&training, HeadKind::Recurrent);
    let whole = probe.trace(&test.features).unwrap();
    assert_eq!(probe.trace(&test.features[..5]).unwrap(), whole[..5]);
    assert_ne!(probe.trace(&test.features[4..]).unwrap()[0], whole[4]);
}

#[test]
fn a_recurrent_state_is_a_value_that_a_replay_restores() {
    let (training, test) = (order_in_time(60, 3), order_in_time(1, 4).remove(0));
    for kind in HeadKind::ALL {
        let probe = fitted(&training, kind);
        let mut memory = probe.memory();
        let mut scores: Vec<Score> = Vec::new();
        let mut kept = memory.clone();
        for (boundary, features) in test.features.iter().enumerate() {
            if boundary == 3 {
                kept = memory.clone();
            }
            scores.push(probe.score(&mut memory, features).unwrap());
        }
        assert_eq!(scores, probe.trace(&test.features).unwrap());
        assert_eq!(kept == memory, kind != HeadKind::Recurrent);
        let again: Vec<Score> =
            test.features[3..].iter().map(|features| probe.score(&mut kept, features).unwrap()).collect();
        assert_eq!(again, scores[3..]);
        assert_eq!(kept, memory);
    }
}

#[test]
fn a_value_that_is_not_finite_flags_its_boundary_and_leaves_the_state() {
    let (training, test) = (order_in_time(60, 3), order_in_time(1, 4).remove(0));
    for kind in HeadKind::ALL {
        let probe = fitted(&training, kind);
        let clean = probe.trace(&test.features).unwrap();
        for poison in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let mut features = test.features.clone();
            features.insert(4, vec![poison, 0.0, 0.0, 0.0]);
            let mut scores = probe.trace(&features).unwrap();
            let flagged = scores.remove(4);
            assert!(flagged.is_flagged() && flagged.risk() == f64::INFINITY);
            assert_eq!(scores, clean, "{kind} forgets {poison}");
        }
    }
}

#[test]
fn a_sum_that_overflows_leaves_the_state_too() {
    let head = Head::Recurrent(Recurrent {
        input: vec![1e200; 6],
        recurrent: vec![0.5; 3],
        gate_bias: vec![0.0; 3],
        output: vec![1.0],
        bias: 0.0,
    });
    let probe = Probe { mean: vec![0.0; 2], scale: vec![1.0; 2], head };
    let mut memory = probe.memory();
    probe.score(&mut memory, &[1e-200, 0.0]).unwrap();
    let before = memory.clone();
    assert_ne!(before, probe.memory());
    // The sum is infinity minus infinity.
    assert!(probe.score(&mut memory, &[1e200, -1e200]).unwrap().is_flagged());
    assert_eq!(memory, before);
}

//! Linear probe on data small enough to know the exact result, and invalid input of every head.
//! Every kind of invalid input has its own error.
#![allow(clippy::expect_used, clippy::unwrap_used)] // Helpers of tests, which clippy takes for other code.

use aegis_core::probe::{Head, Linear, Mlp, ProbeError, Recurrent, Shape};
use aegis_core::{Activation, Chunk, HeadKind, Probe};
use aegis_probe::training::{FitOptions, Fitter, Trajectory, fit};

fn trajectory(features: &[&[f64]], failed: bool) -> Trajectory {
    Trajectory { features: features.iter().map(|one| one.to_vec()).collect(), failed }
}

fn fitted(trajectories: &[Trajectory], kind: HeadKind, penalty: f64) -> Result<Probe, ProbeError> {
    let options = FitOptions { kind, penalty, hidden: 3, seed: 1, epochs: 2 };
    fit(&trajectories.iter().collect::<Vec<_>>(), &options)
}

/// Returns forty trajectories of one to three boundaries; the first feature separates the outcomes, the third is constant.
fn separable() -> Vec<Trajectory> {
    (0..40_u8)
        .map(|index| {
            let x = f64::from(index) / 10.0 - 2.0;
            let features = |shift: u8| vec![x, f64::from(index + shift).mul_add(0.7, 0.0).sin(), 5.0];
            Trajectory {
                features: (0..=index % 3).map(features).collect(),
                failed: x + 0.2 * (f64::from(index) * 1.3).cos() > 0.0,
            }
        })
        .collect()
}

fn linear(probe: &Probe) -> &Linear {
    match &probe.head {
        Head::Linear(head) => head,
        other => panic!("a linear head was asked for, found {other:?}"),
    }
}

fn risk(probe: &Probe, features: &[f64]) -> f64 {
    probe.score(&mut probe.memory(), features).unwrap().risk()
}

#[test]
fn finds_the_direction_that_separates() {
    let probe = fitted(&separable(), HeadKind::Linear, 1.0).unwrap();
    let weights = &linear(&probe).weights;
    assert!(weights[0] > 5.0 * weights[1].abs());
    assert_eq!(weights[2], 0.0, "a constant feature carries nothing");
    assert!(risk(&probe, &[-2.0, 0.0, 5.0]) < 0.1 && risk(&probe, &[2.0, 0.0, 5.0]) > 0.9);
}

#[test]
fn the_linear_fit_is_a_stationary_point_of_the_penalised_loss() {
    let (trajectories, penalty) = (separable(), 0.7);
    let probe = fitted(&trajectories, HeadKind::Linear, penalty).unwrap();
    for column in 0..probe.width() {
        let gradient: f64 = trajectories
            .iter()
            .flat_map(|one| one.features.iter().map(move |features| (one, features)))
            .map(|(one, features)| {
                let z = (features[column] - probe.mean[column]) / probe.scale[column];
                let residual = f64::from(u8::from(one.failed)) - risk(&probe, features);
                z * residual / one.features.len() as f64
            })
            .sum();
        // The weights are rounded to eight digits.
        assert!((gradient - penalty * linear(&probe).weights[column]).abs() < 1e-6);
    }
}

#[test]
fn a_long_trajectory_weighs_as_much_as_a_short_one() {
    let mut long = separable();
    for one in &mut long {
        one.features = one.features.iter().cloned().cycle().take(7 * one.features.len()).collect();
    }
    let (short, long) = (fitted(&separable(), HeadKind::Linear, 1.0), fitted(&long, HeadKind::Linear, 1.0));
    let (short, long) = (short.unwrap(), long.unwrap());
    assert!((risk(&short, &[0.3, 0.1, 5.0]) - risk(&long, &[0.3, 0.1, 5.0])).abs() < 1e-6);
}

#[test]
fn invalid_data_is_named() {
    let good = || trajectory(&[&[1.0]], true);
    for kind in HeadKind::ALL {
        let error = |trajectories: &[Trajectory]| fitted(trajectories, kind, 1.0).unwrap_err();
        assert_eq!(error(&[]), ProbeError::Empty);
        assert_eq!(error(&[good()]), ProbeError::OneClass(true));
        let ragged = [good(), trajectory(&[&[1.0], &[1.0, 2.0]], false)];
        let found = ProbeError::Ragged { trajectory: 1, boundary: 1, found: 2, valid: "1".into() };
        assert_eq!(error(&ragged), found);
        let poisoned = [good(), trajectory(&[&[0.0], &[0.0], &[f64::NAN]], false)];
        let value =
            |found: &str| ProbeError::Value { trajectory: 1, boundary: 2, index: 0, found: found.into() };
        assert_eq!(error(&poisoned), value("NaN"));
        // The square of this value is infinite, and so would be the feature's scale.
        let large = [good(), trajectory(&[&[0.0], &[0.0], &[-1e300]], false)];
        assert_eq!(error(&large), value("-1e300"));
        assert_eq!(error(&[good(), trajectory(&[], false)]), ProbeError::NoBoundaries { trajectory: 1 });
        let empty = [trajectory(&[&[]], true), trajectory(&[&[]], false)];
        assert!(matches!(error(&empty), ProbeError::Ragged { trajectory: 0, boundary: 0, found: 0, .. }));
    }
}

#[test]
fn invalid_options_are_named() {
    let trajectories = separable();
    let all: Vec<&Trajectory> = trajectories.iter().collect();
    let good = FitOptions { kind: HeadKind::Mlp, penalty: 1.0, hidden: 3, seed: 1, epochs: 2 };
    let field = |options: FitOptions| match fit(&all, &options).unwrap_err() {
        ProbeError::Invalid { field, .. } => field,
        other => panic!("{other}"),
    };
    assert_eq!(field(FitOptions { penalty: f64::NAN, ..good.clone() }), "penalty");
    assert_eq!(field(FitOptions { hidden: 0, ..good.clone() }), "hidden");
    assert_eq!(field(FitOptions { epochs: 0, ..good.clone() }), "epochs");
    assert!(fit(&all, &FitOptions { kind: HeadKind::Linear, hidden: 0, epochs: 0, ..good }).is_ok());
    let twins = [trajectory(&[&[1.0, 1.0]], true), trajectory(&[&[2.0, 2.0]], false)];
    assert_eq!(fitted(&twins, HeadKind::Linear, 0.0).unwrap_err(), ProbeError::Singular("0".into()));
    let error = "gru".parse::<HeadKind>().unwrap_err();
    assert_eq!(error.to_string(), "probe.kind: found gru; valid is linear, mlp, recurrent");
    assert_eq!("recurrent".parse(), Ok(HeadKind::Recurrent));
}

#[test]
fn a_probe_of_zero_weights_scores_one_half() {
    let probe = Probe::blank(3);
    assert_eq!((probe.validate(), probe.width(), probe.parameters()), (Ok(()), 3, 4));
    assert_eq!(risk(&probe, &[1.0, -7.0, 3.0]), 0.5);
}

#[test]
fn activations_of_another_shape_are_refused() {
    let probe = Probe::blank(3);
    let wrong = probe.score(&mut probe.memory(), &[0.0]);
    assert_eq!(wrong, Err(ProbeError::Width { expected: 3, found: 1 }));
    let other = Probe::blank(4);
    let shape = |width| Shape { kind: HeadKind::Linear, width, hidden: 0 };
    let error = probe.score(&mut other.memory(), &[0.0; 3]).unwrap_err();
    assert_eq!(error, ProbeError::Memory { expected: shape(3), found: shape(4) });
    assert_eq!(
        error.to_string(),
        "memory: found that of a linear head of width 4 with 0 hidden units; \
         valid is that of a linear head of width 3 with 0 hidden units, the probe's"
    );
}

#[test]
fn invalid_probes_are_refused_with_their_field() {
    let message = |probe: Probe| probe.validate().unwrap_err().to_string();
    let head = |head| Probe { mean: vec![0.0; 2], scale: vec![1.0; 2], head };
    let mlp = Mlp { input: vec![0.0; 6], input_bias: vec![0.0; 3], output: vec![0.0; 3], bias: 0.0 };
    assert_eq!(head(Head::Mlp(mlp.clone())).validate(), Ok(()));
    let short = Mlp { input: vec![0.0; 5], ..mlp.clone() };
    assert_eq!(message(head(Head::Mlp(short))), "probe.head.input: found 5 values; valid is 6 values");
    let poisoned = Mlp { bias: f64::NAN, ..mlp };
    assert_eq!(
        message(head(Head::Mlp(poisoned))),
        "probe.head.bias: found NaN at 0; valid is a finite number"
    );
    let recurrent = Recurrent {
        input: vec![0.0; 6],
        recurrent: vec![0.0; 3],
        gate_bias: vec![0.0; 3],
        output: vec![0.0],
        bias: 0.0,
    };
    assert_eq!(head(Head::Recurrent(recurrent.clone())).validate(), Ok(()));
    let no_output = Recurrent { output: vec![], ..recurrent.clone() };
    assert_eq!(
        message(head(Head::Recurrent(no_output))),
        "probe.head.output: found 0 values; valid is 1 value or more"
    );
    let broad = Recurrent { recurrent: vec![0.0; 4], ..recurrent };
    assert_eq!(
        message(head(Head::Recurrent(broad))),
        "probe.head.recurrent: found 4 values; valid is 3 values"
    );
    assert_eq!(message(Probe::blank(0)), "probe.mean: found 0 values; valid is 1 value or more");
    let flat = Probe { scale: vec![1.0, 0.0], ..Probe::blank(2) };
    assert_eq!(message(flat), "probe.scale: found 0 at 1; valid is above 0");
    let narrow = Probe { scale: vec![1.0], ..Probe::blank(2) };
    assert_eq!(message(narrow), "probe.scale: found 1 values; valid is 2 values");
}

#[test]
fn a_shape_that_was_not_validated_gives_no_panic() {
    let ragged = Recurrent {
        input: vec![1.0; 5],
        recurrent: vec![1.0; 2],
        gate_bias: vec![],
        output: vec![1.0; 3],
        bias: 0.0,
    };
    let probe = Probe { mean: vec![0.0; 2], scale: vec![], head: Head::Recurrent(ragged) };
    assert!(probe.validate().is_err());
    assert!(probe.trace(&[vec![1.0; 2], vec![2.0; 2]]).is_ok());
}

#[test]
fn pooling_is_the_mean_over_tokens() {
    let activation = Activation::new(2, vec![1.0, 10.0, 3.0, 30.0]).unwrap();
    assert_eq!(activation.mean_pool(), vec![2.0, 20.0]);
    assert!(Activation::new(3, vec![1.0, 2.0]).is_err());
}

#[test]
fn chunks_are_whole_and_finite() {
    let chunk = Chunk::new(2, vec![0.0, 1.0, 2.0, 3.0]).unwrap();
    assert_eq!((chunk.horizon(), chunk.action(1), chunk.action(2)), (2, Some(&[2.0, 3.0][..]), None));
    assert!(Chunk::new(2, vec![0.0; 3]).is_err());
    assert!(Chunk::new(0, vec![]).is_err());
    assert!(Chunk::new(1, vec![f32::NAN]).is_err());
}

/// Returns a stream of pseudorandom numbers between −1 and 1, the same on every machine.
fn numbers(seed: u64) -> impl FnMut() -> f64 {
    let mut state = seed;
    move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        f64::from((state >> 33) as u32) / f64::from(1_u32 << 30) - 1.0
    }
}

/// Returns trajectories of this width whose features are correlated, as activations are, and whose outcomes follow a
/// few common factors.
fn wide(count: usize, boundaries: usize, width: usize) -> Vec<Trajectory> {
    let mut number = numbers(7);
    let mixing: Vec<f64> = (0..8 * width).map(|_| number()).collect();
    (0..count)
        .map(|_| {
            let causes: Vec<f64> = (0..8).map(|_| number()).collect();
            let mut features = || {
                let of = |column: usize| -> f64 {
                    causes
                        .iter()
                        .enumerate()
                        .map(|(cause, value)| value * mixing[cause * width + column])
                        .sum()
                };
                (0..width).map(|column| 3.0 + of(column) + 0.3 * number()).collect::<Vec<_>>()
            };
            let features = (0..boundaries).map(|_| features()).collect();
            Trajectory { features, failed: causes[0] + causes[1] + 0.4 * number() > 0.0 }
        })
        .collect()
}

#[test]
fn a_wide_linear_head_is_where_the_loss_is_flat_however_few_the_boundaries() {
    // With more boundaries than features, and with fewer.
    for (count, boundaries) in [(60, 6), (40, 3)] {
        let trajectories = wide(count, boundaries, 300);
        for penalty in [0.01, 1.0, 100.0] {
            let probe = fitted(&trajectories, HeadKind::Linear, penalty).unwrap();
            let weights = &linear(&probe).weights;
            let (mut slopes, mut bias) = (vec![0.0; 300], 0.0);
            for one in &trajectories {
                for features in &one.features {
                    let residual =
                        (f64::from(u8::from(one.failed)) - risk(&probe, features)) / boundaries as f64;
                    bias += residual;
                    for (column, slope) in slopes.iter_mut().enumerate() {
                        *slope += residual * (features[column] - probe.mean[column]) / probe.scale[column];
                    }
                }
            }
            // The weights are rounded to eight digits.
            let furthest = slopes
                .iter()
                .zip(weights)
                .map(|(slope, weight)| (slope - penalty * weight).abs())
                .fold(bias.abs(), f64::max);
            assert!(furthest < 2e-6, "{count} trajectories, penalty {penalty}: {furthest}");
        }
    }
}

#[test]
fn a_wide_linear_head_is_the_same_each_time_and_one_of_no_penalty_is_refused_where_it_has_no_solution() {
    let trajectories = wide(40, 3, 300);
    let all: Vec<&Trajectory> = trajectories.iter().collect();
    let options = |penalty| FitOptions { kind: HeadKind::Linear, penalty, hidden: 0, seed: 0, epochs: 0 };
    let fitter = Fitter::new(&all).unwrap();
    let at_each = [0.1, 1.0].map(|penalty| fitter.fit(&options(penalty)).unwrap());
    for (probe, penalty) in at_each.iter().zip([0.1, 1.0]) {
        assert!(*probe == fit(&all, &options(penalty)).unwrap(), "whatever was fitted before");
    }
    assert_eq!(fitter.fit(&options(0.0)).unwrap_err(), ProbeError::Singular("0".into()));
}

//! Error rates of the statistics in simulated studies: how often a family rejects a true null, and how often intervals
//! cover the true value.
//! Seeds are fixed. `cargo test --release -p aegis-experiments --test integration error_rates -- --nocapture` prints the rates.
#![allow(clippy::expect_used, clippy::unwrap_used)] // Helpers of tests, which clippy takes for other code.

use aegis_probe::conformal::split_conformal_threshold;
use aegis_statistics::{
    Bootstrap, Clusters, Method, Over, Triplet, auroc_interval, contrast, holm_rejects, paired_effects,
};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

const TASKS: usize = 10;
const ALPHA: f64 = 0.05;

fn stream(seed: u64, number: u64) -> ChaCha8Rng {
    let mut generator = ChaCha8Rng::seed_from_u64(seed);
    generator.set_stream(number);
    generator
}

/// One simulated episode under weak and three arms.
struct Outcomes {
    task: usize,
    initial_state: usize,
    weak: bool,
    /// Whether aegis, blind and random won, in this order.
    arms: [bool; 3],
}

/// True effects of a simulated study.
#[derive(Clone, Copy)]
struct World {
    /// Added to weak's probability of success in every arm that hands over.
    help: f64,
    /// Whether an arm without a hand-over equals its weak twin, as common random numbers ensure.
    forced: bool,
}

/// Simulates a study. The difficulty of an episode determines the probabilities that weak wins, that an arm hands over and
/// that an arm wins. Given the difficulty, the arms are exchangeable, so none is better than another.
fn study(world: World, episodes: usize, generator: &mut impl Rng) -> Vec<Outcomes> {
    (0..episodes)
        .map(|index| {
            let (task, initial_state) = (index % TASKS, index / TASKS);
            let ease: f64 = generator.random();
            // Tasks differ as those of the suite do: some are never won, some nearly always.
            let chance = (ease + task as f64 / TASKS as f64 - 0.6).clamp(0.0, 0.97);
            let weak = generator.random_bool(chance);
            let arms = [0, 1, 2].map(|_| {
                let fires = generator.random_bool(0.9 - 0.5 * chance);
                let alone = if world.forced { weak } else { generator.random_bool(chance) };
                if fires { generator.random_bool((chance + world.help).min(0.97)) } else { alone }
            });
            Outcomes { task, initial_state, weak, arms }
        })
        .collect()
}

/// Tests the registered family as the report does; returns which hypotheses are rejected.
fn rejected(outcomes: &[Outcomes]) -> Vec<bool> {
    let settings = Bootstrap { replicates: 100, seed: 1, confidence: 0.95, method: Method::Percentile };
    let p_value = |control: fn(&Outcomes) -> bool, over| {
        let triplets: Vec<Triplet> = outcomes
            .iter()
            .map(|one| Triplet {
                task: one.task,
                initial_state: one.initial_state,
                weak: one.weak,
                treatment: one.arms[0],
                control: control(one),
            })
            .collect();
        contrast(&triplets, over, &settings).unwrap().mcnemar.one_sided
    };
    let p_values = [
        p_value(|one| one.arms[1], Over::WeakLost),
        p_value(|one| one.arms[2], Over::WeakLost),
        p_value(|one| one.weak, Over::All),
    ];
    holm_rejects(&p_values, ALPHA).unwrap()
}

#[test]
fn the_family_errs_at_its_level_at_most() {
    const STUDIES: u64 = 10_000;
    for (name, world, null) in [
        ("none better, pairing forced", World { help: 0.0, forced: true }, 3),
        ("none better, nothing forced", World { help: 0.0, forced: false }, 3),
        // The nulls of the two contrasts between arms are true; that of the third, against weak, is false.
        ("all better than weak alike, pairing forced", World { help: 0.3, forced: true }, 2),
    ] {
        let (mut errors, mut found) = (0_u64, 0_u64);
        for number in 0..STUDIES {
            let rejected = rejected(&study(world, 700, &mut stream(1, number)));
            errors += u64::from(rejected[..null].contains(&true));
            found += u64::from(rejected[2]);
        }
        let rate = errors as f64 / STUDIES as f64;
        println!(
            "family of three at {ALPHA}, {name}: errs in {errors} of {STUDIES} studies, {:.2} %; \
             aegis > weak found in {:.1} %",
            100.0 * rate,
            100.0 * found as f64 / STUDIES as f64
        );
        assert!(rate <= ALPHA, "{name}: {rate}");
        // A family that never rejects would pass the check above, but could not show anything.
        assert!(rate > 0.005, "{name}: {rate}");
        if null == 2 {
            assert!(found as f64 > 0.99 * STUDIES as f64, "an existing effect is found: {found}");
        }
    }
}

/// Returns the share of `studies` whose interval contains `truth`.
fn coverage(
    studies: u64,
    seed: u64,
    truth: f64,
    mut interval: impl FnMut(&mut ChaCha8Rng) -> Option<(f64, f64)>,
) -> f64 {
    let (mut covered, mut made) = (0_u64, 0_u64);
    for number in 0..studies {
        if let Some((lower, upper)) = interval(&mut stream(seed, number)) {
            covered += u64::from((lower..=upper).contains(&truth));
            made += 1;
        }
    }
    assert_eq!(made, studies);
    covered as f64 / studies as f64
}

#[test]
fn bootstrap_intervals_cover_about_as_often_as_they_say() {
    const STUDIES: u64 = 2_000;
    for method in [Method::Percentile, Method::Bca] {
        let settings = Bootstrap { replicates: 1_000, seed: 7, confidence: 0.95, method };
        // Episodes in clusters of two that share half of their difficulty.
        let recovered = coverage(STUDIES, 3, 0.5, |generator| {
            let twins: Vec<_> = (0..200)
                .flat_map(|start| {
                    let shared = generator.random_bool(0.5);
                    [0, 1].map(|_| {
                        let own = generator.random_bool(0.5);
                        let arm = if generator.random_bool(0.5) { shared } else { own };
                        let weak = generator.random_bool(0.4);
                        aegis_statistics::Twin {
                            task: start % TASKS,
                            initial_state: start / TASKS,
                            weak,
                            arm,
                        }
                    })
                })
                .collect();
            let estimate = paired_effects(&twins, &settings).ok()?.recovered?.clustered?;
            Some((estimate.lower, estimate.upper))
        });
        // Normal scores, lost episodes one deviation above won ones: AUROC is Φ(1 / √2).
        let noise = |generator: &mut ChaCha8Rng| -> f64 { StandardNormal.sample(generator) };
        let auroc = coverage(STUDIES, 5, 0.760_249_938_906_523_7, |generator| {
            let failed: Vec<bool> = (0..200).map(|_| generator.random_bool(0.5)).collect();
            let scores: Vec<f64> =
                failed.iter().map(|failed| f64::from(*failed) + noise(generator)).collect();
            let clusters = Clusters::new(&(0..200).collect::<Vec<_>>()).ok()?;
            let estimate = auroc_interval(&failed, &scores, &clusters, &settings).ok()?;
            Some((estimate.lower, estimate.upper))
        });
        println!(
            "95 % intervals, {method:?}, over {STUDIES} studies: recovered-task rate covers {:.1} %, AUROC {:.1} %",
            100.0 * recovered,
            100.0 * auroc
        );
        // Bootstrap intervals have their level only in the limit, so the check has a tolerance of 2 percentage points.
        for found in [recovered, auroc] {
            assert!((0.93..=0.97).contains(&found), "{method:?}: {found}");
        }
    }
}

#[test]
fn a_conformal_threshold_is_left_by_new_episodes_at_its_level() {
    const CALIBRATIONS: u64 = 20_000;
    for (episodes, alpha) in [(19, 0.1), (39, 0.1), (161, 0.1), (40, 0.25)] {
        let mut alarms = 0_u64;
        for number in 0..CALIBRATIONS {
            let mut generator = stream(11, number);
            let mut peak = || (0..17).map(|_| generator.random::<f64>()).fold(0.0, f64::max);
            let peaks: Vec<f64> = (0..episodes).map(|_| peak()).collect();
            alarms += u64::from(peak() > split_conformal_threshold(&peaks, alpha));
        }
        let rank = ((f64::from(episodes) + 1.0) * (1.0 - alpha)).ceil();
        let expected = 1.0 - rank / (f64::from(episodes) + 1.0);
        let found = alarms as f64 / CALIBRATIONS as f64;
        println!(
            "split conformal at {alpha} on {episodes} won episodes: false alarms {:.2} %, exactly {:.2} %",
            100.0 * found,
            100.0 * expected
        );
        // The tolerance is four standard errors.
        let spread = (expected * (1.0 - expected) / CALIBRATIONS as f64).sqrt();
        assert!(
            (found - expected).abs() < 4.0 * spread && expected <= alpha + 1e-12,
            "{found} for {expected}"
        );
    }
}

//! Paired outcomes, contrasts, budgets and task tables on rows whose answers can be counted by hand.
//! What clusters do to an interval, and what each function refuses.
#![allow(clippy::expect_used, clippy::unwrap_used)] // Helpers of tests, which clippy takes for other code.

use aegis_statistics::{
    Bootstrap, Method, Over, Spending, SpendingPair, StatisticsError, Tolerance, Triplet, Twin, Verdict,
    budget_match, contrast, leave_one_task_out, mcnemar, paired_effects, task_table,
};

const BOOTSTRAP: Bootstrap =
    Bootstrap { replicates: 2_000, seed: 4, confidence: 0.95, method: Method::Percentile };

/// Ten tasks with ten starts each; weak wins every fifth, the arm recovers the lost ones of task 0 and breaks one.
fn twins() -> Vec<Twin> {
    let mut twins = Vec::new();
    for task in 0..10 {
        for initial_state in 0..10 {
            let weak = initial_state % 5 == 0;
            let arm = if task == 0 { true } else { weak && (task, initial_state) != (3, 5) };
            twins.push(Twin { task, initial_state, weak, arm });
        }
    }
    twins
}

#[test]
fn effects_are_counted() {
    let effects = paired_effects(&twins(), &BOOTSTRAP).unwrap();
    let (recovered, broken) = (effects.recovered.unwrap(), effects.broken.unwrap());
    assert_eq!((recovered.proportion.k, recovered.proportion.n), (8, 80));
    assert_eq!((broken.proportion.k, broken.proportion.n), (1, 20));
    assert_eq!(effects.net_effect, 0.07);
    assert_eq!(effects.mcnemar, mcnemar(8, 1));
    for (estimate, expected) in [
        (recovered.clustered.unwrap(), 0.1),
        (broken.clustered.unwrap(), 0.05),
        (effects.net_effect_clustered.unwrap(), 0.07),
    ] {
        assert!((estimate.estimate - expected).abs() < 1e-15);
        assert!(estimate.lower <= expected && expected <= estimate.upper && estimate.lower < estimate.upper);
        assert_eq!(estimate.clusters, 100);
    }
}

#[test]
fn the_order_of_rows_changes_nothing() {
    let mut shuffled = twins();
    shuffled.reverse();
    shuffled.swap(3, 77);
    assert_eq!(paired_effects(&shuffled, &BOOTSTRAP), paired_effects(&twins(), &BOOTSTRAP));
}

#[test]
fn repeating_an_episode_within_its_cluster_adds_no_evidence() {
    let once = paired_effects(&twins(), &BOOTSTRAP).unwrap();
    let repeated: Vec<Twin> = twins().into_iter().flat_map(|twin| [twin; 4]).collect();
    let four = paired_effects(&repeated, &BOOTSTRAP).unwrap();
    assert_eq!(four.net_effect_clustered.unwrap(), once.net_effect_clustered.unwrap());
    // The exact interval treats repeated episodes as independent, so it is narrower.
    let width = |effects: &aegis_statistics::PairedEffects| {
        let exact = effects.recovered.unwrap().proportion.exact;
        exact.upper - exact.lower
    };
    assert!(width(&four) < 0.6 * width(&once));
}

#[test]
fn a_rate_of_nothing_is_none() {
    let won: Vec<Twin> = twins().into_iter().map(|twin| Twin { weak: true, ..twin }).collect();
    let effects = paired_effects(&won, &BOOTSTRAP).unwrap();
    assert!(effects.recovered.is_none());
    assert_eq!(effects.broken.unwrap().proportion.n, 100);
    assert_eq!(paired_effects(&[], &BOOTSTRAP), Err(StatisticsError::Empty { name: "twins" }));
    let few = Bootstrap { replicates: 99, ..BOOTSTRAP };
    assert_eq!(
        paired_effects(&won, &few).unwrap_err().to_string(),
        "replicates: found 99; valid is 100 to 1,000,000"
    );
}

#[test]
fn a_contrast_is_over_what_weak_lost_or_over_all() {
    let triplets: Vec<Triplet> = twins()
        .iter()
        .map(|twin| Triplet {
            task: twin.task,
            initial_state: twin.initial_state,
            weak: twin.weak,
            treatment: twin.arm,
            control: twin.task == 1 && twin.initial_state == 1,
        })
        .collect();
    let lost = contrast(&triplets, Over::WeakLost, &BOOTSTRAP).unwrap();
    assert_eq!((lost.b, lost.c, lost.treatment.unwrap().n), (8, 1, 80));
    assert_eq!((lost.treatment.unwrap().k, lost.control.unwrap().k), (8, 1));
    assert!((lost.difference.unwrap().estimate - 7.0 / 80.0).abs() < 1e-15);
    assert_eq!(lost.mcnemar, mcnemar(8, 1));
    let all = contrast(&triplets, Over::All, &BOOTSTRAP).unwrap();
    assert_eq!((all.b, all.c, all.treatment.unwrap().n), (27, 1, 100));
    // Where weak lost nothing there is nothing to compare on, and no evidence.
    let mut won: Vec<Triplet> = triplets.iter().copied().filter(|one| one.weak).collect();
    let none = contrast(&won, Over::WeakLost, &BOOTSTRAP).unwrap();
    assert_eq!((none.b, none.c, none.treatment, none.control, none.difference), (0, 0, None, None, None));
    assert_eq!(none.mcnemar.one_sided, 1.0);
    // With a single start that weak lost, every resample has the same difference, so there is no interval.
    won.extend(triplets.iter().copied().find(|one| !one.weak));
    let one = contrast(&won, Over::WeakLost, &BOOTSTRAP).unwrap();
    assert_eq!((one.treatment.unwrap().n, one.difference), (1, None));
    assert!(contrast(&[], Over::All, &BOOTSTRAP).is_err());
}

fn spending(extra_fires: impl Fn(usize) -> u32, extra_steps: u32) -> Vec<SpendingPair> {
    (0..200)
        .map(|index| {
            let control = Spending { fires: 1 + (index % 3) as u32, steps: 220, strong_steps: 60 };
            let treatment = Spending {
                fires: control.fires + extra_fires(index),
                strong_steps: control.strong_steps + extra_steps,
                ..control
            };
            SpendingPair { task: index % 10, initial_state: index / 10, treatment, control }
        })
        .collect()
}

#[test]
fn a_budget_match_has_to_be_shown() {
    let tolerance = Tolerance { fires: 0.5, duty: 0.05 };
    let verdicts = |pairs: &[SpendingPair]| {
        let found = budget_match(pairs, tolerance, &BOOTSTRAP).unwrap();
        (found.fires.verdict, found.duty.verdict)
    };
    assert_eq!(verdicts(&spending(|_| 0, 0)), (Verdict::Matched, Verdict::Matched));
    assert_eq!(verdicts(&spending(|_| 1, 22)), (Verdict::Mismatched, Verdict::Mismatched));
    assert_eq!(verdicts(&spending(|index| u32::from(index % 2 == 0), 0)).0, Verdict::Unclear);
    let found = budget_match(&spending(|_| 1, 22), tolerance, &BOOTSTRAP).unwrap();
    assert!((found.fires.difference.estimate - 1.0).abs() < 1e-12);
    assert!((found.duty.difference.estimate - 0.1).abs() < 1e-12);
}

#[test]
fn impossible_spending_is_named() {
    let mut pairs = spending(|_| 0, 0);
    pairs[7].control.strong_steps = 221;
    let tolerance = Tolerance { fires: 0.5, duty: 0.05 };
    let error = budget_match(&pairs, tolerance, &BOOTSTRAP).unwrap_err().to_string();
    assert_eq!(error, "strong_steps[7]: found 221; valid is at most the episode's steps");
    let error = budget_match(&pairs, Tolerance { duty: f64::NAN, ..tolerance }, &BOOTSTRAP).unwrap_err();
    assert_eq!(error.to_string(), "tolerance.duty: found NaN; valid is 0 or above, and finite");
}

#[test]
fn task_tables_add_up() {
    let table = task_table(&twins(), 0.95).unwrap();
    assert_eq!(table.len(), 10);
    assert_eq!(table.iter().map(|row| row.arm.k).sum::<u64>(), 27);
    let first = table[0];
    assert_eq!((first.recovered.unwrap().k, first.recovered.unwrap().n, first.net_effect), (8, 8, 0.8));
    assert_eq!((table[3].broken.unwrap().k, table[3].broken.unwrap().n, table[3].net_effect), (1, 2, -0.1));
}

#[test]
fn leaving_out_the_task_that_carries_the_effect_shows_it() {
    let left_out = leave_one_task_out(&twins()).unwrap();
    assert_eq!((left_out[0].task, left_out[0].recovered, left_out[0].broken), (0, 0, 1));
    assert!((left_out[0].net_effect + 1.0 / 90.0).abs() < 1e-15);
    assert!(left_out[1..].iter().all(|row| row.net_effect > 0.07 && row.episodes == 90));
    let one: Vec<Twin> = twins().into_iter().filter(|twin| twin.task == 2).collect();
    assert_eq!(leave_one_task_out(&one).unwrap_err().to_string(), "tasks: found 1; valid is at least 2");
}

//! The bootstrap and the AUROC over clusters: results are repeatable, independent of how work is divided, and wider for
//! dependent rows. Refusals say what was found.
#![allow(clippy::expect_used, clippy::unwrap_used)] // Helpers of tests, which clippy takes for other code.

use aegis_statistics::{
    Bootstrap, Clusters, Method, Ratio, StatisticsError, auroc, auroc_interval, auroc_within,
    auroc_within_interval, bootstrap_mean,
};

const PERCENTILE: Bootstrap =
    Bootstrap { replicates: 1_000, seed: 8, confidence: 0.95, method: Method::Percentile };

/// Returns values in [0, 1) from a sequence that resembles random draws.
fn values(count: usize) -> Vec<f64> {
    (0..count).map(|index| (index as f64 * 0.618_033_988_749_895 + 0.3).fract()).collect()
}

fn singles(count: usize) -> Clusters {
    Clusters::new(&(0..count).collect::<Vec<_>>()).unwrap()
}

#[test]
fn any_split_over_threads_gives_the_same_resamples() {
    let clusters = singles(90);
    let rows = values(90);
    let ratio = Ratio::new(&clusters, rows.iter().map(|value| (*value, 1.0)));
    let run = |numbers| PERCENTILE.distribution(&clusters, numbers, |weights| ratio.value(weights));
    let whole = run(0..1_000);
    let split: Vec<Option<f64>> = std::thread::scope(|scope| {
        let parts: Vec<_> =
            [0..1, 1..400, 400..1_000].map(|numbers| scope.spawn(|| run(numbers))).into_iter().collect();
        parts.into_iter().flat_map(|part| part.join().unwrap()).collect()
    });
    assert_eq!(split, whole);
}

#[test]
fn a_seed_is_one_interval() {
    let (clusters, rows) = (singles(60), values(60));
    let run = |seed| bootstrap_mean(&rows, &clusters, &Bootstrap { seed, ..PERCENTILE }).unwrap();
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

#[test]
fn a_normal_mean_has_its_textbook_interval() {
    let (clusters, rows) = (singles(400), values(400));
    let mean = rows.iter().sum::<f64>() / 400.0;
    let variance = rows.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / 400.0;
    let expected = 1.959_964 * (variance / 400.0).sqrt();
    for method in [Method::Percentile, Method::Bca] {
        let settings = Bootstrap { replicates: 20_000, method, ..PERCENTILE };
        let found = bootstrap_mean(&rows, &clusters, &settings).unwrap();
        for end in [found.estimate - found.lower, found.upper - found.estimate] {
            assert!((end / expected - 1.0).abs() < 0.05, "{end} for {expected}");
        }
    }
}

#[test]
fn counting_classes_has_the_law_of_drawing_clusters() {
    let (count, drawn) = (300, values(300));
    let clusters =
        Clusters::within(&(0..count).collect::<Vec<_>>(), &(0..count).map(|row| row % 3).collect::<Vec<_>>())
            .unwrap();
    let rows = drawn.iter().map(|value| (f64::from(u8::from(*value < 0.12)), 1.0));
    let ratio = Ratio::new(&clusters, rows);
    for method in [Method::Percentile, Method::Bca] {
        let settings = Bootstrap { replicates: 5_000, method, ..PERCENTILE };
        let counted = ratio.interval(&clusters, &settings).unwrap();
        let by_cluster = settings.interval(&clusters, |weights| ratio.value(weights)).unwrap();
        assert_eq!((counted.estimate, counted.clusters), (by_cluster.estimate, by_cluster.clusters));
        assert!((counted.standard_error / by_cluster.standard_error - 1.0).abs() < 0.05);
        // The distribution steps by one episode; an end may fall on the next step.
        let step = 1.01 / f64::from(count);
        assert!(
            (counted.lower - by_cluster.lower).abs() < step
                && (counted.upper - by_cluster.upper).abs() < step
        );
    }
}

#[test]
fn bca_of_a_constant_is_the_constant() {
    let settings = Bootstrap { method: Method::Bca, ..PERCENTILE };
    let found = bootstrap_mean(&[0.25; 20], &singles(20), &settings).unwrap();
    assert_eq!((found.lower, found.estimate, found.upper), (0.25, 0.25, 0.25));
}

#[test]
fn a_probe_that_only_knows_the_task_is_worth_nothing_within_tasks() {
    // Task 0 fails one in four and scores low, task 1 three in four and scores high.
    let groups: Vec<usize> = (0..80).map(|row| row / 40).collect();
    let labels: Vec<bool> = (0..80).map(|row| if row < 40 { row % 4 == 0 } else { row % 4 != 0 }).collect();
    let scores: Vec<f64> = groups.iter().map(|task| *task as f64).collect();
    assert_eq!(auroc(&labels, &scores).unwrap(), 0.75);
    assert_eq!(auroc_within(&labels, &scores, &groups).unwrap(), 0.5);
    let keys: Vec<usize> = (0..80).collect();
    let found = auroc_within_interval(&labels, &scores, &groups, &keys, &PERCENTILE).unwrap();
    assert_eq!((found.lower, found.upper, found.undefined), (0.5, 0.5, 0));
}

#[test]
fn an_auroc_over_clusters_is_wider_than_over_rows() {
    let (rows, scores) = (240, values(240));
    // Four episodes of each start agree in label and nearly in score.
    let labels: Vec<bool> = (0..rows).map(|row| scores[row / 4] + scores[row / 4 + 100] > 1.0).collect();
    let scores: Vec<f64> = (0..rows).map(|row| scores[row / 4] + 0.01 * scores[row]).collect();
    let clustered = Clusters::new(&(0..rows).map(|row| row / 4).collect::<Vec<_>>()).unwrap();
    let over = |clusters: &Clusters| auroc_interval(&labels, &scores, clusters, &PERCENTILE).unwrap();
    let (by_start, by_row) = (over(&clustered), over(&singles(rows)));
    assert_eq!(by_start.estimate, auroc(&labels, &scores).unwrap());
    assert_eq!(by_start.estimate, by_row.estimate);
    assert!(by_start.standard_error > 1.6 * by_row.standard_error);
}

#[test]
fn resamples_without_a_class_are_counted() {
    let labels = [true, false, false, false];
    let found = auroc_interval(&labels, &[0.9, 0.1, 0.95, 0.3], &singles(4), &PERCENTILE).unwrap();
    // A resample lacks the positive row with probability (3/4)^4 = 0.316, and has only it with 0.004.
    assert!((250..390).contains(&found.undefined), "{}", found.undefined);
}

#[test]
fn nan_ranks_highest() {
    assert_eq!(auroc(&[false, true, false], &[0.2, f64::NAN, 9.0]).unwrap(), 1.0);
    assert_eq!(auroc(&[false, true], &[f64::INFINITY, f64::NAN]).unwrap(), 0.5);
}

#[test]
fn refusals_say_what_was_found() {
    let message = |error: StatisticsError| error.to_string();
    let auroc_of = |labels: &[bool], scores: &[f64]| message(auroc(labels, scores).unwrap_err());
    assert_eq!(
        auroc_of(&[true], &[0.1, 0.2]),
        "scores: found 2 rows; valid is 1, one for each row of labels"
    );
    assert_eq!(auroc_of(&[], &[]), "labels: found none; valid is at least one");
    assert!(auroc_of(&[true, true], &[0.1, 0.2]).starts_with("labels: found only true"));
    let within = auroc_within(&[true, false], &[0.1, 0.2], &[1, 2]).unwrap_err();
    assert_eq!(within, StatisticsError::NoMixedGroup { groups: 2 });
    let mean = |rows: &[f64], settings| bootstrap_mean(rows, &singles(3), &settings).unwrap_err();
    let level = Bootstrap { confidence: 1.0, ..PERCENTILE };
    assert_eq!(message(mean(&[1.0, 2.0, 3.0], level)), "confidence: found 1; valid is above 0, below 1");
    let nan = mean(&[1.0, f64::NAN, 3.0], PERCENTILE);
    assert_eq!(message(nan), "values[1]: found NaN; valid is finite numbers");
    let lone = Bootstrap { method: Method::Bca, ..PERCENTILE };
    let bca = auroc_interval(&[true, false, false], &[0.5, 0.1, 0.7], &singles(3), &lone).unwrap_err();
    assert!(matches!(bca, StatisticsError::Bca(_)));
}

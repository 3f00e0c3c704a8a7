//! Evaluation of benefit heads on synthetic forks: rankings, one hold in an episode, reliability, and tasks left out.
#![allow(clippy::expect_used, clippy::unwrap_used)] // Helpers of tests, which clippy takes for other code.

use aegis_probe::benefit::{BenefitEvaluation, Forked, evaluate};
use aegis_probe::file::ProbeFile;
use aegis_probe::forks::EpisodeForks;
use aegis_probe::hold_out::{Episodes, HoldOut, HoldOutError, hold_out};
use aegis_probe::rollout::Rollout;

use crate::benefit::probe_file;
use crate::forked::episodes;

fn file(plain: bool) -> ProbeFile {
    probe_file(&episodes(0..80), &episodes(200..240), plain)
}

fn judged(file: &ProbeFile, (rollouts, forks): &(Vec<Rollout>, Vec<EpisodeForks>)) -> BenefitEvaluation {
    let forked = Forked::join(rollouts, forks).unwrap();
    evaluate(file, (rollouts, &forked), &[], (40, 10), Some(0.1), 1).unwrap()
}

#[test]
fn the_benefit_head_ranks_better_than_the_risk_head_and_its_interval_says_so() {
    let found = judged(&file(false), &episodes(300..360));
    let names: Vec<&str> = found.rankings.iter().map(|ranking| ranking.name).collect();
    assert_eq!(
        names,
        [
            "benefit head",
            "risk head",
            "weak against strong",
            "seam between chunks",
            "distance from the mean activation",
            "time, early first",
            "time, late first"
        ]
    );
    let [benefit, risk, ..] = &found.rankings[..] else { panic!("two rankings") };
    let (qini, behind) = (benefit.qini.unwrap(), risk.behind.unwrap());
    assert!(qini.lower > 0.6 && benefit.behind.is_none(), "{benefit:?}");
    assert!((behind.estimate - (qini.estimate - risk.qini.unwrap().estimate)).abs() < 1e-9);
    assert!(behind.lower > 0.1, "{risk:?}");
    let [early, late] = [5, 6].map(|index| found.rankings[index].qini.unwrap().estimate);
    assert!((early + late).abs() < 1e-9, "a ranking and its reverse");
    for ranking in &found.rankings {
        let last = ranking.uplift.last().unwrap();
        assert!((last.gain - found.mean_benefit).abs() < 1e-9, "with a hold everywhere: {}", ranking.name);
    }
    assert_eq!((found.data.episodes, found.data.forks), (120, 360));
}

#[test]
fn one_hold_in_an_episode_recovers_most_where_the_benefit_decides() {
    let fresh = episodes(300..360);
    let found = judged(&file(false), &fresh);
    let one = found.one_hold.unwrap();
    let lost = fresh.0.iter().filter(|rollout| !rollout.success).count();
    assert_eq!((one.episodes, one.lost), (120, lost));
    let [benefit, risk, ..] = &one.rankings[..] else { panic!("two rankings") };
    assert!(risk.behind.unwrap().lower > 0.0 && one.random.behind.unwrap().lower > 0.0, "{one:?}");
    assert!(benefit.curve.windows(2).all(|pair| pair[0].recovered <= pair[1].recovered));
    assert!(one.rankings.iter().all(|ranking| ranking.curve.iter().all(|point| point.broken == 0.0)));
    let last = benefit.curve.last().unwrap();
    assert!((last.spent - 0.1).abs() < 1e-12);

    // Where a hold changes nothing, no ranking is better than another, and the other figures remain.
    let mut idle = episodes(300..360);
    for episode in &mut idle.1 {
        episode.forks.iter_mut().for_each(|fork| fork.hold.success = episode.success);
    }
    let found = judged(&file(false), &idle);
    assert!(found.rankings.iter().all(|ranking| ranking.qini.is_none() && ranking.behind.is_none()));
    assert_eq!((found.mean_benefit, found.one_hold.unwrap().rankings[0].area.estimate), (0.0, 0.0));

    // An episode with a boundary left out has no curve, and its boundaries still count in the rankings.
    let mut drawn = episodes(300..360);
    for episode in &mut drawn.1 {
        episode.forks.truncate(1);
        episode.forks[0].inclusion = 1.0 / 3.0;
    }
    let found = judged(&file(false), &drawn);
    assert!(found.one_hold.is_none() && found.data.forks == 120);
}

#[test]
fn predicted_benefits_are_observed_and_a_probe_without_the_head_is_judged_by_its_risk() {
    let fresh = episodes(300..360);
    let found = judged(&file(false), &fresh).reliability.unwrap();
    assert_eq!(found.tenths.iter().map(|tenth| tenth.forks).collect::<Vec<_>>(), [36; 10]);
    assert!(found.tenths.windows(2).all(|pair| pair[0].predicted <= pair[1].predicted));
    let last = found.tenths.last().unwrap();
    let interval = last.interval.unwrap();
    assert!(last.observed > 0.8 && interval.lower <= last.observed && last.observed <= interval.upper);
    assert!(found.expected_calibration_error < 0.1, "{found:?}");

    let plain = judged(&file(true), &fresh);
    assert!(plain.reliability.is_none() && plain.rankings.iter().all(|ranking| ranking.behind.is_none()));
    assert_eq!(plain.rankings[0].name, "risk head");
    assert!(plain.unknown[0].reason.contains("fit it with --forks"));
}

fn left_out(file: &ProbeFile, count: usize) -> Result<HoldOut, HoldOutError> {
    let ((discovery, forks), (fresh, fresh_forks)) = (episodes(0..80), episodes(300..360));
    let (learned, judged) =
        (Forked::join(&discovery, &forks).unwrap(), Forked::join(&fresh, &fresh_forks).unwrap());
    let episodes = (
        Episodes { rollouts: &discovery, forked: Some(&learned) },
        Episodes { rollouts: &fresh, forked: Some(&judged) },
    );
    hold_out(file, episodes, count, 40, 1)
}

#[test]
fn tasks_left_out_are_judged_by_a_fit_on_the_others() {
    let found = left_out(&file(false), 1).unwrap();
    assert_eq!(found.groups.iter().map(|group| group.tasks.clone()).collect::<Vec<_>>(), [[0], [1]]);
    assert!(found.groups.iter().all(|group| group.episodes == 60 && group.auroc.unwrap() > 0.8));
    // Both tasks follow one law, so a fit on one of them reads the other.
    assert!(found.unseen.unwrap().lower > 0.8 && found.seen.unwrap().lower > 0.8, "{found:?}");
    let benefit = found.benefit.unwrap();
    assert!(benefit.unseen.unwrap().lower > 0.5 && benefit.unseen != benefit.seen, "{benefit:?}");
    assert!(left_out(&file(true), 1).unwrap().benefit.is_none());
    for count in [0, 2] {
        let error = left_out(&file(false), count).unwrap_err().to_string();
        assert!(error.contains(&format!("--hold-out-tasks: found {count}; valid is 1 to 1")), "{error}");
    }
}

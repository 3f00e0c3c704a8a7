//! Tests and intervals over pairs of episodes: every arm against the control, over all pairs and within each task.

use aegis_statistics::{
    Bootstrap, Contrast, Method, Over, PairedEffects, Proportion, StatisticsError, TaskRow, Triplet, Twin,
    contrast, holm, mcnemar_mid_p, paired_effects, task_table,
};
use serde::Serialize;

use super::pairs::{Set, Sets};

/// Resamples of each interval.
const REPLICATES: u64 = 10_000;
/// Status of the pairing.
const CLAIMED: &str = "claimed by the file, not audited";

/// Analysis of paired episodes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PairedReport {
    /// Status of the pairing: claimed, since nothing can check it.
    pub pairing: &'static str,
    /// Remarks about the files.
    pub notes: Vec<String>,
    /// Number of starts that every arm ran from.
    pub pairs: usize,
    /// Number of clusters that a bootstrap draws from.
    pub clusters: usize,
    /// Starts that were left out, since not every arm has them.
    pub left_out: usize,
    /// Arm that the others are compared with.
    pub control: String,
    /// Success rate of each arm.
    pub arms: Vec<ArmRate>,
    /// Each other arm against the control.
    pub contrasts: Vec<ArmContrast>,
    /// Bootstrap of the intervals.
    pub bootstrap: Bootstrap,
}

/// Success rate of an arm.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ArmRate {
    /// The arm.
    pub arm: String,
    /// Successes of all pairs, with the exact interval.
    pub success: Proportion,
}

/// An arm against the control.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ArmContrast {
    /// The arm.
    pub arm: String,
    /// Discordant pairs, exact test, and difference of the success rates with its interval over clusters.
    pub contrast: Contrast,
    /// One-sided mid-p value of "the arm wins more", ½ where no pair is discordant.
    pub mid_p_one_sided: f64,
    /// Two-sided p-value, adjusted by Holm over all contrasts.
    pub holm_two_sided: f64,
    /// Episodes that the control loses and the arm wins, and the reverse.
    pub effects: PairedEffects,
    /// The same within each task.
    pub tasks: Vec<TaskContrast>,
}

/// An arm against the control within one task.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TaskContrast {
    /// Name of the task.
    pub name: String,
    /// Figures; `weak` is the control.
    pub figures: TaskRow,
}

/// Analyses pairs. Intervals are drawn by `seed`.
///
/// # Errors
/// Those of the statistics; none for pairs that [`super::pairs::sets`] made.
pub fn analyse(sets: &Sets, notes: Vec<String>, seed: u64) -> Result<PairedReport, StatisticsError> {
    let bootstrap = Bootstrap { replicates: REPLICATES, seed, confidence: 0.95, method: Method::Percentile };
    let won = |arm: usize| {
        let count = sets.sets.iter().filter(|set| outcome(set, arm)).count() as u64;
        Proportion::new(count, sets.sets.len() as u64, bootstrap.confidence)
    };
    let rate = |(index, arm): (usize, &String)| Ok(ArmRate { arm: arm.clone(), success: won(index)? });
    let arms = sets.arms.iter().enumerate().map(rate).collect::<Result<Vec<_>, StatisticsError>>()?;
    let others = sets.arms.iter().enumerate().skip(1);
    let mut contrasts = others
        .map(|(index, arm)| of_arm(sets, index, arm, &bootstrap))
        .collect::<Result<Vec<_>, StatisticsError>>()?;
    let p: Vec<f64> = contrasts.iter().map(|one| one.contrast.mcnemar.two_sided).collect();
    for (one, adjusted) in contrasts.iter_mut().zip(holm(&p)?) {
        one.holm_two_sided = adjusted;
    }
    Ok(PairedReport {
        pairing: CLAIMED,
        notes,
        pairs: sets.sets.len(),
        clusters: sets.sets.last().map_or(0, |set| set.cluster + 1),
        left_out: sets.left_out,
        control: sets.arms.first().cloned().unwrap_or_default(),
        arms,
        contrasts,
        bootstrap,
    })
}

fn outcome(set: &Set, arm: usize) -> bool {
    set.outcomes.get(arm).copied().unwrap_or_default()
}

fn of_arm(
    sets: &Sets,
    arm: usize,
    name: &str,
    bootstrap: &Bootstrap,
) -> Result<ArmContrast, StatisticsError> {
    let triplet = |set: &Set| Triplet {
        task: set.task,
        initial_state: set.cluster,
        weak: outcome(set, 0),
        treatment: outcome(set, arm),
        control: outcome(set, 0),
    };
    let triplets: Vec<Triplet> = sets.sets.iter().map(triplet).collect();
    let twin = |set: &Set| Twin {
        task: set.task,
        initial_state: set.cluster,
        weak: outcome(set, 0),
        arm: outcome(set, arm),
    };
    let twins: Vec<Twin> = sets.sets.iter().map(twin).collect();
    let contrast = contrast(&triplets, Over::All, bootstrap)?;
    let named = |figures: TaskRow| TaskContrast {
        name: sets.tasks.get(figures.task).cloned().unwrap_or_default(),
        figures,
    };
    Ok(ArmContrast {
        arm: name.to_owned(),
        mid_p_one_sided: mcnemar_mid_p(contrast.b, contrast.c),
        holm_two_sided: contrast.mcnemar.two_sided,
        contrast,
        effects: paired_effects(&twins, bootstrap)?,
        tasks: task_table(&twins, bootstrap.confidence)?.into_iter().map(named).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns ten starts of two tasks; the second arm wins four that the control loses and loses one that it wins, the third is the control.
    fn sets() -> Sets {
        let set = |index: usize| {
            let control = index.is_multiple_of(2);
            let better = if index == 0 { false } else { control || index != 1 };
            Set { task: usize::from(index >= 4), cluster: index, outcomes: vec![control, better, control] }
        };
        Sets {
            arms: ["weak", "mine", "same"].map(Into::into).to_vec(),
            tasks: ["lift", "push"].map(Into::into).to_vec(),
            sets: (0..10).map(set).collect(),
            left_out: 1,
        }
    }

    #[test]
    fn contrasts_are_those_of_the_statistics() {
        let found = analyse(&sets(), vec!["a note".into()], 1).unwrap();
        let first = &found.contrasts[0];
        assert_eq!((first.contrast.b, first.contrast.c), (4, 1));
        assert_eq!(first.contrast.mcnemar, aegis_statistics::mcnemar(4, 1));
        assert_eq!(first.mid_p_one_sided, mcnemar_mid_p(4, 1));
        let difference = first.contrast.difference.unwrap();
        assert_eq!((difference.estimate, difference.clusters), (0.3, 10));
        assert!(difference.lower < 0.3 && difference.upper > 0.3);
        assert_eq!(first.holm_two_sided, (2.0 * first.contrast.mcnemar.two_sided).min(1.0));
        assert_eq!(found.contrasts[1].holm_two_sided, 1.0);
        let tasks: Vec<(&str, u64)> =
            first.tasks.iter().map(|task| (task.name.as_str(), task.figures.arm.n)).collect();
        assert_eq!(tasks, [("lift", 4), ("push", 6)]);
        assert_eq!((found.pairs, found.clusters, found.left_out, &*found.control), (10, 10, 1, "weak"));
        assert_eq!(analyse(&sets(), vec!["a note".into()], 1).unwrap(), found, "a seed gives one report");
    }

    #[test]
    fn one_cluster_has_counts_and_no_interval() {
        let mut one = sets();
        one.sets.iter_mut().for_each(|set| (set.task, set.cluster) = (0, 0));
        let found = analyse(&one, Vec::new(), 1).unwrap();
        assert_eq!((found.contrasts[0].contrast.b, found.contrasts[0].contrast.difference), (4, None));
    }
}

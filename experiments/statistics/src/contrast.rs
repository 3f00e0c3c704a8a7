//! Two arms against each other on the same episodes: the study's contrasts.
//! Discordant counts, their exact test, and the difference of success rates with an interval over clusters.

use serde::{Deserialize, Serialize};

use crate::{Bootstrap, Clusters, Estimate, McNemar, Proportion, Ratio, StatisticsError, mcnemar};

/// One episode under weak and two arms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Triplet {
    /// Task within the suite.
    pub task: usize,
    /// Initial state within the task.
    pub initial_state: usize,
    /// Whether the weak policy alone won.
    pub weak: bool,
    /// Whether the arm that is claimed to win more won.
    pub treatment: bool,
    /// Whether the arm that it is compared with won.
    pub control: bool,
}

/// Which episodes a contrast is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Over {
    /// Those that weak lost: a difference of recovered-task rates, without the episodes that an arm breaks.
    WeakLost,
    /// All of them: a difference of success rates. The only choice against weak itself.
    All,
}

/// One contrast.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Contrast {
    /// Which episodes.
    pub over: Over,
    /// Won by the treatment, of these episodes; none where there is no such episode, as where weak lost none.
    pub treatment: Option<Proportion>,
    /// Won by the control, of these episodes; none likewise.
    pub control: Option<Proportion>,
    /// Won only by the treatment.
    pub b: u64,
    /// Won only by the control.
    pub c: u64,
    /// Exact test of "the treatment wins more".
    pub mcnemar: McNemar,
    /// Difference of the two rates, over clusters of (task, initial state). None where fewer than two clusters have an episode
    /// that the contrast is over, or where the interval is otherwise undefined.
    pub difference: Option<Estimate>,
}

/// Compares two arms on the same episodes.
///
/// Clusters are drawn from all episodes, so that the number of episodes that weak loses varies as it would. Without one that
/// it is over, a contrast has counts of 0, a p-value of 1 and no interval. Errors: no triplets, settings out of range.
pub fn contrast(
    triplets: &[Triplet],
    over: Over,
    bootstrap: &Bootstrap,
) -> Result<Contrast, StatisticsError> {
    bootstrap.validate()?;
    let counts = |one: &Triplet| over == Over::All || !one.weak;
    let count = |keep: &dyn Fn(&Triplet) -> bool| {
        triplets.iter().filter(|one| counts(one) && keep(one)).count() as u64
    };
    let n = count(&|_| true);
    if triplets.is_empty() {
        return Err(StatisticsError::Empty { name: "triplets" });
    }
    let b = count(&|one| one.treatment && !one.control);
    let c = count(&|one| one.control && !one.treatment);
    let row = |one: &Triplet| {
        let counted = f64::from(counts(one));
        (counted * (f64::from(one.treatment) - f64::from(one.control)), counted)
    };
    let keys: Vec<(usize, usize)> = triplets.iter().map(|one| (one.task, one.initial_state)).collect();
    let difference = Clusters::new(&keys).ok().and_then(|clusters| {
        let ratio = Ratio::new(&clusters, triplets.iter().map(row));
        ratio.interval(&clusters, bootstrap).ok()
    });
    let share = |k: u64| (n > 0).then(|| Proportion::new(k, n, bootstrap.confidence)).transpose();
    Ok(Contrast {
        over,
        treatment: share(count(&|one| one.treatment))?,
        control: share(count(&|one| one.control))?,
        b,
        c,
        mcnemar: mcnemar(b, c),
        difference,
    })
}

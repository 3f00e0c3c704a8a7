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
    /// Those that weak lost: a difference of recovered-task rates. Says nothing of what an arm breaks.
    WeakLost,
    /// All of them: a difference of success rates. The only choice against weak itself.
    All,
}

/// One contrast.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Contrast {
    /// Which episodes.
    pub over: Over,
    /// Won by the treatment, of these episodes.
    pub treatment: Proportion,
    /// Won by the control, of these episodes.
    pub control: Proportion,
    /// Won only by the treatment.
    pub b: u64,
    /// Won only by the control.
    pub c: u64,
    /// Exact test of "the treatment wins more".
    pub mcnemar: McNemar,
    /// Difference of the two rates, over clusters of (task, initial state); none where it is undefined.
    pub difference: Option<Estimate>,
}

/// Compares two arms on the same episodes.
///
/// Clusters are drawn from all episodes, so that the number of episodes that weak loses varies as it would. Errors:
/// no episode to compare on, settings out of range.
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
    if n == 0 {
        return Err(StatisticsError::Empty { name: "episodes of the contrast" });
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
    Ok(Contrast {
        over,
        treatment: Proportion::new(count(&|one| one.treatment), n, bootstrap.confidence)?,
        control: Proportion::new(count(&|one| one.control), n, bootstrap.confidence)?,
        b,
        c,
        mcnemar: mcnemar(b, c),
        difference,
    })
}

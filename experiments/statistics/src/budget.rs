//! Equivalence of the budgets of two arms: differences of fires and of duty with intervals, compared with a tolerance.
//! A match has to be shown; an interval that is too wide shows none.

use serde::Serialize;

use crate::{Bootstrap, Clusters, Estimate, Ratio, StatisticsError};

/// The budget that one episode of an arm spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Spending {
    /// Number of fires.
    pub fires: u32,
    /// Control steps of the episode, at least 1.
    pub steps: u32,
    /// Control steps that the strong policy drove, at most `steps`.
    pub strong_steps: u32,
}

/// One episode under two arms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct SpendingPair {
    /// Task within the suite.
    pub task: usize,
    /// Initial state within the task.
    pub initial_state: usize,
    /// The arm that is claimed to win more.
    pub treatment: Spending,
    /// The arm that it is compared with.
    pub control: Spending,
}

/// Largest differences of budgets that count as equal, in either direction.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Tolerance {
    /// Fires per episode.
    pub fires: f64,
    /// Duty, as a share of control steps.
    pub duty: f64,
}

/// Result of comparing an interval with a tolerance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The whole interval lies within the tolerance.
    Matched,
    /// The interval crosses a bound of the tolerance: neither a match nor a mismatch is shown.
    Unclear,
    /// The whole interval lies beyond the tolerance.
    Mismatched,
}

/// One quantity of a budget: treatment minus control.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// The treatment's value.
    pub treatment: f64,
    /// The control's value.
    pub control: f64,
    /// Their difference with its interval over clusters.
    pub difference: Estimate,
    /// The interval against the tolerance.
    pub verdict: Verdict,
}

/// Budgets of two arms side by side.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct BudgetMatch {
    /// Mean fires per episode.
    pub fires: Difference,
    /// Strong steps over all steps.
    pub duty: Difference,
}

/// Compares what two arms spent on the same episodes.
///
/// The interval within the tolerance is the two one-sided tests of equivalence: a confidence of 1 − 2α shows a match
/// at level α (Schuirmann, *A comparison of the two one-sided tests procedure and the power approach*, Journal of
/// Pharmacokinetics and Biopharmaceutics 1987). Clusters are the episodes that share (task, initial state).
///
/// Errors: no pairs, an episode without steps or with more strong steps than steps, a tolerance below 0, and those of
/// [`Clusters::new`] and [`Bootstrap::interval`].
pub fn budget_match(
    pairs: &[SpendingPair],
    tolerance: Tolerance,
    bootstrap: &Bootstrap,
) -> Result<BudgetMatch, StatisticsError> {
    for (name, found) in [("tolerance.fires", tolerance.fires), ("tolerance.duty", tolerance.duty)] {
        if !(found >= 0.0 && found.is_finite()) {
            return Err(StatisticsError::Range { name, found, valid: "0 or above, and finite" });
        }
    }
    for (index, pair) in pairs.iter().enumerate() {
        for spent in [pair.treatment, pair.control] {
            if spent.steps == 0 {
                let valid = "at least 1";
                return Err(StatisticsError::Value { name: "steps", index, found: 0.0, valid });
            }
            if spent.strong_steps > spent.steps {
                let (found, valid) = (f64::from(spent.strong_steps), "at most the episode's steps");
                return Err(StatisticsError::Value { name: "strong_steps", index, found, valid });
            }
        }
    }
    let clusters =
        Clusters::new(&pairs.iter().map(|pair| (pair.task, pair.initial_state)).collect::<Vec<_>>())?;
    let fires = |spent: Spending| (f64::from(spent.fires), 1.0);
    let duty = |spent: Spending| (f64::from(spent.strong_steps), f64::from(spent.steps));
    Ok(BudgetMatch {
        fires: compare(pairs, &clusters, fires, tolerance.fires, bootstrap)?,
        duty: compare(pairs, &clusters, duty, tolerance.duty, bootstrap)?,
    })
}

fn compare(
    pairs: &[SpendingPair],
    clusters: &Clusters,
    row: impl Fn(Spending) -> (f64, f64) + Copy,
    tolerance: f64,
    bootstrap: &Bootstrap,
) -> Result<Difference, StatisticsError> {
    let treatment = Ratio::new(clusters, pairs.iter().map(|pair| row(pair.treatment)));
    let control = Ratio::new(clusters, pairs.iter().map(|pair| row(pair.control)));
    let difference =
        bootstrap.interval(clusters, |weights| Some(treatment.value(weights)? - control.value(weights)?))?;
    let all = vec![1; clusters.count()];
    let whole = StatisticsError::Undefined("the data");
    Ok(Difference {
        treatment: treatment.value(&all).ok_or(whole.clone())?,
        control: control.value(&all).ok_or(whole)?,
        difference,
        verdict: if difference.lower >= -tolerance && difference.upper <= tolerance {
            Verdict::Matched
        } else if difference.lower > tolerance || difference.upper < -tolerance {
            Verdict::Mismatched
        } else {
            Verdict::Unclear
        },
    })
}

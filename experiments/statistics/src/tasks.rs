//! Effects task by task, and the net effect with each task left out.
//! Shows whether a result depends on a single task.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::twins::discordant;
use crate::{McNemar, Proportion, StatisticsError, Twin, mcnemar};

/// One task's paired outcomes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct TaskRow {
    /// The task.
    pub task: usize,
    /// Won by weak.
    pub weak: Proportion,
    /// Won by the arm.
    pub arm: Proportion,
    /// Won by the arm of those that weak lost; none when weak lost nothing.
    pub recovered: Option<Proportion>,
    /// Lost by the arm of those that weak won; none when weak won nothing.
    pub broken: Option<Proportion>,
    /// (recovered − broken) / episodes.
    pub net_effect: f64,
    /// Exact test within the task.
    pub mcnemar: McNemar,
}

/// The net effect without one task.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct LeftOut {
    /// The task left out.
    pub task: usize,
    /// Pairs that remain.
    pub episodes: u64,
    /// Recovered among them.
    pub recovered: u64,
    /// Broken among them.
    pub broken: u64,
    /// (recovered − broken) / episodes.
    pub net_effect: f64,
    /// Exact test on what remains.
    pub mcnemar: McNemar,
}

/// One row per task, in order, with Clopper–Pearson intervals at a two-sided `confidence` level.
///
/// Errors: no twins, a level outside (0, 1).
pub fn task_table(twins: &[Twin], confidence: f64) -> Result<Vec<TaskRow>, StatisticsError> {
    let proportion = |k: u64, n: u64| (n > 0).then(|| Proportion::new(k, n, confidence)).transpose();
    tasks(twins)?
        .into_iter()
        .map(|task| {
            let rows: Vec<Twin> = twins.iter().copied().filter(|twin| twin.task == task).collect();
            let episodes = rows.len() as u64;
            let weak_won = rows.iter().filter(|twin| twin.weak).count() as u64;
            let arm_won = rows.iter().filter(|twin| twin.arm).count() as u64;
            let (recovered, broken) = discordant(&rows);
            Ok(TaskRow {
                task,
                weak: Proportion::new(weak_won, episodes, confidence)?,
                arm: Proportion::new(arm_won, episodes, confidence)?,
                recovered: proportion(recovered, episodes - weak_won)?,
                broken: proportion(broken, weak_won)?,
                net_effect: (recovered as f64 - broken as f64) / episodes as f64,
                mcnemar: mcnemar(recovered, broken),
            })
        })
        .collect()
}

/// The net effect with each task left out in turn, in order of tasks.
///
/// Errors: fewer than two tasks.
pub fn leave_one_task_out(twins: &[Twin]) -> Result<Vec<LeftOut>, StatisticsError> {
    let tasks = tasks(twins)?;
    if tasks.len() < 2 {
        return Err(StatisticsError::Range { name: "tasks", found: 1.0, valid: "at least 2" });
    }
    let left_out = |task| {
        let rows: Vec<Twin> = twins.iter().copied().filter(|twin| twin.task != task).collect();
        let (recovered, broken) = discordant(&rows);
        let episodes = rows.len() as u64;
        LeftOut {
            task,
            episodes,
            recovered,
            broken,
            net_effect: (recovered as f64 - broken as f64) / episodes as f64,
            mcnemar: mcnemar(recovered, broken),
        }
    };
    Ok(tasks.into_iter().map(left_out).collect())
}

fn tasks(twins: &[Twin]) -> Result<BTreeSet<usize>, StatisticsError> {
    if twins.is_empty() {
        return Err(StatisticsError::Empty { name: "twins" });
    }
    Ok(twins.iter().map(|twin| twin.task).collect())
}

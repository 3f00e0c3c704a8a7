//! Groups rows of another program into episodes. Rows may come in any order; each episode is checked for missing and repeated
//! rows and for contradictions.

use std::collections::BTreeSet;

use aegis_core::probe::LARGEST;
use aegis_core::{EpisodeKey, Start};

use super::{Columns, ForeignRollouts, Labels, StepGrid, Tasks};
use crate::columns::{Complaint, complaint};
use crate::rollout::{Boundary, Rollout};

/// Groups the rows of a file into episodes.
pub(super) fn rollouts(
    columns: &Columns,
    grid: StepGrid,
    known: Option<&Tasks>,
) -> Result<ForeignRollouts, Complaint> {
    if columns.step.is_empty() {
        return Err(complaint("rows", "none", "one for each inference"));
    }
    let tasks = tasks(&columns.task, known)?;
    let task = match &tasks {
        Tasks::Names(names) => places(&columns.task, names),
        Tasks::Numbers => whole("task", &columns.task)?,
    };
    let episode = numbered("episode", &columns.episode)?;
    let start = columns.start.as_ref().map(|start| numbered("start", start)).transpose()?;
    let steps = steps(&columns.step, grid)?;
    let success = flags(&columns.success)?;
    check_activations(columns)?;

    let mut order: Vec<usize> = (0..steps.len()).collect();
    order.sort_by_key(|row| (task[*row], episode[*row], steps[*row], *row));
    let of = |row: usize| Row {
        row,
        task: task[row],
        episode: episode[row],
        start: start.as_ref().map(|start| start[row]),
        step: steps[row],
        success: success[row],
    };
    let mut found: Vec<Rollout> = Vec::new();
    let mut last: Option<Row> = None;
    for row in order.into_iter().map(of) {
        let before = last.filter(|last| (last.task, last.episode) == (row.task, row.episode));
        match &before {
            Some(before) => row.check_after(before, grid)?,
            None => row.check_first()?,
        }
        let boundary =
            Boundary { step: row.step, features: columns.activation.row(row.row).to_vec(), chunks: None };
        let end = row.step.saturating_add(grid.chunk_steps).min(grid.horizon_steps);
        match found.last_mut().filter(|_| before.is_some()) {
            Some(rollout) => {
                rollout.boundaries.push(boundary);
                rollout.steps = end;
            }
            None => found.push(Rollout {
                key: row.key(),
                success: row.success,
                steps: end,
                disturbance: None,
                boundaries: vec![boundary],
            }),
        }
        last = Some(row);
    }
    found.sort_by_key(|rollout| rollout.key);
    Ok(ForeignRollouts { rollouts: found, tasks, has_starts: start.is_some() })
}

/// One row without its activation.
#[derive(Clone, Copy)]
struct Row {
    row: usize,
    task: usize,
    episode: usize,
    start: Option<usize>,
    step: u32,
    success: bool,
}

impl Row {
    /// Returns the episode's key: without a column of starts each episode is a start of its own.
    fn key(&self) -> EpisodeKey {
        let (initial_state, replicate) =
            self.start.map_or((self.episode, 0), |start| (start, self.episode as u64));
        EpisodeKey { start: Start { task: self.task, initial_state }, replicate }
    }

    fn name(&self) -> String {
        format!("task {}, episode {}", self.task, self.episode)
    }

    fn check_first(&self) -> Result<(), Complaint> {
        if self.step == 0 {
            return Ok(());
        }
        let found = format!("row {}: step {} as the first of {}", self.row, self.step, self.name());
        Err(complaint(
            "step",
            found,
            "0, where an episode's first chunk starts: record every inference from there on",
        ))
    }

    /// Checks a row against the one before it in the same episode.
    fn check_after(&self, before: &Self, grid: StepGrid) -> Result<(), Complaint> {
        let (row, other, name) = (self.row, before.row, self.name());
        if self.step == before.step {
            let found = format!("rows {other} and {row}: step {} of {name} twice", self.step);
            let valid =
                "one row for each step of an episode: number episodes anew in each run, or name their task";
            return Err(complaint("step", found, valid));
        }
        if self.success != before.success {
            let found = format!("rows {other} and {row}: {} and {} in {name}", before.success, self.success);
            let valid = "one outcome in every row of an episode, that of its end";
            return Err(complaint("success", found, valid));
        }
        if self.start != before.start {
            let found = format!("rows {other} and {row}: two starts in {name}");
            return Err(complaint("start", found, "one start in every row of an episode"));
        }
        let chunk = grid.chunk_steps;
        if self.step - before.step != chunk {
            let found =
                format!("row {row}: step {} after {} (row {other}) of {name}", self.step, before.step);
            let valid = format!(
                "a row after each {chunk} control steps: leave an episode out whose rows are incomplete, and where step counts \
                 inferences, multiply it by {chunk}"
            );
            return Err(complaint("step", found, valid));
        }
        Ok(())
    }
}

/// Returns the tasks of a file; known names keep their indices, and further names follow in alphabetical order.
fn tasks(found: &Labels, known: Option<&Tasks>) -> Result<Tasks, Complaint> {
    match (found, known) {
        (Labels::Numbers(_), None | Some(Tasks::Numbers)) => Ok(Tasks::Numbers),
        (Labels::Text(names), None | Some(Tasks::Names(_))) => {
            let mut all = match known {
                Some(Tasks::Names(known)) => known.clone(),
                _ => Vec::new(),
            };
            let old: BTreeSet<&String> = all.iter().collect();
            let new: BTreeSet<&String> = names.iter().filter(|name| !old.contains(name)).collect();
            let new: Vec<String> = new.into_iter().cloned().collect();
            all.extend(new);
            Ok(Tasks::Names(all))
        }
        (Labels::Numbers(_), Some(Tasks::Names(_))) => {
            Err(complaint("task", "whole numbers", "names, as the rollouts of the fit have them"))
        }
        (Labels::Text(_), Some(Tasks::Numbers)) => {
            Err(complaint("task", "text", "whole numbers, as the rollouts of the fit have them"))
        }
    }
}

/// Returns the index of each row's label among names.
fn places(labels: &Labels, names: &[String]) -> Vec<usize> {
    let sorted: std::collections::BTreeMap<&String, usize> =
        names.iter().enumerate().map(|(place, name)| (name, place)).collect();
    match labels {
        Labels::Text(text) => text.iter().map(|name| sorted.get(name).copied().unwrap_or_default()).collect(),
        Labels::Numbers(numbers) => vec![0; numbers.len()],
    }
}

/// Returns numbers unchanged, and text as indices in alphabetical order.
fn numbered(column: &str, labels: &Labels) -> Result<Vec<usize>, Complaint> {
    match labels {
        Labels::Numbers(_) => whole(column, labels),
        Labels::Text(text) => {
            let names: BTreeSet<&String> = text.iter().collect();
            let names: Vec<String> = names.into_iter().cloned().collect();
            Ok(places(labels, &names))
        }
    }
}

fn whole(column: &str, labels: &Labels) -> Result<Vec<usize>, Complaint> {
    let Labels::Numbers(values) = labels else { return Ok(vec![0; labels.len()]) };
    let number = |(row, value): (usize, &i128)| {
        let found = || complaint(column, format!("row {row}: {value}"), format!("0 to {}", u32::MAX));
        u32::try_from(*value).map(|value| value as usize).map_err(|_| found())
    };
    values.iter().enumerate().map(number).collect()
}

fn steps(values: &[i128], grid: StepGrid) -> Result<Vec<u32>, Complaint> {
    let step = |(row, value): (usize, &i128)| {
        let step = u32::try_from(*value).ok().filter(|step| *step < grid.horizon_steps);
        let valid = format!(
            "0 to {}, below the {} control steps of an episode (--horizon)",
            grid.horizon_steps.saturating_sub(1),
            grid.horizon_steps
        );
        step.ok_or_else(|| complaint("step", format!("row {row}: {value}"), valid))
    };
    values.iter().enumerate().map(step).collect()
}

fn flags(values: &[f64]) -> Result<Vec<bool>, Complaint> {
    let flag = |(row, value): (usize, &f64)| match *value {
        0.0 => Ok(false),
        1.0 => Ok(true),
        other => Err(complaint("success", format!("row {row}: {other}"), super::valid("success"))),
    };
    values.iter().enumerate().map(flag).collect()
}

/// Checks that every activation has the width of the first and values that a probe can read.
fn check_activations(columns: &Columns) -> Result<(), Complaint> {
    let lists = &columns.activation;
    let width = lists.row(0).len();
    for row in 0..lists.rows.len() {
        let values = lists.row(row);
        if values.len() != width || width == 0 {
            let valid = if width == 0 { "1 or more".into() } else { format!("{width}, as in row 0") };
            return Err(complaint("activation", format!("row {row}: {} values", values.len()), valid));
        }
        // Written so that NaN, which fails every comparison, is found too.
        let is_read = |value: &f64| value.abs() <= LARGEST;
        if let Some((index, value)) = values.iter().enumerate().find(|(_, value)| !is_read(value)) {
            let found = format!("row {row}: {value} as value {index}");
            let valid = format!("finite numbers up to {LARGEST:e}: leave an episode out whose policy failed");
            return Err(complaint("activation", found, valid));
        }
    }
    Ok(())
}

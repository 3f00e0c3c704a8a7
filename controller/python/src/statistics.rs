//! Paired statistics: exact tests, intervals, and how many episodes an effect needs. Results with several values are returned as JSON,
//! of which the Python side makes its classes.

use aegis_statistics as stats;
use aegis_statistics::{Bootstrap, Clusters, Discordance, Method, Spending, SpendingPair, Tolerance, Twin};
use numpy::PyReadonlyArray1;
use pyo3::prelude::*;
use serde::Serialize;

use crate::errors::value_error;
use crate::interrupt::interruptible;

/// Settings of a bootstrap, as Python gives them: replicates, seed, confidence, method.
type Settings = (u64, u64, f64, String);

fn bootstrap((replicates, seed, confidence, method): Settings) -> PyResult<Bootstrap> {
    let method = match method.as_str() {
        "percentile" => Method::Percentile,
        "bca" => Method::Bca,
        other => {
            return Err(value_error(format!("method: found {other:?}; valid is \"percentile\" or \"bca\"")));
        }
    };
    Ok(Bootstrap { replicates, seed, confidence, method })
}

fn json(result: &impl Serialize) -> PyResult<String> {
    serde_json::to_string(result).map_err(value_error)
}

fn column<T: numpy::Element + Copy>(values: &PyReadonlyArray1<'_, T>) -> Vec<T> {
    values.as_array().iter().copied().collect()
}

/// Refuses columns of different lengths.
fn same_length(name: &str, found: usize, other: &str, expected: usize) -> PyResult<()> {
    if found == expected {
        return Ok(());
    }
    Err(value_error(format!("{name}: found {found} rows; valid is {expected}, one for each row of {other}")))
}

/// Exact McNemar test; `b` pairs were won only by the treatment, `c` only by the control.
#[pyfunction]
pub fn mcnemar(b: u64, c: u64) -> PyResult<String> {
    json(&stats::mcnemar(b, c))
}

/// One-sided mid-p value.
#[pyfunction]
pub fn mcnemar_mid_p(b: u64, c: u64) -> f64 {
    stats::mcnemar_mid_p(b, c)
}

/// Adjusted p-values of Holm's procedure, in the order given.
#[pyfunction]
pub fn holm(p_values: Vec<f64>) -> PyResult<Vec<f64>> {
    stats::holm(&p_values).map_err(value_error)
}

/// Lower and upper end of the Clopper–Pearson interval.
#[pyfunction]
pub fn clopper_pearson(k: u64, n: u64, confidence: f64) -> PyResult<(f64, f64)> {
    let interval = stats::clopper_pearson(k, n, confidence).map_err(value_error)?;
    Ok((interval.lower, interval.upper))
}

/// Power of the one-sided exact McNemar test.
#[pyfunction]
pub fn mcnemar_power(
    py: Python<'_>,
    treatment_only: f64,
    control_only: f64,
    alpha: f64,
    n: u64,
) -> PyResult<f64> {
    let effect = Discordance { treatment_only, control_only };
    interruptible(py, move || stats::mcnemar_power(effect, alpha, n))?.map_err(value_error)
}

/// Pairs of episodes that a power needs.
#[pyfunction]
pub fn mcnemar_sample_size(
    py: Python<'_>,
    treatment_only: f64,
    control_only: f64,
    alpha: f64,
    power: f64,
    limit: u64,
) -> PyResult<String> {
    let effect = Discordance { treatment_only, control_only };
    let size = interruptible(py, move || stats::mcnemar_sample_size(effect, alpha, power, limit))?
        .map_err(value_error)?;
    json(&size)
}

/// Area under the ROC curve; within groups where groups are given, and with an interval over clusters where these are.
#[pyfunction]
pub fn auroc(
    py: Python<'_>,
    labels: PyReadonlyArray1<'_, bool>,
    scores: PyReadonlyArray1<'_, f64>,
    groups: Option<PyReadonlyArray1<'_, i64>>,
    clusters: Option<PyReadonlyArray1<'_, i64>>,
    settings: Option<Settings>,
) -> PyResult<String> {
    let (labels, scores) = (column(&labels), column(&scores));
    let (groups, clusters) = (groups.as_ref().map(column), clusters.as_ref().map(column));
    let over = match (clusters, settings) {
        (Some(clusters), Some(settings)) => Some((clusters, bootstrap(settings)?)),
        _ => None,
    };
    let found = interruptible(py, move || match (&groups, over) {
        (None, None) => stats::auroc(&labels, &scores).map(serde_json::Value::from),
        (Some(groups), None) => stats::auroc_within(&labels, &scores, groups).map(serde_json::Value::from),
        (None, Some((keys, settings))) => Clusters::new(&keys)
            .and_then(|clusters| stats::auroc_interval(&labels, &scores, &clusters, &settings))
            .map(|estimate| serde_json::json!(estimate)),
        (Some(groups), Some((keys, settings))) => {
            stats::auroc_within_interval(&labels, &scores, groups, &keys, &settings)
                .map(|estimate| serde_json::json!(estimate))
        }
    })?;
    json(&found.map_err(value_error)?)
}

/// What an arm does to the outcomes of its weak twins.
#[pyfunction]
pub fn paired_effects(
    py: Python<'_>,
    task: Vec<usize>,
    initial_state: Vec<usize>,
    weak: PyReadonlyArray1<'_, bool>,
    arm: PyReadonlyArray1<'_, bool>,
    settings: Settings,
) -> PyResult<String> {
    let (weak, arm, settings) = (column(&weak), column(&arm), bootstrap(settings)?);
    for (name, found) in [("initial_state", initial_state.len()), ("weak", weak.len()), ("arm", arm.len())] {
        same_length(name, found, "task", task.len())?;
    }
    let twins: Vec<Twin> = (0..task.len())
        .map(|row| Twin {
            task: task[row],
            initial_state: initial_state[row],
            weak: weak[row],
            arm: arm[row],
        })
        .collect();
    json(&interruptible(py, move || stats::paired_effects(&twins, &settings))?.map_err(value_error)?)
}

/// Columns of what an arm spent: fires, control steps, and control steps that the strong policy drove.
type Spent = (Vec<u32>, Vec<u32>, Vec<u32>);

/// Whether two arms spent the same budget, within a tolerance.
#[pyfunction]
pub fn budget_match(
    py: Python<'_>,
    task: Vec<usize>,
    initial_state: Vec<usize>,
    treatment: Spent,
    control: Spent,
    tolerance: (f64, f64),
    settings: Settings,
) -> PyResult<String> {
    let settings = bootstrap(settings)?;
    same_length("initial_state", initial_state.len(), "task", task.len())?;
    for (arm, spent) in [("treatment", &treatment), ("control", &control)] {
        for (name, column) in [("fires", &spent.0), ("steps", &spent.1), ("strong_steps", &spent.2)] {
            same_length(&format!("{arm}.{name}"), column.len(), "task", task.len())?;
        }
    }
    let of = |spent: &Spent, row: usize| Spending {
        fires: spent.0[row],
        steps: spent.1[row],
        strong_steps: spent.2[row],
    };
    let pairs: Vec<SpendingPair> = (0..task.len())
        .map(|row| SpendingPair {
            task: task[row],
            initial_state: initial_state[row],
            treatment: of(&treatment, row),
            control: of(&control, row),
        })
        .collect();
    let tolerance = Tolerance { fires: tolerance.0, duty: tolerance.1 };
    json(
        &interruptible(py, move || stats::budget_match(&pairs, tolerance, &settings))?
            .map_err(value_error)?,
    )
}

/// Mean of values with its bootstrap interval over clusters.
#[pyfunction]
pub fn bootstrap_mean(
    py: Python<'_>,
    values: PyReadonlyArray1<'_, f64>,
    clusters: PyReadonlyArray1<'_, i64>,
    settings: Settings,
) -> PyResult<String> {
    let (values, keys, settings) = (column(&values), column(&clusters), bootstrap(settings)?);
    let found = interruptible(py, move || {
        let clusters = Clusters::new(&keys)?;
        stats::bootstrap_mean(&values, &clusters, &settings)
    })?;
    json(&found.map_err(value_error)?)
}

/// Anytime-valid e-process over pairs of episodes, observed one after another.
#[pyclass(module = "aegis_reflex")]
#[derive(Default)]
pub struct McNemarProcess(stats::McNemarProcess);

#[pymethods]
impl McNemarProcess {
    #[new]
    fn new() -> Self {
        Self::default()
    }

    /// Adds a pair: whether the treatment won, and whether the control won.
    fn observe(&mut self, treatment: &Bound<'_, PyAny>, control: &Bound<'_, PyAny>) -> PyResult<()> {
        self.0.observe(treatment.is_truthy()?, control.is_truthy()?);
        Ok(())
    }

    /// E-value after the pairs observed so far.
    #[getter]
    fn e_value(&self) -> f64 {
        self.0.e_value()
    }

    /// Largest e-value so far.
    #[getter]
    fn maximum(&self) -> f64 {
        self.0.maximum()
    }

    /// Anytime-valid p-value: 1 over the largest e-value, at most 1.
    #[getter]
    fn p_value(&self) -> f64 {
        self.0.p_value()
    }

    /// Whether the p-value is at most `alpha`.
    fn rejects(&self, alpha: f64) -> PyResult<bool> {
        self.0.rejects(alpha).map_err(value_error)
    }
}

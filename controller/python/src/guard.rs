//! The guard: a fitted probe and a gate, asked at each chunk boundary of somebody else's loop.

use std::path::PathBuf;

use aegis_core::probe::{HeadsMemory, Score};
use aegis_core::{Driver, Gate, GateLimits, Heads, Readings, Rule};
use aegis_probe::file::ProbeFile;
use aegis_probe::rules::RuleSettings;
use numpy::{PyReadonlyArray1, PyUntypedArrayMethods};
use pyo3::prelude::*;

use crate::errors::value_error;
use crate::probe::table;

/// Decision at one chunk boundary.
#[pyclass(frozen, get_all, module = "aegis_reflex")]
pub struct Decision {
    /// Who drives the chunk that begins here: "weak" or "strong".
    driver: &'static str,
    /// The probe's risk of failure, 0 to 1; NaN for an activation with a value that is not finite, which counts as the highest risk.
    score: f64,
    /// What the rule compared with its threshold; None for a rule that reads nothing.
    reading: Option<f64>,
    /// Whether the guard forbids fires here, at the beginning of the episode.
    guarded: bool,
    /// Whether the limits would have let the gate fire here.
    armed: bool,
    /// Whether this boundary spent one fire.
    fired: bool,
    /// Whether the driver differs from that of the previous chunk.
    handed_over: bool,
    /// Fires left after this boundary.
    budget_left: u32,
}

#[pymethods]
impl Decision {
    fn __repr__(&self) -> String {
        let Self { driver, score, fired, handed_over, .. } = self;
        format!(
            "Decision(driver='{driver}', score={score:.4}, fired={}, handed_over={})",
            python(*fired),
            python(*handed_over)
        )
    }
}

/// A probe and a gate within one episode.
#[pyclass(module = "aegis_reflex")]
pub struct Guard {
    file: ProbeFile,
    limits: GateLimits,
    rule: Rule,
    gate: Gate,
    heads: Heads,
    memory: HeadsMemory,
    last_step: Option<u32>,
}

#[pymethods]
impl Guard {
    /// Reads a probe file. `limits` and `rule` are the tables `[gate]` and `[rule]` of a plan, as JSON.
    #[staticmethod]
    fn load(path: PathBuf, limits: &str, rule: &str) -> PyResult<Self> {
        let file = ProbeFile::read(&path).map_err(value_error)?;
        let limits: GateLimits = table("limits", limits)?;
        let rule: RuleSettings = table("rule", rule)?;
        rule.validate().map_err(|(field, reason)| value_error(format!("rule.{field}: {reason}")))?;
        if let RuleSettings::Blind { share: Some(share), .. } = rule {
            let message = format!(
                "rule.share: found {share}; valid is none: a guard obeys the schedule in every episode; ask it in a drawn share of them instead"
            );
            return Err(value_error(message));
        }
        file.check_rule(&path, &rule, &limits).map_err(value_error)?;
        let rule = rule.rule(&file.calibration, file.settings.trend_window);
        let gate = begun(&limits, &rule)?;
        let heads = file.heads();
        let memory = heads.memory();
        Ok(Self { file, limits, rule, gate, heads, memory, last_step: None })
    }

    /// Begins an episode.
    fn reset(&mut self) -> PyResult<()> {
        self.gate = begun(&self.limits, &self.rule)?;
        self.memory = self.heads.memory();
        self.last_step = None;
        Ok(())
    }

    /// Decides who drives the chunk that begins at control step `step`.
    #[pyo3(signature = (step, activation, disagreement=None))]
    fn boundary(
        &mut self,
        step: u32,
        activation: PyReadonlyArray1<'_, f64>,
        disagreement: Option<f64>,
    ) -> PyResult<Decision> {
        self.check(step, disagreement)?;
        let features = activation.as_slice().map_err(value_error)?;
        if features.len() != self.file.probe.width() {
            let message = format!(
                "activation: found shape {:?}; valid is ({},), the width that the probe was fitted on",
                activation.shape(),
                self.file.probe.width()
            );
            return Err(value_error(message));
        }
        let (score, benefit) = self.heads.read(&mut self.memory, features).map_err(value_error)?;
        Ok(self.decided(step, Readings { score, benefit, disagreement }))
    }

    /// Decides who drives the chunk that begins at control step `step`, by a score that was computed before. NaN is the highest risk.
    #[pyo3(signature = (step, score, disagreement=None))]
    fn decide(&mut self, step: u32, score: f64, disagreement: Option<f64>) -> PyResult<Decision> {
        self.check(step, disagreement)?;
        if !score.is_nan() && !(0.0..=1.0).contains(&score) {
            return Err(value_error(format!("score: found {score}; valid is 0 to 1, or NaN")));
        }
        if self.gate.needs_benefit() {
            return Err(value_error(
                "rule: found benefit, which a score does not tell; valid is boundary(), which reads the activation",
            ));
        }
        Ok(self.decided(step, Readings { disagreement, ..Score::new(score).into() }))
    }

    /// Number of values of an activation.
    #[getter]
    fn width(&self) -> usize {
        self.file.probe.width()
    }

    /// Control steps between boundaries.
    #[getter]
    fn chunk_steps(&self) -> u32 {
        self.limits.chunk_steps
    }
}

impl Guard {
    /// Refuses a boundary that is not the next one, and one that lacks what the rule reads.
    fn check(&self, step: u32, disagreement: Option<f64>) -> PyResult<()> {
        if let Some(last) = self.last_step.filter(|last| step <= *last) {
            let message = format!(
                "step: found {step} after {last}; valid is a later step, or reset() before an episode"
            );
            return Err(value_error(message));
        }
        let GateLimits { chunk_steps, horizon_steps, .. } = self.limits;
        if !step.is_multiple_of(chunk_steps) || step >= horizon_steps {
            return Err(value_error(format!(
                "step: found {step}; valid is a multiple of {chunk_steps}, the control steps of a chunk, below {horizon_steps}, those of an episode"
            )));
        }
        if self.gate.needs_disagreement() && disagreement.is_none() {
            return Err(value_error(
                "disagreement: found None; valid is the distance of both policies' chunks, which the rule reads",
            ));
        }
        Ok(())
    }

    fn decided(&mut self, step: u32, readings: Readings) -> Decision {
        let (score, decision) = (readings.score, self.gate.boundary(step, readings));
        self.last_step = Some(step);
        Decision {
            driver: match decision.driver {
                Driver::Weak => "weak",
                Driver::Strong => "strong",
            },
            score: if score.is_flagged() { f64::NAN } else { score.risk() },
            reading: decision.reading,
            guarded: decision.guarded,
            armed: decision.armed,
            fired: decision.fired,
            handed_over: decision.handed_over,
            budget_left: decision.budget_left,
        }
    }
}

/// Returns the gate at the start of an episode.
fn begun(limits: &GateLimits, rule: &Rule) -> PyResult<Gate> {
    let trigger = rule.trigger().map_err(value_error)?;
    Gate::new(limits.clone(), trigger).map_err(value_error)
}

/// Returns a truth value as Python writes it.
fn python(value: bool) -> &'static str {
    if value { "True" } else { "False" }
}

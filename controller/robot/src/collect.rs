//! Rollouts of the weak policy on a robot, from which a probe is fitted: the pooled activation at every chunk boundary, and the
//! outcome of each episode. The gate never fires meanwhile.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use aegis_core::control::{Mode, TickRecord};
use aegis_core::{Driver, Executing, Inference, Observation, Policy, PolicyError, Schema};

/// Number of inferences whose activations are kept; a boundary uses one of the newest.
const KEPT: usize = 64;

/// Pooled activations of the weak policy's newest inferences, by the control step of the observation.
#[derive(Clone, Debug, Default)]
pub struct ActivationTap(Arc<Mutex<BTreeMap<u32, Vec<f64>>>>);

impl ActivationTap {
    fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn put(&self, step: u32, pooled: Vec<f64>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.insert(step, pooled);
        while kept.len() > KEPT {
            kept.pop_first();
        }
    }

    fn get(&self, step: u32) -> Option<Vec<f64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&step).cloned()
    }
}

/// A policy whose pooled activations are kept.
pub(crate) struct Tapped {
    policy: Box<dyn Policy>,
    tap: ActivationTap,
}

impl Tapped {
    /// Wraps a policy; its activations go to `tap`.
    pub fn new(policy: Box<dyn Policy>, tap: ActivationTap) -> Self {
        Self { policy, tap }
    }
}

impl Policy for Tapped {
    fn bind(&mut self, schema: &Arc<Schema>) -> Result<(), PolicyError> {
        self.policy.bind(schema)
    }

    fn begin(&mut self, seed: u64) {
        self.tap.clear();
        self.policy.begin(seed);
    }

    fn remembers(&self) -> bool {
        self.policy.remembers()
    }

    fn set_executing(&mut self, executing: Option<Executing>) {
        self.policy.set_executing(executing);
    }

    fn infer(&mut self, observation: &Observation) -> Result<Inference, PolicyError> {
        let inference = self.policy.infer(observation)?;
        if let Some(activation) = &inference.activation {
            self.tap.put(observation.step, activation.mean_pool());
        }
        Ok(inference)
    }

    fn reads_frames(&self) -> bool {
        self.policy.reads_frames()
    }
}

/// A finished episode.
#[derive(Clone, Debug, PartialEq)]
pub struct CollectedEpisode {
    /// Place of the episode among those that the run has begun, from 0.
    pub index: usize,
    /// What the robot says of the task's goal at the end; why the episode is not a rollout of the weak policy, otherwise.
    pub outcome: Result<bool, &'static str>,
    /// Pooled activation at each chunk boundary, `[boundaries, width]`.
    pub activations: Vec<Vec<f64>>,
}

/// Collector of a run's episodes, fed with its control periods one after another.
#[derive(Debug)]
pub struct EpisodeCollector {
    tap: ActivationTap,
    begun: usize,
    is_on: bool,
    /// Control step of the observation that the newest chunk of the weak policy was made from.
    observed: Option<u32>,
    activations: Vec<Vec<f64>>,
    fault: Option<&'static str>,
}

impl EpisodeCollector {
    /// Makes a collector that has seen nothing; `tap` has the weak policy's activations.
    pub fn new(tap: ActivationTap) -> Self {
        Self { tap, begun: 0, is_on: false, observed: None, activations: Vec::new(), fault: None }
    }

    /// Takes a control period; `before` is the mode of the period before it. Returns the episode that ends in it.
    pub fn take(&mut self, period: &TickRecord<'_>, before: Mode) -> Option<CollectedEpisode> {
        let (inputs, output) = (&period.inputs, &period.output);
        if period.begins() {
            self.begun += 1;
            (self.is_on, self.observed, self.fault) = (true, None, None);
            self.activations.clear();
        }
        if !self.is_on {
            return None;
        }
        if let Some(reply) = inputs.weak.as_ref().filter(|reply| reply.proposal.is_ok()) {
            self.observed = Some(reply.observed);
        }
        if output.decision.is_some() {
            match self.observed.and_then(|step| self.tap.get(step)) {
                Some(pooled) if pooled.iter().all(|value| value.is_finite()) => self.activations.push(pooled),
                Some(_) => self.fault = Some("an activation is not finite"),
                None => self.fault = Some("a boundary has no activation"),
            }
        }
        if output.driver == Some(Driver::Strong) {
            self.fault = Some("the strong policy drove in place of the weak one");
        }
        let is_over = (before.is_on() || period.begins()) && !output.mode.is_on();
        if !is_over {
            return None;
        }
        self.is_on = false;
        let success = inputs.observation.is_some_and(|seen| seen.success);
        let outcome = match self.fault {
            _ if output.mode.is_latched() => Err("a stop ended it"),
            Some(fault) => Err(fault),
            None if self.activations.is_empty() => Err("it has no chunk boundary"),
            None => Ok(success),
        };
        let (index, activations) = (self.begun - 1, std::mem::take(&mut self.activations));
        Some(CollectedEpisode { index, outcome, activations })
    }
}

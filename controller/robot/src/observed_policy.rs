//! A policy whose inferences are observed, without a change of what the control thread gets. The observer is called on the policy's
//! thread, and must not wait.

use aegis_core::{Executing, Observation, PolicyError};
use aegis_runtime::{InferenceOutput, Inferencer};

/// An inferencer with a function that is called after each inference with what was read and how it ended.
pub(crate) struct ObservedPolicy<M, F> {
    inferencer: M,
    observer: F,
}

impl<M: Inferencer, F: FnMut(&Observation, &Result<(), PolicyError>)> ObservedPolicy<M, F> {
    /// Wraps an inferencer. Warm-up inferences are not observed.
    pub fn new(inferencer: M, observer: F) -> Self {
        Self { inferencer, observer }
    }
}

impl<M: Inferencer, F: FnMut(&Observation, &Result<(), PolicyError>)> Inferencer for ObservedPolicy<M, F> {
    fn begin(&mut self) {
        self.inferencer.begin();
    }

    fn warm_up(&mut self, observation: &Observation) {
        self.inferencer.warm_up(observation);
    }

    fn set_executing(&mut self, executing: Option<Executing>) {
        self.inferencer.set_executing(executing);
    }

    fn think(&mut self, observation: &Observation, thought: &mut InferenceOutput) -> Result<(), PolicyError> {
        let result = self.inferencer.think(observation, thought);
        (self.observer)(observation, &result);
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Failing;

    impl Inferencer for Failing {
        fn begin(&mut self) {}

        fn warm_up(&mut self, _: &Observation) {}

        fn set_executing(&mut self, _: Option<Executing>) {}

        fn think(&mut self, _: &Observation, _: &mut InferenceOutput) -> Result<(), PolicyError> {
            Err(PolicyError::Backend("the device has gone".into()))
        }
    }

    #[test]
    fn each_inference_is_observed_and_a_warm_up_is_not() {
        let mut seen = Vec::new();
        let observer = |_: &Observation, result: &Result<(), PolicyError>| seen.push(result.is_err());
        let mut observed = ObservedPolicy::new(Failing, observer);
        let observation = Observation::of(&[]).unwrap();
        observed.warm_up(&observation);
        assert!(observed.think(&observation, &mut InferenceOutput::default()).is_err());
        assert_eq!(seen, [true]);
    }
}

//! Error texts of failed inferences, passed from a policy's thread to the thread that logs events. The control thread reads
//! only why there is no chunk. The policy's thread writes to no file and no terminal.

use std::sync::{Arc, Mutex, PoisonError};

use aegis_core::{Observation, PolicyError};
use aegis_runtime::{InferenceOutput, Inferencer};

/// Slot for the text of a policy's newest error that has not been logged yet.
#[derive(Clone, Debug, Default)]
pub struct LastError(Arc<Mutex<Option<String>>>);

impl LastError {
    /// Takes the text out of the slot.
    pub fn take(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn put(&self, error: &PolicyError) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_string());
    }
}

/// An inferencer that stores the text of each error.
pub struct Reporting<M> {
    inferencer: M,
    error: LastError,
}

impl<M: Inferencer> Reporting<M> {
    /// Wraps `inferencer`; the text of its errors goes to `error`.
    pub fn new(inferencer: M, error: LastError) -> Self {
        Self { inferencer, error }
    }
}

impl<M: Inferencer> Inferencer for Reporting<M> {
    fn begin(&mut self) {
        self.inferencer.begin();
    }

    fn warm_up(&mut self, observation: &Observation) {
        self.inferencer.warm_up(observation);
    }

    fn think(&mut self, observation: &Observation, thought: &mut InferenceOutput) -> Result<(), PolicyError> {
        let result = self.inferencer.think(observation, thought);
        if let Err(error) = &result {
            self.error.put(error);
        }
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

        fn think(&mut self, _: &Observation, _: &mut InferenceOutput) -> Result<(), PolicyError> {
            Err(PolicyError::Backend("the device has gone".into()))
        }
    }

    #[test]
    fn the_text_of_an_error_is_told_once() {
        let told = LastError::default();
        let mut failing = Reporting::new(Failing, told.clone());
        let observation = Observation::of(&[]).unwrap();
        assert!(failing.think(&observation, &mut InferenceOutput::default()).is_err());
        assert_eq!(told.take().as_deref(), Some("inference failed: the device has gone"));
        assert_eq!(told.take(), None);
    }
}

//! Error texts of failed inferences, passed from a policy's thread to the thread that logs events. The control thread reads
//! only why there is no chunk. The policy's thread writes to no file and no terminal.

use std::sync::{Arc, Mutex, PoisonError};

use aegis_core::PolicyError;

/// Slot for the text of a policy's newest error that has not been logged yet.
#[derive(Clone, Debug, Default)]
pub struct LastError(Arc<Mutex<Option<String>>>);

impl LastError {
    /// Takes the text out of the slot.
    pub fn take(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Puts in the text of an error, in place of an older one.
    pub fn put(&self, error: &PolicyError) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_an_error_is_told_once() {
        let told = LastError::default();
        told.put(&PolicyError::Backend("the device has gone".into()));
        assert_eq!(told.take().as_deref(), Some("inference failed: the device has gone"));
        assert_eq!(told.take(), None);
    }
}

//! Saved boundary of an episode: the plant's own saved state with the state of the control loop, from which other episodes go on.

use aegis_core::Saved;

use crate::episode::context::{EpisodeContext, EpisodeError};
use crate::episode::state::{EpisodeState, StatePath};

/// Plant and control loop at one boundary.
pub(super) struct SavedPoint {
    saved: Saved,
    state: EpisodeState,
}

impl SavedPoint {
    /// Saves the plant at the boundary of this state; `None` for a plant that cannot save.
    pub(super) fn of(state: &EpisodeState, context: &EpisodeContext) -> Result<Option<Self>, EpisodeError> {
        Ok(context.plant.save()?.map(|saved| Self { saved, state: state.clone() }))
    }

    /// Returns the control step of the boundary.
    pub(super) fn step(&self) -> u32 {
        self.state.result.steps
    }

    /// Resumes the plant, and returns the state of the control loop there.
    ///
    /// # Errors
    /// [`EpisodeError::Fork`] where the plant's state is not the saved one, bit for bit.
    pub(super) fn resume(&self, context: &mut EpisodeContext) -> Result<EpisodeState, EpisodeError> {
        let mut state = self.state.clone();
        state.observation = context.plant.resume(&self.saved)?;
        let mut here = StatePath::default();
        here.push(context.plant.as_ref());
        if here.stands_where(&state.path) { Ok(state) } else { Err(EpisodeError::Fork { step: self.step() }) }
    }
}

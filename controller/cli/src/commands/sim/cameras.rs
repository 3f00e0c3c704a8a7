//! Cameras of a served environment: a thread of their own draws the newest state and publishes the pictures, so that the
//! environment keeps its control rate while a picture is drawn.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use aegis_link::{CameraPublisher, TimePoint};
use aegis_sim::camera::{Painter, PictureState};

/// Interval at which the thread checks whether it should end.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// State that waits to be drawn; a newer one replaces it.
#[derive(Debug)]
pub struct Waiting {
    state: Mutex<Option<(TimePoint, PictureState)>>,
    arrived: Condvar,
    /// Control steps from one picture to the next.
    every: u32,
}

impl Waiting {
    /// Makes an empty buffer for pictures at `rate` of a plant with `control_rate`, both per second.
    pub fn new(rate: f64, control_rate: f64) -> Self {
        let every = (control_rate / rate).round().max(1.0) as u32;
        Self { state: Mutex::new(None), arrived: Condvar::new(), every }
    }

    /// Stores the state of a control step for which a picture is due. `state` is called only then.
    pub fn put(&self, moment: &TimePoint, state: impl FnOnce() -> Option<PictureState>) {
        if moment.sequence.is_multiple_of(self.every)
            && let Some(state) = state()
        {
            *self.state.lock().unwrap_or_else(PoisonError::into_inner) = Some((*moment, state));
            self.arrived.notify_one();
        }
    }

    fn take(&self) -> Option<(TimePoint, PictureState)> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let woken = self.arrived.wait_timeout_while(state, POLL_INTERVAL, |state| state.is_none());
        woken.unwrap_or_else(PoisonError::into_inner).0.take()
    }

    /// Draws and publishes waiting states until `stop` is set. `warn` is called with the first of consecutive errors.
    pub fn draw(
        &self,
        mut painter: Painter,
        mut publisher: CameraPublisher,
        stop: &AtomicBool,
        warn: impl Fn(&str),
    ) {
        let mut is_told = false;
        while !stop.load(Ordering::Relaxed) {
            let Some((moment, state)) = self.take() else { continue };
            let drawn = painter.draw(&state).map_err(|error| error.to_string());
            let sent = drawn
                .and_then(|frames| publisher.publish(&moment, frames).map_err(|error| error.to_string()));
            match sent {
                Ok(()) => is_told = false,
                Err(error) if !is_told => {
                    warn(&format!("cannot draw pictures: {error}"));
                    is_told = true;
                }
                Err(_) => {}
            }
        }
    }
}

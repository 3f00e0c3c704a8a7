//! Plant monitor: checks the plant's heartbeat, and whether observations are new, of this episode, and young enough.
//! Policies infer on no observation that is too old; observations that stay too old stop the robot.

use std::time::Duration;

use super::io::{Diagnostics, Inputs, ObservationStamp, StopReason};
use super::mode::Mode;
use super::settings::ControlSettings;

#[derive(Clone, Debug, Default)]
pub(crate) struct PlantMonitor {
    /// Observation that arrived while no episode was on; the next episode may begin with it.
    waiting: Option<ObservationStamp>,
    sequence: Option<u32>,
    /// Time at which the newest valid observation was taken, on the controller's clock.
    fresh: Option<Duration>,
    pictures: u64,
    changed: Duration,
    stale_steps: u32,
    is_fresh: bool,
}

/// Result of one period's check of the plant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PlantCheck {
    pub(crate) stop: Option<StopReason>,
    pub(crate) success: bool,
    /// Number of observations that never arrived.
    pub(crate) gap: u32,
}

impl PlantMonitor {
    /// Clears the state of the previous episode. An observation of the new episode that has already arrived is kept.
    pub(crate) fn begin(&mut self, episode: u64) {
        let waiting = self.waiting.filter(|seen| seen.episode == episode);
        *self = Self { waiting, ..Self::default() };
    }

    /// Returns whether the newest observation is young enough for an inference.
    pub(crate) fn is_fresh(&self) -> bool {
        self.is_fresh
    }

    pub(crate) fn look(
        &mut self,
        inputs: &Inputs<'_>,
        episode: u64,
        mode: Mode,
        settings: &ControlSettings,
        notices: &mut Diagnostics,
    ) -> PlantCheck {
        let mut looked = PlantCheck { stop: plant_fault(inputs, mode, settings), ..PlantCheck::default() };
        let seen = match (self.waiting.take(), inputs.observation) {
            (Some(waiting), Some(seen)) => Some(waiting.joined(seen)),
            (waiting, seen) => seen.or(waiting),
        };
        if !mode.is_on() {
            self.waiting = seen;
            return looked;
        }
        if let Some(seen) = seen {
            self.take(&seen, inputs.now, episode, settings, notices, &mut looked);
        }
        let age = self.fresh.map(|fresh| inputs.now.saturating_sub(fresh));
        self.is_fresh = age.is_some_and(|age| age <= settings.max_age());
        self.stale_steps =
            if self.is_fresh { 0 } else { self.stale_steps.saturating_add(1 + inputs.skipped) };
        if !self.is_fresh {
            notices.add(Diagnostics::STALE);
        }
        if self.stale_steps >= settings.stale_steps {
            looked.stop = looked.stop.or(Some(StopReason::Stale));
        }
        looked
    }

    fn take(
        &mut self,
        seen: &ObservationStamp,
        now: Duration,
        episode: u64,
        settings: &ControlSettings,
        notices: &mut Diagnostics,
        looked: &mut PlantCheck,
    ) {
        if seen.episode != episode {
            return notices.add(Diagnostics::FOREIGN_OBSERVATION);
        }
        if let Some(last) = self.sequence {
            if seen.sequence <= last {
                return notices.add(Diagnostics::DUPLICATE);
            }
            let new = seen.sequence - last;
            looked.gap = new.saturating_sub(seen.arrived);
            if looked.gap > 0 {
                notices.add(Diagnostics::GAP);
            }
            if seen.arrived > new {
                notices.add(Diagnostics::DUPLICATE);
            }
        }
        self.sequence = Some(seen.sequence);
        if seen.fault.is_some() {
            return notices.add(Diagnostics::IMPLAUSIBLE);
        }
        looked.success = seen.success;
        if seen.pictures != self.pictures || seen.pictures == 0 {
            (self.pictures, self.changed) = (seen.pictures, now);
        }
        let limit = milliseconds(settings.frozen_ms);
        if !limit.is_zero() && now.saturating_sub(self.changed) > limit {
            return notices.add(Diagnostics::FROZEN);
        }
        self.fresh = Some(seen.taken_at());
    }
}

fn plant_fault(inputs: &Inputs<'_>, mode: Mode, settings: &ControlSettings) -> Option<StopReason> {
    let plant = &inputs.plant;
    let silent = inputs.now.saturating_sub(plant.heard) > settings.plant_timeout();
    match () {
        () if plant.lost => Some(StopReason::PlantLost),
        () if silent => Some(StopReason::PlantSilent),
        // Outside an episode a plant without commands stops by itself, as intended.
        () if plant.stopped && mode.is_on() => Some(StopReason::PlantStopped),
        () => None,
    }
}

fn milliseconds(value: f64) -> Duration {
    Duration::from_secs_f64(value / 1e3)
}

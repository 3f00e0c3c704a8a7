//! A run's hold on its plant: claimed where it is not this run's, held against the robot file, and its clock known before
//! anybody may start on what it shows.

use std::time::Duration;

use tracing::info;

use super::Drive;
use crate::exit::{Exit, Failure, failure};

impl Drive<'_> {
    /// Has the plant and knows its clock, unless a signal ends the run before.
    pub(super) fn claim(&mut self) -> Result<(), Failure> {
        loop {
            let is_new = self.ensure_claim()?;
            let plant = &self.robot.file.plant;
            if let Some(round_trip) = self.cell.await_clock(plant)? {
                if is_new {
                    let round_trip_us = round_trip.as_secs_f64() * 1e6;
                    info!(
                        round_trip_us,
                        "the clock of {plant} is known, by heartbeats that take {:.1} ms there and back",
                        round_trip_us / 1e3
                    );
                }
                return Ok(());
            }
            if self.cell.is_told_to_end() {
                return Ok(());
            }
        }
    }

    /// Claims the plant where it is not this run's: at the beginning, and when it was lost. Whether it had to.
    fn ensure_claim(&mut self) -> Result<bool, Failure> {
        if self.cell.ears.holds() && self.plant.is_some() {
            return Ok(false);
        }
        if let Some((plant, sending)) = self.plant.take() {
            self.cell.stop_sending(sending);
            drop(plant);
        }
        let controller = format!("aegis run, process {}", std::process::id());
        let plant =
            self.cell.claim(&self.session, &self.robot.file.plant, &controller, self.newest_episode)?;
        let claimed = plant.claimed();
        self.check(claimed.action_width as usize, Duration::from_nanos(claimed.period_ns))?;
        let sending = self.cell.attach(&plant)?;
        self.plant = Some((plant, sending));
        Ok(true)
    }

    /// Whether the plant is the one that the robot file is about.
    fn check(&self, width: usize, period: Duration) -> Result<(), Failure> {
        let (name, control) = (&self.robot.file.plant, &self.robot.file.control);
        let wrong = |reason: String| failure(Exit::Input, format!("{}: {reason}", self.robot.path.display()));
        let expected = control.channels.len();
        if width != expected {
            return Err(wrong(format!(
                "control.channels: found {expected}; valid is the {width} of plant {name}"
            )));
        }
        let rate = 1.0 / period.as_secs_f64();
        if (rate - control.rate_hz).abs() > 1e-3 * rate {
            let found = control.rate_hz;
            return Err(wrong(format!(
                "control.rate_hz: found {found}; valid is the {rate} of plant {name}"
            )));
        }
        Ok(())
    }
}

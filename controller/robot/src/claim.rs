//! A run's claim on its plant. The plant is claimed where this run does not hold a claim, and checked against the robot
//! file. Its clock must be known before an episode may start on its observations.

use std::time::Duration;

use tracing::info;

use crate::run::Run;
use aegis_failure::{Exit, Failure, failure};

impl Run<'_> {
    /// Ensures that this run has claimed the plant and knows the plant's clock. Returns early, without an error, when a
    /// signal ends the run.
    pub(crate) fn claim(&mut self) -> Result<(), Failure> {
        loop {
            let is_new = self.ensure_claim()?;
            let plant = &self.robot.file.plant;
            if let Some(round_trip) = self.robot_session.await_clock(plant)? {
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
            if self.robot_session.is_told_to_end() {
                return Ok(());
            }
        }
    }

    /// Claims the plant where this run does not hold a claim: at the beginning, and after the plant was lost. Returns
    /// whether a new claim was made.
    fn ensure_claim(&mut self) -> Result<bool, Failure> {
        if self.robot_session.listener.holds() && self.plant.is_some() {
            return Ok(false);
        }
        if let Some((plant, sending)) = self.plant.take() {
            self.robot_session.stop_sending(sending);
            drop(plant);
        }
        let controller = format!("aegis run, process {}", std::process::id());
        let plant = self.robot_session.claim(
            &self.session,
            &self.robot.file.plant,
            &controller,
            self.newest_episode,
        )?;
        let claimed = plant.claimed();
        self.check(claimed.action_width as usize, Duration::from_nanos(claimed.period_ns))?;
        self.check_starts(claimed.tasks as usize)?;
        let sending = self.robot_session.attach(&plant)?;
        self.plant = Some((plant, sending));
        Ok(true)
    }

    /// Checks that the plant's number of channels and control period agree with the robot file. The rates may differ by a
    /// thousandth.
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

    /// Checks that the plant has the task of every start.
    fn check_starts(&self, tasks: usize) -> Result<(), Failure> {
        let starts = self.robot.file.starts.iter().enumerate();
        let Some((index, start)) = starts.into_iter().find(|(_, start)| start.task >= tasks) else {
            return Ok(());
        };
        let (path, plant) = (self.robot.path.display(), &self.robot.file.plant);
        let (index, found) = (self.options.first_start + index, start.task);
        let valid = match tasks {
            1 => "0, the only task".to_owned(),
            _ => format!("0 to {}, the tasks", tasks.saturating_sub(1)),
        };
        let reason =
            format!("{path}: starts[{index}].task: found {found}; valid is {valid} of plant {plant}");
        Err(failure(Exit::Input, reason))
    }
}

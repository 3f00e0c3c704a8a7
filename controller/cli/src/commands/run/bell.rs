//! The terminal's bell of a run: it rings when an operator is called, and once a second until the call ends.

use std::time::Duration;

use aegis_core::control::{CallPhase, CallReport};
use aegis_robot::events::TickEvent;

/// Time between two rings of one call.
const INTERVAL: Duration = Duration::from_secs(1);

/// When the bell of a run rang last.
#[derive(Debug, Default)]
pub struct Bell {
    rung: Option<(u32, Duration)>,
}

impl Bell {
    /// Returns whether the bell rings in a control period.
    pub fn rings(&mut self, tick: &TickEvent<'_>) -> bool {
        let output = &tick.period.output;
        output.call.as_ref().is_some_and(|report| self.is_due(report, tick.period.inputs.now))
    }

    fn is_due(&mut self, report: &CallReport, now: Duration) -> bool {
        let waits = |(call, at): (u32, Duration)| call == report.call && now.saturating_sub(at) < INTERVAL;
        let is_due = report.phase == CallPhase::Called && !self.rung.is_some_and(waits);
        if is_due {
            self.rung = Some((report.call, now));
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_call_rings_at_once_and_then_every_second() {
        let mut bell = Bell::default();
        let mut rings = |ms, phase, call| {
            let report = CallReport { phase, call, ..CallReport::default() };
            bell.is_due(&report, Duration::from_millis(ms))
        };
        let rung: Vec<u64> = (0..2500).filter(|ms| rings(*ms, CallPhase::Called, 1)).collect();
        assert_eq!(rung, [0, 1000, 2000]);
        assert!(!rings(2500, CallPhase::Driving, 1) && !rings(9000, CallPhase::Quiet, 1));
        assert!(rings(9100, CallPhase::Called, 2) && !rings(9200, CallPhase::Called, 2));
    }
}

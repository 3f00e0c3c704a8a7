//! A rule of your own behind the gate: fires when the score has risen at two boundaries in a row.
//!
//!     cargo run --release -p aegis-core --example rule

use aegis_core::gate::{BudgetUnit, Gate, GateError, GateLimits};
use aegis_core::{Evidence, Score, Signal, Thresholds, Trigger};

/// Number of rises in a row, and the score at the boundary before.
#[derive(Default)]
struct TwoRises {
    rises: u32,
    before: Option<f64>,
}

impl Trigger for TwoRises {
    fn read(&mut self, evidence: &Evidence) -> Signal {
        let risk = evidence.score.risk();
        let has_risen = self.before.is_some_and(|before| risk > before);
        self.rises = if has_risen { self.rises + 1 } else { 0 };
        self.before = Some(risk);
        Signal {
            alarm: self.rises >= 2,
            calm: !has_risen,
            reading: Some(f64::from(self.rises)),
            against: Thresholds { fire: 1.0, hand_back: 1.0 },
        }
    }
}

fn main() -> Result<(), GateError> {
    let limits = GateLimits {
        return_chunks: 1,
        guard_fraction: 0.1,
        budget_fraction: 0.1,
        budget_unit: BudgetUnit::Chunks,
        duty_cap: 0.5,
        hold_chunks: 3,
        whole_holds: false,
        horizon_steps: 100,
        chunk_steps: 10,
    };
    let mut gate = Gate::new(limits, TwoRises::default())?;
    for (boundary, risk) in (0..).zip([0.2, 0.3, 0.4, 0.5, 0.3, 0.2, 0.2, 0.2]) {
        let decision = gate.boundary(boundary * 10, Score::new(risk));
        println!(
            "step {:2}: risk {risk}, {} drives, fired: {}",
            boundary * 10,
            decision.driver,
            decision.fired
        );
    }
    Ok(())
}

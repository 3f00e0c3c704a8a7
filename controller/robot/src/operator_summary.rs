//! Summary of an operator's part in a run: how fast calls were answered, how much the person drove, and what was refused.

use std::time::Duration;

use aegis_core::control::{CallPhase, TickRecord};
use serde_json::{Value, json};

use crate::call_tracker::CallEvent;

/// Largest number of answers whose times are listed one by one. Further ones count in the distribution alone.
const LISTED: usize = 1000;

/// Counts of a run whose backup is a person.
#[derive(Debug, Default)]
pub struct OperatorSummary {
    calls: u64,
    unanswered: u64,
    withdrawn: u64,
    let_go: u64,
    /// Time to each answer, in order.
    answers: Vec<Duration>,
    refused: u64,
    dropped: u64,
    /// Control periods of episodes, and those of them in which a person drove.
    periods: u64,
    driven: u64,
}

impl OperatorSummary {
    /// Adds a control period, and what it changed about a call.
    pub fn take(&mut self, period: &TickRecord<'_>, event: Option<CallEvent>) {
        match event {
            Some(CallEvent::Called) => self.calls += 1,
            Some(CallEvent::Answered(took)) => self.answers.push(took),
            Some(CallEvent::LetGo) => self.let_go += 1,
            Some(CallEvent::Unanswered) => self.unanswered += 1,
            Some(CallEvent::Withdrawn) => self.withdrawn += 1,
            Some(CallEvent::Ended) | None => {}
        }
        let Some(report) = &period.output.call else { return };
        self.refused += u64::from(report.refused.is_some());
        self.dropped += u64::from(report.dropped);
        self.periods += u64::from(period.output.mode.is_on());
        self.driven += u64::from(report.phase == CallPhase::Driving && period.output.mode.drives());
    }

    /// Returns the summary as JSON; times are in seconds.
    pub fn summary(&self) -> Value {
        let seconds = |time: &Duration| time.as_secs_f64();
        let each: Vec<f64> = self.answers.iter().take(LISTED).map(seconds).collect();
        let mut sorted = self.answers.clone();
        sorted.sort_unstable();
        let share = if self.periods == 0 { 0.0 } else { self.driven as f64 / self.periods as f64 };
        json!({
            "calls": self.calls,
            "answered": self.answers.len(),
            "unanswered": self.unanswered,
            "withdrawn": self.withdrawn,
            "let_go": self.let_go,
            "answer_s": {
                "each": each,
                "p50": sorted.get(sorted.len().saturating_sub(1) / 2).map(seconds),
                "max": sorted.last().map(seconds),
            },
            "share": share,
            "driven_periods": self.driven,
            "refused_first_commands": self.refused,
            "dropped_commands": self.dropped,
        })
    }
}

#[cfg(test)]
mod tests {
    use aegis_core::control::{
        CallReport, Diagnostics, FirstRefusal, Inputs, Mode, OperatorCommands, Output, PlantHealth,
        RefusalReason, StopReason, TeleopFault,
    };

    use crate::call_tracker::CallTracker;

    use super::*;

    fn period(ms: u64, mode: Mode, cause: Option<StopReason>, call: CallReport) -> TickRecord<'static> {
        let inputs = Inputs {
            now: Duration::from_millis(ms),
            skipped: 0,
            observation: None,
            plant: PlantHealth { heard: Duration::ZERO, lost: false, stopped: false, round_trip: None },
            weak: None,
            strong: None,
            wishes: OperatorCommands::default(),
            pose: None,
            pose_taken: None,
            measured: None,
            cameras: None,
            teleop: None,
        };
        let output = Output {
            mode,
            cause,
            send: true,
            step: 0,
            ask_weak: None,
            ask_strong: None,
            decision: None,
            driver: None,
            limited: 0,
            notices: Diagnostics::default(),
            call: Some(call),
        };
        TickRecord { inputs, output, command: Vec::new().into(), late_ns: 0, took_ns: 0 }
    }

    #[test]
    fn calls_answers_and_the_share_of_a_person_are_counted() {
        let (mut tracker, mut summary) = (CallTracker::default(), OperatorSummary::default());
        let report = |phase, call| CallReport { phase, call, ..CallReport::default() };
        let refused = Some(FirstRefusal { operator: 1, reason: RefusalReason::Faulty(TeleopFault::Width) });
        use CallPhase::{Called, Driving, Quiet, Released};
        let unanswered = Some(StopReason::Unanswered);
        let events: Vec<Option<CallEvent>> = [
            period(0, Mode::Weak, None, report(Quiet, 0)),
            period(50, Mode::Holding, None, report(Called, 1)),
            period(100, Mode::Holding, None, CallReport { refused, dropped: 2, ..report(Called, 1) }),
            period(1050, Mode::Strong, None, report(Driving, 1)),
            period(1100, Mode::Holding, None, report(Released, 1)),
            period(1150, Mode::Strong, None, report(Driving, 1)),
            period(1200, Mode::Holding, None, report(Quiet, 1)),
            period(2000, Mode::Holding, None, report(Called, 2)),
            period(2100, Mode::Idle, None, report(Quiet, 2)),
            period(3000, Mode::Holding, None, report(Called, 3)),
            period(6000, Mode::SafeStop, unanswered, report(Quiet, 3)),
        ]
        .iter()
        .map(|period| {
            let event = tracker.take(period);
            summary.take(period, event);
            event
        })
        .collect();
        let answered = CallEvent::Answered(Duration::from_millis(1000));
        let expected = [
            (1, CallEvent::Called),
            (3, answered),
            (6, CallEvent::LetGo),
            (7, CallEvent::Called),
            (8, CallEvent::Withdrawn),
            (9, CallEvent::Called),
            (10, CallEvent::Unanswered),
        ];
        for (index, event) in events.iter().enumerate() {
            let expected = expected.iter().find(|(at, _)| *at == index).map(|(_, event)| *event);
            assert_eq!(*event, expected, "period {index}");
        }
        let found = summary.summary();
        for (key, expected) in [
            ("calls", json!(3)),
            ("answered", json!(1)),
            ("unanswered", json!(1)),
            ("withdrawn", json!(1)),
            ("let_go", json!(1)),
            ("answer_s", json!({ "each": [1.0], "p50": 1.0, "max": 1.0 })),
            ("driven_periods", json!(2)),
            ("share", json!(2.0 / 9.0)),
            ("refused_first_commands", json!(1)),
            ("dropped_commands", json!(2)),
        ] {
            assert_eq!(found[key], expected, "{key}");
        }
    }
}

//! Calls of operators as the periods of a run show them: when one was called, how long the answer took, and how a call ended.

use std::time::Duration;

use aegis_core::control::{CallPhase, StopReason, TickRecord};

/// What a control period changed about a call.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum CallEvent {
    /// An operator is called.
    Called,
    /// An operator has taken over, so long after the call.
    Answered(Duration),
    /// The operator has let go, and the weak policy is to drive again.
    LetGo,
    /// No operator answered in time.
    Unanswered,
    /// The call ended without an answer: the episode ended, or the weak policy is back.
    Withdrawn,
    /// A stop, or the end of the episode, ended the operator's control.
    Ended,
}

/// State of a run's calls, fed with its control periods one after another.
#[derive(Debug, Default)]
pub struct CallTracker {
    phase: CallPhase,
    call: u32,
    called: Duration,
}

impl CallTracker {
    /// Takes a control period. Returns what it changed.
    pub fn take(&mut self, period: &TickRecord<'_>) -> Option<CallEvent> {
        let (now, output) = (period.inputs.now, &period.output);
        let report = output.call.as_ref()?;
        let before = std::mem::replace(&mut self.phase, report.phase);
        let is_new = std::mem::replace(&mut self.call, report.call) != report.call;
        let is_stopped = output.mode.is_latched();
        match (before, report.phase) {
            (_, CallPhase::Called) if is_new => {
                self.called = now;
                Some(CallEvent::Called)
            }
            (CallPhase::Called, CallPhase::Driving | CallPhase::Released) => {
                Some(CallEvent::Answered(now.saturating_sub(self.called)))
            }
            (CallPhase::Called, CallPhase::Quiet) => {
                let is_unanswered = is_stopped && output.cause == Some(StopReason::Unanswered);
                Some(if is_unanswered { CallEvent::Unanswered } else { CallEvent::Withdrawn })
            }
            (CallPhase::Driving | CallPhase::Released, CallPhase::Quiet) => {
                Some(if output.mode.is_on() { CallEvent::LetGo } else { CallEvent::Ended })
            }
            _ => None,
        }
    }
}

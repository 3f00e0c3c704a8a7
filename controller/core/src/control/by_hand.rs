//! An operator in the place of the strong policy: the call after a fire, the take-over, and the hand-back. While a person drives,
//! the weak policy infers in shadow and the gate reads its scores, but only the person ends their control.

use super::boundary::Phase;
use super::call::{CallPhase, CallReport};
use super::io::{Diagnostics, Inputs, Output, StopReason};
use super::operator::{OperatorBackup, OperatorContext, OperatorEvent};
use super::{Controller, Driver};
use crate::trigger::Trigger;

impl<T: Trigger + Clone> Controller<T> {
    /// Reads what operators sent. A call, and an operator's control, end with the episode and with every stop.
    pub(super) fn hear_operator(&mut self, inputs: &Inputs<'_>, notices: &mut Diagnostics) {
        let Some(operator) = &mut self.operator else { return };
        if !self.mode.is_on() {
            operator.withdraw();
        }
        let (now, episode, last) = (inputs.now, self.episode, self.motion.command());
        let context = OperatorContext { now, episode, last, settings: &self.parts.settings };
        match operator.hear(inputs.teleop.as_ref(), &context, notices) {
            Some(OperatorEvent::LetGo) => self.let_go(),
            Some(OperatorEvent::Stop(cause)) => self.stop(cause),
            None => {}
        }
    }

    /// Returns the report on the call after this period.
    pub(super) fn report_call(&mut self) -> Option<CallReport> {
        let is_on = self.mode.is_on();
        self.operator.as_mut().map(|operator| {
            if !is_on {
                operator.withdraw();
            }
            operator.report()
        })
    }

    /// Calls an operator, and lets the one who has answered take over.
    pub(super) fn await_operator(&mut self, output: &mut Output) {
        let Some(phase) = self.operator.as_ref().map(OperatorBackup::phase) else { return };
        if phase == CallPhase::Driving {
            self.arbiter.hold_by_hand();
            self.has_driven = true;
            self.track.clear();
            self.motion.hand_over();
            self.counters.hand_overs += 1;
            self.driving = Some(Driver::Strong);
            return self.await_boundary();
        }
        let has_recovered = self.stretch.escalated > 0 && self.weak.has(self.step, self.asked_from());
        if let Some(operator) = &mut self.operator {
            match phase {
                // The weak policy's chunk arrived before an operator did.
                _ if has_recovered => operator.withdraw(),
                CallPhase::Quiet => operator.call(),
                CallPhase::Called | CallPhase::Driving | CallPhase::Released => {}
            }
        }
        if has_recovered {
            self.stretch.phase = Phase::Opinion;
            self.hear(output);
        }
    }

    /// Returns whether an operator has taken over and has not let go.
    pub(super) fn is_driven_by_hand(&self) -> bool {
        self.operator.is_some() && self.driving == Some(Driver::Strong)
    }

    /// Ends an operator's control. The robot holds still until the weak policy has inferred anew.
    fn let_go(&mut self) {
        self.driving = None;
        self.weak.offer.clear();
        self.stretch.phase = Phase::HandBack;
    }

    /// Lets the weak policy drive again. The next boundary stays where it was due.
    pub(super) fn hand_back(&mut self, output: &mut Output) {
        let since = self.step.saturating_sub(self.parts.settings.lead_steps);
        if self.weak.has(self.step, since) && self.admits(Driver::Weak, output) {
            self.arbiter.hand_back();
            let due = self.stretch.due;
            self.take(Driver::Weak);
            self.stretch.due = due.max(self.step.saturating_add(1));
        } else if self.mode.is_on() && self.weak.misses >= self.parts.settings.weak_misses {
            self.stop(StopReason::WeakLost);
        }
    }
}

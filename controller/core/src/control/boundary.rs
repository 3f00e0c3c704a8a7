//! Boundaries of an episode: requests to the policies, the gate's decision, and the choice of the driver.
//! After a fire the robot waits at rest for the strong policy's chunk, or for an operator; every wait is bounded.

use std::time::Duration;

use super::chunk_check::excess;
use super::io::{Diagnostics, Output, StopReason};
use super::mode::Event;
use super::settings::{StrongLoss, Treatment};
use super::{Controller, Driver};
use crate::trigger::{Trigger, distance};
use crate::{Decision, Readings, Score};

/// Event that the episode waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Phase {
    /// The weak policy's chunk and score at a boundary, on which the gate decides.
    #[default]
    Opinion,
    /// The strong policy's chunk, with the number of control periods waited so far; or an operator, who waits by time.
    Strong(u32),
    /// The weak policy's chunk after an operator has let go.
    HandBack,
    /// The next boundary.
    Boundary,
    /// The end of the strong policy's last chunk; then the robot stops.
    End,
}

/// State of an episode from one boundary to the next.
#[derive(Clone, Debug, Default)]
pub(super) struct BoundaryState {
    pub(super) phase: Phase,
    /// Index of the next boundary.
    index: u32,
    /// Control step at which the next boundary is due.
    pub(super) due: u32,
    /// Whether the rule was calm at the last boundary.
    calm: bool,
    /// Consecutive control steps for which the strong policy replaces the lost weak policy.
    pub(super) escalated: u32,
    /// Whether the strong policy is lost; it is then not asked again in this episode.
    strong_lost: bool,
}

impl<T: Trigger + Clone> Controller<T> {
    pub(super) fn run(&mut self, now: Duration, output: &mut Output) {
        for party in [&mut self.weak, &mut self.strong] {
            if party.expire(now, self.step, &self.parts.settings) {
                output.notices.add(Diagnostics::AGED_CHUNK);
            }
        }
        if self.stretch.phase == Phase::Boundary && self.step >= self.stretch.due {
            self.stretch.phase = Phase::Opinion;
        }
        if self.stretch.phase == Phase::Opinion {
            self.hear(output);
        }
        match self.stretch.phase {
            Phase::Strong(_) if self.operator.is_some() => self.await_operator(output),
            Phase::Strong(waited) => self.await_strong(waited, output),
            Phase::HandBack => self.hand_back(output),
            _ => {}
        }
        if !self.mode.is_on() {
            return;
        }
        let ready = match self.driving {
            Some(Driver::Weak) => Event::WeakReady,
            Some(Driver::Strong) => Event::StrongReady,
            None => Event::OutOfActions,
        };
        let at_hand = match &self.operator {
            Some(operator) if self.driving == Some(Driver::Strong) => operator.target().is_some(),
            _ => self.track.action(self.step).is_some(),
        };
        if !at_hand && self.stretch.phase == Phase::End {
            return self.stop(StopReason::StrongLost);
        }
        self.happen(if at_hand { ready } else { Event::OutOfActions });
        self.ask(now, output);
    }

    /// Lets the gate decide as soon as its evidence is complete.
    pub(super) fn hear(&mut self, output: &mut Output) {
        if self.is_driven_by_hand() {
            // The person drives on whatever the gate reads, and however late the weak policy is.
            if self.weak.has(self.step, self.asked_from()) {
                self.decide(None, output);
            }
            return;
        }
        let needs_both = self.arbiter.needs_disagreement();
        if self.weak.has(self.step, self.asked_from()) && self.admits(Driver::Weak, output) {
            if needs_both && self.strong.is_asked() && self.strong.misses == 0 {
                return;
            }
            let distance = if needs_both && self.strong.has(self.step, self.asked_from()) {
                distance(self.weak.offer.values(), self.strong.offer.values())
            } else {
                None
            };
            return self.decide(distance, output);
        }
        if !self.mode.is_on() {
            return;
        }
        let waited_enough = self.weak.misses >= self.parts.settings.weak_misses;
        // A weak policy that was lost at the last boundary is not waited for in full again: one failure is enough.
        if waited_enough || (self.stretch.escalated > 0 && self.weak.misses > 0) {
            self.escalate(output);
        }
    }

    /// Returns the earliest control step of requests for the next boundary.
    pub(super) fn asked_from(&self) -> u32 {
        self.stretch.due.saturating_sub(self.parts.settings.lead_steps)
    }

    fn decide(&mut self, distance: Option<f64>, output: &mut Output) {
        let score = Score::new(self.weak.score);
        // The gate counts boundaries, as it did in calibration: a late boundary keeps its nominal control step.
        let step = self.stretch.index.saturating_mul(self.parts.limits.chunk_steps);
        let readings = Readings { score, benefit: self.weak.benefit, disagreement: distance };
        let decision = self.arbiter.boundary(step, readings);
        self.stretch.index += 1;
        self.stretch.escalated = 0;
        self.stretch.calm = !score.is_flagged() && is_calm(&decision);
        if score.is_flagged() {
            output.notices.add(Diagnostics::FLAGGED);
        }
        let alarm = decision.reading.is_some_and(|reading| reading > decision.thresholds.fire);
        if alarm && !decision.fired && !decision.armed && decision.driver == Driver::Weak && !decision.guarded
        {
            output.notices.add(Diagnostics::BUDGET_SPENT);
        }
        let (driver, fired) = (decision.driver, decision.fired);
        output.decision = Some(decision);
        if self.is_driven_by_hand() {
            return self.await_boundary();
        }
        match driver {
            Driver::Weak => self.take(Driver::Weak),
            Driver::Strong if !self.stretch.strong_lost => self.call_strong(),
            // The strong policy is lost: a fire stops the robot, and so does a drive without a gate; during a hold the weak policy drives
            // while the rule is calm.
            Driver::Strong if fired || self.parts.take_over.is_some() || !self.stretch.calm => {
                self.stop(StopReason::StrongLost)
            }
            Driver::Strong => self.take(Driver::Weak),
        }
    }

    /// Waits for the strong policy's chunk; the weak policy's remaining actions are not executed.
    fn call_strong(&mut self) {
        if self.driving != Some(Driver::Strong) {
            self.track.clear();
            self.driving = None;
        }
        if self.operator.is_some() {
            self.weak.offer.clear();
        }
        self.stretch.phase = Phase::Strong(0);
    }

    /// Lets the strong policy drive in place of the lost weak policy, for one hold at most.
    fn escalate(&mut self, output: &mut Output) {
        let after = self.stretch.escalated.saturating_add(self.parts.limits.chunk_steps);
        if self.stretch.strong_lost || after > self.parts.limits.hold_steps() {
            // The remaining actions of a chunk are still valid; the robot stops when they are used up.
            if self.track.action(self.step).is_none() {
                self.stop(StopReason::WeakLost);
            }
            return;
        }
        output.notices.add(Diagnostics::ESCALATED);
        self.stretch.escalated = after;
        // The weak policy's remaining actions are executed until the strong policy's chunk arrives.
        self.stretch.phase = Phase::Strong(0);
    }

    fn await_strong(&mut self, waited: u32, output: &mut Output) {
        if self.stretch.escalated > 0 && self.weak.has(self.step, self.asked_from()) {
            // The weak policy's chunk arrived before the strong policy's.
            self.stretch.phase = Phase::Opinion;
            return self.hear(output);
        }
        if self.strong.has(self.step, self.asked_from()) && self.admits(Driver::Strong, output) {
            return self.take(Driver::Strong);
        }
        if !self.mode.is_on() {
            return;
        }
        let failed = self.strong.misses > 0 && self.strong.is_free();
        if !failed && waited < self.parts.settings.strong_patience_steps {
            self.stretch.phase = Phase::Strong(waited + 1);
            return;
        }
        self.stretch.strong_lost = true;
        output.notices.add(Diagnostics::STRONG_FAILED);
        let calm = self.parts.settings.on_strong_loss == StrongLoss::WeakIfCalm && self.stretch.calm;
        if calm && self.weak.has(self.step, self.asked_from()) {
            self.take(Driver::Weak);
        } else if self.track.action(self.step).is_some() {
            self.stretch.phase = Phase::End;
        } else {
            self.stop(StopReason::StrongLost);
        }
    }

    /// Checks the chunk that a policy offers from this control step on. A chunk that the settings refuse is dropped, and counts as a
    /// failure or stops the robot.
    pub(super) fn admits(&mut self, driver: Driver, output: &mut Output) -> bool {
        let checks = self.parts.settings.chunk;
        let party = if driver == Driver::Weak { &mut self.weak } else { &mut self.strong };
        if checks.is_clamp() {
            party.admit();
            return true;
        }
        let actions = party.offer.from(self.step);
        let excess = excess(&self.parts.settings.channels, self.motion.command(), actions);
        let mut worst = Treatment::Clamp;
        for (is_exceeded, treatment, notice) in [
            (excess.jump, checks.jump, Diagnostics::CHUNK_JUMP),
            (excess.motion, checks.motion, Diagnostics::CHUNK_MOTION),
        ] {
            if is_exceeded && treatment != Treatment::Clamp {
                output.notices.add(notice);
                worst = if worst == Treatment::Stop { worst } else { treatment };
            }
        }
        if worst == Treatment::Clamp {
            party.admit();
            return true;
        }
        party.reject();
        if worst == Treatment::Stop {
            self.stop(StopReason::ChunkRefused);
        }
        false
    }

    /// Starts executing a policy's chunk, until the next boundary.
    pub(super) fn take(&mut self, driver: Driver) {
        let same = self.driving == Some(driver);
        let party = if driver == Driver::Weak { &mut self.weak } else { &mut self.strong };
        let first = party.offer.at(self.step).filter(|_| !self.has_driven);
        if first.is_some_and(|to| self.parts.settings.far_channel(self.motion.command(), to).is_some()) {
            return self.stop(StopReason::FarFromStart);
        }
        self.has_driven = true;
        self.track.take(&party.offer, self.step, same);
        if !same {
            self.motion.hand_over();
            self.counters.hand_overs += u64::from(self.stretch.index > 1 || driver == Driver::Strong);
        }
        self.driving = Some(driver);
        self.await_boundary();
    }

    /// Goes on to the next boundary.
    pub(super) fn await_boundary(&mut self) {
        self.weak.offer.clear();
        self.strong.offer.clear();
        self.stretch.phase = Phase::Boundary;
        // A late chunk does not move later boundaries: the chunk's actions end where they would have ended.
        let next = self.stretch.due.saturating_add(self.parts.limits.chunk_steps);
        self.stretch.due = next.max(self.step.saturating_add(1));
    }

    /// Makes the requests whose replies are needed at the next boundary, if the newest observation is young enough.
    fn ask(&mut self, now: Duration, output: &mut Output) {
        let waiting = self.stretch.phase != Phase::Boundary;
        let soon = waiting || self.step >= self.asked_from();
        if !soon || self.stretch.phase == Phase::End || !self.sees() {
            return;
        }
        // While the robot holds still for an operator, a chunk would be too old when they let go.
        let holds = self.operator.is_some()
            && matches!(self.stretch.phase, Phase::Strong(_))
            && self.stretch.escalated == 0;
        if self.weak.is_free() && !holds {
            self.questions += 1;
            self.weak.ask(self.questions, self.step, now);
            output.ask_weak = Some(self.questions);
        }
        let needed = matches!(self.stretch.phase, Phase::Strong(_)) || self.driving == Some(Driver::Strong);
        let wanted =
            self.operator.is_none() && (needed || self.parts.ask_strong || self.arbiter.needs_disagreement());
        if wanted && !self.stretch.strong_lost && self.strong.is_free() {
            self.questions += 1;
            self.strong.ask(self.questions, self.step, now);
            output.ask_strong = Some(self.questions);
        }
    }

    /// Returns whether the newest observation, and the newest frames where policies read pictures, are young enough for an
    /// inference.
    fn sees(&self) -> bool {
        self.watch.is_fresh() && self.cameras.is_fresh(&self.parts.settings)
    }
}

fn is_calm(decision: &Decision) -> bool {
    decision.reading.is_some_and(|reading| reading < decision.thresholds.hand_back)
}

//! One policy as the controller sees it: the question it was asked, its answer, and how often it failed to give one.
//! Answers count for their own question alone.

use std::time::Duration;

use super::chunk_buffer::ScheduledChunk;
use super::io::{Diagnostics, NoProposal, Proposal, Reply};
use super::motion::Channel;
use super::settings::{ControlSettings, OutOfBounds};

/// What came of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Received {
    /// There is a chunk to take.
    Offer,
    /// There is none.
    Failed,
    /// It belongs to another question.
    Foreign,
}

/// A question: its number, the control step that it was asked at, and when.
#[derive(Clone, Copy, Debug)]
struct Question {
    number: u64,
    step: u32,
    asked: Duration,
}

#[derive(Clone, Debug)]
pub(crate) struct PolicySlot {
    /// Actions in a chunk.
    horizon: usize,
    /// The answer to the last question; empty where there is none.
    pub(crate) offer: ScheduledChunk,
    /// When the observation that it answers was taken, where that is known.
    taken: Option<Duration>,
    /// The risk that was read with it.
    pub(crate) score: f64,
    /// Deadlines missed and inferences failed, in a row.
    pub(crate) misses: u32,
    /// The question that waits for its answer.
    pending: Option<Question>,
    /// Control periods that it has waited.
    age: u32,
}

impl PolicySlot {
    pub(crate) fn new(horizon: usize, width: usize) -> Self {
        let offer = ScheduledChunk::with_room(horizon, width);
        Self { horizon, offer, taken: None, score: f64::NAN, misses: 0, pending: None, age: 0 }
    }

    /// Forgets everything of the episode before.
    pub(crate) fn begin(&mut self) {
        self.offer.clear();
        (self.misses, self.pending, self.age) = (0, None, 0);
    }

    pub(crate) fn ask(&mut self, number: u64, step: u32, asked: Duration) {
        self.offer.clear();
        (self.pending, self.age) = (Some(Question { number, step, asked }), 0);
    }

    pub(crate) fn is_asked(&self) -> bool {
        self.pending.is_some()
    }

    /// Whether there is nothing to take and nothing on its way.
    pub(crate) fn is_free(&self) -> bool {
        self.pending.is_none() && self.offer.is_empty()
    }

    /// Whether it has an action for this control step, from a question of control step `since` or later: an answer to
    /// an earlier boundary's ends before the next one. An offer that came too late is thrown away.
    pub(crate) fn has(&mut self, step: u32, since: u32) -> bool {
        let covers = self.offer.anchor() >= since && self.offer.at(step).is_some();
        if !covers {
            self.offer.clear();
        }
        covers
    }

    /// Drops an offer that has waited too long, as one does where nobody drives and control steps stand still. True where
    /// it did. An action of a later step may answer an observation that is older by these steps.
    pub(crate) fn expire(&mut self, now: Duration, step: u32, settings: &ControlSettings) -> bool {
        let Some(taken) = self.taken.filter(|_| !self.offer.is_empty()) else { return false };
        let steps = step.saturating_sub(self.offer.anchor()).max(settings.longest_answer_steps());
        let aged =
            now.saturating_sub(taken) > settings.max_age() + settings.period() * steps.saturating_add(1);
        if aged {
            self.offer.clear();
        }
        aged
    }

    /// One control period more without an answer. True at each deadline that passes: after `lead` periods, and again
    /// after as many more.
    pub(crate) fn wait(&mut self, lead: u32) -> bool {
        if self.pending.is_none() {
            return false;
        }
        self.age = self.age.saturating_add(1);
        let missed = self.age.is_multiple_of(lead);
        self.misses = self.misses.saturating_add(u32::from(missed));
        missed
    }

    /// Takes a reply, with what there is to note of its actions. `limits` are what to do with an action out of bounds, and
    /// how old an observation may be when a policy is asked about it.
    pub(crate) fn receive(
        &mut self,
        reply: &Reply<'_>,
        episode: u64,
        channels: &[Channel],
        limits: (OutOfBounds, Duration),
        notices: &mut Diagnostics,
    ) -> Received {
        let (out_of_bounds, max_age) = limits;
        let Some(Question { step, asked, .. }) =
            self.pending.filter(|question| question.number == reply.request)
        else {
            notices.add(Diagnostics::FOREIGN_REPLY);
            return Received::Foreign;
        };
        self.pending = None;
        // Its own question, answered on an observation of another episode: nothing to act on.
        if reply.episode != episode {
            notices.add(Diagnostics::FOREIGN_REPLY);
            self.misses = self.misses.saturating_add(1);
            return Received::Foreign;
        }
        let aged = reply.taken.is_some_and(|taken| asked.saturating_sub(taken) > max_age);
        let taken = match &reply.proposal {
            Ok(_) if aged => {
                notices.add(Diagnostics::AGED_CHUNK);
                false
            }
            Ok(proposal) => self.take(proposal, (step, reply.taken), channels, out_of_bounds, notices),
            Err(NoProposal::NotFinite) => {
                notices.add(Diagnostics::REJECTED);
                false
            }
            Err(_) => false,
        };
        self.misses = if taken { 0 } else { self.misses.saturating_add(1) };
        if taken { Received::Offer } else { Received::Failed }
    }

    fn take(
        &mut self,
        proposal: &Proposal<'_>,
        (step, taken_at): (u32, Option<Duration>),
        channels: &[Channel],
        out_of_bounds: OutOfBounds,
        notices: &mut Diagnostics,
    ) -> bool {
        let values = &proposal.values;
        let whole = proposal.width == channels.len() && values.len() == self.horizon * channels.len();
        // Before any comparison: the larger of NaN and a number is the number.
        let finite = values.iter().all(|value| value.is_finite());
        let mut actions = values.chunks_exact(channels.len());
        let within =
            actions.all(|action| channels.iter().zip(action).all(|(channel, value)| channel.admits(*value)));
        if !whole || !finite || (!within && out_of_bounds == OutOfBounds::Reject) {
            notices.add(Diagnostics::REJECTED);
            return false;
        }
        self.offer.put(values, step);
        self.taken = taken_at;
        if !within {
            notices.add(Diagnostics::CLAMPED);
            self.offer.clamp(channels);
        }
        self.score = proposal.score;
        true
    }
}

//! Policy slot: the pending request to one policy, the policy's offered chunk, and its consecutive failures.
//! A reply counts only for its own request.

use std::time::Duration;

use super::channel::Channel;
use super::chunk_buffer::ScheduledChunk;
use super::io::{Diagnostics, NoProposal, Proposal, Reply};
use super::settings::{ControlSettings, Treatment};

/// Result of receiving a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Received {
    /// The reply offers a usable chunk.
    Offer,
    /// The reply has no usable chunk.
    Failed,
    /// The reply's chunk has an action out of bounds, which stops the robot.
    OutOfBounds,
    /// The reply belongs to another request or episode.
    Foreign,
}

/// Request: its number, its control step, and its time on the controller's clock.
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
    /// Chunk that the last reply offered; empty where there is none.
    pub(crate) offer: ScheduledChunk,
    /// Time at which the offer's observation was taken, where known.
    taken: Option<Duration>,
    /// Score that came with the offer.
    pub(crate) score: f64,
    /// Predicted benefit of a hold that came with the offer.
    pub(crate) benefit: Option<f64>,
    /// Consecutive failures: deadlines missed, inferences failed and chunks rejected.
    pub(crate) misses: u32,
    /// Consecutive chunks that were rejected at their boundary.
    rejected: u32,
    /// Request that waits for its reply.
    pending: Option<Question>,
    /// Control periods since the pending request.
    age: u32,
}

impl PolicySlot {
    pub(crate) fn new(horizon: usize, width: usize) -> Self {
        let offer = ScheduledChunk::with_room(horizon, width);
        Self {
            horizon,
            offer,
            taken: None,
            score: f64::NAN,
            benefit: None,
            misses: 0,
            rejected: 0,
            pending: None,
            age: 0,
        }
    }

    /// Clears the state of the previous episode.
    pub(crate) fn begin(&mut self) {
        self.offer.clear();
        (self.misses, self.rejected, self.pending, self.age) = (0, 0, None, 0);
    }

    pub(crate) fn ask(&mut self, number: u64, step: u32, asked: Duration) {
        self.offer.clear();
        (self.pending, self.age) = (Some(Question { number, step, asked }), 0);
    }

    pub(crate) fn is_asked(&self) -> bool {
        self.pending.is_some()
    }

    /// Returns whether there is neither an offer nor a pending request.
    pub(crate) fn is_free(&self) -> bool {
        self.pending.is_none() && self.offer.is_empty()
    }

    /// Returns whether the offer has an action for this control step and answers a request of control step `since` or
    /// later: an offer for an earlier boundary must not be used at the next one. An offer that does not qualify is
    /// dropped.
    pub(crate) fn has(&mut self, step: u32, since: u32) -> bool {
        let covers = self.offer.anchor() >= since && self.offer.at(step).is_some();
        if !covers {
            self.offer.clear();
        }
        covers
    }

    /// Drops an offer whose observation is too old, and returns whether it did. Offers age in this way while no policy
    /// drives and control steps stand still. Since a later action of a chunk follows from an older observation, the
    /// permitted age grows with the control steps since the request.
    pub(crate) fn expire(&mut self, now: Duration, step: u32, settings: &ControlSettings) -> bool {
        let Some(taken) = self.taken.filter(|_| !self.offer.is_empty()) else { return false };
        let steps = step.saturating_sub(self.offer.anchor()).max(settings.longest_answer_steps());
        let aged =
            now.saturating_sub(taken) > settings.largest_age() + settings.period() * steps.saturating_add(1);
        if aged {
            self.offer.clear();
        }
        aged
    }

    /// Drops the offer at its boundary and counts it as a failure.
    pub(crate) fn reject(&mut self) {
        self.offer.clear();
        self.rejected = self.rejected.saturating_add(1);
        self.misses = self.rejected;
    }

    /// Notes that the offer may be executed: earlier rejections no longer count.
    pub(crate) fn admit(&mut self) {
        (self.rejected, self.misses) = (0, 0);
    }

    /// Counts one more control period without a reply. Returns true at each missed deadline: after `lead` periods, and
    /// again after every further `lead` periods.
    pub(crate) fn wait(&mut self, lead: u32) -> bool {
        if self.pending.is_none() {
            return false;
        }
        self.age = self.age.saturating_add(1);
        let missed = self.age.is_multiple_of(lead);
        self.misses = self.misses.saturating_add(u32::from(missed));
        missed
    }

    /// Receives a reply and adds the diagnostics of its actions. `limits` are the treatment of actions out of bounds,
    /// and the largest age of the reply's observation at the time of the request.
    pub(crate) fn receive(
        &mut self,
        reply: &Reply<'_>,
        episode: u64,
        channels: &[Channel],
        limits: (Treatment, Duration),
        notices: &mut Diagnostics,
    ) -> Received {
        let (out_of_bounds, max_age) = limits;
        let Some(Question { number, step, asked }) =
            self.pending.filter(|question| question.number == reply.request)
        else {
            notices.add(Diagnostics::FOREIGN_REPLY);
            return Received::Foreign;
        };
        self.pending = None;
        // The reply answers the pending request, but on an observation of another episode: it is dropped and counts as
        // a failure.
        if reply.episode != episode {
            notices.add(Diagnostics::FOREIGN_REPLY);
            self.misses = self.misses.saturating_add(1);
            return Received::Foreign;
        }
        let mut stops = false;
        let aged = reply.taken.is_some_and(|taken| asked.saturating_sub(taken) > max_age);
        let taken = match &reply.proposal {
            Ok(_) if aged => {
                notices.add(Diagnostics::AGED_CHUNK);
                false
            }
            Ok(proposal) => {
                let taken =
                    self.take(proposal, (number, step, reply.taken), channels, out_of_bounds, notices);
                stops = !taken && out_of_bounds == Treatment::Stop && is_finite(proposal);
                taken
            }
            Err(NoProposal::NotFinite) => {
                notices.add(Diagnostics::REJECTED);
                false
            }
            Err(_) => false,
        };
        self.misses = if taken { self.rejected } else { self.misses.saturating_add(1) };
        match taken {
            true => Received::Offer,
            false if stops => Received::OutOfBounds,
            false => Received::Failed,
        }
    }

    fn take(
        &mut self,
        proposal: &Proposal<'_>,
        (request, step, taken_at): (u64, u32, Option<Duration>),
        channels: &[Channel],
        out_of_bounds: Treatment,
        notices: &mut Diagnostics,
    ) -> bool {
        let values = &proposal.values;
        let whole = proposal.width == channels.len() && values.len() == self.horizon * channels.len();
        // Checked before any comparison, since the larger of NaN and a number is the number.
        let finite = is_finite(proposal);
        let mut actions = values.chunks_exact(channels.len());
        let within =
            actions.all(|action| channels.iter().zip(action).all(|(channel, value)| channel.admits(*value)));
        if !whole || !finite || (!within && out_of_bounds != Treatment::Clamp) {
            notices.add(Diagnostics::REJECTED);
            return false;
        }
        self.offer.put(values, (request, step));
        self.taken = taken_at;
        if !within {
            notices.add(Diagnostics::CLAMPED);
            self.offer.clamp(channels);
        }
        (self.score, self.benefit) = (proposal.score, proposal.benefit);
        true
    }
}

fn is_finite(proposal: &Proposal<'_>) -> bool {
    proposal.values.iter().all(|value| value.is_finite())
}

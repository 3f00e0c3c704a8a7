//! The decisions of a watchdog, as a pure state machine from messages and monotonic time to a trip.
//!
//! Actions that a controller sends and actions that the plant executes are checked alike: executed actions are those that move the
//! robot, and sent actions show a second controller, values that no plant executes, and faults before their execution.

use std::time::Duration;

use aegis_link::wire::{Action, Executed, Phase, Status};

use crate::bounds::{Bounds, Channel};
use crate::trip::{Kind, Trip};

/// Time in which the plant's own messages have to name a session whose actions were seen before them: ten heartbeats.
const GRACE: Duration = Duration::from_secs(1);
/// Least silence of the plant's heartbeat, of which there are ten a second, that counts.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// Part of a channel's `step` within which it counts as standing still.
const STILL: f64 = 1e-3;

/// State of a watchdog: bounds, messages seen, and the latched trip.
#[derive(Clone, Debug)]
pub struct Watchdog {
    bounds: Bounds,
    seen: Seen,
    trip: Option<Trip>,
}

/// Messages seen since the start or the last reset.
#[derive(Clone, Debug, Default)]
struct Seen {
    /// Session that holds the plant, by the plant's own messages; 0 for none.
    holder: u64,
    /// Arrival of the newest heartbeat, and the episode that it reports as running.
    status: Option<(Duration, Option<Running>)>,
    /// Newest action that was sent; of the session that holds the plant, where that session has sent one.
    sent: Option<Sent>,
    /// Newest command of the session that holds the plant, whether it was seen when it was sent or when it was executed.
    newest: Option<Newest>,
    /// Newest control step that the plant reported as executed.
    done: Option<Step>,
    /// First action of a session that does not hold the plant, and its arrival.
    stranger: Option<(Action, Duration)>,
    /// Arrival of the first action that no control step of the plant has followed.
    unanswered: Option<Duration>,
}

/// An episode that the plant reports as running, and the time of the first report.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Running {
    session: u64,
    episode: u64,
    since: Duration,
    /// Whether the plant has echoed a step of it. An episode's first heartbeat may come after its first step.
    is_echoed: bool,
}

/// An action that was sent.
#[derive(Clone, Debug)]
struct Sent {
    session: u64,
    episode: u64,
    sequence: u32,
    values: Vec<f32>,
}

/// The newest command of the session that holds the plant.
#[derive(Clone, Copy, Debug)]
struct Newest {
    episode: u64,
    sequence: u32,
    at: Duration,
    /// Whether the plant stands still with it.
    rests: bool,
}

/// A control step that the plant executed.
#[derive(Clone, Debug)]
struct Step {
    session: u64,
    episode: u64,
    sequence: u32,
    /// Action that was executed; `None` where the plant stood still by itself.
    values: Option<Vec<f32>>,
    at: Duration,
}

/// Where a command was seen: session, episode, and number of the action or control step.
type Place = (u64, u64, u32);

impl Watchdog {
    /// Creates a watchdog that has seen nothing.
    pub fn new(bounds: Bounds) -> Self {
        Self { bounds, seen: Seen::default(), trip: None }
    }

    /// Returns the latched trip.
    pub fn trip(&self) -> Option<&Trip> {
        self.trip.as_ref()
    }

    /// Ends a latched trip at an operator's request, and clears the state.
    pub fn reset(&mut self) {
        *self = Self::new(self.bounds.clone());
    }

    /// Takes a heartbeat of the plant.
    pub fn status(&mut self, status: &Status, at: Duration) {
        if self.trip.is_some() {
            return;
        }
        self.holds(status.session);
        let (session, episode) = (status.session, status.episode);
        let known = self.seen.status.as_ref().and_then(|(_, running)| *running);
        let running = (status.phase == Phase::Running).then(|| match known {
            Some(known) if (known.session, known.episode) == (session, episode) => known,
            _ => {
                let is_echoed = self
                    .seen
                    .done
                    .as_ref()
                    .is_some_and(|done| (done.session, done.episode) == (session, episode));
                Running { session, episode, since: at, is_echoed }
            }
        });
        self.seen.status = Some((at, running));
    }

    /// Takes an action that was sent to the plant.
    pub fn action(&mut self, action: &Action, at: Duration) {
        if self.trip.is_none() {
            self.trip = self.judge_action(action, at).err().map(|trip| *trip);
        }
    }

    /// Takes a control step that the plant reports as executed.
    pub fn executed(&mut self, executed: &Executed, at: Duration) {
        if self.trip.is_none() {
            self.trip = self.judge_executed(executed, at).err().map(|trip| *trip);
        }
    }

    /// Takes a message on the actions' key that cannot be decoded as an action.
    pub fn unreadable(&mut self, reason: &str) {
        let place = self.newest_place();
        self.trip_with(Kind::Unreadable, place, format!("found a message that is no action: {reason}"));
    }

    /// Takes the number of messages that were lost because they came faster than they could be read.
    pub fn overrun(&mut self, count: u64) {
        let place = self.newest_place();
        self.trip_with(Kind::Overrun, place, format!("{count} messages came faster than they could be read"));
    }

    /// Checks for messages that are missing at `now`. Every message that arrived before `now` has to be taken first.
    pub fn tick(&mut self, now: Duration) {
        if self.trip.is_none() {
            self.trip = self.missing(now);
        }
    }

    fn trip_with(&mut self, kind: Kind, place: Place, reason: String) {
        if self.trip.is_none() {
            self.trip = Some(trip(kind, place, reason));
        }
    }

    /// Records which session holds the plant.
    fn holds(&mut self, session: u64) {
        if std::mem::replace(&mut self.seen.holder, session) != session {
            self.seen.newest = None;
            self.seen.unanswered = None;
        }
        if self.seen.stranger.as_ref().is_some_and(|(action, _)| action.session == session) {
            self.seen.stranger = None;
        }
    }

    fn newest_place(&self) -> Place {
        self.seen.sent.as_ref().map_or((0, 0, 0), |sent| (sent.session, sent.episode, sent.sequence))
    }

    fn judge_action(&mut self, action: &Action, at: Duration) -> Result<(), Box<Trip>> {
        let place = (action.session, action.episode, action.sequence);
        self.judge_values(&action.action, place)?;
        if action.session != self.seen.holder {
            // The plant's heartbeat may name a new session only after that session's first actions.
            self.seen.stranger.get_or_insert_with(|| (action.clone(), at));
        }
        let before = self.seen.sent.as_ref().filter(|sent| sent.session == action.session);
        if let Some(before) = before {
            let older = action.episode < before.episode;
            if older || (action.episode == before.episode && action.sequence <= before.sequence) {
                let reason = format!(
                    "action {} of episode {} was sent after action {} of episode {}",
                    action.sequence, action.episode, before.sequence, before.episode
                );
                return Err(Box::new(trip(Kind::OldStep, place, reason)));
            }
        }
        let before = before.filter(|before| before.episode == action.episode);
        // An action that the watchdog missed is checked when the plant executes it.
        let successive = before.filter(|before| action.sequence == before.sequence.saturating_add(1));
        if let Some(before) = successive {
            self.judge_change(&before.values, &action.action, 1, place)?;
        }
        let rests = self.rests(before.map(|before| &before.values[..]), &action.action);
        let is_holder = action.session == self.seen.holder;
        if is_holder {
            self.seen.unanswered.get_or_insert(at);
            self.newest(Newest { episode: action.episode, sequence: action.sequence, at, rests });
        }
        if is_holder || self.seen.sent.as_ref().is_none_or(|sent| sent.session != self.seen.holder) {
            let values = action.action.clone();
            let Action { session, episode, sequence, .. } = *action;
            self.seen.sent = Some(Sent { session, episode, sequence, values });
        }
        Ok(())
    }

    /// Takes a command of the session that holds the plant, unless it is known already.
    fn newest(&mut self, command: Newest) {
        let is_known = |known: Newest| (command.episode, command.sequence) <= (known.episode, known.sequence);
        if !self.seen.newest.is_some_and(is_known) {
            self.seen.newest = Some(command);
        }
    }

    fn judge_executed(&mut self, executed: &Executed, at: Duration) -> Result<(), Box<Trip>> {
        let Executed { session, episode, sequence, command, ref action, .. } = *executed;
        let place = (session, episode, sequence);
        self.holds(session);
        self.seen.unanswered = None;
        if let Some((_, Some(running))) = &mut self.seen.status {
            running.is_echoed = true;
        }
        let before = self.seen.done.take().filter(|done| (done.session, done.episode) == (session, episode));
        if let Some(before) = before.as_ref().filter(|before| before.sequence > sequence) {
            let reason = format!("the plant executed step {sequence} after step {}", before.sequence);
            return Err(Box::new(trip(Kind::OldStep, place, reason)));
        }
        let values = (command > 0).then(|| action.clone());
        if let Some(values) = &values {
            self.judge_values(values, place)?;
            if let Some((steps, last)) =
                before.as_ref().and_then(|before| Some((sequence - before.sequence, before.values.as_ref()?)))
            {
                self.judge_change(last, values, steps.max(1), place)?;
            }
            let before = before.as_ref().and_then(|before| before.values.as_deref());
            let rests = self.rests(before, values);
            self.newest(Newest { episode, sequence: command, at, rests });
        }
        self.seen.done = Some(Step { session, episode, sequence, values, at });
        Ok(())
    }

    fn judge_values(&self, values: &[f32], place: Place) -> Result<(), Box<Trip>> {
        if values.len() != self.bounds.channels.len() {
            let (found, valid) = (values.len(), self.bounds.channels.len());
            let mut trip = trip(Kind::Width, place, format!("found {found} values; valid is {valid}"));
            (trip.value, trip.limit) = (Some(found as f64), Some(valid as f64));
            return Err(Box::new(trip));
        }
        for (channel, value) in self.bounds.channels.iter().zip(values) {
            let Channel { name, low, high, .. } = channel;
            if !value.is_finite() {
                let reason = format!("channel {name:?} holds {value}");
                return Err(Box::new(of_channel(trip(Kind::NotFinite, place, reason), channel)));
            }
            // Compared in the 32 bits of an action, so that a controller may send the bound itself.
            let beyond = match *value {
                value if value < *low as f32 => Some(low),
                value if value > *high as f32 => Some(high),
                _ => None,
            };
            if let Some(limit) = beyond {
                let reason = format!("channel {name:?} holds {value}; valid is {low} to {high}");
                let trip = of_channel(trip(Kind::OutOfBounds, place, reason), channel);
                return Err(Box::new(Trip { value: Some(f64::from(*value)), limit: Some(*limit), ..trip }));
            }
        }
        Ok(())
    }

    fn judge_change(&self, from: &[f32], to: &[f32], steps: u32, place: Place) -> Result<(), Box<Trip>> {
        for (channel, (from, to)) in self.bounds.channels.iter().zip(from.iter().zip(to)) {
            let change = (f64::from(*to) - f64::from(*from)).abs();
            let limit = channel.step * f64::from(steps);
            // Rounding to 32 bits may put a change of exactly the limit above it.
            let rounding = f64::from(f32::EPSILON) * f64::from(from.abs().max(to.abs())).max(limit);
            if change > limit + 4.0 * rounding {
                let name = &channel.name;
                let within = if steps == 1 { String::new() } else { format!(" in {steps} periods") };
                let reason = format!(
                    "channel {name:?} went from {from} to {to}, by {change}; valid is {limit}{within}"
                );
                let trip = of_channel(trip(Kind::Jump, place, reason), channel);
                return Err(Box::new(Trip { value: Some(change), limit: Some(limit), ..trip }));
            }
        }
        Ok(())
    }

    /// Returns whether a plant stands still with a command: where a position does not change and everything else is at the value
    /// at which it stands still.
    fn rests(&self, before: Option<&[f32]>, values: &[f32]) -> bool {
        let mut each = self.bounds.channels.iter().zip(values).enumerate();
        each.all(|(index, (channel, value))| {
            let at = channel.still.or_else(|| before.map(|before| f64::from(before[index])));
            at.is_some_and(|at| (f64::from(*value) - at).abs() <= STILL * channel.step)
        })
    }

    fn missing(&self, now: Duration) -> Option<Trip> {
        let (seen, silence) = (&self.seen, self.bounds.silence());
        let late = |since: Duration, limit: Duration| now.checked_sub(since).filter(|span| *span > limit);
        let timed = |kind, place, reason: String, (span, limit): (Duration, Duration)| {
            let reason = format!("{reason} for {} ms; valid is {} ms", span.as_millis(), limit.as_millis());
            let ms = |time: Duration| Some(time.as_secs_f64() * 1e3);
            Some(Trip { value: ms(span), limit: ms(limit), ..trip(kind, place, reason) })
        };
        if let Some((action, at)) = &seen.stranger
            && late(*at, GRACE).is_some()
        {
            let place = (action.session, action.episode, action.sequence);
            let reason = match seen.holder {
                0 => "an action was sent to a plant that no controller holds".to_owned(),
                holder => format!(
                    "an action of session {} was sent while session {holder} holds the plant",
                    action.session
                ),
            };
            return Some(trip(Kind::SecondController, place, reason));
        }
        let place = seen.done.as_ref().map_or((0, 0, 0), |done| (done.session, done.episode, done.sequence));
        let drives = seen.done.as_ref().filter(|done| done.session == seen.holder && done.values.is_some());
        // Actions are sent, and the plant echoes none of them.
        if let Some((unanswered, newest)) = seen.unanswered.zip(seen.newest)
            && late(newest.at, silence).is_none()
            && let Some(span) = late(unanswered, silence)
        {
            let reason = "actions are sent, and the plant has not reported what it executes".into();
            return timed(Kind::NoEcho, self.newest_place(), reason, (span, silence));
        }
        let patience = silence.max(HEARTBEAT);
        if let Some((_, Some(running))) = &seen.status
            && !running.is_echoed
            && let Some(span) = late(running.since, patience)
        {
            let reason = "an episode runs, and the plant has not reported what it executes".into();
            let place = (running.session, running.episode, 0);
            return timed(Kind::NoEcho, place, reason, (span, patience));
        }
        // A plant that executes a command at which it stands still, as at the end of an episode, may be left alone.
        if let Some(done) = drives
            && let Some(newest) = seen.newest.filter(|newest| newest.episode == done.episode && !newest.rests)
        {
            if let Some(span) = late(done.at, silence) {
                let reason =
                    "the plant executed a command that moves it, and has not reported what it executes"
                        .into();
                return timed(Kind::NoEcho, place, reason, (span, silence));
            }
            if let Some(span) = late(newest.at, silence) {
                let reason = "no command came while the plant executes one that moves it".into();
                return timed(Kind::Ceased, place, reason, (span, silence));
            }
        }
        if let Some((at, _)) = seen.status
            && seen.holder != 0
            && let Some(span) = late(at, patience)
        {
            let reason = "a controller holds the plant, and no heartbeat of the plant came".into();
            return timed(Kind::PlantSilent, place, reason, (span, patience));
        }
        None
    }
}

fn trip(kind: Kind, (session, episode, step): Place, reason: String) -> Trip {
    Trip { kind, channel: None, value: None, limit: None, session, episode, step, reason }
}

fn of_channel(trip: Trip, channel: &Channel) -> Trip {
    Trip { channel: Some(channel.name.clone()), ..trip }
}

#[cfg(test)]
mod tests;

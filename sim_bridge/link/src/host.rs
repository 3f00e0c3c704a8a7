//! Plant side of the protocol as a state machine: which controller holds the plant, which control step is next, and when
//! the plant stops by itself. Pure except for the plant it moves: messages and monotonic time come in, messages go out.
//!
//! Each control step is executed once, even where messages are lost or repeated: a request repeated with the same numbers
//! gets the same answer again.

use std::time::Duration;

use aegis_core::{Disturbance, Plant, PlantError, Standstill, Start};

use crate::cameras::TimePoint;
use crate::counted::Counted;
use crate::standing::Standing;
use crate::stop_order::StopOrder;
use crate::wire::{
    Action, Attached, Claim, Claimed, Code, Executed, FramesRequest, Message, Mode, Moved, Phase, Pictures,
    Refused, Reset, Status, Step, WireError,
};

/// Minimum time between two publications that include the plant's complete state, free-running.
const STATE_EVERY: Duration = Duration::from_millis(50);
/// Reason for the refusal of a claim in lock-step by a robot.
const NO_LOCK_STEP: &str = "this plant does not move in lock-step, which has no start, no limits and no command timeout: drive it \
                            by `aegis run`";

/// Properties of the plant that a host reports to a controller.
#[derive(Clone, Debug, PartialEq)]
pub struct PlantInfo {
    /// Values per action.
    pub action_width: u32,
    /// Number of tasks of the suite.
    pub tasks: u32,
    /// Control period.
    pub period: Duration,
    /// Action with which the plant stands still, `[action_width]`; not used where it [stands](Plant::stand) by its own means.
    pub stand_still: Vec<f32>,
}

/// Timeouts for missing commands and for a silent controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostLimits {
    /// Time without an action after which a free-running plant stops. An action that answers an observation older than this
    /// is dropped and does not count.
    pub command_timeout: Duration,
    /// Silence of the controller after which the plant is free for another controller.
    pub controller_timeout: Duration,
}

impl Default for HostLimits {
    fn default() -> Self {
        Self { command_timeout: Duration::from_millis(200), controller_timeout: Duration::from_secs(5) }
    }
}

/// State of one served plant.
#[derive(Debug)]
pub struct Host {
    instance: u64,
    info: PlantInfo,
    limits: HostLimits,
    claims: u64,
    held: Option<Held>,
    dropped: Counted,
    /// Control periods in which the plant's step failed.
    failed: Counted,
    refused: u64,
    /// Newest order of a watchdog.
    order: StopOrder,
    /// What the last control period executed, until it is published.
    echo: Option<Executed>,
    /// Whether the plant refuses lock-step.
    is_robot: bool,
    standing: Standing,
}

#[derive(Debug)]
struct Held {
    claim: Claim,
    session: u64,
    seen: Duration,
    /// Stamp of the newest heartbeat on the controller's clock, nanoseconds, and the heartbeat's arrival time.
    pulse: Option<(u64, Duration)>,
    newest_episode: u64,
    episode: Option<Episode>,
}

#[derive(Debug)]
struct Episode {
    reset: Reset,
    sequence: u32,
    /// Stamp of the newest observation, nanoseconds on the plant's clock.
    stamp_ns: u64,
    /// The answer to the last reset or step, for a repeated request.
    answer: Vec<u8>,
    /// Whether the plant has stopped by itself; every later action is dropped.
    stopped: bool,
    /// Whether a control period with the stand-still action has succeeded since the stop.
    stands: bool,
    command: Option<Command>,
}

#[derive(Debug)]
struct Command {
    sequence: u32,
    at: Duration,
    action: Vec<f32>,
}

impl Host {
    /// Creates a host without a claim. `instance` must differ between any two processes that serve the same plant name.
    pub fn new(instance: u64, info: PlantInfo, limits: HostLimits) -> Self {
        let (dropped, failed) = <(Counted, Counted)>::default();
        let order = StopOrder::default();
        let (is_robot, standing) = (false, Standing::default());
        let (claims, held, refused, echo) = (0, None, 0, None);
        Self {
            instance,
            info,
            limits,
            claims,
            held,
            dropped,
            failed,
            refused,
            order,
            echo,
            is_robot,
            standing,
        }
    }

    /// Makes the plant a robot, which refuses claims in lock-step.
    #[must_use]
    pub fn robot(self) -> Self {
        Self { is_robot: true, ..self }
    }

    /// Makes the plant one that an earlier process may have left in motion. Until it was seen to stand, a watchdog's stop, a reset
    /// that it refuses and the end of the server have it [settled](Self::settle), also where no command was executed.
    #[must_use]
    pub fn perhaps_moving(mut self) -> Self {
        self.standing.suspect();
        self
    }

    /// Sets how long the plant may take to come to rest before [`warning`](Self::warning) says that it has not.
    #[must_use]
    pub fn rest_within(mut self, wait: Duration) -> Self {
        self.standing.allow(wait);
        self
    }

    /// Asks a plant that commands have moved and that no episode drives any more to [stand](Plant::stand). Returns whether it
    /// stands, or stands still without being asked.
    pub fn settle(&mut self, now: Duration, plant: &mut dyn Plant) -> bool {
        if self.standing.is_moving() && self.period().is_none() {
            match plant.stand(Standstill::Stopping) {
                None => self.standing.absent(),
                Some(Ok(_)) => self.standing.stands(),
                Some(Err(error)) => self.standing.refused(now, error.to_string()),
            }
        }
        !self.standing.is_moving()
    }

    /// Returns why the plant says that it does not stand; empty where it has not said so.
    pub fn unsettled(&self) -> &str {
        self.standing.reason()
    }

    /// Ends the claim, as a server that ends does. The plant is then to be [settled](Self::settle).
    pub fn free(&mut self) {
        self.held = None;
        self.standing.doubt();
    }

    /// Answers one request. A reset, or a step with the next sequence number, moves the plant.
    pub fn request(&mut self, bytes: &[u8], now: Duration, plant: &mut dyn Plant) -> Vec<u8> {
        let message = match Message::decode(bytes) {
            Ok(message) => message,
            Err(error) => return self.unread(&error),
        };
        let answer = match message {
            Message::Claim(claim) => self.claim(claim, now),
            Message::Reset(reset) => self.reset(reset, now, plant),
            Message::Step(step) => self.step(&step, now, plant),
            Message::FramesRequest(look) => self.look(&look, now, plant),
            Message::Release(release) => self.session(release.session, now).map(|_| ()).map(|()| {
                self.held = None;
                self.status(now).encode()
            }),
            other => Err((Code::Malformed, format!("{} is no request", other.name()))),
        };
        answer.unwrap_or_else(|(code, reason)| self.refuse(code, reason))
    }

    /// Answers one request of a watchdog. A request to stop stops the plant from its next control period on.
    pub fn watchdog(&mut self, bytes: &[u8], now: Duration) -> Vec<u8> {
        match Message::decode(bytes) {
            Ok(Message::Attach(_)) => Message::from(Attached {
                instance: self.instance,
                action_width: self.info.action_width,
                period_ns: nanoseconds(self.info.period),
                command_timeout_ns: nanoseconds(self.limits.command_timeout),
            })
            .encode(),
            Ok(Message::StopRequest(request)) => {
                self.order.renew(request, now);
                self.standing.doubt();
                if let Some(held) = &mut self.held
                    && let Some(episode) = &mut held.episode
                {
                    episode.stopped = true;
                    // In lock-step nothing moves between two steps.
                    episode.stands |= held.claim.mode == Mode::LockStep;
                }
                self.status(now).encode()
            }
            Ok(other) => {
                self.refuse(Code::Malformed, format!("{} is no request of a watchdog", other.name()))
            }
            Err(error) => self.unread(&error),
        }
    }

    /// Returns, once, what the last control period has executed, for watchdogs.
    pub fn executed(&mut self) -> Option<Vec<u8>> {
        self.echo.take().map(|executed| Message::from(executed).encode())
    }

    /// Handles a heartbeat of the controller, which arrived at `at`.
    pub fn pulse(&mut self, bytes: &[u8], at: Duration) {
        let known = match (Message::decode(bytes), &mut self.held) {
            (Ok(Message::Pulse(pulse)), Some(held)) if held.session == pulse.session => {
                held.seen = held.seen.max(at);
                held.pulse = Some((pulse.stamp_ns, at));
                true
            }
            _ => false,
        };
        if !known {
            self.dropped.add("a heartbeat that is malformed or of nobody who holds the plant");
        }
    }

    /// Handles an action of a free-running controller, which arrived at `at`.
    pub fn action(&mut self, bytes: &[u8], at: Duration) {
        if self.accept(bytes, at).is_none() {
            self.dropped
                .add("an action that is malformed, stale, of another episode, or does not fit the plant");
        }
    }

    /// Counts messages that were dropped without being decoded.
    pub fn overlook(&mut self, count: u64, reason: &str) {
        self.dropped.add_all(count, reason);
    }

    /// Executes one control period of a free-running plant: moves the plant, or stops it when the command timeout has passed,
    /// and returns the observation to publish. Does nothing and returns `None` without an episode and in lock-step; returns
    /// `None` where the plant's step fails.
    pub fn tick(&mut self, now: Duration, plant: &mut dyn Plant) -> Option<Vec<u8>> {
        let timeout = self.limits.command_timeout;
        let held = self.held.as_mut().filter(|held| held.claim.mode == Mode::FreeRunning)?;
        let session = held.session;
        let episode = held.episode.as_mut()?;
        if episode.command.as_ref().is_some_and(|command| now.saturating_sub(command.at) > timeout) {
            episode.stopped = true;
        }
        let command = episode.command.as_ref().filter(|_| !episode.stopped);
        self.echo = Some(Executed {
            session,
            episode: episode.reset.episode,
            sequence: episode.sequence + 1,
            stamp_ns: nanoseconds(now),
            command: command.map_or(0, |command| command.sequence),
            action: command.map_or_else(Vec::new, |command| command.action.clone()),
        });
        let standstill = if episode.stopped { Standstill::Stopping } else { Standstill::Waiting };
        // Whether the plant was asked to come to rest by its own means.
        let mut is_asked = false;
        let stepped = match command {
            Some(command) => {
                self.standing.moved();
                plant.step(&command.action)
            }
            None => match plant.stand(standstill) {
                Some(stood) => {
                    is_asked = standstill == Standstill::Stopping;
                    stood
                }
                None => plant.step(&self.info.stand_still),
            },
        };
        match stepped {
            Ok(transition) => {
                if episode.stopped {
                    self.standing.stands();
                }
                episode.stands = episode.stopped;
                episode.sequence += 1;
                // An observation that repeats older readings has their stamp again, and never an earlier one.
                episode.stamp_ns = episode.stamp_ns.max(nanoseconds(now.saturating_sub(plant.age())));
                // The state is for rendering pictures. More often than pictures are drawn it would waste bandwidth.
                let mut state = Vec::new();
                if episode.sequence % periods_in(STATE_EVERY, self.info.period) == 0 {
                    plant.state(&mut state);
                }
                let moved = Moved {
                    session,
                    episode: episode.reset.episode,
                    sequence: episode.sequence,
                    stamp_ns: episode.stamp_ns,
                    success: transition.success,
                    observation: (&transition.observation).into(),
                    schema: None,
                    state,
                };
                Some(Message::from(moved).encode())
            }
            Err(error) => {
                // After a failed step the plant gets no further commands. From here on every period asks the plant to stand
                // still, and the status reports the stop once such a period has succeeded.
                episode.stopped = true;
                if is_asked {
                    self.standing.refused(now, error.to_string());
                } else {
                    self.failed.add(error.to_string());
                }
                self.refused += 1;
                None
            }
        }
    }

    /// Returns the moment of the newest observation of a free-running episode; `None` without an episode and in lock-step.
    pub fn moment(&self) -> Option<TimePoint> {
        let held = self.held.as_ref().filter(|held| held.claim.mode == Mode::FreeRunning)?;
        let episode = held.episode.as_ref()?;
        let (sequence, stamp_ns) = (episode.sequence, episode.stamp_ns);
        Some(TimePoint { session: held.session, episode: episode.reset.episode, sequence, stamp_ns })
    }

    /// Returns the control period while a free-running episode runs, else `None`.
    pub fn period(&self) -> Option<Duration> {
        let held = self.held.as_ref().filter(|held| held.claim.mode == Mode::FreeRunning)?;
        held.episode.as_ref().map(|_| self.info.period)
    }

    /// Moves the time at which the controller was last heard forward by `span`, at most to `now`. A time in which this
    /// process read no message, because the plant moved or the machine was suspended, must not count as the controller's
    /// silence.
    pub fn discount(&mut self, span: Duration, now: Duration) {
        if let Some(held) = &mut self.held {
            held.seen = held.seen.max(now.min(held.seen + span));
        }
    }

    /// Frees the plant from a controller that has been silent for too long.
    pub fn expire(&mut self, now: Duration) {
        let limit = self.limits.controller_timeout;
        self.held.take_if(|held| now.saturating_sub(held.seen) > limit);
    }

    /// Returns a warning for the log about failed control periods, or else about dropped messages; each kind at most once a
    /// second.
    pub fn warning(&mut self, now: Duration) -> Option<String> {
        if let Some((count, last)) = self.failed.untold(now) {
            let times = if count == 1 { String::new() } else { format!(" ({count} times, this the last)") };
            return Some(format!("a control period failed: {last}{times}"));
        }
        if let Some((_, last)) = self.standing.untold(now) {
            return Some(last.to_owned());
        }
        let (count, last) = self.dropped.untold(now)?;
        let messages = if count == 1 { "message" } else { "messages" };
        Some(format!("dropped {count} {messages}, the last because: {last}"))
    }

    /// Returns the plant's heartbeat message.
    pub fn status(&self, now: Duration) -> Message {
        let held = self.held.as_ref();
        let episode = held.and_then(|held| held.episode.as_ref());
        let phase = match (held, episode) {
            (None, _) => Phase::Idle,
            (Some(_), None) => Phase::Held,
            (Some(_), Some(episode)) if episode.stopped && episode.stands => Phase::Stopped,
            (Some(_), Some(_)) => Phase::Running,
        };
        let pulse = held.and_then(|held| held.pulse);
        Status {
            instance: self.instance,
            session: held.map_or(0, |held| held.session),
            phase,
            episode: episode.map_or(0, |episode| episode.reset.episode),
            sequence: episode.map_or(0, |episode| episode.sequence),
            stamp_ns: nanoseconds(now),
            dropped: self.dropped.count(),
            refused: self.refused,
            pulse_stamp_ns: pulse.map_or(0, |(stamp_ns, _)| stamp_ns),
            pulse_received_ns: pulse.map_or(0, |(_, at)| nanoseconds(at)),
        }
        .into()
    }

    fn claim(&mut self, claim: Claim, now: Duration) -> Answer {
        self.expire(now);
        if self.is_robot && claim.mode == Mode::LockStep {
            return Err((Code::Mode, NO_LOCK_STEP.into()));
        }
        match &mut self.held {
            Some(held) if held.claim == claim => held.seen = held.seen.max(now),
            Some(held) => {
                let silent = now.saturating_sub(held.seen).as_secs_f64();
                let reason = format!(
                    "held by {:?}, heard {silent:.1} s ago; a controller that has ended without saying so is let go {} s after it was \
                     last heard: try again then",
                    held.claim.controller,
                    self.limits.controller_timeout.as_secs_f64()
                );
                return Err((Code::Held, reason));
            }
            None => {
                self.claims += 1;
                // Session numbers of different processes differ, so that no message from before a restart is accepted.
                let session = self.instance.wrapping_add(self.claims);
                self.held =
                    Some(Held { claim, session, seen: now, pulse: None, newest_episode: 0, episode: None });
            }
        }
        let session = self.held.as_ref().map_or(0, |held| held.session);
        let claimed = Claimed {
            instance: self.instance,
            session,
            action_width: self.info.action_width,
            tasks: self.info.tasks,
            period_ns: nanoseconds(self.info.period),
            command_timeout_ns: nanoseconds(self.limits.command_timeout),
            controller_timeout_ns: nanoseconds(self.limits.controller_timeout),
        };
        Ok(Message::from(claimed).encode())
    }

    fn reset(&mut self, reset: Reset, now: Duration, plant: &mut dyn Plant) -> Answer {
        let held_back = self.order.refusal(now);
        let held = self.session(reset.session, now)?;
        if let Some(reason) = held_back {
            return Err((Code::Stopped, reason));
        }
        if let Some(episode) = held.episode.as_ref().filter(|episode| episode.reset == reset) {
            return match episode.sequence {
                0 => Ok(episode.answer.clone()),
                found => Err((Code::Episode, format!("episode {} is at step {found}", reset.episode))),
            };
        }
        if reset.episode <= held.newest_episode {
            let reason = format!("episode {} is not newer than {}", reset.episode, held.newest_episode);
            return Err((Code::Episode, reason));
        }
        held.newest_episode = reset.episode;
        held.episode = None;
        let start = Start { task: reset.task as usize, initial_state: reset.initial_state as usize };
        let disturbance = reset.disturbance.as_ref();
        let not_finite =
            |field| (Code::Malformed, format!("disturbance.{field}: found a number that is not finite"));
        disturbance.map_or(Ok(()), Disturbance::check_finite).map_err(not_finite)?;
        let observation = match plant.reset_disturbed(start, disturbance) {
            Ok(observation) => observation,
            Err(error) => {
                self.standing.doubt();
                return Err(failed(error));
            }
        };
        let taken = now.saturating_sub(plant.age());
        let answer = moved(&reset, 0, taken, false, &observation, plant);
        held.episode = Some(Episode {
            reset,
            sequence: 0,
            stamp_ns: nanoseconds(taken),
            answer: answer.clone(),
            stopped: false,
            stands: false,
            command: None,
        });
        self.standing.stands();
        Ok(answer)
    }

    fn step(&mut self, step: &Step, now: Duration, plant: &mut dyn Plant) -> Answer {
        let held = self.session(step.session, now)?;
        if held.claim.mode == Mode::FreeRunning {
            return Err((Code::Mode, "a free-running plant takes actions, not steps".into()));
        }
        let episode = current(held, step.episode)?;
        if episode.stopped {
            return Err((Code::Stopped, "a watchdog stopped the episode; reset first".into()));
        }
        if step.sequence == episode.sequence && step.sequence > 0 {
            return Ok(episode.answer.clone());
        }
        if step.sequence != episode.sequence + 1 {
            let reason = format!("step {} after step {}", step.sequence, episode.sequence);
            return Err((Code::Sequence, reason));
        }
        let transition = match plant.step(&step.action) {
            Ok(transition) => transition,
            Err(error) => {
                // An action that does not fit has moved nothing. After any other error the plant's state is unknown, so
                // the episode ends: a repeated request must not move the plant again.
                if !matches!(error, PlantError::Action { .. }) {
                    held.episode = None;
                }
                return Err(failed(error));
            }
        };
        episode.sequence = step.sequence;
        episode.answer =
            moved(&episode.reset, step.sequence, now, transition.success, &transition.observation, plant);
        Ok(episode.answer.clone())
    }

    fn look(&mut self, look: &FramesRequest, now: Duration, plant: &mut dyn Plant) -> Answer {
        let held = self.session(look.session, now)?;
        let pace = held.claim.mode;
        let episode = current(held, look.episode)?;
        if pace == Mode::LockStep && look.sequence != episode.sequence {
            let reason = format!("a look at step {} in step {}", look.sequence, episode.sequence);
            return Err((Code::Sequence, reason));
        }
        let pictures = Pictures {
            session: look.session,
            episode: look.episode,
            sequence: episode.sequence,
            pictures: plant.frames().map_err(failed)?.into_iter().map(Into::into).collect(),
        };
        Ok(Message::from(pictures).encode())
    }

    fn accept(&mut self, bytes: &[u8], at: Duration) -> Option<()> {
        let Ok(Message::Action(Action { session, episode, sequence, observation, action, .. })) =
            Message::decode(bytes)
        else {
            return None;
        };
        let fits = action.len() == self.info.action_width as usize && action.iter().all(|v| v.is_finite());
        let held = self.held.as_mut().filter(|held| held.session == session)?;
        let running = held.episode.as_mut().filter(|running| running.reset.episode == episode)?;
        let newer = running.command.as_ref().is_none_or(|command| command.sequence < sequence);
        // The age is measured in the plant's control steps, so that no network delay, however constant, hides it.
        let age = running.sequence.checked_sub(observation).map(|steps| self.info.period * steps);
        let young = age.is_some_and(|age| age <= self.limits.command_timeout);
        if !fits || !newer || running.stopped || !young {
            return None;
        }
        // An action that arrives after the timeout but before the tick that would detect the timeout is late as well.
        let late = |command: &Command| at.saturating_sub(command.at) > self.limits.command_timeout;
        if running.command.as_ref().is_some_and(late) {
            running.stopped = true;
            return None;
        }
        running.command = Some(Command { sequence, at, action });
        held.seen = held.seen.max(at);
        Some(())
    }

    fn session(&mut self, session: u64, now: Duration) -> Result<&mut Held, Refusal> {
        self.expire(now);
        match &mut self.held {
            Some(held) if held.session == session => {
                // The request may have waited in the inbox while a later heartbeat was handled, so `seen` never decreases.
                held.seen = held.seen.max(now);
                Ok(held)
            }
            _ => Err((
                Code::Session,
                format!("no session {session}: released, expired, or from before a restart"),
            )),
        }
    }

    fn unread(&mut self, error: &WireError) -> Vec<u8> {
        self.dropped.add(error.to_string());
        let code = if matches!(error, WireError::Version { .. }) { Code::Version } else { Code::Malformed };
        self.refuse(code, error.to_string())
    }

    fn refuse(&mut self, code: Code, mut reason: String) -> Vec<u8> {
        self.refused += 1;
        let end = (0..=reason.len().min(1000)).rev().find(|end| reason.is_char_boundary(*end));
        reason.truncate(end.unwrap_or(0));
        Message::from(Refused { code, reason }).encode()
    }
}

type Refusal = (Code, String);
type Answer = Result<Vec<u8>, Refusal>;

fn current(held: &mut Held, number: u64) -> Result<&mut Episode, Refusal> {
    let on = held.episode.as_ref().map(|episode| episode.reset.episode);
    held.episode.as_mut().filter(|episode| episode.reset.episode == number).ok_or_else(|| {
        let reason = match on {
            Some(on) => format!("episode {number} is not on; episode {on} is"),
            None => "no episode is on; reset first".into(),
        };
        (Code::Episode, reason)
    })
}

/// Returns the number of control periods that cover `time`, rounded up, at least 1.
fn periods_in(time: Duration, period: Duration) -> u32 {
    let periods = time.as_nanos().div_ceil(period.as_nanos().max(1)).max(1);
    u32::try_from(periods).unwrap_or(u32::MAX)
}

fn failed(error: PlantError) -> Refusal {
    (Code::Plant, error.to_string())
}

fn moved(
    reset: &Reset,
    sequence: u32,
    now: Duration,
    success: bool,
    observation: &aegis_core::Observation,
    plant: &dyn Plant,
) -> Vec<u8> {
    let mut state = Vec::new();
    plant.state(&mut state);
    let (session, episode) = (reset.session, reset.episode);
    let schema = (sequence == 0).then(|| (&*observation.schema).into());
    let observation = observation.into();
    let stamp_ns = nanoseconds(now);
    Message::from(Moved { session, episode, sequence, stamp_ns, success, observation, schema, state })
        .encode()
}

/// Converts a time to nanoseconds as messages carry them; 64 bits suffice for 584 years.
pub(crate) fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_shown_at_most_twenty_times_a_second() {
        for (period_ms, every) in [(100, 1), (50, 1), (40, 2), (20, 3), (5, 10), (1, 50)] {
            assert_eq!(periods_in(STATE_EVERY, Duration::from_millis(period_ms)), every, "{period_ms} ms");
        }
    }
}

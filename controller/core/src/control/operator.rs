//! A person as the backup: whether an operator is called, may take over, drives, or has let go. Control passes at a command that
//! answers the present call and lies near the last command sent to the robot; a stream that dies, or a value that is not finite,
//! stops the robot.

use std::time::Duration;

use super::call::{CallPhase, CallReport, FirstRefusal, RefusalReason};
use super::channel::Channel;
use super::chunk_check::excess;
use super::io::{Diagnostics, StopReason};
use super::operator_settings::OperatorSettings;
use super::settings::{ControlSettings, Treatment};
use super::teleop::{CommandValues, MAX_OPERATORS, TeleopCommand, TeleopInputs};

/// Share of a distance by which a first command may exceed it, for the rounding of 32-bit values.
const TOLERANCE: f64 = 1e-5;

/// What follows from the operators' commands of one control period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OperatorEvent {
    /// The operator who drove has let go.
    LetGo,
    /// The robot has to stop.
    Stop(StopReason),
}

/// State of the controller that an operator's commands are judged by.
#[derive(Clone, Copy, Debug)]
pub(super) struct OperatorContext<'a> {
    /// Time of the control period.
    pub now: Duration,
    /// Present episode.
    pub episode: u64,
    /// Last command sent to the robot, `[channels]`.
    pub last: &'a [f32],
    /// Settings of the controller.
    pub settings: &'a ControlSettings,
}

/// Stream of one operator's program.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Stream {
    operator: u64,
    sequence: u32,
    received: Duration,
    /// Smallest difference between a command's arrival and its stamp since the call began, nanoseconds: that of the fastest command.
    least_delay: Option<i128>,
}

/// Call of an operator, and the operator who answers it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct OperatorBackup {
    settings: OperatorSettings,
    /// Largest distance of a first command from the last command, `[channels]`.
    within: Vec<f64>,
    now: Duration,
    /// Time at which the present phase began.
    since: Duration,
    /// Time of arrival of the newest command of the operator who drives.
    heard: Duration,
    /// Command that the operator who drives wants; `None` in a period in which the robot holds still.
    target: Option<CommandValues>,
    streams: [Option<Stream>; MAX_OPERATORS],
    report: CallReport,
}

impl OperatorBackup {
    /// Returns an operator who has not been called.
    pub(super) fn new(settings: OperatorSettings, channels: &[Channel]) -> Self {
        Self {
            within: settings.first_within(channels),
            settings,
            now: Duration::ZERO,
            since: Duration::ZERO,
            heard: Duration::ZERO,
            target: None,
            streams: [None; MAX_OPERATORS],
            report: CallReport::default(),
        }
    }

    pub(super) fn phase(&self) -> CallPhase {
        self.report.phase
    }

    /// Returns the command that the operator who drives wants, `[channels]`.
    pub(super) fn target(&self) -> Option<&[f32]> {
        self.target.as_ref().map(CommandValues::as_slice)
    }

    /// Returns the report on this control period.
    pub(super) fn report(&self) -> CallReport {
        let waits = self.report.phase == CallPhase::Called;
        let waited = self.now.saturating_sub(self.since);
        let left = if waits { self.settings.answer_within().saturating_sub(waited) } else { Duration::ZERO };
        CallReport { left, ..self.report.clone() }
    }

    /// Calls an operator.
    pub(super) fn call(&mut self) {
        self.enter(CallPhase::Called);
        self.report.call = self.report.call.saturating_add(1);
        for stream in self.streams.iter_mut().flatten() {
            stream.least_delay = None;
        }
    }

    /// Ends a call, and an operator's control.
    pub(super) fn withdraw(&mut self) {
        if self.report.phase != CallPhase::Quiet {
            self.enter(CallPhase::Quiet);
        }
    }

    fn enter(&mut self, phase: CallPhase) {
        (self.report.phase, self.since, self.target) = (phase, self.now, None);
        if !matches!(phase, CallPhase::Driving | CallPhase::Released) {
            (self.report.operator, self.report.sequence) = (0, 0);
        }
    }

    /// Reads the commands of a control period.
    pub(super) fn hear(
        &mut self,
        inputs: Option<&TeleopInputs<'_>>,
        context: &OperatorContext<'_>,
        notices: &mut Diagnostics,
    ) -> Option<OperatorEvent> {
        self.now = context.now;
        (self.report.refused, self.report.dropped) = (None, inputs.map_or(0, |inputs| inputs.foreign));
        let mut stop = None;
        for command in inputs.into_iter().flat_map(|inputs| inputs.commands.iter()) {
            let cause = self.take(command, context, notices);
            stop = stop.or(cause);
        }
        if self.report.dropped > 0 {
            notices.add(Diagnostics::OPERATOR_DROPPED);
        }
        if self.report.refused.is_some() {
            notices.add(Diagnostics::FIRST_REFUSED);
        }
        let waited = self.now.saturating_sub(self.since);
        match self.report.phase {
            _ if stop.is_some() => stop.map(OperatorEvent::Stop),
            CallPhase::Called if waited > self.settings.answer_within() => {
                Some(OperatorEvent::Stop(StopReason::Unanswered))
            }
            CallPhase::Driving if self.now.saturating_sub(self.heard) > self.settings.stream_timeout() => {
                Some(OperatorEvent::Stop(StopReason::OperatorLost))
            }
            CallPhase::Released if waited >= self.settings.release_after() => {
                self.withdraw();
                Some(OperatorEvent::LetGo)
            }
            _ => None,
        }
    }

    /// Reads one operator's newest command. Returns why the robot has to stop, if it has to.
    fn take(
        &mut self,
        command: &TeleopCommand,
        context: &OperatorContext<'_>,
        notices: &mut Diagnostics,
    ) -> Option<StopReason> {
        if command.episode != context.episode {
            self.drop_commands(command.arrived);
            return None;
        }
        if !self.note(command) {
            self.drop_commands(1);
            return None;
        }
        let is_driver = command.operator == self.report.operator;
        let answers = command.engaged && command.call == self.report.call;
        match self.report.phase {
            CallPhase::Driving if is_driver => {
                self.heard = command.received;
                if command.fault.is_some() {
                    return Some(StopReason::OperatorFault);
                }
                if answers {
                    return self.follow(command, context, notices);
                }
                // A command of another call is no command to drive either.
                self.enter(CallPhase::Released);
            }
            CallPhase::Called if answers => return self.judge_first(command, context, notices),
            CallPhase::Released if answers && is_driver => {
                return self.judge_first(command, context, notices);
            }
            _ if command.engaged => self.drop_commands(1),
            _ => {}
        }
        None
    }

    /// Notes a command's numbers and times, and counts those of its stream that are not new. Returns whether the command is new and
    /// not late.
    fn note(&mut self, command: &TeleopCommand) -> bool {
        let delay = signed(command.received) - signed(command.stamp);
        let known =
            self.streams.iter().position(|one| one.is_some_and(|one| one.operator == command.operator));
        let Some(index) = known else {
            self.begin_stream(command, delay);
            return true;
        };
        let Some(stream) = &mut self.streams[index] else { return false };
        let new = command.sequence.saturating_sub(stream.sequence);
        let old = command.arrived.saturating_sub(new.max(1));
        let least = stream.least_delay.map_or(delay, |least| least.min(delay));
        let is_late = delay - least > signed(self.settings.stream_timeout());
        if new > 0 {
            (stream.sequence, stream.received, stream.least_delay) =
                (command.sequence, command.received, Some(least));
        }
        self.drop_commands(old);
        new > 0 && !is_late
    }

    /// Keeps a new stream, in place of the one that has been silent for longest and does not drive.
    fn begin_stream(&mut self, command: &TeleopCommand, delay: i128) {
        let driver = self.report.operator;
        let age = |stream: &Option<Stream>| match stream {
            None => (0, Duration::ZERO),
            Some(stream) => (1 + u8::from(stream.operator == driver), stream.received),
        };
        if let Some(oldest) = self.streams.iter_mut().min_by_key(|stream| age(stream)) {
            let TeleopCommand { operator, sequence, received, .. } = *command;
            *oldest = Some(Stream { operator, sequence, received, least_delay: Some(delay) });
        }
    }

    fn drop_commands(&mut self, count: u32) {
        self.report.dropped = self.report.dropped.saturating_add(count);
    }

    /// Lets an operator take over whose command lies near enough to the last one, and refuses another.
    fn judge_first(
        &mut self,
        command: &TeleopCommand,
        context: &OperatorContext<'_>,
        notices: &mut Diagnostics,
    ) -> Option<StopReason> {
        let reason = match command.fault {
            Some(fault) => Some(RefusalReason::Faulty(fault)),
            None => self.far(command.values.as_slice(), context),
        };
        if let Some(reason) = reason {
            self.report.refused = Some(FirstRefusal { operator: command.operator, reason });
            return None;
        }
        self.enter(CallPhase::Driving);
        (self.report.operator, self.heard) = (command.operator, command.received);
        self.follow(command, context, notices)
    }

    /// Returns the channel in which `values` exceed the largest distance from the last command by most, if any does.
    fn far(&self, values: &[f32], context: &OperatorContext<'_>) -> Option<RefusalReason> {
        let channels = context.settings.channels.iter().zip(&self.within);
        let pairs = channels.zip(values.iter().zip(context.last)).zip(0_u32..);
        let far = pairs.filter_map(|(((channel, within), (value, last)), index)| {
            let away = f64::from(*value) - f64::from(*last);
            let scale = f64::from(f32::EPSILON) * channel.low.abs().max(channel.high.abs());
            let is_near = away.abs() <= within * (1.0 + TOLERANCE) + 8.0 * scale;
            (!is_near).then_some((away.abs() / within, RefusalReason::Far { channel: index, away }))
        });
        far.max_by(|(one, _), (other, _)| one.total_cmp(other)).map(|(_, reason)| reason)
    }

    /// Takes a command as the target of this period, by the same bounds and checks as a policy's chunk of one action.
    fn follow(
        &mut self,
        command: &TeleopCommand,
        context: &OperatorContext<'_>,
        notices: &mut Diagnostics,
    ) -> Option<StopReason> {
        let (settings, values) = (context.settings, command.values.as_slice());
        let is_within = settings.channels.iter().zip(values).all(|(channel, value)| channel.admits(*value));
        let excess = excess(&settings.channels, context.last, values);
        let mut worst = Treatment::Clamp;
        for (is_exceeded, treatment, notice) in [
            (!is_within, settings.out_of_bounds, Diagnostics::REJECTED),
            (excess.jump, settings.chunk.jump, Diagnostics::CHUNK_JUMP),
            (excess.motion, settings.chunk.motion, Diagnostics::CHUNK_MOTION),
        ] {
            if is_exceeded && treatment != Treatment::Clamp {
                notices.add(notice);
                worst = if worst == Treatment::Stop { worst } else { treatment };
            }
        }
        if !is_within && worst == Treatment::Clamp {
            notices.add(Diagnostics::CLAMPED);
        }
        self.target = (worst == Treatment::Clamp).then_some(command.values);
        if worst == Treatment::Clamp {
            self.report.sequence = command.sequence;
        }
        (worst == Treatment::Stop).then_some(StopReason::ChunkRefused)
    }
}

fn signed(time: Duration) -> i128 {
    i128::try_from(time.as_nanos()).unwrap_or(i128::MAX)
}

#[cfg(test)]
mod tests;

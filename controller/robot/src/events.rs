//! Log events of a run: changes of mode, fires, hand-overs, limited commands and diagnostics. A diagnostic that persists is
//! logged once a second with the number of control periods that had it. A diagnostic about a failed inference is logged
//! with the reason of the newest failure. So is, once a second, how far an operator's refused first command is.

use std::time::Duration;

use aegis_core::control::{
    CallReport, CameraSettings, Diagnostics, FirstRefusal, Inputs, Mode, NoProposal, RefusalReason,
    StopReason, TeleopFault, TickRecord,
};
use tracing::{debug, info, warn};

use crate::call_tracker::CallEvent;
use crate::camera_ages::CameraAges;
use crate::last_error::LastError;

/// Shortest time between two log lines about the same diagnostic.
const INTERVAL: Duration = Duration::from_secs(1);
/// Diagnostics of a failed inference: of the weak policy, and of the strong policy.
const FAILED: [Diagnostics; 2] = [Diagnostics::WEAK_FAILED, Diagnostics::STRONG_FAILED];

/// A control period, with what changed since the previous one.
#[derive(Clone, Copy, Debug)]
pub struct TickEvent<'a> {
    /// The period's bytes in the record.
    pub bytes: &'a [u8],
    /// The decoded period.
    pub period: &'a TickRecord<'a>,
    /// Mode of the previous period.
    pub before: Mode,
    /// Duration of the hand-over that this period completes, if it completes one.
    pub handed_over: Option<Duration>,
    /// What this period changed about the call of an operator.
    pub call: Option<CallEvent>,
}

/// Writer of log events, fed with a run's control periods one after another.
#[derive(Debug, Default)]
pub struct Events {
    told: [Option<Duration>; Diagnostics::ALL.len()],
    since: [u32; Diagnostics::ALL.len()],
    limited: bool,
    /// Reason of the newest failed inference: of the weak policy, and of the strong policy.
    reasons: [Option<&'static str>; 2],
    errors: [LastError; 2],
    cameras: CameraAges,
    /// When a first command was last logged that was refused because it is far, and because it cannot be executed.
    refused: [Option<Duration>; 2],
}

impl Events {
    /// Makes a writer that has logged nothing. `errors` hold the texts of the newest error of the weak policy and of the
    /// strong policy, `cameras` are the settings of the run's cameras.
    pub fn new(errors: [LastError; 2], cameras: Vec<CameraSettings>) -> Self {
        Self { errors, cameras: CameraAges::new(cameras), ..Self::default() }
    }

    /// Logs the events of a control period.
    pub fn take(&mut self, turn: &TickEvent<'_>) {
        let TickEvent { period, before, handed_over, call, .. } = turn;
        let (output, step) = (&period.output, period.output.step);
        if let Some(cameras) = &period.inputs.cameras {
            self.cameras.take(cameras);
        }
        if let Some(decision) = output.decision.as_ref().filter(|decision| decision.fired) {
            let (risk, threshold) = (decision.score.risk(), decision.thresholds.fire);
            debug!(step, risk, threshold, budget_left = decision.budget_left, "the gate fires");
        }
        if let Some(took) = handed_over {
            debug!(step, took_us = took.as_secs_f64() * 1e6, "the strong policy has taken over");
        }
        let limited = output.limited != 0;
        if limited && !self.limited {
            debug!(step, channels = output.limited, "commands are limited");
        }
        self.limited = limited;
        for (side, failed) in FAILED.into_iter().enumerate() {
            if output.notices.has(failed) {
                self.reasons[side] = reason(failed, &period.inputs);
            }
        }
        for ((notice, text), periods) in self.notices(period.inputs.now, output.notices).into_iter().flatten()
        {
            let side = FAILED.into_iter().position(|failed| failed == notice);
            let reason = side.and_then(|side| self.reasons[side]);
            match side.and_then(|side| self.errors[side].take()) {
                Some(error) => warn!(step, notice = text, periods, reason, error, "{text}: {error}"),
                None => debug!(step, notice = text, periods, reason, "notice"),
            }
        }
        if let (Some(event), Some(report)) = (call, &output.call) {
            say(*event, report, step);
        }
        self.say_refusal(period);
        let mode = output.mode;
        if mode != *before {
            let (mut line, cause) = (line(period), output.cause.map(|cause| format!("{cause:?}")));
            if output.cause == Some(StopReason::CameraStale) && mode.is_latched() && !before.is_latched() {
                line += &format!("  {}", self.cameras.old(period.inputs.now));
            }
            if mode.is_latched() {
                warn!(step, ?mode, ?before, cause, "{line}");
            } else {
                info!(step, ?mode, ?before, "{line}");
            }
        }
    }

    /// Logs why an operator's first command was refused, once a second.
    fn say_refusal(&mut self, period: &TickRecord<'_>) {
        let (now, step) = (period.inputs.now, period.output.step);
        let Some(FirstRefusal { operator, reason }) =
            period.output.call.as_ref().and_then(|report| report.refused)
        else {
            return;
        };
        let told = &mut self.refused[usize::from(matches!(reason, RefusalReason::Faulty(_)))];
        if told.is_some_and(|told| now.saturating_sub(told) < INTERVAL) {
            return;
        }
        *told = Some(now);
        match reason {
            RefusalReason::Far { channel, away } => {
                info!(
                    step,
                    operator,
                    channel,
                    away,
                    "operator {operator:016x} may not take over yet: channel {channel} is {away:+.4} from the last command"
                );
            }
            RefusalReason::Faulty(fault) => {
                let what = match fault {
                    TeleopFault::NotFinite => "a value is not finite",
                    TeleopFault::Width => "there are more or fewer values than channels",
                };
                warn!(step, operator, "operator {operator:016x} may not take over: {what}");
            }
        }
    }

    /// Returns the diagnostics to log now, each with the number of periods that had it since it was last logged.
    fn notices(
        &mut self,
        now: Duration,
        given: Diagnostics,
    ) -> [Option<((Diagnostics, &'static str), u32)>; Diagnostics::ALL.len()] {
        std::array::from_fn(|at| {
            let notice = Diagnostics::ALL[at];
            self.since[at] += u32::from(given.has(notice.0));
            let due = self.told[at].is_none_or(|told| now.saturating_sub(told) >= INTERVAL);
            let tells = due && self.since[at] > 0;
            tells.then(|| {
                self.told[at] = Some(now);
                (notice, std::mem::take(&mut self.since[at]))
            })
        })
    }
}

/// Logs what changed about the call of an operator.
fn say(event: CallEvent, report: &CallReport, step: u32) {
    let (call, operator) = (report.call, report.operator);
    match event {
        CallEvent::Called => {
            let left = report.left.as_secs_f64();
            warn!(step, call, "call {call}: an operator is called; the robot holds still for {left:.0} s");
        }
        CallEvent::Answered(took) => {
            let answer_s = took.as_secs_f64();
            info!(
                step,
                call,
                operator,
                answer_s,
                "call {call}: operator {operator:016x} drives, after {answer_s:.1} s"
            );
        }
        CallEvent::LetGo => info!(step, call, "call {call}: the operator has let go"),
        CallEvent::Unanswered => warn!(step, call, "call {call}: no operator answered"),
        CallEvent::Withdrawn => info!(step, call, "call {call}: withdrawn"),
        CallEvent::Ended => info!(step, call, "call {call}: the operator's control has ended"),
    }
}

/// Returns the log line for a change of mode.
fn line(period: &TickRecord<'_>) -> String {
    let output = &period.output;
    let mut line = format!("step {:>4}  {:?}", output.step, output.mode);
    if let Some(cause) = output.cause {
        line += &format!("  {}", cause.text());
    }
    if let Some(decision) = &output.decision {
        line += &format!("  risk {:.3}, threshold {:.3}", decision.score.risk(), decision.thresholds.fire);
    }
    for (notice, text) in Diagnostics::ALL.into_iter().filter(|(notice, _)| output.notices.has(*notice)) {
        line += &format!("  {text}");
        if let Some(reason) = reason(notice, &period.inputs) {
            line += &format!(" ({})", reason.replace('_', " "));
        }
    }
    line
}

/// Returns why the inference failed that a diagnostic is about; `None` for a diagnostic about something else.
fn reason(notice: Diagnostics, inputs: &Inputs<'_>) -> Option<&'static str> {
    let reply = match notice {
        Diagnostics::WEAK_FAILED => &inputs.weak,
        Diagnostics::STRONG_FAILED => &inputs.strong,
        _ => return None,
    };
    Some(match reply.as_ref().map(|reply| &reply.proposal) {
        Some(Err(NoProposal::Deadline)) => "deadline",
        Some(Err(NoProposal::Failed)) => "failed",
        Some(Err(NoProposal::NotFinite)) => "not_finite",
        Some(Err(NoProposal::Gone)) => "gone",
        Some(Ok(_)) => "rejected",
        None => "no_answer",
    })
}

#[cfg(test)]
mod tests {
    use aegis_core::control::{OperatorCommands, Output, PlantHealth, Reply, StopReason};

    use super::*;

    #[test]
    fn a_failed_inference_says_why() {
        let reply = |proposal| Reply {
            request: 1,
            episode: 1,
            observed: 0,
            took: Duration::ZERO,
            proposal,
            taken: None,
        };
        let inputs = Inputs {
            now: Duration::ZERO,
            skipped: 0,
            observation: None,
            plant: PlantHealth { heard: Duration::ZERO, lost: false, stopped: false, round_trip: None },
            weak: Some(reply(Err(NoProposal::Deadline))),
            strong: None,
            wishes: OperatorCommands::default(),
            pose: None,
            pose_taken: None,
            measured: None,
            cameras: None,
            teleop: None,
        };
        assert_eq!(reason(Diagnostics::WEAK_FAILED, &inputs), Some("deadline"));
        assert_eq!(reason(Diagnostics::STRONG_FAILED, &inputs), Some("no_answer"));
        assert_eq!(reason(Diagnostics::CLAMPED, &inputs), None);
    }

    #[test]
    fn a_stop_says_its_reason_in_words() {
        let plant = PlantHealth { heard: Duration::ZERO, lost: false, stopped: false, round_trip: None };
        let inputs = Inputs {
            now: Duration::ZERO,
            skipped: 0,
            observation: None,
            plant,
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
            mode: Mode::SafeStop,
            cause: Some(StopReason::Stale),
            send: false,
            step: 7,
            ask_weak: None,
            ask_strong: None,
            decision: None,
            driver: None,
            limited: 0,
            notices: Diagnostics::IMPLAUSIBLE,
            call: None,
        };
        let period = TickRecord { inputs, output, command: Vec::new().into(), late_ns: 0, took_ns: 0 };
        let line = line(&period);
        assert!(line.starts_with("step    7  SafeStop  for too long no observation came"), "{line}");
        assert!(line.contains("an observation was refused: a value that is not finite"), "{line}");
    }

    #[test]
    fn a_notice_that_goes_on_is_told_of_once_a_second_and_every_period_is_counted() {
        let (mut events, mut clamped) = (Events::default(), Diagnostics::default());
        clamped.add(Diagnostics::CLAMPED);
        let told: Vec<(u64, u32)> = (0..2500)
            .flat_map(|ms| {
                let told = events.notices(Duration::from_millis(ms), clamped);
                told.into_iter().flatten().map(move |(_, periods)| (ms, periods)).collect::<Vec<_>>()
            })
            .collect();
        assert_eq!(told, [(0, 1), (1000, 1000), (2000, 1000)]);
        let last = events.notices(Duration::from_secs(9), Diagnostics::default());
        assert_eq!(last.iter().flatten().map(|(_, periods)| *periods).sum::<u32>(), 499);
    }
}

//! Calls to people who may drive a robot by hand. The recording thread writes down where the call stands; a thread of its own
//! publishes that at each change, and at short intervals meanwhile.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use aegis_core::Schema;
use aegis_core::control::{
    CallPhase, CallReport, ChannelKind, ControllerConfig, OperatorSettings, RefusalReason, TickRecord,
};
use aegis_failure::{Exit, Failure, OrExit};
use aegis_link::CallPublisher;
use aegis_link::wire::{Call, CallState, Steered, SteeredKind};

use crate::plant_listener::PlantListener;
use crate::worker::Worker;

/// Time between two calls without a change.
const INTERVAL: Duration = Duration::from_millis(50);

/// Where a run's call stands, by the newest control period.
#[derive(Debug, Default)]
struct Standing {
    report: CallReport,
    episode: u64,
    command: Vec<f32>,
    /// Number of the program whose first command was refused last in this call, and its distance by channel.
    refused: Option<(u64, Vec<f64>)>,
    has_changed: bool,
}

/// The newest state of a run's call, shared by the threads that write and publish it.
#[derive(Debug, Default)]
pub(crate) struct CallBoard {
    standing: Mutex<Standing>,
    changed: Condvar,
}

impl CallBoard {
    /// Takes a control period.
    pub fn take(&self, period: &TickRecord<'_>) {
        let Some(report) = &period.output.call else { return };
        let mut standing = self.standing.lock().unwrap_or_else(PoisonError::into_inner);
        if period.begins()
            && let Some(episode) = period.inputs.wishes.start
        {
            standing.episode = episode;
        }
        standing.command.clear();
        standing.command.extend_from_slice(&period.command);
        let is_news = standing.report.phase != report.phase || report.refused.is_some();
        if !matches!(report.phase, CallPhase::Called | CallPhase::Released)
            || standing.report.call != report.call
        {
            standing.refused = None;
        }
        if let Some(refused) = report.refused {
            let away = match refused.reason {
                RefusalReason::Faulty(_) => Vec::new(),
                RefusalReason::Far { .. } => away(period, refused.operator),
            };
            standing.refused = Some((refused.operator, away));
        }
        standing.report = report.clone();
        standing.has_changed |= is_news;
        drop(standing);
        if is_news {
            self.changed.notify_all();
        }
    }
}

/// Returns the distance of an operator's newest command from the last command sent, by channel.
fn away(period: &TickRecord<'_>, operator: u64) -> Vec<f64> {
    let sent = period.inputs.teleop.iter().flat_map(|teleop| teleop.commands.iter());
    let of_operator = sent.filter(|command| command.operator == operator);
    let newest = of_operator.max_by_key(|command| command.sequence);
    let pairs = newest.iter().flat_map(|command| command.values.as_slice().iter().zip(&*period.command));
    pairs.map(|(value, last)| f64::from(*value) - f64::from(*last)).collect()
}

/// What a call says that stays the same for a whole run.
#[derive(Clone, Debug)]
struct Fixed {
    period_ns: u64,
    stream_timeout_ns: u64,
    channels: Vec<Steered>,
}

impl Fixed {
    fn of(recipe: &ControllerConfig, operator: &OperatorSettings) -> Self {
        let channels = &recipe.settings.channels;
        let steered = channels.iter().zip(operator.first_within(channels)).map(|(channel, within)| Steered {
            name: String::new(),
            kind: match channel.kind {
                ChannelKind::Rate => SteeredKind::Rate,
                ChannelKind::Position => SteeredKind::Position,
                ChannelKind::Discrete => SteeredKind::Discrete,
            },
            bounds: [channel.low, channel.high],
            within,
        });
        Self {
            period_ns: nanoseconds(recipe.settings.period()),
            stream_timeout_ns: nanoseconds(operator.stream_timeout()),
            channels: steered.collect(),
        }
    }
}

/// Starts the thread that publishes what `board` says of the calls of a robot with this `recipe`. The names of channels are those
/// that the plant `announced`.
///
/// # Errors
/// A thread that cannot be started.
pub(crate) fn start(
    publisher: CallPublisher,
    board: Arc<CallBoard>,
    listener: Arc<PlantListener>,
    announced: Arc<OnceLock<Arc<Schema>>>,
    (recipe, operator): (&ControllerConfig, &OperatorSettings),
) -> Result<Worker, Failure> {
    let fixed = Fixed::of(recipe, operator);
    let publish = move |end: &AtomicBool| {
        while !end.load(Ordering::Acquire) {
            let standing = board.standing.lock().unwrap_or_else(PoisonError::into_inner);
            let waits = |standing: &mut Standing| !standing.has_changed;
            let woken = board.changed.wait_timeout_while(standing, INTERVAL, waits);
            let (mut standing, _) = woken.unwrap_or_else(PoisonError::into_inner);
            standing.has_changed = false;
            let call = call(&standing, listener.session(), &fixed, announced.get());
            drop(standing);
            // A call that cannot be sent is superseded by the next one.
            let _ = publisher.publish(call);
        }
    };
    Worker::start("calls", publish).or_exit(Exit::Failed)
}

fn call(standing: &Standing, session: u64, fixed: &Fixed, announced: Option<&Arc<Schema>>) -> Call {
    let Standing { report, episode, command, refused, .. } = standing;
    let mut channels = fixed.channels.clone();
    for (steered, action) in channels.iter_mut().zip(announced.iter().flat_map(|schema| schema.actions())) {
        steered.name = action.name.to_string();
    }
    let (refused, away) = refused.clone().unwrap_or_default();
    Call {
        session,
        episode: *episode,
        state: match report.phase {
            CallPhase::Quiet => CallState::Quiet,
            CallPhase::Called => CallState::Called,
            CallPhase::Driving => CallState::Driving,
            CallPhase::Released => CallState::Released,
        },
        call: report.call,
        operator: report.operator,
        sequence: report.sequence,
        left_ns: nanoseconds(report.left),
        period_ns: fixed.period_ns,
        stream_timeout_ns: fixed.stream_timeout_ns,
        command: command.iter().map(|value| f64::from(*value)).collect(),
        refused,
        away,
        channels,
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

//! The watchdog's loop: passes the messages of a plant's link to [`Watchdog`], and asks the plant to stop while a trip is latched.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
use std::time::{Duration, Instant};

use aegis_link::LinkError;
use aegis_link::watchdog::{Stopper, Supervised, Supervision, attach};
use aegis_link::wire::{Attached, Phase, Status};

use crate::bounds::{Bounds, BoundsError};
use crate::judge::Watchdog;
use crate::trip::Trip;

/// Longest time between two checks for missing messages.
const INTERVAL: Duration = Duration::from_millis(10);
/// Number of messages that may wait; more are counted, and trip. Holds one second of messages at a plant's largest rate.
const CAPACITY: usize = 8192;

/// Number of consecutive answers of a running plant, one second of them, before the watchdog reports that the stop fails. A plant
/// answers a request one period before it stands still.
const RUNNING: u32 = 10;

/// Event of a watchdog, for its caller.
#[derive(Clone, Debug, PartialEq)]
pub enum Report {
    /// The watchdog has begun to read the plant's messages.
    Watching(Attached),
    /// The watchdog has tripped, and asks the plant to stop.
    Tripped(Trip),
    /// The plant has answered the first request to stop after a trip.
    Answered(Status),
    /// The plant does not obey the requests to stop, for this reason. Reported once for each reason.
    Unanswered(String),
    /// An operator has reset a trip.
    Reset,
}

/// Reason why a watchdog cannot watch.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// Error of the link to the plant.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The file of bounds does not fit the plant.
    #[error(transparent)]
    Bounds(#[from] BoundsError),
}

/// Input of a watchdog's loop, with its arrival for messages of the link.
enum Event {
    Heard(Supervised, Duration),
    Answer(Result<Status, String>),
}

/// Watches the plant `name` over `session` until `end` is set. `resets` counts the operator's resets; `report` is called with what
/// happens. Returns the trip that was latched at the end.
///
/// # Errors
/// A plant that is not served or knows no watchdog, bounds that do not fit it (`unfit` makes the error of what does not), and
/// errors that Zenoh reports.
pub fn watch(
    session: &zenoh::Session,
    name: &str,
    bounds: Bounds,
    (end, resets): (&AtomicBool, &AtomicU64),
    unfit: impl FnOnce(String) -> BoundsError,
    mut report: impl FnMut(&Report),
) -> Result<Option<Trip>, WatchError> {
    let attached = attach(session, name, &format!("aegis watchdog, process {}", std::process::id()))?;
    bounds.fit(attached.action_width, attached.period_ns).map_err(unfit)?;
    let clock = Instant::now();
    let (sender, events) = sync_channel(CAPACITY);
    let lost = Arc::new(AtomicU64::new(0));
    let _supervision = Supervision::begin(session, name, {
        let (sender, lost) = (sender.clone(), Arc::clone(&lost));
        move |heard| put(&sender, &lost, Event::Heard(heard, clock.elapsed()))
    })?;
    let stopper = Stopper::start(session, name, {
        let lost = Arc::clone(&lost);
        move |answer| put(&sender, &lost, Event::Answer(answer))
    })?;
    let mut watchdog = Watchdog::new(bounds);
    let mut answers = Answers::default();
    report(&Report::Watching(attached));
    let mut done = resets.load(Ordering::Acquire);
    while !end.load(Ordering::Acquire) {
        let was_tripped = watchdog.trip().is_some();
        // Everything that came before this time is taken before missing messages are looked for.
        let now = take(&events, clock, |event| match event {
            Event::Heard(heard, at) => heed(&mut watchdog, heard, at),
            Event::Answer(answer) if was_tripped => {
                if let Some(said) = answers.news(answer) {
                    report(&said);
                }
            }
            Event::Answer(_) => {}
        });
        let count = lost.swap(0, Ordering::AcqRel);
        if count > 0 {
            watchdog.overrun(count);
        }
        watchdog.tick(now);
        let asked = resets.load(Ordering::Acquire);
        if std::mem::replace(&mut done, asked) != asked && was_tripped {
            stopper.tell(None);
            watchdog.reset();
            answers = Answers::default();
            report(&Report::Reset);
        } else if let Some(trip) = watchdog.trip().filter(|_| !was_tripped) {
            stopper.tell(Some(shortened(trip.to_string())));
            report(&Report::Tripped(trip.clone()));
        }
    }
    Ok(watchdog.trip().cloned())
}

/// Puts an event into the queue, or counts it in `lost` where the queue is full.
fn put(sender: &SyncSender<Event>, lost: &AtomicU64, event: Event) {
    if sender.try_send(event).is_err() {
        lost.fetch_add(1, Ordering::AcqRel);
    }
}

/// Waits for an event for at most [`INTERVAL`], and passes every waiting event to `heed`. Returns a time before which no event is
/// left in the queue.
fn take(events: &Receiver<Event>, clock: Instant, mut heed: impl FnMut(Event)) -> Duration {
    match events.recv_timeout(INTERVAL) {
        Ok(event) => heed(event),
        Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
    }
    let now = clock.elapsed();
    // At most one full queue: an endless sender must not keep the loop from its checks.
    for _ in 0..CAPACITY {
        match events.try_recv() {
            Ok(event) => heed(event),
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
        }
    }
    now
}

fn heed(watchdog: &mut Watchdog, heard: Supervised, at: Duration) {
    match heard {
        Supervised::Status(status) => watchdog.status(&status, at),
        Supervised::Action(action) => watchdog.action(&action, at),
        Supervised::Executed(executed) => watchdog.executed(&executed, at),
        Supervised::NoAction(reason) => watchdog.unreadable(&reason),
    }
}

/// Shortens a reason to the 500 bytes that a request to stop may have.
fn shortened(mut reason: String) -> String {
    let end = (0..=reason.len().min(500)).rev().find(|end| reason.is_char_boundary(*end));
    reason.truncate(end.unwrap_or(0));
    reason
}

/// Answers of the plant since a trip, and what was reported of them.
#[derive(Default)]
struct Answers {
    has_stopped: bool,
    /// Consecutive answers in which the plant reports that it runs.
    running: u32,
    complaint: Option<String>,
}

impl Answers {
    /// Returns the report for an answer; `None` where an earlier report says the same.
    fn news(&mut self, answer: Result<Status, String>) -> Option<Report> {
        match answer {
            Ok(status) if status.phase == Phase::Running => {
                self.running += 1;
                if self.running < RUNNING {
                    return None;
                }
                self.complain(
                    "it accepts the requests to stop and reports that it still runs: its stop does not work"
                        .into(),
                )
            }
            Ok(status) => {
                (self.complaint, self.running) = (None, 0);
                (!std::mem::replace(&mut self.has_stopped, true)).then_some(Report::Answered(status))
            }
            Err(reason) => self.complain(reason),
        }
    }

    fn complain(&mut self, reason: String) -> Option<Report> {
        self.has_stopped = false;
        let is_new = self.complaint.as_ref() != Some(&reason);
        self.complaint = Some(reason.clone());
        is_new.then_some(Report::Unanswered(reason))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_and_each_complaint_are_reported_once() {
        let status = |phase| Status {
            instance: 1,
            session: 0,
            phase,
            episode: 0,
            sequence: 0,
            stamp_ns: 0,
            dropped: 0,
            refused: 0,
            pulse_stamp_ns: 0,
            pulse_received_ns: 0,
        };
        let mut answers = Answers::default();
        let none = || Err("no answer".to_owned());
        assert_eq!(answers.news(none()), Some(Report::Unanswered("no answer".into())));
        assert_eq!(answers.news(none()), None);
        for _ in 1..RUNNING {
            assert_eq!(answers.news(Ok(status(Phase::Running))), None);
        }
        assert!(matches!(answers.news(Ok(status(Phase::Running))), Some(Report::Unanswered(_))));
        assert_eq!(answers.news(Ok(status(Phase::Stopped))), Some(Report::Answered(status(Phase::Stopped))));
        assert_eq!(answers.news(Ok(status(Phase::Stopped))), None);
        assert!(answers.news(none()).is_some());
    }

    #[test]
    fn a_reason_fits_into_a_request() {
        assert_eq!(shortened("é".repeat(400)).len(), 500);
        assert_eq!(shortened("a jump".into()), "a jump");
    }
}

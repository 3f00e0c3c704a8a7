//! A watchdog's end of the link: asks a plant what it offers, reads what is sent to it and what it executes, and asks it to
//! stop, again and again.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use zenoh::Wait;
use zenoh::handlers::FifoChannel;
use zenoh::pubsub::Subscriber;
use zenoh::qos::{CongestionControl, Priority};
use zenoh::query::{ConsolidationMode, Querier};

use crate::presence::{TIMEOUT, served_plants};
use crate::subscription::subscribe;
use crate::wire::{Action, Attach, Attached, Executed, Message, Status, StopRequest};
use crate::{KeyExprs, LinkError};

/// Longest wait for the answer to one request.
const ANSWER: Duration = Duration::from_secs(1);
/// Time between two requests to stop.
const INTERVAL: Duration = Duration::from_millis(100);
/// Time for which each request holds the plant.
const HOLD: Duration = Duration::from_secs(3);

/// A message that a watchdog reads.
#[derive(Clone, Debug, PartialEq)]
pub enum Supervised {
    /// The plant's heartbeat.
    Status(Status),
    /// An action that was sent to the plant.
    Action(Action),
    /// What the plant has executed.
    Executed(Executed),
    /// Bytes on the key of actions that are no action; the text gives the reason.
    NoAction(String),
}

/// Asks the plant `name` what it offers a watchdog, and waits for a plant that has just been started.
///
/// # Errors
/// [`LinkError::Nobody`] where the plant is not served, [`LinkError::NoEcho`] where it is served by a process that knows no
/// watchdog, [`LinkError::Unread`] where its answer cannot be decoded, and errors that Zenoh reports.
pub fn attach(session: &zenoh::Session, name: &str, watchdog: &str) -> Result<Attached, LinkError> {
    let querier = querier(session, name)?;
    let question = Message::from(Attach { watchdog: watchdog.into() });
    let begin = Instant::now();
    loop {
        match ask(&querier, &question, name)? {
            Some(Message::Attached(attached)) => return Ok(attached),
            Some(Message::Refused(refused)) => {
                return Err(LinkError::Refused { name: name.into(), reason: refused.reason });
            }
            Some(other) => {
                let reason = format!("it answers with {}", other.name());
                return Err(LinkError::Refused { name: name.into(), reason });
            }
            None if begin.elapsed() < TIMEOUT => std::thread::sleep(INTERVAL),
            None => {
                let others = served_plants(session)?;
                return Err(match others.iter().any(|served| served == name) {
                    true => LinkError::NoEcho { name: name.into() },
                    false => LinkError::Nobody { name: name.into(), others },
                });
            }
        }
    }
}

/// Subscriptions of a watchdog while this value lives.
#[derive(Debug)]
pub struct Supervision {
    _subscribers: [Subscriber<()>; 3],
}

impl Supervision {
    /// Subscribes to the heartbeat of the plant `name`, to the actions that are sent to it and to what it executes. `hear` is
    /// called on Zenoh's threads and must not wait.
    ///
    /// # Errors
    /// [`LinkError::Name`] for an invalid plant name, or errors that Zenoh reports.
    pub fn begin(
        session: &zenoh::Session,
        name: &str,
        hear: impl Fn(Supervised) + Clone + Send + Sync + 'static,
    ) -> Result<Self, LinkError> {
        let keys = KeyExprs::of(name)?;
        let on = |key: String, belongs: &'static str| {
            let hear = hear.clone();
            subscribe(session, key, belongs, move |heard| match heard {
                Ok(Message::Status(status)) => hear(Supervised::Status(status)),
                Ok(Message::Action(action)) => hear(Supervised::Action(action)),
                Ok(Message::Executed(executed)) => hear(Supervised::Executed(executed)),
                // What the plant publishes and nobody can read is missing, and counts as that.
                Ok(_) => {}
                Err(reason) if belongs == "Action" => hear(Supervised::NoAction(reason)),
                Err(_) => {}
            })
        };
        let subscribers =
            [on(keys.status, "Status")?, on(keys.action, "Action")?, on(keys.executed, "Executed")?];
        Ok(Self { _subscribers: subscribers })
    }
}

/// What a [`Stopper`] is told: the reason for which the plant is to be stopped, and the end.
#[derive(Debug, Default)]
struct Told {
    reason: Option<String>,
    ends: bool,
}

/// A thread that asks a plant to stop, ten times a second while it is told to.
#[derive(Debug)]
pub struct Stopper {
    told: Arc<(Mutex<Told>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

impl Stopper {
    /// Starts the thread. `answered` is called on it with the plant's answer to each request: its status, or why there is none.
    ///
    /// # Errors
    /// [`LinkError::Name`] for an invalid plant name, or errors that Zenoh and the system report.
    pub fn start(
        session: &zenoh::Session,
        name: &str,
        answered: impl Fn(Result<Status, String>) + Send + 'static,
    ) -> Result<Self, LinkError> {
        let (querier, plant) = (querier(session, name)?, name.to_owned());
        let told = Arc::new((Mutex::new(Told::default()), Condvar::new()));
        let shared = Arc::clone(&told);
        let ask_again = move || {
            while let Some(reason) = next(&shared) {
                let request = StopRequest { reason, hold_ns: HOLD.as_nanos() as u64 }.into();
                answered(match ask(&querier, &request, &plant) {
                    Ok(Some(Message::Status(status))) => Ok(status),
                    Ok(Some(Message::Refused(refused))) => Err(format!("refused: {}", refused.reason)),
                    Ok(Some(other)) => Err(format!("answered with {}", other.name())),
                    Ok(None) => Err("no answer".into()),
                    Err(error) => Err(error.to_string()),
                });
                let waits = |told: &mut Told| !told.ends && told.reason.is_some();
                drop(shared.1.wait_timeout_while(lock(&shared.0), INTERVAL, waits));
            }
        };
        let thread = std::thread::Builder::new()
            .name("aegis-stopper".into())
            .spawn(ask_again)
            .map_err(|error| LinkError::Zenoh(format!("cannot start the stopper: {error}")))?;
        Ok(Self { told, thread: Some(thread) })
    }

    /// Begins to ask for a stop, for `reason`, or ceases to with `None`.
    pub fn tell(&self, reason: Option<String>) {
        lock(&self.told.0).reason = reason;
        self.told.1.notify_all();
    }
}

impl Drop for Stopper {
    fn drop(&mut self) {
        lock(&self.told.0).ends = true;
        self.told.1.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Waits for the next request to make; returns its reason, or `None` at the end.
fn next((told, changed): &(Mutex<Told>, Condvar)) -> Option<String> {
    let waits = |told: &mut Told| !told.ends && told.reason.is_none();
    let told = changed.wait_while(lock(told), waits).unwrap_or_else(PoisonError::into_inner);
    if told.ends { None } else { told.reason.clone() }
}

fn lock(told: &Mutex<Told>) -> MutexGuard<'_, Told> {
    told.lock().unwrap_or_else(PoisonError::into_inner)
}

fn querier(session: &zenoh::Session, name: &str) -> Result<Querier<'static>, LinkError> {
    let key = KeyExprs::of(name)?.watchdog;
    let querier = session.declare_querier(key).timeout(ANSWER).express(true).priority(Priority::RealTime);
    // A request has one answer: consolidation would only delay the answer until the query ends.
    let querier = querier.congestion_control(CongestionControl::Block).consolidation(ConsolidationMode::None);
    Ok(querier.wait()?)
}

/// Sends one request; returns its answer, or `None` where none came in time.
fn ask(querier: &Querier<'_>, question: &Message, plant: &str) -> Result<Option<Message>, LinkError> {
    let answers = querier.get().payload(question.encode()).with(FifoChannel::new(1)).wait()?;
    let Ok(reply) = answers.recv() else { return Ok(None) };
    let Ok(sample) = reply.result() else { return Ok(None) };
    Message::decode(&sample.payload().to_bytes()).map(Some).map_err(|error| LinkError::Unread {
        name: plant.into(),
        question: question.name(),
        reason: error.to_string(),
    })
}

//! A free-running plant at the other end of a Zenoh session, for a controller with threads of its own.
//! What the plant publishes goes to the caller as it comes; commands go out by a sender that any thread may own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use aegis_core::{Observation, PlantError, Start};
use zenoh::Wait;
use zenoh::pubsub::{Publisher, Subscriber};
use zenoh::qos::{CongestionControl, Priority};

use crate::plant::{Claimant, ZenohPlant};
use crate::wire::{Action, Claimed, Message, Mode, Moved, Operate, OperatorCommand, Status};
use crate::{KeyExprs, LinkError};

/// For a controller to show that it hears its operator.
const HEARING: Duration = Duration::from_secs(2);
/// Between two looks at whether one does.
const POLL_INTERVAL: Duration = Duration::from_millis(1);

/// What is heard of a plant and of the people around it.
#[derive(Clone, Debug, PartialEq)]
pub enum Heard {
    /// An observation.
    Moved(Box<Moved>),
    /// The plant's heartbeat.
    Status(Status),
    /// Somebody's wish.
    Operate(Operate),
    /// Something that is no message, or none that belongs there: why.
    Malformed(String),
}

/// A claimed plant that moves at its own rate.
#[derive(Debug)]
pub struct FreeRunningPlant {
    plant: ZenohPlant,
    name: String,
    session: zenoh::Session,
    /// Episodes up to this one are over, or belong to an earlier claim.
    after: Arc<AtomicU64>,
    _subscribers: Vec<Subscriber<()>>,
}

/// Sends the commands of one claim.
#[derive(Debug)]
pub struct CommandSender {
    publisher: Publisher<'static>,
    session: u64,
    /// Episodes up to this one are over, or belong to an earlier claim.
    after: Arc<AtomicU64>,
}

impl FreeRunningPlant {
    /// Claims the plant `name`. `hear` is called on threads of Zenoh's for everything that it publishes; it must not wait.
    ///
    /// # Errors
    /// Those of [`ZenohPlant::claim`].
    pub fn claim(
        session: &zenoh::Session,
        name: &str,
        claimant: Claimant,
        hear: impl Fn(Heard) + Clone + Send + Sync + 'static,
    ) -> Result<Self, LinkError> {
        let keys = KeyExprs::of(name)?;
        let after = Arc::new(AtomicU64::new(claimant.after));
        let plant = ZenohPlant::claim_by(session, name, Mode::FreeRunning, claimant)?;
        let mut subscribers = Vec::new();
        for key in [keys.observation, keys.status] {
            subscribers.push(subscribe(session, key, hear.clone())?);
        }
        Ok(Self { plant, name: name.into(), session: session.clone(), after, _subscribers: subscribers })
    }

    /// What the plant said of itself.
    pub fn claimed(&self) -> &Claimed {
        self.plant.claimed()
    }

    /// Starts an episode: its number and its first observation. From here on no command of an earlier one is sent: it would
    /// move the plant away from where this one starts.
    ///
    /// # Errors
    /// The plant refuses, or is lost.
    pub fn reset(&mut self, start: Start) -> Result<(u64, Observation), PlantError> {
        self.after.store(self.plant.episode(), Ordering::Release);
        let observation = aegis_core::Plant::reset(&mut self.plant, start)?;
        Ok((self.plant.episode(), observation))
    }

    /// The number of the last episode that a reset has asked for, whether the plant began it or not.
    pub fn episode(&self) -> u64 {
        self.plant.episode()
    }

    /// When the plant took the first observation of the episode, or earlier, nanoseconds on its own clock.
    pub fn stamp_ns(&self) -> u64 {
        self.plant.stamp_ns()
    }

    /// A sender of commands to this claim.
    ///
    /// # Errors
    /// What Zenoh reports.
    pub fn sender(&self) -> Result<CommandSender, LinkError> {
        let publisher = self
            .session
            .declare_publisher(KeyExprs::of(&self.name)?.action)
            .congestion_control(CongestionControl::Drop)
            .priority(Priority::RealTime)
            .express(true)
            .wait()?;
        Ok(CommandSender { publisher, session: self.claimed().session, after: Arc::clone(&self.after) })
    }
}

/// Hears the operators of a plant while this value lives, whether the plant is there or not.
#[derive(Debug)]
pub struct Operators {
    _subscriber: Subscriber<()>,
}

impl Operators {
    /// Begins to hear those of the plant `name`. `hear` is called on threads of Zenoh's; it must not wait.
    ///
    /// # Errors
    /// No name, or what Zenoh reports.
    pub fn hear(
        session: &zenoh::Session,
        name: &str,
        hear: impl Fn(Heard) + Send + Sync + 'static,
    ) -> Result<Self, LinkError> {
        Ok(Self { _subscriber: subscribe(session, KeyExprs::of(name)?.operator, hear)? })
    }
}

/// Calls `hear` for what is published on a key.
fn subscribe(
    session: &zenoh::Session,
    key: String,
    hear: impl Fn(Heard) + Send + Sync + 'static,
) -> Result<Subscriber<()>, LinkError> {
    let listen = move |sample: zenoh::sample::Sample| {
        hear(match Message::decode(&sample.payload().to_bytes()) {
            Ok(Message::Moved(moved)) => Heard::Moved(Box::new(moved)),
            Ok(Message::Status(status)) => Heard::Status(status),
            Ok(Message::Operate(operate)) => Heard::Operate(operate),
            Ok(other) => Heard::Malformed(format!("{} is not published to a controller", other.name())),
            Err(error) => Heard::Malformed(error.to_string()),
        });
    };
    Ok(session.declare_subscriber(key).callback(listen).wait()?)
}

impl CommandSender {
    /// Sends one command: `sequence` counts the episode's from 1, `observation` is the newest that was known. A command
    /// of an episode before this claim or before the last reset is not sent: it was made for another plant, or for another
    /// place to start from. Returns whether it was sent.
    ///
    /// # Errors
    /// The session is closed.
    pub fn send(
        &self,
        episode: u64,
        sequence: u32,
        observation: u32,
        stamp_ns: u64,
        action: &[f32],
    ) -> Result<bool, LinkError> {
        if episode <= self.after.load(Ordering::Acquire) {
            return Ok(false);
        }
        let (session, action) = (self.session, action.to_vec());
        let command = Action { session, episode, sequence, observation, stamp_ns, action };
        self.publisher.put(Message::from(command).encode()).wait()?;
        Ok(true)
    }
}

/// Publishes a wish to whoever controls the plant `name`, and makes sure that somebody was there to hear it.
///
/// # Errors
/// No name, [`LinkError::Unheard`] where no controller shows itself in time, or what Zenoh reports.
pub fn operate(session: &zenoh::Session, name: &str, operate: Operate) -> Result<(), LinkError> {
    let key = KeyExprs::of(name)?.operator;
    let publisher =
        session.declare_publisher(key).congestion_control(CongestionControl::Block).express(true).wait()?;
    let is_heard = || publisher.matching_status().wait().map(|status| status.matching());
    let say = || publisher.put(Message::from(operate).encode()).wait();
    let begin = Instant::now();
    let mut heard = is_heard()?;
    // A stop waits for nothing. Said a second time it changes nothing, which is not so of a reset or a start.
    if heard || matches!(operate.wish, OperatorCommand::EStop | OperatorCommand::Stop) {
        say()?;
    }
    if heard {
        return Ok(());
    }
    while !heard && begin.elapsed() < HEARING {
        std::thread::sleep(POLL_INTERVAL);
        heard = is_heard()?;
    }
    if !heard {
        return Err(LinkError::Unheard { name: name.into() });
    }
    Ok(say()?)
}

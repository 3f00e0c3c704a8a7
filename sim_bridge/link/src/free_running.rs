//! A free-running plant at the other end of a Zenoh session, for a multi-threaded controller.
//! Messages that the plant publishes are passed to the caller on arrival; commands go out through a sender that any
//! thread may own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use aegis_core::{Frame, Observation, PlantError, Start};
use zenoh::Wait;
use zenoh::pubsub::{Publisher, Subscriber};
use zenoh::qos::{CongestionControl, Priority};

use crate::plant::{Claimant, ZenohPlant};
use crate::subscription::subscribe;
use crate::wire::{Action, CameraFrame, Claimed, Message, Mode, Moved, Operate, OperatorCommand, Status};
use crate::{KeyExprs, LinkError};

/// Time limit for a controller to appear as a subscriber of the operator key.
const HEARING: Duration = Duration::from_secs(2);
/// Poll interval at which the subscription is checked.
const POLL_INTERVAL: Duration = Duration::from_millis(1);

/// A message received from a plant or from its operators.
#[derive(Clone, Debug, PartialEq)]
pub enum Heard {
    /// An observation.
    Moved(Box<Moved>),
    /// A camera's picture.
    Frame(Box<CameraFrame>),
    /// The plant's heartbeat.
    Status(Status),
    /// An operator command.
    Operate(Operate),
    /// Bytes that are not a message, or a message that does not belong on this key; the text gives the reason.
    Malformed(String),
}

/// A claimed plant that runs at its own control rate.
#[derive(Debug)]
pub struct FreeRunningPlant {
    plant: ZenohPlant,
    name: String,
    session: zenoh::Session,
    /// Episodes up to this one are over, or belong to an earlier claim.
    after: Arc<AtomicU64>,
    _subscribers: Vec<Subscriber<()>>,
}

/// Sender of the commands of one claim.
#[derive(Debug)]
pub struct CommandSender {
    publisher: Publisher<'static>,
    session: u64,
    /// Episodes up to this one are over, or belong to an earlier claim.
    after: Arc<AtomicU64>,
}

impl FreeRunningPlant {
    /// Claims the plant `name`. `hear` is called on Zenoh's threads for every observation and heartbeat that the plant
    /// publishes, and for every camera frame if the claimant asks for `pictures`; `hear` must not wait.
    ///
    /// # Errors
    /// The errors of [`ZenohPlant::claim`].
    pub fn claim(
        session: &zenoh::Session,
        name: &str,
        claimant: Claimant,
        hear: impl Fn(Heard) + Clone + Send + Sync + 'static,
    ) -> Result<Self, LinkError> {
        let keys = KeyExprs::of(name)?;
        let after = Arc::new(AtomicU64::new(claimant.after));
        let pictures = claimant.pictures.then_some((keys.camera, "CameraFrame"));
        let plant = ZenohPlant::claim_by(session, name, Mode::FreeRunning, claimant)?;
        let mut subscribers = Vec::new();
        let all = [(keys.observation, "Moved"), (keys.status, "Status")];
        for (key, belongs) in all.into_iter().chain(pictures) {
            subscribers.push(listen(session, key, belongs, hear.clone())?);
        }
        Ok(Self { plant, name: name.into(), session: session.clone(), after, _subscribers: subscribers })
    }

    /// Returns the plant's answer to the claim.
    pub fn claimed(&self) -> &Claimed {
        self.plant.claimed()
    }

    /// Starts an episode; returns its number and its first observation. From this call on no command of an earlier episode
    /// is sent, because such a command would move the plant away from the start of the new episode.
    ///
    /// # Errors
    /// The plant refuses the reset, or is lost.
    pub fn reset(&mut self, start: Start) -> Result<(u64, Observation), PlantError> {
        self.after.store(self.plant.episode(), Ordering::Release);
        let observation = aegis_core::Plant::reset(&mut self.plant, start)?;
        Ok((self.plant.episode(), observation))
    }

    /// Returns the pictures with which the plant answers a request, as simulators do; empty for a plant that only publishes frames.
    ///
    /// # Errors
    /// The plant refuses, or is lost.
    pub fn frames(&mut self) -> Result<Vec<Frame>, PlantError> {
        aegis_core::Plant::frames(&mut self.plant)
    }

    /// Returns the number of the last episode that a reset has asked for, whether the plant began the episode or not.
    pub fn episode(&self) -> u64 {
        self.plant.episode()
    }

    /// Returns the stamp of the episode's first observation, nanoseconds on the plant's clock; the observation was made at
    /// that time or later.
    pub fn stamp_ns(&self) -> u64 {
        self.plant.stamp_ns()
    }

    /// Creates a sender of commands for this claim.
    ///
    /// # Errors
    /// Errors that Zenoh reports.
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

/// Subscription to the operator commands of a plant while this value lives, whether the plant is served or not.
#[derive(Debug)]
pub struct Operators {
    _subscriber: Subscriber<()>,
}

impl Operators {
    /// Subscribes to the operator commands of the plant `name`. `hear` is called on Zenoh's threads and must not wait.
    ///
    /// # Errors
    /// [`LinkError::Name`] for an invalid plant name, or errors that Zenoh reports.
    pub fn hear(
        session: &zenoh::Session,
        name: &str,
        hear: impl Fn(Heard) + Send + Sync + 'static,
    ) -> Result<Self, LinkError> {
        Ok(Self { _subscriber: listen(session, KeyExprs::of(name)?.operator, "Operate", hear)? })
    }
}

/// Subscribes to a key and calls `hear` for each message published there.
fn listen(
    session: &zenoh::Session,
    key: String,
    belongs: &'static str,
    hear: impl Fn(Heard) + Send + Sync + 'static,
) -> Result<Subscriber<()>, LinkError> {
    subscribe(session, key, belongs, move |heard| {
        hear(match heard {
            Ok(Message::Moved(moved)) => Heard::Moved(Box::new(moved)),
            Ok(Message::CameraFrame(frame)) => Heard::Frame(Box::new(frame)),
            Ok(Message::Status(status)) => Heard::Status(status),
            Ok(Message::Operate(operate)) => Heard::Operate(operate),
            Ok(other) => Heard::Malformed(format!("{} is not published to a controller", other.name())),
            Err(reason) => Heard::Malformed(reason),
        });
    })
}

impl CommandSender {
    /// Sends one command. `sequence` counts the commands of the episode from 1; `observation` is the sequence number of the
    /// newest observation known when the command was made. A command of an episode before this claim or before the last
    /// reset is not sent, because it was made for another plant or another start. Returns whether the command was sent.
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

/// Publishes an operator command to the controller of the plant `name`, and checks that a controller was subscribed.
///
/// # Errors
/// [`LinkError::Name`] for an invalid plant name, [`LinkError::Unheard`] where no controller subscribes in time, or errors
/// that Zenoh reports.
pub fn operate(session: &zenoh::Session, name: &str, operate: Operate) -> Result<(), LinkError> {
    let key = KeyExprs::of(name)?.operator;
    let publisher =
        session.declare_publisher(key).congestion_control(CongestionControl::Block).express(true).wait()?;
    let is_heard = || publisher.matching_status().wait().map(|status| status.matching());
    let say = || publisher.put(Message::from(operate).encode()).wait();
    let begin = Instant::now();
    let mut heard = is_heard()?;
    // A stop or e-stop is sent at once, without a check for a subscriber. A repeated stop changes nothing; a repeated
    // reset or start might.
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

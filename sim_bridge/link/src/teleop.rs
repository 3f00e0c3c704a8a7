//! A controller's end of the link to people who drive its robot by hand: their commands come in, calls go out.

use zenoh::Wait;
use zenoh::pubsub::{Publisher, Subscriber};
use zenoh::qos::{CongestionControl, Priority};

use crate::subscription::subscribe;
use crate::wire::{Call, Message, Teleop};
use crate::{KeyExprs, LinkError};

/// Subscription to the commands of people who drive a plant, while this value lives.
#[derive(Debug)]
pub struct TeleopSubscription {
    _subscriber: Subscriber<()>,
}

impl TeleopSubscription {
    /// Subscribes to what people send who drive the plant `name`. `hear` is called on Zenoh's threads, with each command or with what
    /// is wrong with its bytes, and must not wait.
    ///
    /// # Errors
    /// [`LinkError::Name`] for an invalid plant name, or errors that Zenoh reports.
    pub fn begin(
        session: &zenoh::Session,
        name: &str,
        hear: impl Fn(Result<Teleop, String>) + Send + Sync + 'static,
    ) -> Result<Self, LinkError> {
        let subscriber =
            subscribe(session, KeyExprs::of(name)?.teleop, "Teleop", move |heard| match heard {
                Ok(Message::Teleop(teleop)) => hear(Ok(teleop)),
                // `subscribe` passes on messages of this kind alone.
                Ok(other) => hear(Err(format!("{} on a key of Teleop", other.name()))),
                Err(reason) => hear(Err(reason)),
            })?;
        Ok(Self { _subscriber: subscriber })
    }
}

/// Publisher of a controller's calls.
#[derive(Debug)]
pub struct CallPublisher {
    publisher: Publisher<'static>,
}

impl CallPublisher {
    /// Declares the publisher of calls for the plant `name`.
    ///
    /// # Errors
    /// [`LinkError::Name`] for an invalid plant name, or errors that Zenoh reports.
    pub fn declare(session: &zenoh::Session, name: &str) -> Result<Self, LinkError> {
        let publisher = session
            .declare_publisher(KeyExprs::of(name)?.call)
            .congestion_control(CongestionControl::Drop)
            .priority(Priority::InteractiveHigh)
            .express(true)
            .wait()?;
        Ok(Self { publisher })
    }

    /// Publishes a call. One that cannot be sent is superseded by the next.
    ///
    /// # Errors
    /// The session is closed.
    pub fn publish(&self, call: Call) -> Result<(), LinkError> {
        Ok(self.publisher.put(Message::from(call).encode()).wait()?)
    }
}

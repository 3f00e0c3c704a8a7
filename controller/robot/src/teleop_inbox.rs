//! Commands of people who drive a robot by hand, on their way from Zenoh's threads to the control thread. Commands of another claim
//! are counted there and go no further.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aegis_core::control::{CommandValues, TeleopCommand, TeleopFault};
use aegis_link::Heard;
use aegis_link::wire::Teleop;
use aegis_runtime::{Clock, TeleopSender};

use crate::plant_listener::PlantListener;

/// Receiver of the commands of people who drive by hand.
pub(crate) struct TeleopInbox {
    listener: Arc<PlantListener>,
    clock: Clock,
    /// Number of channels of a command.
    channels: usize,
    sender: Mutex<TeleopSender>,
}

impl TeleopInbox {
    /// Makes a receiver of commands of so many `channels`.
    pub fn new(listener: Arc<PlantListener>, clock: Clock, channels: usize, sender: TeleopSender) -> Self {
        Self { listener, clock, channels, sender: Mutex::new(sender) }
    }

    /// Handles a message. It is called on Zenoh's threads, which must not be blocked for long.
    pub fn hear(&self, heard: Result<Teleop, String>) {
        let received = self.clock.now();
        let teleop = match heard {
            Ok(teleop) => teleop,
            Err(reason) => return self.listener.hear(Heard::Malformed(reason)),
        };
        let is_ours = teleop.session != 0 && teleop.session == self.listener.session();
        let command = command(&teleop, received, self.channels);
        let mut sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner);
        // Where the ring is full, the control thread stands still, and says so itself.
        _ = match command {
            Some(command) if is_ours => sender.command(command),
            _ => sender.foreign(),
        };
    }
}

/// Returns a message as the controller reads it; `None` for more values than any robot has, which the wire format excludes.
fn command(teleop: &Teleop, received: Duration, channels: usize) -> Option<TeleopCommand> {
    let Teleop { operator, episode, call, sequence, stamp_ns, engaged, action, .. } = teleop;
    Some(TeleopCommand {
        operator: *operator,
        episode: *episode,
        call: *call,
        sequence: *sequence,
        arrived: 1,
        received,
        stamp: Duration::from_nanos(*stamp_ns),
        engaged: *engaged,
        // Whoever is not engaged may send no values at all.
        fault: TeleopFault::of(action, channels).filter(|_| *engaged),
        values: CommandValues::of(action)?,
    })
}

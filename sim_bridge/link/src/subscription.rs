//! Subscriptions to the keys of a plant, on which only one kind of message belongs.

use zenoh::Wait;
use zenoh::pubsub::Subscriber;

use crate::LinkError;
use crate::wire::Message;

/// Subscribes to a key and calls `hear` for each publication: with the message, or with what is wrong with its bytes. Who may
/// publish on one key may not publish on another, so only messages of the kind that `belongs` on this key are taken for what
/// they say. `hear` is called on Zenoh's threads and must not wait.
pub(crate) fn subscribe(
    session: &zenoh::Session,
    key: String,
    belongs: &'static str,
    hear: impl Fn(Result<Message, String>) + Send + Sync + 'static,
) -> Result<Subscriber<()>, LinkError> {
    let listen = move |sample: zenoh::sample::Sample| {
        hear(match Message::decode(&sample.payload().to_bytes()) {
            Ok(message) if message.name() == belongs => Ok(message),
            Ok(other) => Err(format!("{} on a key of {belongs}", other.name())),
            Err(error) => Err(error.to_string()),
        });
    };
    Ok(session.declare_subscriber(key).callback(listen).wait()?)
}

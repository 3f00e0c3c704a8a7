//! A node of ROS 2 on a Zenoh session: its tokens, its publishers, subscriptions and clients, and the graph of the other nodes.
//! Zenoh's threads only put messages into bounded inboxes.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use aegis_link::LinkError;
use sha2::{Digest, Sha256};
use zenoh::Wait;
use zenoh::liveliness::LivelinessToken;
use zenoh::pubsub::{Publisher, Subscriber};
use zenoh::qos::CongestionControl;
use zenoh::query::QueryTarget;
use zenoh::sample::{Sample, SampleKind};

use crate::attachment::{Attachment, Gid};
use crate::graph::Graph;
use crate::message::{EMPTY_REQUEST, Triggered};
use crate::names::{Kind, NodeName, Qos, Topic};

/// A node whose tokens stand while this value lives.
#[derive(Debug)]
pub struct Node {
    session: zenoh::Session,
    name: NodeName,
    id: String,
    endpoints: u32,
    graph: Arc<Mutex<Graph>>,
    tokens: Vec<LivelinessToken>,
    _changes: Subscriber<()>,
}

/// A message that has arrived.
#[derive(Debug)]
pub struct Arrived {
    /// Its bytes.
    pub payload: Vec<u8>,
    /// Its attachment, or what is wrong with it.
    pub attachment: Result<Attachment, String>,
    /// When it arrived.
    pub at: Instant,
}

/// Messages that wait, oldest first.
#[derive(Debug, Default)]
struct Waiting {
    messages: VecDeque<Arrived>,
    /// Number of messages that were larger than the limit, or had no room.
    dropped: u64,
}

/// A subscription of a topic, with a bounded inbox in which the newest messages stay.
#[derive(Debug)]
pub struct Subscription {
    inbox: Arc<(Mutex<Waiting>, Condvar)>,
    _subscriber: Subscriber<()>,
}

/// A publisher of a topic.
#[derive(Debug)]
pub struct RosPublisher {
    publisher: Publisher<'static>,
    attachment: Attachment,
}

/// A client of a `std_srvs/srv/Trigger` service.
#[derive(Debug)]
pub struct TriggerClient {
    session: zenoh::Session,
    key: String,
    attachment: Attachment,
}

impl Node {
    /// Announces a node on a session, and follows the graph of its domain.
    ///
    /// # Errors
    /// Errors that Zenoh reports.
    pub fn new(session: &zenoh::Session, name: NodeName) -> Result<Self, LinkError> {
        let id = session.info().zid().wait().to_string();
        let graph = Arc::new(Mutex::new(Graph::new(&id)));
        let changes = {
            let graph = Arc::clone(&graph);
            move |sample: Sample| {
                let mut graph = locked(&graph);
                match sample.kind() {
                    SampleKind::Put => graph.appeared(sample.key_expr().as_str()),
                    SampleKind::Delete => graph.gone(sample.key_expr().as_str()),
                }
            }
        };
        let changes =
            session.liveliness().declare_subscriber(name.tokens()).history(true).callback(changes).wait()?;
        let token = session.liveliness().declare_token(name.token(&id)).wait()?;
        let (session, tokens) = (session.clone(), vec![token]);
        Ok(Self { session, name, id, endpoints: 0, graph, tokens, _changes: changes })
    }

    /// Returns the graph of the other nodes, for any thread.
    pub fn graph(&self) -> Arc<Mutex<Graph>> {
        Arc::clone(&self.graph)
    }

    /// Subscribes to a topic. Of messages that wait, the newest `capacity` stay; none larger than `most` bytes is taken.
    ///
    /// # Errors
    /// Errors that Zenoh reports.
    pub fn subscribe(
        &mut self,
        topic: &Topic,
        qos: Qos,
        (capacity, most): (usize, usize),
    ) -> Result<Subscription, LinkError> {
        self.announce(Kind::Subscription, topic, qos)?;
        let inbox = Arc::new((Mutex::new(Waiting::default()), Condvar::new()));
        let (put, key) = (Arc::clone(&inbox), self.name.key(topic));
        let arrive = move |sample: Sample| {
            let at = Instant::now();
            let (waiting, arrived) = &*put;
            let mut waiting = locked(waiting);
            if sample.payload().len() > most {
                waiting.dropped += 1;
                return;
            }
            if waiting.messages.len() >= capacity {
                waiting.messages.pop_front();
                waiting.dropped += 1;
            }
            let attached = sample.attachment().map(|bytes| bytes.to_bytes());
            let attachment = Attachment::decode(attached.as_deref().unwrap_or_default());
            waiting.messages.push_back(Arrived {
                payload: sample.payload().to_bytes().into_owned(),
                attachment,
                at,
            });
            drop(waiting);
            arrived.notify_one();
        };
        let subscriber = self.session.declare_subscriber(key).callback(arrive).wait()?;
        Ok(Subscription { inbox, _subscriber: subscriber })
    }

    /// Declares a publisher of a topic.
    ///
    /// # Errors
    /// Errors that Zenoh reports.
    pub fn publisher(&mut self, topic: &Topic) -> Result<RosPublisher, LinkError> {
        let gid = self.announce(Kind::Publisher, topic, Qos::Reliable(1))?;
        let publisher = self
            .session
            .declare_publisher(self.name.key(topic))
            // A command that cannot be sent at once is superseded by the next one.
            .congestion_control(CongestionControl::Drop)
            .express(true)
            .wait()?;
        Ok(RosPublisher { publisher, attachment: Attachment { sequence: 0, sent_ns: 0, gid } })
    }

    /// Declares a client of a `std_srvs/srv/Trigger` service.
    ///
    /// # Errors
    /// Errors that Zenoh reports.
    pub fn client(&mut self, topic: &Topic) -> Result<TriggerClient, LinkError> {
        let gid = self.announce(Kind::Client, topic, Qos::Reliable(10))?;
        let (session, key) = (self.session.clone(), self.name.key(topic));
        Ok(TriggerClient { session, key, attachment: Attachment { sequence: 0, sent_ns: 0, gid } })
    }

    /// Announces an endpoint; returns its identity, which is made of its token.
    fn announce(&mut self, kind: Kind, topic: &Topic, qos: Qos) -> Result<Gid, LinkError> {
        self.endpoints += 1;
        let token = self.name.endpoint(&self.id, self.endpoints, kind, topic, qos);
        let digest = Sha256::digest(token.as_bytes());
        let mut gid = Gid::default();
        gid.iter_mut().zip(digest).for_each(|(byte, found)| *byte = found);
        self.tokens.push(self.session.liveliness().declare_token(token).wait()?);
        Ok(gid)
    }
}

impl Subscription {
    /// Takes every message that waits, oldest first, and the number of those that were dropped since the last call.
    pub fn take(&self) -> (VecDeque<Arrived>, u64) {
        let mut waiting = locked(&self.inbox.0);
        let Waiting { messages, dropped } = std::mem::take(&mut *waiting);
        (messages, dropped)
    }

    /// Waits until a message waits, for at most `timeout`.
    pub fn wait(&self, timeout: Duration) {
        let (waiting, arrived) = &*self.inbox;
        let waited = arrived
            .wait_timeout_while(locked(waiting), timeout, |waiting| {
                waiting.messages.is_empty() && waiting.dropped == 0
            })
            .unwrap_or_else(PoisonError::into_inner);
        drop(waited);
    }
}

impl RosPublisher {
    /// Publishes a message.
    ///
    /// # Errors
    /// The session is closed.
    pub fn put(&mut self, message: Vec<u8>) -> Result<(), LinkError> {
        let attachment = next(&mut self.attachment);
        Ok(self.publisher.put(message).attachment(attachment.encode().to_vec()).wait()?)
    }
}

impl TriggerClient {
    /// Calls the service and waits for its answer, at most for `wait`.
    ///
    /// # Errors
    /// Why there is no answer, in words.
    pub fn call(&mut self, wait: Duration) -> Result<Triggered, String> {
        let attachment = next(&mut self.attachment);
        let asked = self
            .session
            .get(&self.key)
            .payload(EMPTY_REQUEST.to_vec())
            .attachment(attachment.encode().to_vec())
            .target(QueryTarget::AllComplete)
            .timeout(wait)
            .wait();
        let replies = asked.map_err(|error| error.to_string())?;
        let reply = replies.recv().map_err(|_| format!("no answer within {} ms", wait.as_millis()))?;
        let sample = reply.result().map_err(|error| {
            String::from_utf8_lossy(&error.payload().to_bytes()).chars().take(200).collect::<String>()
        })?;
        Triggered::decode(&sample.payload().to_bytes()).map_err(|error| error.to_string())
    }
}

/// Returns the attachment of the next message.
fn next(attachment: &mut Attachment) -> Attachment {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    attachment.sequence += 1;
    attachment.sent_ns = i64::try_from(now).unwrap_or(i64::MAX);
    *attachment
}

/// Locks a value that no thread leaves half changed.
pub(crate) fn locked<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}

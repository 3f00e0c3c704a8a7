//! A policy behind a WebSocket server, asked with a deadline. After a time-out or an error the connection is thrown away, and opened
//! again only at the beginning of an episode; then the server has to say of itself what the card says.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aegis_core::{Inference, Observation, Policy, PolicyError, Schema};
use aegis_policies::served::ServedContract;
use aegis_policies::server::{MOST_METADATA, Protocol, ServerSpec};
use tracing::info;

use crate::connection::{Connection, Fault, Target};
use crate::endpoint::Endpoint;
use crate::exchange::{self, encoded, envelope, hello, opened};
use crate::message;
use crate::stream::tls;
use crate::value::Value;
use crate::worker::ConnectionWorker;

/// Time for a server to say what it is where no card gives a deadline, and the least time at any opening: servers accept
/// connections late while they load.
pub const OPENING: Duration = Duration::from_secs(10);

/// A policy behind a WebSocket server, as its card describes it.
#[derive(Debug)]
pub struct WebSocketPolicy {
    contract: ServedContract,
    server: ServerSpec,
    target: Target,
    deadline: Duration,
    /// The connection, or why there is none.
    connection: Result<ConnectionWorker, String>,
    /// Number of the last message, which vla-eval's protocol counts.
    sequence: i128,
    /// Whether the next question is the first of an episode.
    begins: bool,
    /// Whether a question has been asked since the connection was opened.
    is_used: bool,
}

impl WebSocketPolicy {
    /// Connects to the server of a card, which has to say of itself what the card says.
    ///
    /// # Errors
    /// The card, its field, what was found and what is valid.
    pub fn open(contract: ServedContract) -> Result<Self, String> {
        let (card, server) = (contract.card(), contract.server().clone());
        let path = card.path.clone();
        let named = |reason: String| format!("{}: {reason}", path.display());
        let authority = server.authority.as_ref().map(|file| path.with_file_name(file));
        let key = server.api_key_env.as_deref().map(api_key).transpose().map_err(named)?;
        let target = target(&server.endpoint, key, authority.as_deref()).map_err(named)?;
        let deadline = Duration::from_millis(server.deadline_ms);
        let mut policy = Self {
            contract,
            server,
            target,
            deadline,
            connection: Err(String::new()),
            sequence: 0,
            begins: true,
            is_used: false,
        };
        policy.connect();
        match &policy.connection {
            Ok(_) => Ok(policy),
            Err(reason) => Err(named(reason.clone())),
        }
    }

    /// Opens a connection, or keeps why it cannot be opened.
    fn connect(&mut self) {
        (self.sequence, self.is_used) = (0, false);
        self.connection = self.connected();
    }

    fn connected(&self) -> Result<ConnectionWorker, String> {
        let place = &self.server.endpoint;
        let (connection, metadata) = greeted(&self.target, self.server.protocol, self.deadline.max(OPENING))?;
        let valid = self.server.metadata.as_deref().unwrap_or_default();
        if metadata != valid {
            return Err(format!(
                "server.metadata: found {valid}; the server at {place} says {metadata}. Another server or another model answers there: \
                 start the one that the card is of, or write the card anew (`aegis model card {place}`)"
            ));
        }
        info!("the server at {place} says of itself {metadata}");
        ConnectionWorker::start(connection).map_err(|fault| in_words(place, fault, self.deadline))
    }

    /// Asks the server; returns the map of its answer.
    fn ask(&mut self, question: Value, instruction: &str) -> Result<Value, PolicyError> {
        let begin = Instant::now();
        let place = self.server.endpoint.clone();
        let connection = match &self.connection {
            Ok(connection) => connection,
            Err(reason) => {
                return Err(PolicyError::Backend(format!(
                    "{reason}; it is asked again from the beginning of an episode"
                )));
            }
        };
        let protocol = self.server.protocol;
        let mut messages = Vec::new();
        if protocol == Protocol::VlaEval {
            if self.begins {
                self.sequence += 1;
                let task = Value::map([("name", Value::Text(instruction.into()))]);
                messages.push(envelope("episode_start", Value::map([("task", task)]), self.sequence));
            }
            self.sequence += 1;
            messages.push(envelope("observation", question, self.sequence));
        } else {
            messages.push(question);
        }
        (self.begins, self.is_used) = (false, true);
        let messages = messages.iter().map(|message| encoded(protocol, message)).collect();
        let bytes = connection.ask(messages, begin + self.deadline).map_err(|fault| match fault {
            Fault::Late => PolicyError::Deadline { limit: self.deadline, elapsed: begin.elapsed() },
            Fault::Failed(reason) => failed(&place, reason),
        })?;
        let answer = message::decode(&bytes)
            .map_err(|reason| failed(&place, format!("its answer cannot be read: {reason}")))?;
        if protocol == Protocol::VlaEval {
            return opened(answer, "action", self.sequence).map_err(|reason| failed(&place, reason));
        }
        Ok(answer)
    }

    /// Returns what an answer says, as the card describes it.
    fn read(&self, answer: &Value) -> Result<Inference, PolicyError> {
        let found = exchange::tensors(self.contract.card(), &self.server, answer);
        let (actions, activation) = found.map_err(|reason| failed(&self.server.endpoint, reason))?;
        self.contract.read(&actions, activation.as_ref())
    }
}

impl Policy for WebSocketPolicy {
    fn bind(&mut self, schema: &Arc<Schema>) -> Result<(), PolicyError> {
        self.contract.bind(schema)
    }

    fn begin(&mut self, _seed: u64) {
        self.begins = true;
        // openpi's protocol has no word for an episode: a server that remembers is told by a new connection.
        let is_told = self.server.protocol == Protocol::VlaEval || !self.server.remembers || !self.is_used;
        // A server that was started again since the last question is connected to anew, and says anew what it is.
        let is_open = self.connection.as_ref().is_ok_and(ConnectionWorker::is_open);
        if !is_open || !is_told {
            self.connect();
        }
    }

    fn remembers(&self) -> bool {
        self.server.remembers
    }

    fn infer(&mut self, observation: &Observation) -> Result<Inference, PolicyError> {
        let keys = self.contract.keys(observation)?;
        let question = exchange::question(&self.server, keys);
        let answer = self.ask(question, &observation.instruction).and_then(|answer| self.read(&answer));
        if let (Ok(_), Err(error)) = (&self.connection, &answer) {
            self.connection = Err(format!("its connection was ended after an error ({error})"));
        }
        answer
    }

    fn reads_frames(&self) -> bool {
        self.contract.card().images().next().is_some()
    }
}

/// Returns what a server says of itself, as JSON.
///
/// # Errors
/// What was found and what is valid.
pub fn metadata(
    endpoint: &str,
    protocol: Protocol,
    api_key_env: Option<&str>,
    authority: Option<&Path>,
) -> Result<String, String> {
    let key = api_key_env.map(api_key).transpose()?;
    greeted(&target(endpoint, key, authority)?, protocol, OPENING).map(|(_, metadata)| metadata)
}

/// Returns the key for a server.
fn api_key(variable: &str) -> Result<String, String> {
    let valid = "the name of an environment variable that holds the server's key";
    match std::env::var(variable) {
        Ok(key) if !key.is_empty() => Ok(key),
        _ => Err(format!("server.api_key_env: {variable} is not set; valid is {valid}")),
    }
}

fn target(endpoint: &str, api_key: Option<String>, authority: Option<&Path>) -> Result<Target, String> {
    let endpoint: Endpoint = endpoint.parse().map_err(|error| format!("server.endpoint: {error}"))?;
    let tls = endpoint.is_tls().then(|| tls(authority)).transpose()?;
    Ok(Target { endpoint, api_key, tls })
}

/// Connects, and returns what the server says of itself.
fn greeted(target: &Target, protocol: Protocol, limit: Duration) -> Result<(Connection, String), String> {
    let until = Instant::now() + limit;
    let place = target.endpoint.text();
    let said = |fault: Fault| in_words(place, fault, limit);
    let mut connection = Connection::open(target, until).map_err(said)?;
    if protocol == Protocol::VlaEval {
        connection.send(encoded(protocol, &hello(0)), until).map_err(said)?;
    }
    let bytes = connection.receive(until).map_err(said)?;
    let wrong = |reason: String| {
        format!("server.protocol: found {:?}: the server at {place}: {reason}", protocol.name())
    };
    let greeting = message::decode(&bytes)
        .map_err(|reason| wrong(format!("what it says of itself cannot be read: {reason}")))?;
    let metadata = match protocol {
        Protocol::VlaEval => opened(greeting, "hello", 0).map_err(wrong)?,
        _ => greeting,
    };
    if !matches!(metadata, Value::Map(_)) {
        return Err(wrong(format!("found {} where it says what it is; valid is a map", metadata.json())));
    }
    let text = metadata.json();
    match text.len() {
        0..=MOST_METADATA => Ok((connection, text)),
        found => Err(wrong(format!(
            "found {found} bytes of what it says of itself; valid is at most {MOST_METADATA}"
        ))),
    }
}

fn in_words(place: &str, fault: Fault, limit: Duration) -> String {
    let reason = match fault {
        Fault::Late => format!("it said nothing of itself within {} ms", limit.as_millis()),
        Fault::Failed(reason) => reason,
    };
    format!("server.endpoint: the server at {place}: {reason}")
}

fn failed(place: &str, reason: String) -> PolicyError {
    PolicyError::Backend(format!("the server at {place}: {reason}"))
}

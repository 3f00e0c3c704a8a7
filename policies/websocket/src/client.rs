//! A policy behind a WebSocket server, with a deadline for each inference. After a time-out or an error the connection is closed, and
//! opened again only at the beginning of an episode; then the server's metadata have to equal the card's.

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

/// Time for a server to send its metadata where no card gives a deadline, and the least time at any opening: servers accept
/// connections late while they load.
pub const OPENING: Duration = Duration::from_secs(10);

/// A policy behind a WebSocket server, as its card describes it.
#[derive(Debug)]
pub struct WebSocketPolicy {
    contract: ServedContract,
    server: ServerSpec,
    target: Target,
    deadline: Duration,
    /// The connection, or the reason why there is none.
    connection: Result<ConnectionWorker, String>,
    /// Number of the last message, which vla-eval's protocol counts.
    sequence: i128,
    /// Whether the next request is the first of an episode.
    begins: bool,
    /// Whether a request has been sent since the connection was opened.
    is_used: bool,
}

impl WebSocketPolicy {
    /// Connects to the server of a card, whose metadata have to equal the card's.
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

    /// Opens a connection, or keeps the reason why it cannot be opened.
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
                "server.metadata: found {valid}; the server at {place} has {metadata}. It is another server or another model: start that \
                 of the card, or write a new card (`aegis model card {place}`)"
            ));
        }
        info!("the server at {place} has the metadata {metadata}");
        ConnectionWorker::start(connection).map_err(|fault| in_words(place, fault, self.deadline))
    }

    /// Sends a request; returns the map of the reply.
    fn ask(&mut self, question: Value, instruction: &str) -> Result<Value, PolicyError> {
        let begin = Instant::now();
        let place = self.server.endpoint.clone();
        let connection = match &self.connection {
            Ok(connection) => connection,
            Err(reason) => {
                return Err(PolicyError::Backend(format!(
                    "{reason}; it is connected again at the beginning of an episode"
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

    /// Returns the chunk and activation of a reply, as the card describes them.
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
        // openpi's protocol has no message for the beginning of an episode; a server with state learns of it by a new connection.
        let is_told = self.server.protocol == Protocol::VlaEval || !self.server.remembers || !self.is_used;
        // A server that was restarted since the last request is connected again, and its metadata are compared again.
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
            self.connection = Err(format!("its connection was closed after an error ({error})"));
        }
        answer
    }

    fn reads_frames(&self) -> bool {
        self.contract.card().images().next().is_some()
    }
}

/// Returns a server's metadata as JSON.
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

/// Connects, and returns the connection with the server's metadata.
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
    let greeting =
        message::decode(&bytes).map_err(|reason| wrong(format!("its metadata cannot be read: {reason}")))?;
    let metadata = match protocol {
        Protocol::VlaEval => opened(greeting, "hello", 0).map_err(wrong)?,
        _ => greeting,
    };
    if !matches!(metadata, Value::Map(_)) {
        return Err(wrong(format!("its metadata: found {}; valid is a map", metadata.json())));
    }
    let text = metadata.json();
    match text.len() {
        0..=MOST_METADATA => Ok((connection, text)),
        found => Err(wrong(format!("its metadata: found {found} bytes; valid is at most {MOST_METADATA}"))),
    }
}

fn in_words(place: &str, fault: Fault, limit: Duration) -> String {
    let reason = match fault {
        Fault::Late => format!("it sent no metadata within {} ms", limit.as_millis()),
        Fault::Failed(reason) => reason,
    };
    format!("server.endpoint: the server at {place}: {reason}")
}

fn failed(place: &str, reason: String) -> PolicyError {
    PolicyError::Backend(format!("the server at {place}: {reason}"))
}

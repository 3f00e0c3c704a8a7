//! Server of any policy for clients of openpi: threads read and write connections, and the calling thread runs the policy, one request
//! after another. An invalid request is answered by a text message, which ends its connection, as in openpi's own server.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use aegis_core::{Inference, Policy, Schema};
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Error, Message, WebSocket};

use crate::array::Array;
use crate::connection::config;
use crate::message::{self, ArrayKeys};
use crate::observe;
use crate::stream::{Timed, Wait};
use crate::value::Value;

/// Most connections at one time.
const MOST_CONNECTIONS: usize = 32;
/// Interval at which every thread checks whether it should end.
const INTERVAL: Duration = Duration::from_millis(100);
/// Time for a client's handshake, and for a client to receive a reply.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Beginning of the request of a health check.
const HEALTH: &[u8] = b"GET /healthz ";

/// Metadata of the served policy.
#[derive(Debug)]
pub struct Offer {
    /// Map that is sent when a connection opens.
    pub metadata: Value,
    /// Names of the values of an action; may be empty.
    pub channels: Vec<String>,
}

/// Error of opening a policy for one more client.
pub type OpenError = Box<dyn std::error::Error + Send + Sync>;

/// Message from a connection's thread to the thread of the policy.
enum Event {
    Question { client: u64, bytes: Vec<u8>, answer: SyncSender<Result<Vec<u8>, String>> },
    Gone { client: u64 },
}

/// State of one client.
#[derive(Default)]
struct Client {
    /// A policy of its own, where policies remember.
    policy: Option<Box<dyn Policy>>,
    schema: Option<Arc<Schema>>,
    questions: u32,
}

/// Serves a policy until `stop` is set. Each connection is an episode; a policy that remembers is opened anew for each by `open`.
///
/// # Errors
/// Those of the operating system.
pub fn serve(
    listener: &TcpListener,
    offer: &Offer,
    mut policy: Box<dyn Policy>,
    mut open: impl FnMut() -> Result<Box<dyn Policy>, OpenError>,
    stop: &AtomicBool,
) -> std::io::Result<()> {
    listener.set_nonblocking(true)?;
    let greeting = message::encode(&offer.metadata, ArrayKeys::Bytes);
    let (events, inbox) = sync_channel::<Event>(2 * MOST_CONNECTIONS);
    let connected = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let (greeting, connected) = (&greeting, &connected);
        scope.spawn(move || {
            for client in 0.. {
                let Some(stream) = accepted(listener, stop) else { break };
                if connected.fetch_add(1, Ordering::Relaxed) >= MOST_CONNECTIONS {
                    connected.fetch_sub(1, Ordering::Relaxed);
                    continue;
                }
                let events = events.clone();
                scope.spawn(move || {
                    // Only this connection fails, and its client sees it end.
                    let _ = attend(stream, greeting, client, &events, stop);
                    let _ = events.send(Event::Gone { client });
                    connected.fetch_sub(1, Ordering::Relaxed);
                });
            }
        });
        let mut clients: HashMap<u64, Client> = HashMap::new();
        loop {
            match inbox.recv_timeout(INTERVAL) {
                Ok(Event::Question { client, bytes, answer }) => {
                    let client = clients.entry(client).or_default();
                    // The connection's thread waits for this reply, or has ended.
                    let _ = answer.send(answered(client, &bytes, &mut *policy, &mut open, &offer.channels));
                }
                Ok(Event::Gone { client }) => drop(clients.remove(&client)),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
    });
    Ok(())
}

/// Returns the next connection; `None` once `stop` is set.
fn accepted(listener: &TcpListener, stop: &AtomicBool) -> Option<TcpStream> {
    while !stop.load(Ordering::Relaxed) {
        match listener.accept() {
            Ok((stream, _)) => return Some(stream),
            // No connection waits, one was aborted, or there are too many: accepting is tried again.
            Err(_) => std::thread::sleep(INTERVAL / 10),
        }
    }
    None
}

/// Reads and answers one connection until it ends.
fn attend(
    stream: TcpStream,
    greeting: &[u8],
    client: u64,
    events: &SyncSender<Event>,
    stop: &AtomicBool,
) -> Result<(), Error> {
    stream.set_nonblocking(false)?;
    let begin = Instant::now();
    if is_health_check(&stream, begin + TIMEOUT)? {
        return Ok(answer_health(Timed::new(stream, Wait::Until(begin + TIMEOUT))?)?);
    }
    let stream = Timed::new(stream, Wait::Until(begin + TIMEOUT))?;
    let socket = tungstenite::accept_with_config(stream, Some(config()));
    let mut socket = socket.map_err(|error| Error::Io(std::io::Error::other(error.to_string())))?;
    send(&mut socket, Message::Binary(greeting.to_vec().into()))?;
    while !stop.load(Ordering::Relaxed) {
        socket.get_mut().wait = Wait::Until(Instant::now() + INTERVAL);
        let bytes = match socket.read() {
            Ok(Message::Binary(bytes)) => Vec::from(bytes),
            Ok(Message::Text(_)) => {
                return failed(&mut socket, "found a text; valid is a map in MessagePack");
            }
            Ok(_) => continue,
            Err(Error::Io(error)) if error.kind() == ErrorKind::TimedOut => continue,
            Err(error @ Error::Capacity(_)) => return failed(&mut socket, &error.to_string()),
            Err(error) => return Err(error),
        };
        let (answer, answers) = sync_channel(1);
        let ended = || Error::Io(std::io::Error::other("the policy's thread has ended"));
        events.send(Event::Question { client, bytes, answer }).map_err(|_| ended())?;
        match answers.recv().map_err(|_| ended())? {
            Ok(bytes) => send(&mut socket, Message::Binary(bytes.into()))?,
            Err(reason) => return failed(&mut socket, &reason),
        }
    }
    socket.get_mut().wait = Wait::Until(Instant::now() + INTERVAL);
    let frame = CloseFrame { code: CloseCode::Away, reason: "the server ends".into() };
    socket.close(Some(frame))?;
    socket.flush()
}

fn send(socket: &mut WebSocket<Timed>, message: Message) -> Result<(), Error> {
    socket.get_mut().wait = Wait::Until(Instant::now() + TIMEOUT);
    socket.send(message)
}

/// Sends a text message with the error, and ends the connection.
fn failed(socket: &mut WebSocket<Timed>, reason: &str) -> Result<(), Error> {
    send(socket, Message::Text(format!("error: {reason}").into()))?;
    let frame =
        CloseFrame { code: CloseCode::Error, reason: "the error is in the message before this".into() };
    socket.close(Some(frame))?;
    socket.flush()?;
    // Unread bytes at the end of a connection would reset it, and the client could lose the message; so they are read first.
    let until = Instant::now() + TIMEOUT;
    while Instant::now() < until && socket.read().is_ok() {}
    Ok(())
}

/// Returns whether the first bytes of a connection are those of a health check, without taking them.
fn is_health_check(stream: &TcpStream, until: Instant) -> std::io::Result<bool> {
    let mut first = [0; HEALTH.len()];
    loop {
        let left = until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        stream.set_read_timeout(Some(left))?;
        let read = stream.peek(&mut first)?;
        if read == HEALTH.len() || read == 0 || !HEALTH.starts_with(&first[..read]) || Instant::now() > until
        {
            return Ok(first[..read] == *HEALTH);
        }
        // More bytes of the request are to come; a peek returns at once while some are waiting.
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn answer_health(mut stream: Timed) -> std::io::Result<()> {
    let mut request = [0; 4096];
    let mut read = 0;
    while read < request.len() && !request[..read].windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut request[read..])? {
            0 => break,
            more => read += more,
        }
    }
    stream.write_all(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\nConnection: close\r\n\r\nOK\n",
    )
}

/// Returns the reply to a client's request, or the error of the request.
fn answered(
    client: &mut Client,
    bytes: &[u8],
    shared: &mut (dyn Policy + 'static),
    open: &mut dyn FnMut() -> Result<Box<dyn Policy>, OpenError>,
    channels: &[String],
) -> Result<Vec<u8>, String> {
    let begin = Instant::now();
    let question =
        message::decode(bytes).map_err(|reason| format!("the question cannot be read: {reason}"))?;
    let seen = observe::observation(question, client.questions, channels, client.schema.as_ref())?;
    client.schema = Some(Arc::clone(&seen.schema));
    if shared.remembers() && client.policy.is_none() {
        client.policy = Some(open().map_err(|error| error.to_string())?);
    }
    let policy = match &mut client.policy {
        Some(policy) => &mut **policy,
        None => shared,
    };
    if client.questions == 0 {
        policy.begin(0);
    }
    client.questions = client.questions.saturating_add(1);
    let found = policy.infer(&seen).map_err(|error| error.to_string())?;
    Ok(message::encode(&answer(&found, begin.elapsed()), ArrayKeys::Bytes))
}

fn answer(Inference { chunk, activation }: &Inference, took: Duration) -> Value {
    let array = |width: usize, values: &[f32]| {
        Value::Array(Array::float32(vec![values.len() / width.max(1), width], values.iter().copied()))
    };
    let timing = Value::map([("infer_ms", Value::Float(took.as_secs_f64() * 1e3))]);
    let mut answer =
        Value::map([("actions", array(chunk.width(), chunk.values())), ("server_timing", timing)]);
    if let Some(activation) = activation {
        answer.put(&["activation"], array(activation.width(), activation.values()));
    }
    answer
}

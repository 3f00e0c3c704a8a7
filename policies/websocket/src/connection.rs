//! A WebSocket connection to a server, with a time limit for opening, sending and receiving, and error messages for people.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Instant;

use aegis_files::text;
use rustls::ClientConfig;
use tungstenite::client::IntoClientRequest;
use tungstenite::error::CapacityError;
use tungstenite::http::HeaderValue;
use tungstenite::http::header::AUTHORIZATION;
use tungstenite::protocol::WebSocketConfig;
use tungstenite::{Error, HandshakeError, Message, WebSocket};

use crate::endpoint::Endpoint;
use crate::message::MOST_BYTES;
use crate::stream::{Stream, Wait};

/// Most characters of a server's own text in an error.
const MOST_WORDS: usize = 500;

/// Address of a server, with the key and the TLS settings of its client.
#[derive(Clone, Debug)]
pub struct Target {
    /// The address.
    pub endpoint: Endpoint,
    /// The key that the server requires.
    pub api_key: Option<String>,
    /// Settings of TLS, for `wss://`.
    pub tls: Option<Arc<ClientConfig>>,
}

/// Error of a connection, which cannot be used any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The time limit has passed.
    Late,
    /// Any other error, as a message.
    Failed(String),
}

/// A connection.
#[derive(Debug)]
pub struct Connection {
    socket: WebSocket<Stream>,
}

impl Connection {
    /// Connects to a server.
    ///
    /// # Errors
    /// [`Fault::Late`] where the server does not reply by then, and [`Fault::Failed`] where no server listens, the certificate is
    /// not valid, or the server refuses.
    pub fn open(target: &Target, until: Instant) -> Result<Self, Fault> {
        let cannot = |error: &dyn std::fmt::Display| Fault::Failed(format!("cannot connect: {error}"));
        let mut request = target.endpoint.text().into_client_request().map_err(|error| cannot(&error))?;
        if let Some(key) = &target.api_key {
            let value = HeaderValue::try_from(format!("Api-Key {key}"));
            let mut value =
                value.map_err(|_| cannot(&"the key has characters that are not valid in an HTTP header"))?;
            value.set_sensitive(true);
            request.headers_mut().insert(AUTHORIZATION, value);
        }
        let stream = Stream::connect(&target.endpoint, target.tls.as_ref(), until);
        let stream = stream.map_err(|error| match error.kind() {
            ErrorKind::TimedOut => Fault::Late,
            _ => cannot(&error),
        })?;
        match tungstenite::client::client_with_config(request, stream, Some(config())) {
            Ok((socket, _)) => Ok(Self { socket }),
            Err(HandshakeError::Failure(error)) => match fault(error) {
                Fault::Failed(reason) => Err(cannot(&reason)),
                Fault::Late => Err(Fault::Late),
            },
            Err(HandshakeError::Interrupted(_)) => Err(Fault::Late),
        }
    }

    /// Sends a message.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn send(&mut self, bytes: Vec<u8>, until: Instant) -> Result<(), Fault> {
        self.socket.get_mut().set_wait(Wait::Until(until));
        self.socket.send(Message::Binary(bytes.into())).map_err(fault)
    }

    /// Returns the next message.
    ///
    /// # Errors
    /// [`Fault`]. A text message is the server's error: its last line is in the message.
    pub fn receive(&mut self, until: Instant) -> Result<Vec<u8>, Fault> {
        self.socket.get_mut().set_wait(Wait::Until(until));
        loop {
            if let Some(bytes) = taken(self.socket.read().map_err(fault)?)? {
                return Ok(bytes);
            }
        }
    }

    /// Answers the server's pings on an idle connection, without waiting.
    ///
    /// # Errors
    /// [`Fault`], also for a message without a request, which a later request would take for its reply.
    pub fn settle(&mut self) -> Result<(), Fault> {
        self.socket.get_mut().set_wait(Wait::Not);
        loop {
            match self.socket.read() {
                Ok(message) => {
                    if taken(message)?.is_some() {
                        return Err(Fault::Failed("it sent a message without a request".into()));
                    }
                }
                Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(fault(error)),
            }
        }
        match self.socket.flush() {
            Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            flushed => flushed.map_err(fault),
        }
    }

    /// Closes the connection.
    pub fn close(mut self) {
        self.socket.get_mut().set_wait(Wait::Not);
        // The server may be gone, so an error of closing is ignored.
        let _ = self.socket.close(None);
        let _ = self.socket.flush();
    }
}

/// Returns the bounds of a connection.
pub fn config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(1 << 16)
        .max_message_size(Some(MOST_BYTES))
        .max_frame_size(Some(MOST_BYTES))
}

/// Returns the bytes of a binary message; `None` for a message of the WebSocket protocol itself.
fn taken(message: Message) -> Result<Option<Vec<u8>>, Fault> {
    match message {
        Message::Binary(bytes) => Ok(Some(bytes.into())),
        Message::Text(text) => Err(Fault::Failed(format!("it failed: {}", last_line(&text)))),
        Message::Close(frame) => Err(Fault::Failed(match frame.filter(|frame| !frame.reason.is_empty()) {
            Some(frame) => format!("it ended the connection: {}", last_line(&frame.reason)),
            None => "it ended the connection".into(),
        })),
        Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => Ok(None),
    }
}

/// Returns the last line of a server's text that is not empty, without control characters.
fn last_line(said: &str) -> String {
    let line = said.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("it gave no reason");
    text::on_one_line(&text::clipped(line, MOST_WORDS))
}

/// Converts an error of the library to a fault.
fn fault(error: Error) -> Fault {
    Fault::Failed(match error {
        Error::Io(error) if error.kind() == ErrorKind::TimedOut => return Fault::Late,
        Error::Io(error) if error.kind() == ErrorKind::UnexpectedEof => "it ended the connection".into(),
        Error::Io(error) if error.kind() == ErrorKind::ConnectionReset => {
            format!("it ended the connection; has its process ended? ({error})")
        }
        Error::Io(error) => error.to_string(),
        Error::ConnectionClosed | Error::AlreadyClosed => "it ended the connection".into(),
        Error::Protocol(tungstenite::error::ProtocolError::ResetWithoutClosingHandshake) => {
            "it ended the connection without a reason; has its process ended?".into()
        }
        Error::Capacity(CapacityError::MessageTooLong { size, max_size }) => {
            format!("found a message of {size} bytes; valid is at most {max_size}")
        }
        Error::Http(response) => {
            let said = response.body().as_deref().map(String::from_utf8_lossy).unwrap_or_default();
            let words =
                if said.trim().is_empty() { String::new() } else { format!(": {}", last_line(&said)) };
            format!("it refuses with HTTP status {}{words}", response.status())
        }
        other => other.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_without_a_request_ends_the_connection() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("ws://{}", listener.local_addr().unwrap()).parse().unwrap();
        let server = std::thread::spawn(move || {
            let mut socket = tungstenite::accept(listener.accept().unwrap().0).unwrap();
            let question = socket.read().unwrap();
            // In one piece, so that the second is there when the first is.
            socket.write(question).unwrap();
            socket.write(Message::Ping(vec![1].into())).unwrap();
            socket.send(Message::Binary(vec![2].into())).unwrap();
            socket.read()
        });
        let until = Instant::now() + std::time::Duration::from_secs(60);
        let target = Target { endpoint, api_key: None, tls: None };
        let mut connection = Connection::open(&target, until).unwrap();
        connection.send(vec![1], until).unwrap();
        assert_eq!(connection.receive(until).unwrap(), [1]);
        let valid = Fault::Failed("it sent a message without a request".into());
        assert_eq!(connection.settle(), Err(valid));
        drop(connection);
        assert!(matches!(server.join().unwrap(), Ok(Message::Pong(_)) | Err(_)));
    }

    #[test]
    fn the_last_line_of_a_traceback_is_reported() {
        let traceback = "Traceback (most recent call last):\n  File \"a.py\", line 1\nValueError: no \u{1b}[31msuch key\n\n";
        assert_eq!(last_line(traceback), "ValueError: no  [31msuch key");
        assert_eq!(last_line(" \n"), "it gave no reason");
        assert!(last_line(&"ä".repeat(1000)).ends_with("… (1000 characters)"));
        let message = Message::Text(traceback.into());
        assert_eq!(taken(message), Err(Fault::Failed("it failed: ValueError: no  [31msuch key".into())));
    }
}

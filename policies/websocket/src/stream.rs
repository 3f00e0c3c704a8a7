//! Byte stream of a connection, TCP or TLS over TCP, with a time limit for every read and write.

use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::endpoint::Endpoint;

/// Time limit of a read or a write.
#[derive(Clone, Copy, Debug)]
pub enum Wait {
    /// Waits until this time; then the error is [`ErrorKind::TimedOut`].
    Until(Instant),
    /// Does not wait; the error is [`ErrorKind::WouldBlock`].
    Not,
}

/// A TCP connection with a time limit for reads and writes.
#[derive(Debug)]
pub struct Timed {
    stream: TcpStream,
    /// Time limit of the next read or write.
    pub wait: Wait,
}

impl Timed {
    /// Wraps a connection.
    ///
    /// # Errors
    /// Those of the operating system.
    pub fn new(stream: TcpStream, wait: Wait) -> Result<Self> {
        // A request is one message, so waiting for more data to send would only delay it.
        stream.set_nodelay(true)?;
        Ok(Self { stream, wait })
    }

    /// Connects to an endpoint.
    ///
    /// # Errors
    /// Those of the operating system and of its resolver, which has its own time limit.
    pub fn connect(endpoint: &Endpoint, until: Instant) -> Result<Self> {
        let mut last = Error::new(ErrorKind::NotFound, "the host has no address");
        for address in endpoint.address().to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, left(until)?) {
                Ok(stream) => return Self::new(stream, Wait::Until(until)),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Sets the time-out of the next call.
    fn prepare(&self) -> Result<bool> {
        let Wait::Until(until) = self.wait else {
            self.stream.set_nonblocking(true)?;
            return Ok(true);
        };
        let left = Some(left(until)?);
        self.stream.set_read_timeout(left)?;
        self.stream.set_write_timeout(left)?;
        Ok(false)
    }

    fn done<T>(&self, is_nonblocking: bool, result: Result<T>) -> Result<T> {
        if is_nonblocking {
            self.stream.set_nonblocking(false)?;
            return result;
        }
        // The operating system reports a time-out as `WouldBlock`.
        result.map_err(|error| if error.kind() == ErrorKind::WouldBlock { late() } else { error })
    }
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let is_nonblocking = self.prepare()?;
        let read = self.stream.read(buffer);
        self.done(is_nonblocking, read)
    }
}

impl Write for Timed {
    fn write(&mut self, buffer: &[u8]) -> Result<usize> {
        let is_nonblocking = self.prepare()?;
        let written = self.stream.write(buffer);
        self.done(is_nonblocking, written)
    }

    fn flush(&mut self) -> Result<()> {
        self.stream.flush()
    }
}

/// Returns the time that is left until `until`.
fn left(until: Instant) -> Result<Duration> {
    let left = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero());
    left.ok_or_else(late)
}

fn late() -> Error {
    Error::new(ErrorKind::TimedOut, "the time limit has passed")
}

/// A connection, with or without TLS.
#[derive(Debug)]
pub enum Stream {
    /// Without TLS.
    Plain(Timed),
    /// With TLS.
    Tls(Box<StreamOwned<ClientConnection, Timed>>),
}

impl Stream {
    /// Connects to an endpoint; `tls` is needed for `wss://`.
    ///
    /// # Errors
    /// Those of the operating system. A certificate is checked at the first read or write.
    pub fn connect(endpoint: &Endpoint, tls: Option<&Arc<ClientConfig>>, until: Instant) -> Result<Self> {
        let stream = Timed::connect(endpoint, until)?;
        let Some(config) = tls else { return Ok(Self::Plain(stream)) };
        let name = ServerName::try_from(endpoint.address().0.to_owned()).map_err(Error::other)?;
        let connection = ClientConnection::new(Arc::clone(config), name).map_err(Error::other)?;
        Ok(Self::Tls(Box::new(StreamOwned::new(connection, stream))))
    }

    /// Sets the time limit of further reads and writes.
    pub fn set_wait(&mut self, wait: Wait) {
        match self {
            Self::Plain(stream) => stream.wait = wait,
            Self::Tls(stream) => stream.sock.wait = wait,
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, buffer: &[u8]) -> Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(buffer),
            Self::Tls(stream) => stream.write(buffer),
        }
    }

    fn flush(&mut self) -> Result<()> {
        match self {
            Self::Plain(stream) => stream.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

/// Returns the settings of TLS: the authorities in a PEM file, or those of the system.
///
/// # Errors
/// A message with the file and its fault, or that the system has no authorities.
pub fn tls(authority: Option<&Path>) -> std::result::Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore::empty();
    match authority {
        Some(path) => {
            let wrong = |reason: &dyn std::fmt::Display| {
                format!(
                    "server.authority: {}: {reason}; valid is a file of certificates (PEM)",
                    path.display()
                )
            };
            let bytes = aegis_files::read_any(path).map_err(|error| wrong(&error))?;
            for certificate in CertificateDer::pem_slice_iter(&bytes) {
                let certificate = certificate.map_err(|error| wrong(&format!("cannot be read: {error}")))?;
                roots.add(certificate).map_err(|error| wrong(&error))?;
            }
            if roots.is_empty() {
                return Err(wrong(&"found no certificate"));
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                return Err("server.authority: missing, and this system has no certificates of authorities; valid is a file of \
                            certificates (PEM) beside the card"
                    .into());
            }
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|error| format!("TLS: {error}"))?;
    Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}

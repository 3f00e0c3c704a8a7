//! Where a recording goes: a file that appears whole or not at all, or a viewer.
//! Opened before there is anything to record, so that nothing runs in vain.

use std::io::Write;
use std::net::{TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

use aegis_files::Pending;

use crate::rerun::ChunkBatcherConfig;
use crate::rerun::{RecordingStream, RecordingStreamBuilder};

use crate::{APPLICATION, RecorderError};

/// A viewer that has not taken everything by then is not there.
const TIMEOUT: Duration = Duration::from_secs(20);
/// For a viewer's machine to accept a connection.
const REACH: Duration = Duration::from_secs(2);
/// Where a viewer listens unless its URL says otherwise.
const VIEWER_PORT: u16 = 9876;

/// What a recording is made for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// An `.rrd` file.
    File(PathBuf),
    /// A viewer that is started for it.
    Spawn,
    /// A viewer that listens at this address, as `rerun+http://127.0.0.1:9876/proxy`.
    Connect(String),
}

/// An open target.
#[derive(Debug)]
pub struct Sink {
    target: Target,
    pending: Option<Pending>,
}

impl Sink {
    /// Opens a target.
    ///
    /// # Errors
    /// [`RecorderError::Write`] where no file can be made.
    pub fn open(target: Target) -> Result<Self, RecorderError> {
        let pending = match &target {
            Target::File(path) => {
                Some(Pending::create(path).map_err(|source| RecorderError::write(path, source))?)
            }
            Target::Spawn | Target::Connect(_) => None,
        };
        Ok(Self { target, pending })
    }

    /// Draws a recording named `id` and hands it over whole. Nothing in it depends on the wall clock.
    pub(crate) fn draw(
        self,
        id: &str,
        draw: impl FnOnce(&RecordingStream) -> Result<(), RecorderError>,
    ) -> Result<(), RecorderError> {
        let builder = RecordingStreamBuilder::new(APPLICATION).recording_id(id).enabled(true);
        let draw = |stream: &RecordingStream| {
            begin(stream, id)?;
            draw(stream)
        };
        let Some((mut pending, path)) = self.pending.zip(self.target.file()) else {
            let stream = self.target.connect(builder)?;
            draw(&stream)?;
            return stream.flush_with_timeout(TIMEOUT).map_err(|error| {
                // Dropping the stream would wait for the viewer once more, without end.
                std::mem::forget(stream);
                RecorderError::Viewer { target: self.target, reason: error.to_string() }
            });
        };
        // One chunk per entity, whatever the machine's speed.
        let (stream, storage) = builder.batcher_config(ChunkBatcherConfig::NEVER).memory()?;
        draw(&stream)?;
        let bytes = storage.drain_as_bytes().map_err(|error| RecorderError::Encode(error.to_string()))?;
        let written = pending.write_all(&bytes).and_then(|()| pending.commit());
        written.map_err(|source| RecorderError::write(path, source))
    }
}

/// Names a recording, and leaves the wall clock out of it.
pub(crate) fn begin(stream: &RecordingStream, id: &str) -> Result<(), RecorderError> {
    stream.set_log_time_enabled(false);
    stream.set_log_tick_enabled(false);
    Ok(stream.send_recording_name(id)?)
}

impl Target {
    fn file(&self) -> Option<&Path> {
        if let Self::File(path) = self { Some(path) } else { None }
    }

    pub(crate) fn connect(&self, builder: RecordingStreamBuilder) -> Result<RecordingStream, RecorderError> {
        if let Self::Connect(url) = self {
            reachable(url).map_err(|reason| RecorderError::Viewer { target: self.clone(), reason })?;
        }
        let stream = match self {
            Self::Connect(url) => builder.connect_grpc_opts(url.as_str()),
            Self::Spawn | Self::File(_) => builder.spawn(),
        };
        stream.map_err(|error| RecorderError::Viewer { target: self.clone(), reason: error.to_string() })
    }
}

/// Whether a program listens where a viewer's URL points, as in `rerun+http://127.0.0.1:9876/proxy`.
fn reachable(url: &str) -> Result<(), String> {
    let place = url.split_once("://").map_or(url, |(_, place)| place);
    let authority = place.split('/').next().unwrap_or(place);
    let authority =
        if authority.contains(':') { authority.to_owned() } else { format!("{authority}:{VIEWER_PORT}") };
    let mut last = format!("{authority}: no such host");
    for address in authority.to_socket_addrs().map_err(|error| format!("{authority}: {error}"))? {
        match TcpStream::connect_timeout(&address, REACH) {
            Ok(_) => return Ok(()),
            Err(error) => last = format!("{address}: {error}"),
        }
    }
    Err(last)
}

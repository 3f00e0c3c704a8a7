//! Destination of a recording: a file that appears whole or not at all, or a viewer. A file is opened before the recording
//! is made, so that no work is lost to a path that cannot be written.

use std::io::Write;
use std::net::{TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

use aegis_files::Pending;

use crate::rerun::ChunkBatcherConfig;
use crate::rerun::{RecordingStream, RecordingStreamBuilder};

use crate::{APPLICATION, RecorderError};

/// Longest wait for a viewer to accept the whole recording.
const TIMEOUT: Duration = Duration::from_secs(20);
/// Longest wait for a viewer's machine to accept a connection.
const REACH: Duration = Duration::from_secs(2);
/// Port at which a viewer listens unless its URL names another.
const VIEWER_PORT: u16 = 9876;

/// Kind of destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// An `.rrd` file.
    File(PathBuf),
    /// A viewer that is started for the recording.
    Spawn,
    /// A running viewer at this address, for example `rerun+http://127.0.0.1:9876/proxy`.
    Connect(String),
}

/// An open destination.
#[derive(Debug)]
pub struct Sink {
    target: Target,
    pending: Option<Pending>,
}

impl Sink {
    /// Opens a destination.
    ///
    /// # Errors
    /// [`RecorderError::Write`] where the file cannot be made.
    pub fn open(target: Target) -> Result<Self, RecorderError> {
        let pending = match &target {
            Target::File(path) => {
                Some(Pending::create(path).map_err(|source| RecorderError::write(path, source))?)
            }
            Target::Spawn | Target::Connect(_) => None,
        };
        Ok(Self { target, pending })
    }

    /// Draws a recording named `id` and delivers it whole. Nothing in the recording depends on the wall clock.
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
                // Dropping the stream would wait for the viewer once more, without a limit.
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

/// Logs the name of a recording and turns off the timelines of the wall clock and of the log tick.
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

/// Checks that a program listens at the address of a viewer's URL, for example `rerun+http://127.0.0.1:9876/proxy`. Returns
/// the reason where none does.
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

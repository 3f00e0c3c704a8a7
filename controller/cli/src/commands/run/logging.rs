//! Destinations of a run's log events. Each event is one `tracing` event: its message is shown to people, and all of its
//! fields become one line of JSON in the run's folder.

use std::fmt::Debug;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, Once, PoisonError};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use super::view::Live;
use crate::exit::{Exit, Failure, OrExit};
use crate::outlet::{self, Stream};

/// Name of the log file in a run's folder.
pub const EVENTS: &str = "events.jsonl";

/// Destination of the log lines that people read.
pub enum LogSink {
    /// Standard output.
    Output,
    /// Standard error, where standard output carries JSON.
    Errors,
    /// The live view.
    View(Arc<Mutex<Live>>),
    /// Standard error, without what tells the policies apart: fires, hand-overs, and changes of mode.
    Blind,
}

/// Module whose events tell which policy drives.
const TELLS_POLICIES: &str = "aegis_robot::events";

/// File that events go to: that of the newest run of this process.
static FILE: Mutex<Option<File>> = Mutex::new(None);

/// Writer into the file of the newest run.
struct Newest;

impl Write for Newest {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match FILE.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            Some(file) => file.write(bytes),
            None => Ok(bytes.len()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        FILE.lock().unwrap_or_else(PoisonError::into_inner).as_mut().map_or(Ok(()), File::flush)
    }
}

/// Begins the log of a run: all events go to a new file in `folder` from now on, and events from `INFO` up to `people`. A process that has
/// several runs, one after another, shows all of them to the `people` of the first.
///
/// # Errors
/// A log file that exists already or cannot be made.
pub fn begin(people: LogSink, folder: &Path) -> Result<(), Failure> {
    static INSTALLED: Once = Once::new();
    let path = folder.join(EVENTS);
    let file = File::options().append(true).create_new(true).open(&path);
    let file = file.map_err(|error| format!("{}: cannot write: {error}", path.display()));
    let file = file.map_err(|reason| crate::exit::failure(Exit::Failed, reason))?;
    *FILE.lock().unwrap_or_else(PoisonError::into_inner) = Some(file);
    let mut installed = Ok(());
    INSTALLED.call_once(|| installed = install(people));
    installed
}

fn install(people: LogSink) -> Result<(), Failure> {
    // Of other crates, only warnings and errors are kept.
    let kept = Targets::new().with_default(LevelFilter::WARN).with_target("aegis", LevelFilter::DEBUG);
    let shown = Targets::new().with_target("aegis", LevelFilter::INFO);
    // Errors of this file are not printed: a full disk has been reported by the record already.
    let log = tracing_subscriber::fmt::layer().json().flatten_event(true).log_internal_errors(false);
    tracing_subscriber::registry()
        .with(log.with_writer(|| Newest).with_filter(kept))
        .with(ForPeople(people).with_filter(shown))
        .try_init()
        .or_exit(Exit::Failed)
}

struct ForPeople(LogSink);

impl<S: Subscriber> Layer<S> for ForPeople {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut line = Message(String::new());
        event.record(&mut line);
        let Message(mut line) = line;
        if *event.metadata().level() <= Level::WARN {
            line = format!("{}: {line}", event.metadata().level().as_str().to_lowercase());
        }
        match &self.0 {
            LogSink::Output => outlet::offer(Stream::Output, line),
            LogSink::Errors => outlet::offer(Stream::Errors, line),
            LogSink::Blind if event.metadata().target() == TELLS_POLICIES => {}
            LogSink::Blind => outlet::offer(Stream::Errors, line),
            LogSink::View(live) => live.lock().unwrap_or_else(PoisonError::into_inner).say(&line),
        }
    }
}

struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}

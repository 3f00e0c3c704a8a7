//! Output of lines on two threads, one for standard output and one for standard error, so that no other thread waits for a
//! terminal that is stopped or for a pipe that is not read. Lines that find the queue full are dropped and counted, and the
//! count is printed in their place.

use std::collections::VecDeque;
use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// Capacity of the queue, in lines.
const CAPACITY: usize = 1024;
/// Longest wait, at the end of the process, for both outputs to accept their queued lines (`TIMEOUT`). Standard output may
/// use `FIRST_TIMEOUT` of it, so that some is left for standard error.
const TIMEOUT: Duration = Duration::from_secs(2);
const FIRST_TIMEOUT: Duration = Duration::from_millis(1500);

/// Control character that rings a terminal's bell.
const BELL: &str = "\x07";

/// The two outputs of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Output,
    /// Standard error.
    Errors,
}

/// Queued lines of one output, in order.
#[derive(Debug, Default)]
struct Queue {
    lines: VecDeque<String>,
    /// Number of lines that were dropped after the newest queued line.
    missed: usize,
    /// Whether the terminal's bell is to be rung.
    rings: bool,
    /// Whether a line is being written.
    is_writing: bool,
    /// The first error of a line that could not be written.
    error: Option<io::Error>,
}

impl Queue {
    /// Queues a line, or counts it as dropped where the queue is full.
    fn offer(&mut self, line: String) {
        if self.lines.len() < CAPACITY { self.push(line) } else { self.missed += 1 }
    }

    /// Queues a line that must not be dropped, beyond the capacity if necessary; there are few such lines.
    fn push(&mut self, line: String) {
        self.say_missed();
        self.lines.push_back(line);
    }

    fn say_missed(&mut self) {
        let missed = std::mem::take(&mut self.missed);
        if missed > 0 {
            self.lines
                .push_back(format!("({missed} lines were not shown: nobody took what came before them)"));
        }
    }

    fn is_done(&self) -> bool {
        self.lines.is_empty() && !self.is_writing
    }
}

/// One output and its thread, which runs until the process ends.
struct Outlet(Arc<(Mutex<Queue>, Condvar)>);

impl Outlet {
    fn start(name: &str, mut output: impl Write + Send + 'static) -> io::Result<Self> {
        let shared = Arc::new((Mutex::new(Queue::default()), Condvar::new()));
        let outlet = Self(Arc::clone(&shared));
        std::thread::Builder::new().name(name.into()).spawn(move || {
            let one = Self(shared);
            loop {
                let text = one.next();
                let written = write!(output, "{text}").and_then(|()| output.flush());
                let mut queue = one.queue();
                queue.is_writing = false;
                // The reader may have gone; the work continues without it.
                queue.error = queue.error.take().or(written.err());
                drop(queue);
                one.0.1.notify_all();
            }
        })?;
        Ok(outlet)
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a line, or for the bell, and returns what is to be written.
    fn next(&self) -> String {
        let mut queue = self.queue();
        loop {
            if std::mem::take(&mut queue.rings) {
                queue.is_writing = true;
                return BELL.into();
            }
            if let Some(line) = queue.lines.pop_front() {
                queue.is_writing = true;
                return line + "\n";
            }
            queue = self.0.1.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn put(&self, put: impl FnOnce(&mut Queue)) {
        put(&mut self.queue());
        self.0.1.notify_all();
    }

    /// Waits until every queued line is written, at most until `until`. Returns the number of lines that were not written,
    /// and the first error.
    fn finish(&self, until: Instant) -> (usize, Option<io::Error>) {
        self.put(Queue::say_missed);
        let (mut queue, left) = (self.queue(), until.saturating_duration_since(Instant::now()));
        if !left.is_zero() {
            let waited = self.0.1.wait_timeout_while(queue, left, |queue| !queue.is_done());
            queue = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        (queue.lines.len() + usize::from(queue.is_writing), queue.error.take())
    }
}

static OUTLETS: OnceLock<[Outlet; 2]> = OnceLock::new();

/// Starts the output threads. From here on no other thread of the process waits for an output.
///
/// # Errors
/// A thread that cannot be started.
#[cfg_attr(not(feature = "robot"), allow(dead_code))] // Robots alone may not be kept waiting.
pub fn begin() -> io::Result<()> {
    let outlets = [Outlet::start("output", io::stdout())?, Outlet::start("errors", io::stderr())?];
    let _ = OUTLETS.set(outlets);
    Ok(())
}

fn begun(stream: Stream) -> Option<&'static Outlet> {
    OUTLETS.get().map(|[output, errors]| if stream == Stream::Output { output } else { errors })
}

/// Prints a line that may be dropped where the queue is full. Before [`begin`] the line is written directly.
#[cfg_attr(not(feature = "robot"), allow(dead_code))]
pub fn offer(stream: Stream, line: String) {
    match begun(stream) {
        Some(outlet) => outlet.put(|queue| queue.offer(line)),
        // A closed pipe or terminal does not stop the work.
        None => drop(write(stream, &line)),
    }
}

/// Rings the bell of the terminal that standard error is, if it is one. A bell that the terminal has not taken yet rings once.
#[cfg_attr(not(feature = "robot"), allow(dead_code))]
pub fn ring() {
    if io::stderr().is_terminal()
        && let Some(outlet) = begun(Stream::Errors)
    {
        outlet.put(|queue| queue.rings = true);
    }
}

/// Prints a line that must not be dropped. Before [`begin`] the line is written directly.
///
/// # Errors
/// A line that could not be written directly. The error of a queued line is passed to [`finish`] instead.
pub fn say(stream: Stream, line: String) -> io::Result<()> {
    match begun(stream) {
        Some(outlet) => {
            outlet.put(|queue| queue.push(line));
            Ok(())
        }
        None => write(stream, &line),
    }
}

fn write(stream: Stream, line: &str) -> io::Result<()> {
    match stream {
        Stream::Output => writeln!(io::stdout(), "{line}"),
        Stream::Errors => writeln!(io::stderr(), "{line}"),
    }
}

/// Finishes the output when the process ends: waits a bounded time for standard output, calls `last` with the error of
/// standard output so that it can report that error and the result of the work, and then waits for standard error.
pub fn finish(last: impl FnOnce(Option<io::Error>)) {
    let begin = Instant::now();
    let mut unshown = 0;
    let mut error = None;
    if let Some(output) = begun(Stream::Output) {
        (unshown, error) = output.finish(begin + FIRST_TIMEOUT);
    }
    if unshown > 0 {
        let reason = format!("warning: {unshown} lines were not shown: standard output takes nothing");
        // A failure of standard error cannot be reported anywhere.
        let _ = say(Stream::Errors, reason);
    }
    last(error);
    if let Some(errors) = begun(Stream::Errors) {
        errors.finish(begin + TIMEOUT);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// An output that reports each line that it is given, and blocks until the test lets it continue. Once the test has
    /// dropped its end of the channel, the output accepts every line.
    struct Held {
        let_go: Receiver<()>,
        given: Sender<String>,
        line: Vec<u8>,
    }

    impl Write for Held {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.line.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            let line = String::from_utf8(std::mem::take(&mut self.line)).unwrap();
            let _ = self.given.send(line.trim_end().into());
            let _ = self.let_go.recv();
            Ok(())
        }
    }

    #[test]
    fn nobody_waits_for_an_output_that_takes_nothing_and_what_is_missing_is_counted() {
        let ((lets, let_go), (given, gives)) = (channel(), channel());
        let outlet = Outlet::start("held", Held { let_go, given, line: Vec::new() }).unwrap();
        outlet.put(|queue| queue.offer("first".into()));
        assert_eq!(gives.recv().unwrap(), "first");
        // More lines than the queue holds, while the first line is not accepted.
        (0..CAPACITY + 7).for_each(|number| outlet.put(|queue| queue.offer(number.to_string())));
        outlet.put(|queue| queue.push("the summary".into()));
        let (left, error) = outlet.finish(Instant::now());
        assert!(left == 1 + CAPACITY + 2 && error.is_none(), "{left}");
        drop(lets);
        let all: Vec<String> = gives.iter().take(CAPACITY + 2).collect();
        let last = (CAPACITY - 1).to_string();
        assert_eq!(
            (all[0].as_str(), &all[CAPACITY - 1], all[CAPACITY + 1].as_str()),
            ("0", &last, "the summary")
        );
        assert!(all[CAPACITY].starts_with("(7 lines were not shown"), "{}", all[CAPACITY]);
        let (left, _) = outlet.finish(Instant::now() + Duration::from_secs(60));
        assert_eq!(left, 0);
    }

    #[test]
    fn a_bell_is_no_line_and_rings_before_the_lines_that_wait() {
        let ((lets, let_go), (given, gives)) = (channel(), channel());
        let outlet = Outlet::start("rung", Held { let_go, given, line: Vec::new() }).unwrap();
        outlet.put(|queue| queue.push("first".into()));
        assert_eq!(gives.recv().unwrap(), "first");
        outlet.put(|queue| queue.push("second".into()));
        (0..3).for_each(|_| outlet.put(|queue| queue.rings = true));
        drop(lets);
        assert_eq!([gives.recv().unwrap(), gives.recv().unwrap()], [BELL, "second"]);
    }

    #[test]
    fn an_output_that_cannot_be_written_is_known_at_the_end() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let outlet = Outlet::start("full", Full).unwrap();
        ["one", "two"].into_iter().for_each(|line| outlet.put(|queue| queue.push(line.into())));
        let (left, error) = outlet.finish(Instant::now() + Duration::from_secs(60));
        assert_eq!((left, error.unwrap().kind()), (0, io::ErrorKind::StorageFull));
    }
}

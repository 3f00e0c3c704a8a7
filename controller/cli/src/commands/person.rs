//! The person at the robot: lines of standard input, as operator commands while an episode waits or runs, and as answers between
//! episodes. A line that was typed before a question is no answer to it.

use std::io::BufRead;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aegis_link::wire::OperatorCommand;
use aegis_robot::PlantListener;

use crate::exit::{Exit, Failure, failure, tell};

/// Interval at which a wait for a line looks at other things.
const POLL: Duration = Duration::from_millis(50);
/// Most characters of a remark that are kept.
const LONGEST: usize = 500;

/// Reader of standard input.
pub struct Person {
    lines: Mutex<Receiver<String>>,
    /// Set by SIGTSTP, which stops the robot instead of suspending its controller.
    suspended: Arc<AtomicBool>,
}

impl Person {
    /// Starts to read lines, on a thread of its own. Bytes that are no text are replaced. `suspended` is set by SIGTSTP.
    pub fn at_the_terminal(suspended: Arc<AtomicBool>) -> Self {
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            let mut input = std::io::stdin().lock();
            let mut line = Vec::new();
            while input.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
                if sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                    return;
                }
                line.clear();
            }
        });
        Self { lines: Mutex::new(lines), suspended }
    }

    /// Does some work while lines are passed on to the controller: an empty one starts the episode, `s` and `e` stop it, and so does
    /// SIGTSTP.
    pub fn beside<T>(&self, listener: &PlantListener, work: impl FnOnce() -> T) -> T {
        meanwhile(|is_over| self.operate(listener, is_over), work)
    }

    fn operate(&self, listener: &PlantListener, is_over: &AtomicBool) {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        // What came between two episodes is over.
        self.suspended.store(false, Ordering::Release);
        while !is_over.load(Ordering::Acquire) {
            obey_suspension(&self.suspended, listener);
            match lines.recv_timeout(POLL).as_deref().map(str::trim) {
                Ok("" | "start") => listener.obey(OperatorCommand::Start),
                Ok("s" | "stop") => listener.obey(OperatorCommand::Stop),
                Ok("e" | "e-stop") => listener.obey(OperatorCommand::EStop),
                Ok(_) => tell!("valid now: Enter to start the episode, s to stop, e for an e-stop"),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => std::thread::sleep(POLL),
            }
        }
    }

    /// Returns the error of an answer that did not come: a signal's, or that of an input that was over.
    pub fn no_answer(reason: &str, signal: &AtomicBool) -> Failure {
        match signal.load(Ordering::Acquire) {
            true => failure(Exit::Signal, reason),
            false => failure(Exit::Failed, format!("standard input is over: {reason}")),
        }
    }

    /// Asks a question until a line is an answer to it. Returns `None` where the input is over, or a signal came, before there is one.
    pub fn ask<T>(
        &self,
        question: &str,
        signal: &Arc<AtomicBool>,
        answer: impl Fn(Answer<'_>) -> Option<T>,
    ) -> Option<T> {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        while lines.try_recv().is_ok() {}
        tell!("{question}");
        loop {
            if signal.load(Ordering::Acquire) {
                return None;
            }
            match lines.recv_timeout(POLL) {
                Ok(line) => match answer(Answer::of(&line)) {
                    Some(found) => return Some(found),
                    None => tell!("{question}"),
                },
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        }
    }
}

/// Does some work during which SIGTSTP, which sets `suspended`, stops the robot instead of suspending its controller.
pub fn stopping_for<T>(suspended: &AtomicBool, listener: &PlantListener, work: impl FnOnce() -> T) -> T {
    let watch = |is_over: &AtomicBool| {
        while !is_over.load(Ordering::Acquire) {
            obey_suspension(suspended, listener);
            std::thread::sleep(POLL);
        }
    };
    meanwhile(watch, work)
}

/// Stops the robot once for each SIGTSTP, which sets `suspended`.
fn obey_suspension(suspended: &AtomicBool, listener: &PlantListener) {
    if suspended.swap(false, Ordering::AcqRel) {
        listener.obey(OperatorCommand::Stop);
    }
}

/// Does some work while `watch` runs on a thread of its own, which returns once its flag is set: when the work is done.
fn meanwhile<T>(watch: impl FnOnce(&AtomicBool) + Send, work: impl FnOnce() -> T) -> T {
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| watch(&is_over));
        let done = work();
        is_over.store(true, Ordering::Release);
        done
    })
}

/// A line that answers a question: its first word, and the rest as a remark without control characters.
pub struct Answer<'a> {
    /// First word.
    pub word: &'a str,
    /// Text after the first word, at most 500 characters; empty for a line of one word.
    pub remark: String,
}

impl<'a> Answer<'a> {
    /// Divides a line.
    pub fn of(line: &'a str) -> Self {
        let line = line.trim();
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let plain = |symbol: &char| !aegis_files::text::is_obeyed(*symbol);
        Self { word, remark: rest.trim().chars().filter(plain).take(LONGEST).collect() }
    }
}

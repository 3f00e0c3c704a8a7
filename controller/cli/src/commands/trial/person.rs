//! The person at the robot: lines of standard input, as operator commands while an episode waits or runs, and as its outcome after it.

use std::io::BufRead;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aegis_experiments::field::log::Outcome;
use aegis_experiments::field::plan::OutcomeSource;
use aegis_link::wire::OperatorCommand;
use aegis_robot::PlantListener;

use crate::exit::tell;

/// Interval at which a wait for a line looks at other things.
const POLL: Duration = Duration::from_millis(50);
/// Most characters of a remark that are kept.
const LONGEST: usize = 500;

/// Reader of standard input.
pub struct Person(Mutex<Receiver<String>>);

impl Person {
    /// Starts to read lines, on a thread of its own.
    pub fn at_the_terminal() -> Self {
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in std::io::stdin().lock().lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self(Mutex::new(lines))
    }

    /// Passes lines on to the controller until `is_over` is set: an empty one starts the episode, `stop` and `e-stop` stop it.
    pub fn operate(&self, listener: &PlantListener, is_over: &AtomicBool) {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while !is_over.load(Ordering::Acquire) {
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

    /// Asks how an episode ended. Returns `None` where the input is over, or a signal came, before there is an answer.
    pub fn outcome(&self, signal: &Arc<AtomicBool>) -> Option<Outcome> {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let ask = || tell!("did it succeed? y or n, a remark may follow; r and a reason to repeat it");
        ask();
        loop {
            if signal.load(Ordering::Acquire) {
                return None;
            }
            match lines.recv_timeout(POLL) {
                Ok(line) => match answer(&line) {
                    Some(outcome) => return Some(outcome),
                    None => ask(),
                },
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        }
    }
}

/// Reads an answer: `y` or `n` with or without a remark, or `r` with a reason. `None` for other text.
fn answer(line: &str) -> Option<Outcome> {
    let line = line.trim();
    let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let plain = |symbol: &char| !aegis_files::text::is_obeyed(*symbol);
    let rest: String = rest.trim().chars().filter(plain).take(LONGEST).collect();
    match word {
        "y" | "n" => {
            let note = (!rest.is_empty()).then_some(rest);
            Some(Outcome::Done { success: word == "y", by: OutcomeSource::Person, note })
        }
        "r" if !rest.is_empty() => Some(Outcome::Repeated { reason: rest }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_one_letter_and_a_remark() {
        let done = |success, note: Option<&str>| {
            Some(Outcome::Done { success, by: OutcomeSource::Person, note: note.map(Into::into) })
        };
        assert_eq!(answer("y"), done(true, None));
        assert_eq!(answer("  n   dropped\u{1b}[31m it \n"), done(false, Some("dropped[31m it")));
        let repeated = Outcome::Repeated { reason: "I bumped the table".into() };
        assert_eq!(answer("r I bumped the table"), Some(repeated));
        for unclear in ["", "r", "r  ", "yes", "Y", "maybe", "yn"] {
            assert_eq!(answer(unclear), None, "{unclear}");
        }
    }
}

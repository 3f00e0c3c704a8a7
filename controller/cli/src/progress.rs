//! Progress with the estimated time left, on standard error: a bar on a terminal, occasional lines in a log. Results go to
//! standard output, so a pipe receives no progress text.

use std::borrow::Cow;
use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use aegis_experiments::run::runner::Progress;
use indicatif::{HumanDuration, ProgressBar, ProgressStyle};

use crate::exit::tell;

/// Shortest time between two lines of a log. The time grows to a tenth of the elapsed time, so that a long run does not
/// fill a disk.
const LINES: Duration = Duration::from_secs(10);

/// The progress of a verb.
pub struct Bar {
    bar: ProgressBar,
    heading: Cow<'static, str>,
    /// State of the log; `None` where standard error is a terminal.
    log: Option<Mutex<Log>>,
}

/// The progress of a verb, and the time of the last line in the log.
struct Log {
    total: usize,
    done: usize,
    begun: Instant,
    told: Instant,
}

/// Makes a bar over `total` items under a heading.
pub fn bar(heading: impl Into<Cow<'static, str>>, total: usize) -> Bar {
    let heading = heading.into();
    let bar = ProgressBar::new(total as u64).with_message(heading.clone());
    // The template is a constant. If it were invalid, the default style would be used.
    if let Ok(style) = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len}, {eta} left") {
        bar.set_style(style);
    }
    let now = Instant::now();
    let log =
        (!std::io::stderr().is_terminal()).then(|| Mutex::new(Log { total, done: 0, begun: now, told: now }));
    Bar { bar, heading, log }
}

impl Bar {
    /// Counts one more item as done.
    pub fn inc(&self) {
        self.bar.inc(1);
        let log = self.log.as_ref().map(|log| log.lock().unwrap_or_else(PoisonError::into_inner));
        if let Some(line) = log.and_then(|mut log| log.after_one_more(Instant::now())) {
            tell!("{}: {line}", self.heading);
        }
    }

    /// Removes the bar from the terminal.
    pub fn finish_and_clear(&self) {
        self.bar.finish_and_clear();
    }
}

impl Log {
    /// Counts one more item as done. Returns a line for the log where one is due.
    fn after_one_more(&mut self, now: Instant) -> Option<String> {
        self.done += 1;
        let gone = now.saturating_duration_since(self.begun);
        let silent = now.saturating_duration_since(self.told);
        if self.done >= self.total || silent < LINES.max(gone / 10) {
            return None;
        }
        self.told = now;
        let left = gone.mul_f64((self.total - self.done) as f64 / self.done as f64);
        Some(format!("{} of {}, about {} left", self.done, self.total, HumanDuration(left)))
    }
}

/// Returns the callback that shows a run's progress: a finished job advances the bar, and an interruption is printed above
/// the bar, on a terminal and in a log alike.
pub fn follow(bar: &Bar) -> impl Fn(Progress<'_>) + Sync + '_ {
    move |event| match event {
        Progress::Done => bar.inc(),
        Progress::Interrupted { what, reason } => {
            bar.bar.suspend(|| tell!("{what}: interrupted, run again from its beginning: {reason}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_told_now_and_then_and_the_rarer_the_longer_it_takes() {
        let begun = Instant::now();
        let mut log = Log { total: 1_000, done: 0, begun, told: begun };
        let mut after = |seconds| log.after_one_more(begun + Duration::from_secs(seconds));
        assert_eq!(after(1), None);
        assert_eq!(after(10).as_deref(), Some("2 of 1000, about 83 minutes left"));
        assert_eq!(after(19), None);
        assert!(after(20).is_some());
        assert!(after(1_000).is_some());
        assert_eq!(after(1_099), None, "a tenth of the time that went by");
        let mut log = Log { total: 1, done: 0, begun, told: begun };
        assert_eq!(log.after_one_more(begun + Duration::from_secs(60)), None, "what is done is not told");
    }
}

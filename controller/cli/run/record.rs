//! The thread that takes control periods from their ring: record, black box, and what they amount to.
//! A disk that is full ends the record with an alarm and nothing else.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use aegis_core::control::{Cause, Mode, Period};
use aegis_recorder::black_box::BlackBox;
use aegis_recorder::run_log::{RunHeader, RunLog};
use aegis_runtime::LogReader;
use hdrhistogram::Histogram;
use serde_json::{Value, json};

use super::metrics::Metrics;
use crate::exit::{Exit, Failure, OrExit};

/// Between two looks at an empty ring.
const GLANCE: Duration = Duration::from_millis(2);
/// What a black box holds, seconds.
const BLACK_BOX: f64 = 60.0;
/// Histograms hold up to a minute, in nanoseconds, to three digits.
const LARGEST: u64 = 60_000_000_000;

/// An empty histogram of nanoseconds.
pub fn histogram() -> Result<Histogram<u64>, Failure> {
    Histogram::new_with_bounds(1, LARGEST, 3).or_exit(Exit::Failed)
}

/// What a histogram of nanoseconds says, in microseconds.
pub fn microseconds(histogram: &Histogram<u64>) -> Value {
    let at = |share| histogram.value_at_quantile(share) as f64 / 1e3;
    json!({
        "n": histogram.len(), "p50": at(0.5), "p90": at(0.9), "p99": at(0.99), "p99.9": at(0.999),
        "max": histogram.max() as f64 / 1e3,
    })
}

/// The running thread.
pub struct Recording {
    end: Arc<AtomicBool>,
    /// What came so far is not to count.
    forget: Arc<AtomicBool>,
    thread: JoinHandle<Taken>,
    /// The run's folder.
    pub folder: PathBuf,
}

/// What a run's periods amount to.
pub struct Taken {
    late: Histogram<u64>,
    took: Histogram<u64>,
    age: Histogram<u64>,
    periods: u64,
    dropped: u64,
    alarm: Option<String>,
    stops: Vec<(Mode, Option<Cause>, PathBuf)>,
    ends: Vec<String>,
}

impl Recording {
    /// Makes the run's folder and starts the thread. `say` is told of every change of mode.
    pub fn start(
        folder: PathBuf,
        header: RunHeader,
        mut ring: LogReader,
        metrics: Arc<Metrics>,
        say: impl Fn(&str) + Send + 'static,
    ) -> Result<Self, Failure> {
        std::fs::create_dir_all(&folder).or_exit(Exit::Failed)?;
        let log = RunLog::create(&folder.join("run.aegis"), &header).or_exit(Exit::Failed)?;
        let (end, forget) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let mut taker = Taker::new(folder.clone(), header, log, metrics)?;
        let thread = std::thread::Builder::new().name("record".into()).spawn({
            let (end, forget) = (Arc::clone(&end), Arc::clone(&forget));
            move || {
                let mut bytes = Vec::new();
                loop {
                    // Asked before the ring is emptied, so that nothing written before the end stays in it.
                    let over = end.load(Ordering::Acquire) || ring.is_over();
                    while ring.pop(&mut bytes) {
                        taker.take(&bytes, &say);
                    }
                    taker.flush(&say);
                    if forget.swap(false, Ordering::AcqRel) {
                        taker.taken.forget();
                    }
                    if over {
                        break;
                    }
                    std::thread::sleep(GLANCE);
                }
                taker.taken.dropped = ring.dropped();
                taker.taken
            }
        });
        Ok(Self { end, forget, thread: thread.or_exit(Exit::Failed)?, folder })
    }

    /// Begins the distributions anew: what came before was warming up.
    pub fn forget(&self) {
        self.forget.store(true, Ordering::Release);
    }

    /// Writes what is left.
    pub fn end(self) -> Option<Taken> {
        self.end.store(true, Ordering::Release);
        self.thread.join().ok()
    }
}

struct Taker {
    folder: PathBuf,
    header: RunHeader,
    log: Option<RunLog>,
    black_box: BlackBox,
    metrics: Arc<Metrics>,
    mode: Mode,
    taken: Taken,
}

impl Taker {
    fn new(folder: PathBuf, header: RunHeader, log: RunLog, metrics: Arc<Metrics>) -> Result<Self, Failure> {
        let taken = Taken {
            late: histogram()?,
            took: histogram()?,
            age: histogram()?,
            periods: 0,
            dropped: 0,
            alarm: None,
            stops: Vec::new(),
            ends: Vec::new(),
        };
        let most = (BLACK_BOX * header.recipe.settings.rate_hz).ceil() as usize;
        let black_box = BlackBox::new(most);
        Ok(Self { folder, header, log: Some(log), black_box, metrics, mode: Mode::Idle, taken })
    }

    fn take(&mut self, bytes: &[u8], say: &impl Fn(&str)) {
        if let Some(Err(error)) = self.log.as_mut().map(|log| log.append(bytes)) {
            self.give_up(error.to_string(), say);
        }
        self.black_box.push(bytes);
        self.taken.periods += 1;
        let Ok(period) = rmp_serde::from_slice::<Period<'_>>(bytes) else { return };
        self.metrics.take(&period, self.mode);
        self.taken.late.saturating_record(period.late_ns.max(1));
        self.taken.took.saturating_record(period.took_ns.max(1));
        if let Some(seen) = period.inputs.observation {
            let age = period.inputs.now.saturating_sub(seen.received).as_nanos();
            self.taken.age.saturating_record(u64::try_from(age).unwrap_or(LARGEST).max(1));
        }
        let mode = period.output.mode;
        if mode != self.mode {
            say(&line(&period));
            if mode == Mode::Idle && !self.mode.is_latched() {
                let success = period.inputs.observation.is_some_and(|seen| seen.success);
                let outcome = if success { "goal" } else { "horizon" };
                self.taken.ends.push(outcome.into());
            }
            if mode.is_latched() {
                self.write_black_box(&period, say);
            }
            self.mode = mode;
        }
    }

    fn write_black_box(&mut self, period: &Period<'_>, say: &impl Fn(&str)) {
        let path = self.folder.join(format!("black-box-{}.aegis", self.taken.stops.len() + 1));
        if let Err(error) = self.black_box.write(&path, &self.header) {
            say(&format!("alarm: no black box: {error}"));
        }
        self.taken.stops.push((period.output.mode, period.output.cause, path));
    }

    fn flush(&mut self, say: &impl Fn(&str)) {
        if let Some(Err(error)) = self.log.as_mut().map(RunLog::flush) {
            self.give_up(error.to_string(), say);
        }
    }

    fn give_up(&mut self, reason: String, say: &impl Fn(&str)) {
        say(&format!("alarm: the record ends here, control goes on: {reason}"));
        self.log = None;
        self.taken.alarm = Some(reason);
    }
}

/// A change of mode, for people.
fn line(period: &Period<'_>) -> String {
    let output = &period.output;
    let mut line = format!("step {:>4}  {:?}", output.step, output.mode);
    if let Some(cause) = output.cause {
        line += &format!("  {cause:?}");
    }
    if let Some(decision) = &output.decision {
        line += &format!("  risk {:.3}, threshold {:.3}", decision.score.risk(), decision.thresholds.fire);
    }
    for text in output.notices.texts() {
        line += &format!("  {text}");
    }
    line
}

impl Taken {
    fn forget(&mut self) {
        [&mut self.late, &mut self.took, &mut self.age].into_iter().for_each(Histogram::reset);
    }

    /// Episodes that came to an end, in order: `goal` or `horizon`.
    pub fn ends(&self) -> &[String] {
        &self.ends
    }

    /// What it amounts to, for programs.
    pub fn summary(&self) -> Value {
        let stop = |(mode, cause, path): &(Mode, Option<Cause>, PathBuf)| json!({ "mode": mode, "cause": cause, "black_box": Path::file_name(path).map(|n| n.to_string_lossy()) });
        json!({
            "periods": self.periods,
            "dropped_records": self.dropped,
            "alarm": self.alarm,
            "episodes": self.ends,
            "stops": self.stops.iter().map(stop).collect::<Vec<_>>(),
            "lateness_us": microseconds(&self.late),
            "decision_us": microseconds(&self.took),
            "observation_age_us": microseconds(&self.age),
        })
    }
}

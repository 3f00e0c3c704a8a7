//! Summary of a run: timing distributions, missed control periods with their cause, stops and episodes. The thread that
//! records control periods feeds the summary, one period after another.

use std::path::{Path, PathBuf};
use std::time::Duration;

use aegis_core::Driver;
use aegis_core::control::{Counters, Diagnostics, Mode, StopReason, TickRecord};
use hdrhistogram::Histogram;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::events::TickEvent;
use crate::operator_summary::OperatorSummary;
use aegis_failure::{Exit, Failure, OrExit};
use aegis_recorder::EpisodeEnd;

/// Largest value of a histogram: one minute, nanoseconds. Histograms keep three significant digits.
const LARGEST: u64 = 60_000_000_000;
/// Largest number of missed periods that the summary lists. Further ones are only counted.
const LISTED: usize = 1000;

/// Returns an empty histogram of nanoseconds.
pub fn histogram() -> Result<Histogram<u64>, Failure> {
    Histogram::new_with_bounds(1, LARGEST, 3).or_exit(Exit::Failed)
}

/// Returns the count, the quantiles and the maximum of a histogram of nanoseconds, in microseconds.
pub fn microseconds(histogram: &Histogram<u64>) -> Value {
    let at = |share| histogram.value_at_quantile(share) as f64 / 1e3;
    json!({
        "n": histogram.len(), "p50": at(0.5), "p90": at(0.9), "p99": at(0.99), "p99.9": at(0.999),
        "max": histogram.max() as f64 / 1e3,
    })
}

/// Returns a controller's counters as JSON, with the diagnostics that occurred by their text.
pub fn counted(counters: &Counters) -> Result<Value, Failure> {
    let mut value = serde_json::to_value(counters).or_exit(Exit::Failed)?;
    let given = Diagnostics::ALL.iter().zip(counters.notices).filter(|(_, count)| *count > 0);
    value["notices"] =
        given.map(|((_, text), count)| (text.to_string(), json!(count))).collect::<Map<_, _>>().into();
    Ok(value)
}

/// Timer from a fire of the gate to the strong policy's first command.
#[derive(Debug, Default)]
pub struct HandOver {
    fired: Option<Duration>,
}

impl HandOver {
    /// Takes a control period. Returns how long the hand-over took where this period completes one.
    pub fn take(&mut self, period: &TickRecord<'_>) -> Option<Duration> {
        let (now, output) = (period.inputs.now, &period.output);
        if output.decision.as_ref().is_some_and(|decision| decision.fired) {
            self.fired = Some(now);
        }
        if !output.mode.is_on() {
            self.fired = None;
        }
        let strong = output.driver == Some(Driver::Strong);
        let fired = if strong { self.fired.take() } else { None };
        fired.map(|fired| now.saturating_sub(fired) + Duration::from_nanos(period.took_ns))
    }
}

/// Control periods that were missed, with the times that tell why: how late the next period began, and how long the
/// previous period took.
#[derive(Debug, Serialize)]
struct Missed {
    /// Number of the period after the missed ones.
    period: u64,
    skipped: u32,
    late_us: f64,
    took_before_us: f64,
}

/// Summary of a run's control periods.
pub struct RunSummary {
    late: Histogram<u64>,
    took: Histogram<u64>,
    age: Histogram<u64>,
    /// Ages of the frames of each camera in the period in which they came, by its name.
    frames: Vec<(String, Histogram<u64>)>,
    weak: Histogram<u64>,
    strong: Histogram<u64>,
    hand_over: Histogram<u64>,
    /// An operator's part, where the backup is a person.
    operator: Option<OperatorSummary>,
    /// Newest known round trip of heartbeats.
    round_trip: Option<Duration>,
    took_before: u64,
    missed: Vec<Missed>,
    periods: u64,
    /// Records that were dropped because the ring was full.
    pub dropped: u64,
    /// Why the record ended before the run did; `None` where it did not.
    pub alarm: Option<String>,
    stops: Vec<(Mode, Option<StopReason>, PathBuf)>,
    ends: Vec<EpisodeEnd>,
}

impl RunSummary {
    /// Makes an empty summary of a run with these cameras. `by_hand` says whether the backup is a person.
    pub fn new<'a>(cameras: impl IntoIterator<Item = &'a str>, by_hand: bool) -> Result<Self, Failure> {
        let frames = cameras.into_iter().map(|name| Ok((name.to_owned(), histogram()?)));
        Ok(Self {
            frames: frames.collect::<Result<_, Failure>>()?,
            late: histogram()?,
            took: histogram()?,
            age: histogram()?,
            weak: histogram()?,
            strong: histogram()?,
            hand_over: histogram()?,
            operator: by_hand.then(OperatorSummary::default),
            round_trip: None,
            took_before: 0,
            missed: Vec::new(),
            periods: 0,
            dropped: 0,
            alarm: None,
            stops: Vec::new(),
            ends: Vec::new(),
        })
    }

    /// Adds a control period.
    pub fn take(&mut self, turn: &TickEvent<'_>) {
        let TickEvent { period, handed_over, call, .. } = *turn;
        self.periods += 1;
        if let Some(operator) = &mut self.operator {
            operator.take(period, call);
        }
        self.late.saturating_record(period.late_ns.max(1));
        self.took.saturating_record(period.took_ns.max(1));
        let inputs = &period.inputs;
        if let Some(seen) = inputs.observation {
            record(&mut self.age, seen.age(inputs.now));
        }
        for stamp in inputs.cameras.iter().flat_map(|cameras| cameras.frames.iter()) {
            if let Some((_, frames)) = self.frames.get_mut(stamp.camera as usize) {
                record(frames, inputs.now.saturating_sub(stamp.taken.min(stamp.received)));
            }
        }
        self.round_trip = inputs.plant.round_trip.or(self.round_trip);
        for (histogram, reply) in [(&mut self.weak, &inputs.weak), (&mut self.strong, &inputs.strong)] {
            if let Some(reply) = reply {
                record(histogram, reply.took);
            }
        }
        if let Some(took) = handed_over {
            record(&mut self.hand_over, took);
        }
        if inputs.skipped > 0 && self.missed.len() < LISTED {
            self.missed.push(Missed {
                period: self.periods,
                skipped: inputs.skipped,
                late_us: period.late_ns as f64 / 1e3,
                took_before_us: self.took_before as f64 / 1e3,
            });
        }
        self.took_before = period.took_ns;
    }

    /// Counts a control period whose record cannot be decoded.
    pub fn take_unread(&mut self) {
        self.periods += 1;
    }

    /// Adds the end of an episode.
    pub fn end_episode(&mut self, end: EpisodeEnd) {
        self.ends.push(end);
    }

    /// Returns the number of stops so far.
    pub fn stops(&self) -> usize {
        self.stops.len()
    }

    /// Adds a stop, whose last minute is in the file `black_box`.
    pub fn stop(&mut self, mode: Mode, cause: Option<StopReason>, black_box: PathBuf) {
        self.stops.push((mode, cause, black_box));
    }

    /// Clears the distributions and the missed periods, which so far were of the warm-up.
    pub fn forget(&mut self) {
        let all = [&mut self.late, &mut self.took, &mut self.age, &mut self.weak, &mut self.strong];
        all.into_iter().for_each(Histogram::reset);
        self.frames.iter_mut().for_each(|(_, frames)| frames.reset());
        self.hand_over.reset();
        self.missed.clear();
    }

    /// Returns the ends of the episodes, in order.
    pub fn ends(&self) -> &[EpisodeEnd] {
        &self.ends
    }

    /// Returns the summary as JSON.
    pub fn summary(&self) -> Value {
        let stop = |(mode, cause, path): &(Mode, Option<StopReason>, PathBuf)| json!({ "mode": mode, "cause": cause, "black_box": Path::file_name(path).map(|name| name.to_string_lossy()) });
        let mut summary = json!({
            "periods": self.periods,
            "dropped_records": self.dropped,
            "alarm": self.alarm,
            "episodes": self.ends.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "stops": self.stops.iter().map(stop).collect::<Vec<_>>(),
            "missed": self.missed,
            "lateness_us": microseconds(&self.late),
            "decision_us": microseconds(&self.took),
            "observation_age_us": microseconds(&self.age),
            "plant_round_trip_us": self.round_trip.map(|time| time.as_secs_f64() * 1e6),
            "weak_inference_us": microseconds(&self.weak),
            "strong_inference_us": microseconds(&self.strong),
            "hand_over_us": microseconds(&self.hand_over),
        });
        if !self.frames.is_empty() {
            let frames = self.frames.iter().map(|(name, frames)| (name.clone(), microseconds(frames)));
            summary["frame_age_us"] = frames.collect::<Map<_, _>>().into();
        }
        if let Some(operator) = &self.operator {
            summary["operator"] = operator.summary();
        }
        summary
    }
}

fn record(histogram: &mut Histogram<u64>, time: Duration) {
    histogram.saturating_record(u64::try_from(time.as_nanos()).unwrap_or(LARGEST).max(1));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_episode_that_a_stop_ended_is_listed_with_its_cause() {
        let mut taken = RunSummary::new([], false).unwrap();
        let stopped = |cause| EpisodeEnd::Stopped(Mode::SafeStop, cause);
        for end in
            [EpisodeEnd::Goal, EpisodeEnd::Horizon, stopped(Some(StopReason::PlantLost)), stopped(None)]
        {
            taken.end_episode(end);
        }
        let expected = json!(["goal", "horizon", "stopped: plant_lost", "stopped: safe_stop"]);
        assert_eq!(taken.summary()["episodes"], expected);
    }
}

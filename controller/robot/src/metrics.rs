//! Counters and distributions of a run for Prometheus, served over HTTP on this machine only. The thread that records
//! control periods feeds the metrics; a client that reads them cannot delay the control thread.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aegis_core::control::{CallPhase, Diagnostics, Mode};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::call_tracker::CallEvent;
use crate::events::TickEvent;
use crate::worker::Worker;
use aegis_failure::{Exit, Failure, OrExit, failure};

/// Interval at which the server checks whether it should end.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// Content type of the text format.
const CONTENT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Labels = Vec<(&'static str, String)>;
type Fraction = Gauge<f64, AtomicU64>;

/// The metrics of a run.
pub struct Metrics {
    registry: Registry,
    mode: Family<Labels, Gauge>,
    risk: Fraction,
    threshold: Fraction,
    budget_left: Gauge,
    periods: Family<Labels, Counter>,
    skipped: Counter,
    notices: Family<Labels, Counter>,
    fires: Counter,
    stops: Family<Labels, Counter>,
    limited: Counter,
    round_trip: Fraction,
    late: Histogram,
    took: Histogram,
    age: Histogram,
    inference: Family<Labels, Histogram, fn() -> Histogram>,
    hand_over: Histogram,
    operator: OperatorMetrics,
}

/// Metrics of an operator's part in a run.
#[derive(Debug)]
struct OperatorMetrics {
    called: Gauge,
    calls: Family<Labels, Counter>,
    answer: Histogram,
    driven: Counter,
    refused: Counter,
    dropped: Counter,
}

impl Default for OperatorMetrics {
    fn default() -> Self {
        Self {
            called: Gauge::default(),
            calls: Family::default(),
            // From a tenth of a second to about two hours.
            answer: Histogram::new(exponential_buckets(0.1, 2.0, 17)),
            driven: Counter::default(),
            refused: Counter::default(),
            dropped: Counter::default(),
        }
    }
}

impl OperatorMetrics {
    fn register(&self, registry: &mut Registry) {
        registry.register("operator_called", "1 while an operator is called", self.called.clone());
        registry.register(
            "operator_calls",
            "Calls of an operator, by what became of them",
            self.calls.clone(),
        );
        registry.register(
            "operator_answer_seconds",
            "From a call to the operator's first command that was obeyed",
            self.answer.clone(),
        );
        registry.register("operator_periods", "Control periods that an operator drove", self.driven.clone());
        registry.register(
            "operator_refused",
            "Control periods with a refused first command",
            self.refused.clone(),
        );
        registry.register(
            "operator_dropped",
            "Commands of operators that were dropped",
            self.dropped.clone(),
        );
    }

    fn take(&self, turn: &TickEvent<'_>) {
        let Some(report) = &turn.period.output.call else { return };
        self.called.set(i64::from(report.phase == CallPhase::Called));
        let drives = report.phase == CallPhase::Driving && turn.period.output.mode.drives();
        self.driven.inc_by(u64::from(drives));
        self.refused.inc_by(u64::from(report.refused.is_some()));
        self.dropped.inc_by(u64::from(report.dropped));
        let outcome = match turn.call {
            Some(CallEvent::Answered(took)) => {
                self.answer.observe(took.as_secs_f64());
                "answered"
            }
            Some(CallEvent::Unanswered) => "unanswered",
            Some(CallEvent::Withdrawn) => "withdrawn",
            Some(CallEvent::Called | CallEvent::LetGo | CallEvent::Ended) | None => return,
        };
        self.calls.get_or_create(&vec![("outcome", outcome.to_owned())]).inc();
    }
}

impl Metrics {
    /// Makes metrics at zero.
    pub fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("aegis"),
            mode: Family::default(),
            risk: Fraction::default(),
            threshold: Fraction::default(),
            budget_left: Gauge::default(),
            periods: Family::default(),
            skipped: Counter::default(),
            notices: Family::default(),
            fires: Counter::default(),
            stops: Family::default(),
            limited: Counter::default(),
            round_trip: Fraction::default(),
            late: seconds(),
            took: seconds(),
            age: seconds(),
            inference: Family::new_with_constructor(seconds),
            hand_over: seconds(),
            operator: OperatorMetrics::default(),
        };
        metrics.round_trip.set(f64::NAN);
        metrics.register();
        metrics
    }

    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register("mode", "1 for the mode that the controller is in", self.mode.clone());
        registry.register(
            "risk",
            "Risk read at the last boundary; +Inf where it was no number",
            self.risk.clone(),
        );
        registry.register("threshold", "What the rule held its reading against", self.threshold.clone());
        registry.register("budget_left", "Fires left in this episode", self.budget_left.clone());
        registry.register("periods", "Control periods, by mode", self.periods.clone());
        registry.register("skipped_periods", "Control periods that passed unserved", self.skipped.clone());
        registry.register("notices", "Control periods with a notice", self.notices.clone());
        registry.register("fires", "Times that the gate fired", self.fires.clone());
        registry.register("stops", "Stops, by mode", self.stops.clone());
        registry.register("limited_periods", "Control periods with a limited command", self.limited.clone());
        registry.register(
            "plant_round_trip_seconds",
            "Least round trip of heartbeats lately, by which the plant's clock is known; NaN before it is",
            self.round_trip.clone(),
        );
        registry.register("lateness_seconds", "How late control periods began", self.late.clone());
        registry.register("decision_seconds", "How long a decision took", self.took.clone());
        registry.register(
            "observation_age_seconds",
            "Age of an observation when it was read, since the plant took it",
            self.age.clone(),
        );
        registry.register(
            "inference_seconds",
            "How long an inference took, by policy",
            self.inference.clone(),
        );
        registry.register(
            "hand_over_seconds",
            "From a fire to the strong policy's first command",
            self.hand_over.clone(),
        );
        self.operator.register(registry);
    }

    /// Updates the metrics with a control period.
    pub fn take(&self, turn: &TickEvent<'_>) {
        let TickEvent { period, before, handed_over, .. } = *turn;
        let output = &period.output;
        let name = |mode: Mode| vec![("mode", format!("{mode:?}"))];
        for mode in Mode::ALL {
            self.mode.get_or_create(&name(mode)).set(i64::from(mode == output.mode));
        }
        self.periods.get_or_create(&name(output.mode)).inc();
        self.skipped.inc_by(u64::from(period.inputs.skipped));
        if let Some(decision) = &output.decision {
            self.risk.set(decision.score.risk());
            self.threshold.set(decision.thresholds.fire);
            self.budget_left.set(i64::from(decision.budget_left));
            self.fires.inc_by(u64::from(decision.fired));
        }
        for (notice, text) in Diagnostics::ALL {
            if output.notices.has(notice) {
                self.notices.get_or_create(&vec![("notice", text.to_owned())]).inc();
            }
        }
        if output.mode.is_latched() && output.mode != before {
            self.stops.get_or_create(&name(output.mode)).inc();
        }
        self.limited.inc_by(u64::from(output.limited != 0));
        let round_trip = period.inputs.plant.round_trip.map_or(f64::NAN, |time| time.as_secs_f64());
        self.round_trip.set(round_trip);
        self.late.observe(period.late_ns as f64 / 1e9);
        self.took.observe(period.took_ns as f64 / 1e9);
        if let Some(seen) = period.inputs.observation {
            self.age.observe(seen.age(period.inputs.now).as_secs_f64());
        }
        for (policy, reply) in [("weak", &period.inputs.weak), ("strong", &period.inputs.strong)] {
            if let Some(reply) = reply {
                let policy = vec![("policy", policy.to_owned())];
                self.inference.get_or_create(&policy).observe(reply.took.as_secs_f64());
            }
        }
        if let Some(took) = handed_over {
            self.hand_over.observe(took.as_secs_f64());
        }
        self.operator.take(turn);
    }

    /// Returns all metrics in the OpenMetrics text format.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to memory cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

/// Returns a histogram of seconds, whose bucket bounds grow by factors of two from 1 µs to about 1 s.
fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(1e-6, 2.0, 21))
}

/// Handle of the thread that serves the metrics.
pub struct MetricsServer {
    _helper: Worker,
    /// Address at which the server listens.
    pub address: SocketAddr,
}

impl MetricsServer {
    /// Starts to serve metrics at a loopback address; with port 0 the system chooses the port.
    ///
    /// # Errors
    /// An address that other machines can reach, or that is in use.
    pub fn start(listen: SocketAddr, metrics: Arc<Metrics>) -> Result<Self, Failure> {
        check(listen).map_err(|reason| failure(Exit::Input, reason))?;
        let server = tiny_http::Server::http(listen).map_err(|error| {
            failure(Exit::Input, format!("found {listen}: {error}; valid is a free port"))
        })?;
        let address = server.server_addr().to_ip().unwrap_or(listen);
        let helper = Worker::start("metrics", move |end| {
            while !end.load(Ordering::Acquire) {
                if let Ok(Some(request)) = server.recv_timeout(POLL_INTERVAL) {
                    answer(request, &metrics);
                }
            }
        });
        Ok(Self { _helper: helper.or_exit(Exit::Failed)?, address })
    }
}

/// Checks that an address is a loopback address: the metrics have no access control.
pub fn check(listen: SocketAddr) -> Result<(), String> {
    if listen.ip().is_loopback() {
        return Ok(());
    }
    let valid = "valid is an address of this machine, as 127.0.0.1:9464; others read it through a proxy";
    Err(format!("found {listen}; {valid}"))
}

fn answer(request: tiny_http::Request, metrics: &Metrics) {
    let found = request.url() == "/metrics";
    let text = if found { metrics.text() } else { "metrics are at /metrics\n".into() };
    let mut response = tiny_http::Response::from_string(text).with_status_code(if found { 200 } else { 404 });
    if let (true, Ok(header)) = (found, tiny_http::Header::from_bytes("Content-Type", CONTENT)) {
        response.add_header(header);
    }
    // A client that has disconnected does not get the answer.
    let _ = request.respond(response);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_listened_at() {
        let refused = MetricsServer::start("0.0.0.0:0".parse().unwrap(), Arc::new(Metrics::new()));
        assert!(refused.err().unwrap().to_string().contains("0.0.0.0:0; valid is"));
    }

    #[test]
    fn the_text_names_every_metric() {
        let text = Metrics::new().text();
        for name in [
            "aegis_risk",
            "aegis_skipped_periods",
            "aegis_lateness_seconds",
            "aegis_budget_left",
            "aegis_plant_round_trip_seconds",
            "aegis_operator_called",
            "aegis_operator_answer_seconds",
        ] {
            assert!(text.contains(name), "{text}");
        }
    }
}

//! `aegis bench loop`: measures the whole control loop, with a plant that does nothing, over a Zenoh session on this
//! machine. Reports how late control periods begin, how long a command takes from its observation, and whether memory
//! grows.

mod nothing;
mod round_trip;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use aegis_core::Start;
use aegis_core::control::Mode;
use aegis_files::Scratch;
use aegis_link::{Host, HostLimits, LinkError, PlantInfo, Role};
use aegis_recorder::run_log::RunHeader;
use aegis_runtime::{Pace, RealTimeSettings, StartAt};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;

use self::nothing::{CHUNK, Idle, Nothing, recipe};
use self::round_trip::RoundTrip;
use crate::commands::sim::serve::rate;
use crate::exit::{Exit, Failure, OrExit, failure, say, tell};
use aegis_robot::record::Recording;
use aegis_robot::run_summary::{counted, histogram, microseconds};
use aegis_robot::{OpenInferencer, RobotSession};

/// Time that the loop runs before the measurement begins.
const WARM_UP: Duration = Duration::from_secs(2);

/// What to measure.
#[derive(Subcommand)]
pub enum BenchVerb {
    /// Drive a plant that does nothing, with policies that do nothing.
    Loop(LoopArguments),
}

/// Arguments of `aegis bench loop`.
#[derive(Args)]
#[command(after_help = "Examples:\n  aegis bench loop --rate 1000 --seconds 60\n  \
                        aegis bench loop --pace observation --json\n  \
                        aegis bench loop --rate 200 --seconds 3600 --priority 80 --core 1\n\n\
                        Plant and controller are two Zenoh sessions of this process; policies answer at once, so what \
                        is left is the loop's own cost.")]
pub struct LoopArguments {
    /// Control periods per second
    #[arg(long, value_name = "HZ", default_value_t = 1000.0, value_parser = rate)]
    rate: f64,
    /// How long to measure, after two seconds that do not count
    #[arg(long, value_name = "S", default_value_t = 10)]
    seconds: u64,
    /// What begins a control period
    #[arg(long, value_enum, default_value_t = By::Clock)]
    pace: By,
    /// Real-time priority, 1 to 99; 0 asks for none
    #[arg(long, value_name = "N", default_value_t = 0)]
    priority: u8,
    /// A core that the control thread keeps to
    #[arg(long, value_name = "N")]
    core: Option<usize>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum By {
    /// The controller's own clock
    Clock,
    /// The plant's next observation
    Observation,
}

/// Runs a verb of `aegis bench`.
pub fn run(verb: &BenchVerb) -> Result<(), Failure> {
    let BenchVerb::Loop(arguments) = verb;
    let stop = AtomicBool::new(false);
    let listen = "tcp/127.0.0.1:0".parse().or_exit(Exit::Failed)?;
    let session = aegis_link::open(Role::Serve, &listen).or_exit(Exit::Failed)?;
    let endpoint = aegis_link::listening(&session).or_exit(Exit::Failed)?;
    let info = PlantInfo {
        action_width: CHUNK[1] as u32,
        tasks: 1,
        period: Duration::from_secs_f64(1.0 / arguments.rate),
        stand_still: vec![0.0; CHUNK[1]],
    };
    std::thread::scope(|scope| {
        let (ready, is_ready) = std::sync::mpsc::sync_channel(1);
        let (stop, session) = (&stop, &session);
        let served = scope.spawn(move || {
            let host = Host::new(aegis_link::instance(), info, HostLimits::default());
            let tell = || {
                let _ = ready.send(());
            };
            aegis_link::serve(session, "bench", host, &mut Nothing::default(), stop, tell, |_| {})
        });
        let _ = is_ready.recv();
        let trips =
            histogram().and_then(|empty| RoundTrip::watch(session, "bench", empty).or_exit(Exit::Failed));
        let measured = trips.and_then(|trips| measure(arguments, &endpoint, &trips));
        stop.store(true, Ordering::Relaxed);
        let served: Result<(), LinkError> =
            served.join().unwrap_or_else(|_| Err(LinkError::Zenoh("the plant's thread has gone".into())));
        served.or_exit(Exit::Failed)?;
        measured
    })
}

fn measure(
    arguments: &LoopArguments,
    endpoint: &aegis_link::Endpoint,
    trips: &RoundTrip,
) -> Result<(), Failure> {
    let recipe = recipe(arguments.rate);
    let pace = if arguments.pace == By::Clock { Pace::Clock } else { Pace::Observation };
    let real_time = RealTimeSettings {
        priority: arguments.priority,
        core: arguments.core,
        ..RealTimeSettings::default()
    };
    let rest = recipe.rest.clone();
    let idle = || -> OpenInferencer { Box::new(|| Ok(Box::new(Idle))) };
    let unread = (Box::new(|_: &_| None) as _, [false; 2]);
    let (mut robot_session, ring) =
        RobotSession::around(&recipe, pace, real_time, unread, idle(), Some(idle()))?;
    // The record of a measurement goes to a temporary folder, which is removed at the end.
    let folder = Scratch::within(&std::env::temp_dir()).or_exit(Exit::Failed)?;
    let header = RunHeader {
        program: crate::VERSION.into(),
        plant: "bench".into(),
        began_unix_ns: 0,
        digests: Default::default(),
        recipe,
        first: 0,
    };
    let recording = Recording::start(folder.path().to_owned(), header, ring, |_| {})?;
    let session = aegis_link::open(Role::Drive, endpoint).or_exit(Exit::Failed)?;
    let mut plant = robot_session.claim(&session, "bench", "aegis bench", 0)?;
    let sending = robot_session.attach(&plant)?;
    robot_session.await_clock("bench")?;
    let episode = robot_session.reset(&mut plant, Start { task: 0, initial_state: 0 })?;
    let (taken, _) = robot_session.first_observation()?;
    robot_session.wishes.start(StartAt {
        episode,
        pose: rest,
        taken,
        as_of: robot_session.wishes.interruptions(),
    });
    std::thread::sleep(WARM_UP);
    let before = resident();
    recording.forget();
    trips.forget();
    robot_session.published.lock().unwrap_or_else(std::sync::PoisonError::into_inner).reset();
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(arguments.seconds) && robot_session.control.mode().drives() {
        std::thread::sleep(Duration::from_millis(20));
    }
    let (mode, after, trips) = (robot_session.control.mode(), resident(), trips.histogram());
    let published = robot_session.published.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
    robot_session.stop_sending(sending);
    let notices = std::mem::take(&mut robot_session.thread.real_time.notices);
    let controller = robot_session.thread.end();
    let taken = recording.end();
    drop(folder);
    let (Some(controller), Some(taken)) = (controller, taken) else {
        return Err(failure(Exit::Failed, "a thread of the loop has gone"));
    };
    let mut summary = taken.summary();
    summary["rate_hz"] = arguments.rate.into();
    summary["observation_to_command_us"] = microseconds(&published);
    summary["round_trip_us"] = microseconds(&trips);
    summary["counters"] = counted(controller.counters())?;
    summary["resident_kib"] = json!({ "begin": before, "end": after });
    summary["notices"] = json!(notices);
    if arguments.json {
        say!("{}", serde_json::to_string_pretty(&summary).or_exit(Exit::Failed)?);
    } else {
        for notice in notices {
            tell!("notice: {notice}");
        }
        print_table(&summary);
    }
    if mode.drives() { Ok(()) } else { Err(stopped(mode)) }
}

fn stopped(mode: Mode) -> Failure {
    let what = if mode.is_latched() { aegis_robot::stop(mode) } else { "a lack of actions" };
    failure(Exit::Failed, format!("{what} ended the loop before its time"))
}

fn print_table(summary: &serde_json::Value) {
    say!("{:<30}{:>9}{:>9}{:>9}{:>9}{:>10}  n", "microseconds", "p50", "p90", "p99", "p99.9", "max");
    for (row, key) in [
        ("a period begins late by", "lateness_us"),
        ("a decision takes", "decision_us"),
        ("observation to command", "observation_to_command_us"),
        ("there and back, for the plant", "round_trip_us"),
    ] {
        let at = |column: &str| summary[key][column].as_f64().unwrap_or(f64::NAN);
        let columns = [at("p50"), at("p90"), at("p99"), at("p99.9"), at("max")];
        let [p50, p90, p99, p999, max] = columns;
        say!("{row:<30}{p50:>9.1}{p90:>9.1}{p99:>9.1}{p999:>9.1}{max:>10.1}  {}", summary[key]["n"]);
    }
    let memory = &summary["resident_kib"];
    say!(
        "missed periods {}, memory {} KiB, then {} KiB",
        summary["counters"]["skipped_periods"],
        memory["begin"],
        memory["end"]
    );
}

/// Returns the resident memory of this process, KiB; 0 where the system does not report it.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

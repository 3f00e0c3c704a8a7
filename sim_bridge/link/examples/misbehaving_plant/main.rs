//! Test plant that fails on command, for tests of controllers; it is not the project's simulator:
//! `cargo run -p aegis-link --example misbehaving_plant -- --help`
//!
//! The plant implements the wire protocol without the project's `Host`, so that no project code filters the controller's
//! messages. By default the plant executes every action that carries its session, exactly as received. The log has one
//! JSON line per control period and per message, with what was executed. Standard input takes fault commands, one per
//! line, each answered by `ok ...` or `error: ...`. Once the plant can be reached, it prints `NAME: ready at ENDPOINT`.

mod arguments;
mod body;
mod cameras;
mod clock;
mod delay;
mod faults;
mod journal;
mod robot;
mod scene;

use std::fmt::Display;
use std::fs::File;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use aegis_link::{KeyExprs, Role, listening};
use zenoh::Wait;
use zenoh::qos::CongestionControl;
use zenoh::query::Query;

use arguments::{Arguments, USAGE};
use delay::DelayQueue;
use faults::Command;
use journal::Journal;
use robot::Robot;

/// Number of messages and lines that may wait for the plant's thread. A message beyond this capacity is lost.
const CAPACITY: usize = 4096;
/// Time between two heartbeats.
const HEARTBEAT: Duration = Duration::from_millis(100);

/// Input of the plant's thread.
enum Input {
    /// A message from the controller.
    Message(Incoming),
    /// A line of standard input.
    Line(String),
    /// The end of standard input.
    End,
}

/// A message from the controller to the plant.
enum Incoming {
    Request(Box<Query>),
    Pulse(Vec<u8>),
    Action(Vec<u8>),
}

/// A message from the plant to the controller.
enum Outgoing {
    Reply(Box<Query>, Vec<u8>),
    Status(Vec<u8>),
    Observation(Vec<u8>),
    Frame(Vec<u8>),
}

/// An input and its arrival time since the process started.
type Arrival = (Duration, Input);

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.iter().any(|word| word == "--help") {
        say(USAGE);
        return ExitCode::SUCCESS;
    }
    match Arguments::parse(words).and_then(serve) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

/// Serves one plant until standard input ends or contains `quit`.
fn serve(arguments: Arguments) -> Result<(), String> {
    let clock = Instant::now();
    let keys = KeyExprs::of(&arguments.name).map_err(text)?;
    let log: Box<dyn Write> = match &arguments.log {
        Some(path) => {
            Box::new(File::create(path).map_err(|error| format!("--log {}: {error}", path.display()))?)
        }
        None => Box::new(io::sink()),
    };
    let session = aegis_link::open(Role::Serve, &arguments.listen).map_err(text)?;
    let endpoint = listening(&session).map_err(text)?;
    let (sender, inputs) = sync_channel::<Arrival>(CAPACITY);
    let _requests = session
        .declare_queryable(&keys.request)
        .callback({
            let sender = sender.clone();
            move |query| hear(&sender, clock, Incoming::Request(Box::new(query)))
        })
        .wait()
        .map_err(text)?;
    let _pulses = session
        .declare_subscriber(&keys.pulse)
        .callback({
            let sender = sender.clone();
            move |sample| hear(&sender, clock, Incoming::Pulse(sample.payload().to_bytes().into_owned()))
        })
        .wait()
        .map_err(text)?;
    let _actions = session
        .declare_subscriber(&keys.action)
        .callback({
            let sender = sender.clone();
            move |sample| hear(&sender, clock, Incoming::Action(sample.payload().to_bytes().into_owned()))
        })
        .wait()
        .map_err(text)?;
    let publisher = |key: &str| {
        let publisher = session.declare_publisher(key.to_owned());
        publisher.congestion_control(CongestionControl::Drop).express(true).wait().map_err(text)
    };
    let (observations, statuses) = (publisher(&keys.observation)?, publisher(&keys.status)?);
    let frames = publisher(&keys.camera)?;
    let _alive = session.liveliness().declare_token(&keys.alive).wait().map_err(text)?;
    std::thread::Builder::new().name("stdin".into()).spawn(move || read(&sender, clock)).map_err(text)?;
    say(&format!("{}: ready at {endpoint}", arguments.name));

    let send = |message: Outgoing| match message {
        // A message that cannot be sent is dropped: the controller must cope with lost messages.
        Outgoing::Reply(query, bytes) => drop(query.reply(query.key_expr().clone(), bytes).wait()),
        Outgoing::Status(bytes) => drop(statuses.put(bytes).wait()),
        Outgoing::Observation(bytes) => drop(observations.put(bytes).wait()),
        Outgoing::Frame(bytes) => drop(frames.put(bytes).wait()),
    };
    run(arguments, clock, &inputs, Journal::new(log), send)
}

/// Runs the plant's thread. Every delay is a wait in one of this function's queues.
fn run(
    arguments: Arguments,
    clock: Instant,
    inputs: &Receiver<Arrival>,
    mut journal: Journal<Box<dyn Write>>,
    send: impl Fn(Outgoing),
) -> Result<(), String> {
    let (joints, shown, period) = (arguments.joints, arguments.shown_joints(), arguments.period);
    let mut incoming = DelayQueue::new(arguments.latency_in);
    let mut outgoing = DelayQueue::new(arguments.latency_out);
    // Answers to requests wait here before `outgoing`, for the `late-answers` fault.
    let mut answers = DelayQueue::new(Duration::ZERO);
    // Frames wait here before `outgoing`, for a camera that is late.
    let mut late: Vec<(Duration, Vec<u8>)> = Vec::new();
    let mut robot = Robot::new(arguments, aegis_link::instance());
    let (mut next_tick, mut next_beat) = (clock.elapsed() + period, clock.elapsed());
    loop {
        record(&mut journal, &mut robot)?;
        let due = [incoming.next_due(), outgoing.next_due(), answers.next_due()].into_iter().flatten();
        let wake = due.fold(next_tick.min(next_beat), Duration::min);
        let first = inputs.recv_timeout(wake.saturating_sub(clock.elapsed())).ok();
        for (at, input) in first.into_iter().chain(inputs.try_iter()) {
            let line = match input {
                Input::Message(message) => {
                    incoming.push(at, message);
                    continue;
                }
                Input::Line(line) => line,
                Input::End => return Ok(()),
            };
            let command = Command::parse(&line, joints, shown);
            let done = command.and_then(|command| {
                robot.fault(&command, &line, clock.elapsed())?;
                Ok(command)
            });
            // The log lines are written before the command is answered.
            record(&mut journal, &mut robot)?;
            match &done {
                Ok(_) => say(&format!("ok {}", line.trim())),
                Err(error) => say(&format!("error: {error}")),
            }
            match done {
                Ok(Command::LatencyIn(latency)) => incoming.set_latency(latency),
                Ok(Command::LatencyOut(latency)) => outgoing.set_latency(latency),
                Ok(Command::LateAnswers(latency)) => answers.set_latency(latency),
                Ok(Command::Quit) => return Ok(()),
                _ => {}
            }
        }
        let now = clock.elapsed();
        while let Some(message) = incoming.pop(now) {
            match message {
                Incoming::Pulse(bytes) => robot.pulse(&bytes, now),
                Incoming::Action(bytes) => robot.action(&bytes, now),
                Incoming::Request(query) => {
                    let answer = {
                        let bytes = query.payload().map(|payload| payload.to_bytes()).unwrap_or_default();
                        robot.request(&bytes, now)
                    };
                    if let Some(answer) = answer {
                        answers.push(now, Outgoing::Reply(query, answer));
                    }
                }
            }
        }
        robot.expire(now);
        if now >= next_tick {
            robot.tick(now).into_iter().for_each(|bytes| outgoing.push(now, Outgoing::Observation(bytes)));
            late.extend(robot.frames(now).into_iter().map(|(wait, bytes)| (now + wait, bytes)));
            // A late period is skipped: periods are not made up for in a burst.
            next_tick = (next_tick + period).max(now);
        }
        if now >= next_beat {
            if let Some(bytes) = robot.status(now) {
                outgoing.push(now, Outgoing::Status(bytes));
            }
            next_beat = (next_beat + HEARTBEAT).max(now);
        }
        for (_, bytes) in late.extract_if(.., |(due, _)| *due <= now) {
            outgoing.push(now, Outgoing::Frame(bytes));
        }
        while let Some(answer) = answers.pop(now) {
            outgoing.push(now, answer);
        }
        while let Some(message) = outgoing.pop(now) {
            send(message);
        }
    }
}

/// Writes the robot's new log lines to the log.
fn record(journal: &mut Journal<Box<dyn Write>>, robot: &mut Robot) -> Result<(), String> {
    let mut lines = robot.take_lines().into_iter();
    lines.try_for_each(|line| journal.write(&line)).map_err(|error| format!("log: {error}"))
}

/// Sends a message to the plant's thread. Zenoh's threads call this function and must not wait, so a message is dropped
/// where the queue is full.
fn hear(sender: &SyncSender<Arrival>, clock: Instant, message: Incoming) {
    drop(sender.try_send((clock.elapsed(), Input::Message(message))));
}

/// Sends the lines of standard input to the plant's thread.
fn read(sender: &SyncSender<Arrival>, clock: Instant) {
    for line in io::stdin().lines().map_while(Result::ok) {
        if sender.send((clock.elapsed(), Input::Line(line))).is_err() {
            return;
        }
    }
    // Where the receiver is gone, the process is ending anyway.
    let _ = sender.send((clock.elapsed(), Input::End));
}

/// Prints one line. Errors of standard output are ignored: the plant continues without a reader.
fn say(line: &str) {
    let mut stdout = io::stdout();
    let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
}

fn text(error: impl Display) -> String {
    error.to_string()
}

//! Fuzz target of the host: arbitrary sequences of requests, commands, heartbeats, stray bytes and waits, with a plant
//! that counts its moves. The plant never moves without an episode, each step moves it at most once, a stop latches, and a
//! watchdog's order holds for its time.

#![no_main]
#![allow(dead_code, unused_imports, reason = "a module is compiled in whole")]

#[path = "../../src/counted.rs"]
mod counted;
#[path = "../../src/host.rs"]
mod host;
#[path = "../../src/stop_order.rs"]
mod stop_order;
#[path = "../../src/wire/mod.rs"]
mod wire;

use std::sync::Arc;
use std::time::Duration;

use aegis_core::{Observation, Plant, PlantError, Start, Transition};
use arbitrary::Arbitrary;
use host::{Host, HostLimits, PlantInfo};
use libfuzzer_sys::fuzz_target;
use wire::{Action, Claim, FramesRequest, Message, Mode, Moved, Phase, Pulse, Release, Reset, Status, Step, StopRequest};

#[derive(Arbitrary, Debug)]
enum Event {
    Claim { nonce: u8, free: bool },
    Reset { session: Number, episode: Number, task: u8 },
    Step { session: Number, episode: Number, sequence: Number, action: Motion },
    FramesRequest { session: Number, episode: Number, sequence: Number },
    Release { session: Number },
    Request(Vec<u8>),
    Pulse { session: Number },
    Command { session: Number, episode: Number, sequence: u8, action: Motion },
    Heard(Vec<u8>),
    Stop { hold_ms: u16 },
    Watchdog(Vec<u8>),
    Tick,
    Expire,
    Wait(u16),
}

/// The number that the host expects, or a wrong one.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Number {
    Right,
    Next,
    Off(i8),
    Any(u64),
}

impl Number {
    fn about(self, right: u64) -> u64 {
        match self {
            Self::Right => right,
            Self::Next => right.wrapping_add(1),
            Self::Off(by) => right.wrapping_add_signed(by.into()),
            Self::Any(number) => number,
        }
    }
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Motion {
    Stand,
    Move(i8),
    Fail,
    Wide,
    Value(f32),
}

impl Motion {
    fn values(self) -> Vec<f32> {
        match self {
            Self::Stand => vec![0.0],
            Self::Move(value) => vec![f32::from(value)],
            Self::Fail => vec![FAIL],
            Self::Wide => vec![0.0; 2],
            Self::Value(value) => vec![value],
        }
    }
}

/// Action for which the plant moves and then returns an error.
const FAIL: f32 = 1000.0;

#[derive(Default)]
struct Counting {
    on: bool,
    /// Moves since the reset.
    moves: u32,
    /// All resets and moves since creation.
    total: u64,
    last: f32,
}

impl Counting {
    fn observation(&self) -> Observation {
        Observation { step: self.moves, ..Observation::of(&[]).expect("no features are valid") }
    }
}

impl Plant for Counting {
    fn reset(&mut self, start: Start) -> Result<Observation, PlantError> {
        self.on = false;
        self.total += 1;
        if start.task > 100 {
            return Err(PlantError::UnknownTask { found: start.task, last: 100 });
        }
        (self.on, self.moves) = (true, 0);
        Ok(self.observation())
    }

    fn step(&mut self, action: &[f32]) -> Result<Transition, PlantError> {
        assert!(self.on, "moved without an episode");
        let [value] = action else {
            return Err(PlantError::Action { expected: 1, found: format!("{action:?}") });
        };
        if !value.is_finite() {
            return Err(PlantError::Action { expected: 1, found: format!("{action:?}") });
        }
        self.moves += 1;
        self.total += 1;
        self.last = *value;
        if *value == FAIL {
            return Err(PlantError::Diverged { step: self.moves });
        }
        Ok(Transition { observation: self.observation(), success: false })
    }

    fn state(&self, out: &mut Vec<f64>) {
        out.push(f64::from(self.moves));
    }
}

fuzz_target!(|events: Vec<Event>| {
    let info =
        PlantInfo { action_width: 1, tasks: 101, period: Duration::from_millis(50), stand_still: vec![0.0] };
    let mut host = Host::new(1 << 60, info, HostLimits::default());
    let (mut plant, mut now) = (Counting::default(), Duration::ZERO);
    let mut free = false;
    let mut held_until = Duration::ZERO;
    for event in events {
        let status = status(&host, now);
        let (session, episode, sequence) = (status.session, status.episode, u64::from(status.sequence));
        let step = |number: Number| number.about(sequence) as u32;
        let request: Message = match event {
            Event::Claim { nonce, free } => {
                let mode = if free { Mode::FreeRunning } else { Mode::LockStep };
                Claim { controller: String::new(), nonce: nonce.into(), mode }.into()
            }
            Event::Reset { session: s, episode: e, task } => Reset {
                session: s.about(session),
                episode: e.about(episode),
                task: task.into(),
                initial_state: 0,
                disturbance: None,
            }
            .into(),
            Event::Step { session: s, episode: e, sequence, action } => {
                let (session, episode) = (s.about(session), e.about(episode));
                Step { session, episode, sequence: step(sequence), action: action.values() }.into()
            }
            Event::FramesRequest { session: s, episode: e, sequence } => {
                FramesRequest { session: s.about(session), episode: e.about(episode), sequence: step(sequence) }.into()
            }
            Event::Release { session: s } => Release { session: s.about(session) }.into(),
            Event::Request(bytes) => {
                // Arbitrary bytes that happen to be a request move the plant at most once.
                let before = plant.total;
                let _ = host.request(&bytes, now, &mut plant);
                assert!(plant.total - before <= 1);
                continue;
            }
            Event::Pulse { session: s } => {
                host.pulse(&Message::from(Pulse { session: s.about(session), stamp_ns: 0 }).encode(), now);
                continue;
            }
            Event::Command { session: s, episode: e, sequence, action } => {
                let (session, episode) = (s.about(session), e.about(episode));
                let action = action.values();
                let command = Action {
                    session,
                    episode,
                    sequence: sequence.into(),
                    observation: 0,
                    stamp_ns: 0,
                    action,
                };
                host.action(&Message::from(command).encode(), now);
                continue;
            }
            Event::Heard(bytes) => {
                host.action(&bytes, now);
                host.pulse(&bytes, now);
                continue;
            }
            Event::Stop { hold_ms } => {
                let hold = Duration::from_millis(hold_ms.into());
                held_until = held_until.max(now + hold.min(Duration::from_secs(10)));
                let request = StopRequest { reason: String::new(), hold_ns: hold.as_nanos() as u64 };
                host.watchdog(&Message::from(request).encode(), now);
                continue;
            }
            Event::Watchdog(bytes) => {
                let before = plant.total;
                host.watchdog(&bytes, now);
                assert_eq!(plant.total, before);
                continue;
            }
            Event::Tick => {
                let before = plant.total;
                let moved = host.tick(now, &mut plant);
                assert!(moved.is_none() || free, "moved by itself in lock-step");
                assert!(plant.total - before <= 1);
                if (status.phase == Phase::Stopped || now < held_until) && plant.total > before {
                    assert_eq!(plant.last, 0.0, "moved after the stop");
                }
                continue;
            }
            Event::Expire => {
                host.expire(now);
                continue;
            }
            Event::Wait(milliseconds) => {
                now += Duration::from_millis(milliseconds.into());
                continue;
            }
        };
        let bytes = request.encode();
        let before = plant.total;
        let answer = host.request(&bytes, now, &mut plant);
        assert!(plant.total - before <= 1, "one request moved it twice");
        assert!(now >= held_until || plant.total == before, "moved although a watchdog holds it");
        let after = plant.total;
        let again = host.request(&bytes, now, &mut plant);
        match Message::decode(&answer).expect("an answer") {
            Message::Moved(Moved { sequence, .. }) => {
                assert!(free || sequence == plant.moves, "a step lost or run twice");
                assert_eq!(answer, again, "another answer to the same question");
                assert_eq!(plant.total, after, "the same question moved it again");
            }
            Message::Claimed(_) => {
                free = matches!(&request, Message::Claim(claim) if claim.mode == Mode::FreeRunning);
                assert_eq!(answer, again);
            }
            Message::Refused(_) => {
                assert_eq!(plant.total, after, "what was refused moved it when asked again")
            }
            Message::Pictures(_) | Message::Status(_) => assert_eq!(plant.total, before),
            other => panic!("{} answers {}", other.name(), request.name()),
        }
    }
});

fn status(host: &Host, now: Duration) -> Status {
    match host.status(now) {
        Message::Status(status) => status,
        other => panic!("{other:?}"),
    }
}

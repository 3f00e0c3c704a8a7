//! Test rig: a controller with policies that reply late, wrongly or never, and a plant that can fall silent.
//! Time is a value that the test advances.
#![allow(dead_code, clippy::expect_used, clippy::unwrap_used)] // Each test file uses a part of it.

use std::borrow::Cow;
use std::time::Duration;

use aegis_core::control::{
    CameraInputs, Channel, ChannelKind, ChunkChecks, ControlSettings, Controller, ControllerParts, Inputs,
    LimitScope, Mode, NoProposal, ObservationStamp, OperatorCommands, Output, Overlap, PlantHealth, Proposal,
    Reply, StrongLoss, TeleopInputs, Treatment,
};
use aegis_core::gate::{BudgetUnit, GateLimits};
use aegis_core::trigger::{BuiltIn, Rule, Thresholds};

pub const PERIOD: Duration = Duration::from_millis(50);
pub const HORIZON: usize = 12;

pub fn limits() -> GateLimits {
    GateLimits {
        return_chunks: 1,
        guard_fraction: 0.0,
        budget_fraction: 0.2,
        budget_unit: BudgetUnit::Chunks,
        duty_cap: 0.6,
        hold_chunks: 2,
        whole_holds: false,
        horizon_steps: 100,
        chunk_steps: 10,
    }
}

pub fn channels() -> Vec<Channel> {
    let rate = |kind| Channel { kind, low: -1.0, high: 1.0, velocity: 1.0, acceleration: 0.2, jerk: 0.1 };
    vec![rate(ChannelKind::Rate), rate(ChannelKind::Position), rate(ChannelKind::Discrete)]
}

pub fn settings() -> ControlSettings {
    ControlSettings {
        rate_hz: 20.0,
        lead_steps: 1,
        overlap: Overlap::Replace,
        weak_misses: 2,
        strong_patience_steps: 4,
        on_strong_loss: StrongLoss::Stop,
        max_age_ms: 120.0,
        stale_steps: 3,
        frozen_ms: 300.0,
        plant_timeout_ms: 500.0,
        out_of_bounds: Treatment::Reject,
        chunk: ChunkChecks::default(),
        limits: LimitScope::Always,
        start_within: f64::INFINITY,
        follow_within: f64::INFINITY,
        channels: channels(),
        cameras: Vec::new(),
    }
}

pub fn rule() -> BuiltIn {
    Rule::Conformal(Thresholds { fire: 0.5, hand_back: 0.3 }).trigger().unwrap()
}

pub fn parts() -> ControllerParts {
    ControllerParts {
        settings: settings(),
        limits: limits(),
        rule: rule(),
        horizons: [HORIZON; 2],
        rest: vec![0.0, 0.0, -1.0],
        ask_strong: false,
        take_over: None,
        operator: None,
    }
}

/// Reply of a test policy: delay in control periods, value of every channel, and score; or a failure; or no reply.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Answer {
    Chunk { after: u32, value: f32, score: f64 },
    Fails(NoProposal),
    Never,
}

pub const CALM: Answer = Answer::Chunk { after: 0, value: 0.5, score: 0.1 };
pub const ALARM: Answer = Answer::Chunk { after: 0, value: 0.5, score: 0.9 };
pub const BACKUP: Answer = Answer::Chunk { after: 0, value: -0.5, score: f64::NAN };

struct Waiting {
    request: u64,
    episode: u64,
    left: u32,
    answer: Answer,
}

pub struct Rig {
    pub controller: Controller,
    pub weak: Answer,
    pub strong: Answer,
    /// Benefit that the weak policy's replies predict.
    pub benefit: Option<f64>,
    pub observe: bool,
    pub heartbeat: bool,
    pub pictures: u64,
    pub wishes: OperatorCommands,
    pub now: Duration,
    pub skipped: u32,
    pub episode: u64,
    pub sequence: u32,
    pub lost: bool,
    pub stopped: bool,
    pub success: bool,
    /// Age of an observation at its arrival; `None` where the plant's clock is not known.
    pub latency: Option<Duration>,
    /// Pose of the plant at a start, and the time at which it stood there.
    pub pose: Option<Vec<f32>>,
    pub pose_taken: Option<Duration>,
    /// Measured positions by each observation.
    pub measured: Option<Vec<f32>>,
    /// What the cameras deliver by the next period.
    pub cameras: Option<CameraInputs<'static>>,
    /// What operators send by the next period.
    pub teleop: Option<TeleopInputs<'static>>,
    heard: Duration,
    questions: [Option<Waiting>; 2],
    /// Inputs of every period so far.
    pub record: Vec<Inputs<'static>>,
    /// Commands that were sent.
    pub commands: Vec<Vec<f32>>,
}

impl Rig {
    pub fn new(parts: ControllerParts) -> Self {
        Self {
            controller: Controller::new(parts).unwrap(),
            weak: CALM,
            strong: BACKUP,
            benefit: None,
            observe: true,
            heartbeat: true,
            pictures: 0,
            wishes: OperatorCommands::default(),
            now: Duration::from_secs(1),
            skipped: 0,
            episode: 1,
            sequence: 0,
            lost: false,
            stopped: false,
            success: false,
            latency: None,
            pose: None,
            pose_taken: None,
            measured: None,
            cameras: None,
            teleop: None,
            heard: Duration::from_secs(1),
            questions: [None, None],
            record: Vec::new(),
            commands: Vec::new(),
        }
    }

    /// Returns a rig that starts an episode in its first period.
    pub fn started(parts: ControllerParts) -> Self {
        let mut cell = Self::new(parts);
        cell.wishes.start = Some(1);
        cell
    }

    pub fn tick(&mut self) -> Output {
        self.now += PERIOD * (1 + self.skipped);
        if self.heartbeat {
            self.heard = self.now;
        }
        let seen = ObservationStamp {
            episode: self.episode,
            sequence: self.sequence,
            arrived: 1,
            received: self.now,
            pictures: self.pictures,
            success: self.success,
            fault: None,
            taken: self.taken(),
        };
        self.sequence += 1;
        let inputs = Inputs {
            now: self.now,
            skipped: std::mem::take(&mut self.skipped),
            observation: self.observe.then_some(seen),
            plant: PlantHealth {
                heard: self.heard,
                lost: self.lost,
                stopped: self.stopped,
                round_trip: None,
            },
            weak: self.answer(0),
            strong: self.answer(1),
            wishes: std::mem::take(&mut self.wishes),
            pose: self.pose.clone().map(Into::into),
            pose_taken: self.pose_taken,
            measured: self.measured.clone().map(Into::into),
            cameras: self.cameras.take(),
            teleop: self.teleop.take(),
        };
        self.feed(inputs)
    }

    fn taken(&self) -> Option<Duration> {
        self.latency.map(|latency| self.now.saturating_sub(latency))
    }

    pub fn feed(&mut self, inputs: Inputs<'static>) -> Output {
        let output = self.controller.tick(&inputs);
        self.record.push(inputs);
        let asked = [(output.ask_weak, self.weak), (output.ask_strong, self.strong)];
        for (slot, (request, answer)) in asked.into_iter().enumerate() {
            if let Some(request) = request {
                let left = if let Answer::Chunk { after, .. } = answer { after } else { 0 };
                self.questions[slot] = Some(Waiting { request, episode: self.episode, left, answer });
            }
        }
        if output.send {
            self.commands.push(self.controller.command().to_vec());
        }
        output
    }

    fn answer(&mut self, slot: usize) -> Option<Reply<'static>> {
        let waiting = self.questions[slot].as_mut()?;
        if waiting.answer == Answer::Never {
            return None;
        }
        if waiting.left > 0 {
            waiting.left -= 1;
            return None;
        }
        let waiting = self.questions[slot].take()?;
        let proposal = match waiting.answer {
            Answer::Chunk { value, score, .. } => Ok(Proposal {
                width: 3,
                values: Cow::Owned(vec![value; 3 * HORIZON]),
                score,
                benefit: self.benefit.filter(|_| slot == 0),
            }),
            Answer::Fails(reason) => Err(reason),
            Answer::Never => return None,
        };
        let (request, episode, observed) = (waiting.request, waiting.episode, self.sequence);
        Some(Reply { request, episode, observed, took: Duration::ZERO, proposal, taken: self.taken() })
    }

    /// Runs until `mode` is reached, for at most `most` periods; panics if it is not.
    pub fn until(&mut self, mode: Mode, most: u32) -> Output {
        for _ in 0..most {
            let output = self.tick();
            if output.mode == mode {
                return output;
            }
        }
        panic!("still {:?} after {most} periods, not {mode:?}", self.controller.mode());
    }

    pub fn run(&mut self, periods: u32) -> Vec<Output> {
        (0..periods).map(|_| self.tick()).collect()
    }
}

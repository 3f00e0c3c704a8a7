//! Random draw of a run: the settings of controller, plant, policies and connections, and the faults.
//! The same seed gives the same run.

use std::ops::RangeInclusive;
use std::time::Duration;

use aegis_core::GateLimits;
use aegis_core::control::{
    Channel, ChannelKind, ChunkChecks, ControlSettings, ControllerConfig, LimitScope, Overlap, StrongLoss,
    Treatment,
};
use aegis_core::gate::BudgetUnit;
use aegis_core::trigger::{Rule, Thresholds};
use proptest::prelude::RngExt;
use proptest::test_runner::{RngAlgorithm, TestRng};

/// Length of a control period.
pub const PERIOD: Duration = Duration::from_millis(50);
/// Number of actions in a chunk.
pub const HORIZON: usize = 12;
/// Largest request number that an action can carry: a 32-bit float holds every whole number up to it.
const LARGEST_NUMBER: f64 = 16_000_000.0;

/// Source of random numbers.
pub struct Draw(TestRng);

impl Draw {
    pub fn of(seed: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        Self(TestRng::from_seed(RngAlgorithm::ChaCha, &bytes))
    }

    /// Returns true with this probability.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.0.random_bool(probability)
    }

    pub fn whole(&mut self, range: RangeInclusive<u32>) -> u32 {
        self.0.random_range(range)
    }

    pub fn real(&mut self, low: f64, high: f64) -> f64 {
        self.0.random_range(low..high)
    }

    fn one_of<const N: usize>(&mut self, values: [f64; N]) -> f64 {
        values[self.0.random_range(0..N)]
    }
}

/// Delay of a connection, in control periods: a constant part, and the largest random part.
#[derive(Clone, Copy, Debug)]
pub struct Delay {
    pub always: u32,
    pub jitter: u32,
}

/// Setting of a run: everything that does not change during the run.
#[derive(Clone, Debug)]
pub struct Setting {
    pub recipe: ControllerConfig,
    /// Kind of the joints' channels.
    pub kind: ChannelKind,
    pub joints: usize,
    /// Delays from the plant to the controller, and from the controller to the plant.
    pub out: Delay,
    pub into: Delay,
    /// Whether a plant that stopped by itself resumes at the next command.
    pub resumes: bool,
    /// Probability of a fault in a period.
    pub faults: f64,
    /// Probability of a stop command in a period; that of an emergency stop is half as large.
    pub wishes: f64,
    /// Share of chunks that are invalid.
    pub bad: f64,
    /// Share of chunks whose actions jump anywhere within the bounds.
    pub wild: f64,
}

impl Setting {
    /// Draws a setting for joints of a kind. `latency` is the latency of both connections in periods; without it,
    /// delays are drawn.
    pub fn draw(draw: &mut Draw, kind: ChannelKind, latency: Option<u32>) -> Self {
        let joints = draw.whole(1..=7) as usize;
        let (mut channels, mut rest) = (Vec::new(), Vec::new());
        for _ in 0..joints {
            let velocity = draw.real(0.02, 0.2);
            let acceleration = velocity * draw.real(0.15, 1.0);
            let jerk = acceleration * draw.real(0.15, 1.0);
            let bound = if kind == ChannelKind::Rate { 1.0 } else { 3.0 };
            channels.push(Channel { kind, low: -bound, high: bound, velocity, acceleration, jerk });
            rest.push(if kind == ChannelKind::Rate { 0.0 } else { draw.real(-1.0, 1.0) as f32 });
        }
        // The last value of an action is the number of the request that it answers: it is not limited, and the plant
        // executes it.
        let unlimited = f64::INFINITY;
        channels.push(Channel {
            kind: ChannelKind::Discrete,
            low: 0.0,
            high: LARGEST_NUMBER,
            velocity: unlimited,
            acceleration: unlimited,
            jerk: unlimited,
        });
        rest.push(0.0);
        let mut delay = || match latency {
            Some(always) => Delay { always, jitter: 0 },
            None => Delay { always: draw.whole(0..=4), jitter: draw.whole(0..=2) },
        };
        let (out, into) = (delay(), delay());
        let settings = control_settings(draw, out, channels);
        let limits = GateLimits {
            return_chunks: 1,
            guard_fraction: 0.0,
            budget_fraction: 0.2,
            budget_unit: BudgetUnit::Chunks,
            duty_cap: 0.6,
            hold_chunks: 2,
            whole_holds: false,
            horizon_steps: draw.whole(40..=120),
            chunk_steps: 8,
        };
        let rule = Rule::Conformal(Thresholds { fire: 0.5, hand_back: 0.3 });
        let ask_strong = draw.chance(0.5);
        let recipe = ControllerConfig {
            settings,
            limits,
            rule,
            horizons: [HORIZON; 2],
            rest,
            ask_strong,
            take_over: None,
            operator: None,
        };
        Self {
            recipe,
            kind,
            joints,
            out,
            into,
            resumes: draw.chance(0.5),
            faults: draw.one_of([0.0, 0.01, 0.03, 0.08]),
            wishes: draw.one_of([0.0, 0.005, 0.02]),
            bad: draw.real(0.0, 0.1),
            wild: draw.real(0.0, 1.0),
        }
    }
}

/// Draws the controller's settings. In four of five runs observations are young enough on arrival; in the others they
/// may never be.
fn control_settings(draw: &mut Draw, out: Delay, channels: Vec<Channel>) -> ControlSettings {
    let reach = (out.always + out.jitter + 2) * 50;
    let max_age = if draw.chance(0.8) { reach + draw.whole(0..=200) } else { draw.whole(60..=400) };
    ControlSettings {
        rate_hz: 20.0,
        lead_steps: draw.whole(1..=3),
        overlap: if draw.chance(0.75) { Overlap::Replace } else { Overlap::Blend(3) },
        weak_misses: draw.whole(1..=3),
        strong_patience_steps: draw.whole(2..=6),
        on_strong_loss: if draw.chance(0.5) { StrongLoss::Stop } else { StrongLoss::WeakIfCalm },
        max_age_ms: f64::from(max_age),
        stale_steps: draw.whole(2..=6),
        frozen_ms: draw.one_of([0.0, 300.0]),
        plant_timeout_ms: 600.0,
        out_of_bounds: if draw.chance(0.5) { Treatment::Reject } else { Treatment::Clamp },
        chunk: ChunkChecks::default(),
        limits: LimitScope::Always,
        start_within: draw.one_of([f64::INFINITY, f64::INFINITY, f64::INFINITY, 1.0]),
        follow_within: f64::INFINITY,
        channels,
        cameras: Vec::new(),
    }
}

/// Current faults, each with the number of periods that it still lasts.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// No observation arrives.
    pub blind: u32,
    /// No heartbeat arrives.
    pub silent: u32,
    /// Observations keep their content.
    pub frozen: u32,
    /// A joint reads NaN (`nan`) or 1e30 (`huge`).
    pub nan: u32,
    pub huge: u32,
    /// The plant's time is a second early.
    pub backward: u32,
    /// Observations name the previous episode.
    pub foreign: u32,
    /// Observations name another claim.
    pub claimed: u32,
    /// No command arrives.
    pub deaf: u32,
    /// The controller serves no period.
    pub skipped: u32,
    /// This period's observation arrives twice (`again`), or after later ones (`late`).
    pub again: bool,
    pub late: bool,
    /// The task's goal holds.
    pub success: bool,
}

/// Fault of the plant itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blow {
    /// The plant stops by itself.
    Stops,
    /// The plant is gone, and another plant with another pose takes its place.
    Lost,
}

impl Faults {
    /// Advances all faults by one period, and begins a new fault with this probability.
    pub fn draw(&mut self, draw: &mut Draw, probability: f64) -> Option<Blow> {
        for left in [
            &mut self.blind,
            &mut self.silent,
            &mut self.frozen,
            &mut self.nan,
            &mut self.huge,
            &mut self.backward,
            &mut self.foreign,
            &mut self.claimed,
            &mut self.deaf,
            &mut self.skipped,
        ] {
            *left = left.saturating_sub(1);
        }
        (self.again, self.late, self.success) = (false, false, draw.chance(0.003));
        if !draw.chance(probability) {
            return None;
        }
        let periods = draw.whole(1..=8);
        match draw.whole(0..=14) {
            0 => self.blind = periods,
            1 => self.again = true,
            2 => self.late = true,
            3 => self.frozen = periods + 8,
            4 => self.nan = periods,
            5 => self.huge = periods,
            6 => self.backward = periods,
            7 => self.foreign = periods,
            8 => self.claimed = periods,
            9 => self.silent = 2 * periods,
            10 => (self.blind, self.silent) = (2 * periods, 2 * periods),
            11 => self.skipped = periods.min(4),
            12 => self.deaf = periods.min(5),
            13 => return Some(Blow::Stops),
            _ => return Some(Blow::Lost),
        }
        None
    }
}

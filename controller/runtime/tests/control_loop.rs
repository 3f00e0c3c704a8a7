//! Control loop with its ports and real policy threads: it allocates nothing, and a policy that panics counts as one
//! that does not reply.
//! The test serves the periods itself, so the results do not depend on the machine's speed.
#![allow(clippy::expect_used, clippy::unwrap_used)] // Helpers of tests, which clippy takes for other code.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use aegis_core::control::{
    Channel, ChannelKind, ChunkChecks, ControlSettings, ControllerConfig, LimitScope, Mode, ObservationStamp,
    Overlap, StopReason, StrongLoss, TickRecord, Treatment,
};
use aegis_core::gate::BudgetUnit;
use aegis_core::trigger::{Rule, Thresholds};
use aegis_core::{Executing, GateLimits, Observation, PolicyError};
use aegis_runtime::{
    Clock, CommandMailbox, CommandReader, ControlLoop, Health, InferenceOutput, InferenceWorker, Inferencer,
    LogReader, ObservationSender, ObservationWriter, Ports, Snapshot, StartAt, command_channel, log_channel,
    sightings, spawn,
};

const HORIZON: usize = 10;

/// What an inferencer was told of the chunk in execution, and the control step that it read.
type Told = Arc<Mutex<Vec<(u32, Option<Executing>)>>>;

/// Inferencer that proposes one value, and panics after `left` inferences.
struct Constant {
    value: f32,
    left: u32,
    executing: Option<Executing>,
    told: Told,
}

impl Inferencer for Constant {
    fn begin(&mut self) {}

    fn warm_up(&mut self, _: &Observation) {}

    fn set_executing(&mut self, executing: Option<Executing>) {
        self.executing = executing;
    }

    fn think(&mut self, observation: &Observation, thought: &mut InferenceOutput) -> Result<(), PolicyError> {
        assert!(self.left > 0, "the policy dies here");
        self.left -= 1;
        self.told.lock().unwrap().push((observation.step, self.executing));
        thought.width = 1;
        thought.values.clear();
        thought.values.resize(HORIZON, self.value);
        thought.score = 0.1;
        Ok(())
    }
}

/// Returns a controller's configuration. `patience` is the timeout of both policies in periods; periods served by the
/// test are much shorter than a thread's sleep.
fn recipe(patience: u32) -> ControllerConfig {
    let channel = Channel {
        kind: ChannelKind::Rate,
        low: -1.0,
        high: 1.0,
        velocity: 1.0,
        acceleration: 0.2,
        jerk: 0.1,
    };
    ControllerConfig {
        settings: ControlSettings {
            rate_hz: 1000.0,
            lead_steps: 1,
            overlap: Overlap::Replace,
            weak_misses: patience,
            strong_patience_steps: patience,
            on_strong_loss: StrongLoss::Stop,
            max_age_ms: 1000.0,
            stale_steps: 3,
            frozen_ms: 0.0,
            plant_timeout_ms: 10_000.0,
            out_of_bounds: Treatment::Reject,
            chunk: ChunkChecks::default(),
            limits: LimitScope::Always,
            start_within: f64::INFINITY,
            follow_within: f64::INFINITY,
            channels: vec![channel],
            cameras: Vec::new(),
        },
        limits: GateLimits {
            return_chunks: 1,
            guard_fraction: 0.0,
            budget_fraction: 0.5,
            budget_unit: BudgetUnit::Chunks,
            duty_cap: 1.0,
            hold_chunks: 1,
            whole_holds: false,
            horizon_steps: 1_000_000,
            chunk_steps: 8,
        },
        rule: Rule::Conformal(Thresholds { fire: 0.5, hand_back: 0.3 }),
        horizons: [HORIZON; 2],
        rest: vec![0.0],
        ask_strong: true,
        take_over: None,
        operator: None,
    }
}

struct Rig {
    served: ControlLoop,
    clock: Clock,
    sightings: ObservationSender,
    views: [ObservationWriter; 2],
    thinkers: [InferenceWorker; 2],
    wishes: Arc<CommandMailbox>,
    commands: CommandReader,
    log: LogReader,
    sequence: u32,
    /// What the weak and the strong policy were told.
    told: [Told; 2],
}

impl Rig {
    fn new(lives: [u32; 2], patience: u32) -> Self {
        let clock = Clock::start();
        let told: [Told; 2] = Default::default();
        let open = |value, left, told: &Told| {
            let told = Arc::clone(told);
            let made = Constant { value, left, executing: None, told };
            move || Ok::<_, PolicyError>(Box::new(made) as Box<dyn Inferencer>)
        };
        let (weak_view, weak, weak_thinker) = spawn("weak", HORIZON, open(0.5, lives[0], &told[0])).unwrap();
        let (strong_view, strong, strong_thinker) =
            spawn("strong", HORIZON, open(-0.5, lives[1], &told[1])).unwrap();
        let (sightings, sighted) = sightings(1);
        let (writer, commands) = command_channel(1);
        let (log_writer, log) = log_channel();
        let health = Arc::new(Health::default());
        health.find(clock);
        let wishes = Arc::new(CommandMailbox::default());
        let ports = Ports {
            clock,
            weak,
            strong: Some(strong),
            sighted,
            cameras: aegis_runtime::camera_ring().1,
            teleop: aegis_runtime::teleop_ring().1,
            health,
            wishes: Arc::clone(&wishes),
            commands: writer,
            log: log_writer,
        };
        let mut rig = Self {
            served: ControlLoop::new(recipe(patience).controller().unwrap(), ports),
            clock,
            sightings,
            views: [weak_view, strong_view],
            thinkers: [weak_thinker, strong_thinker],
            wishes,
            commands,
            log,
            sequence: 0,
            told,
        };
        rig.see();
        while !rig.thinkers.iter().all(|thinker| thinker.is_ready(1)) {
            std::thread::yield_now();
        }
        let (episode, pose, taken) = (1, vec![0.0], rig.clock.now());
        rig.wishes.start(StartAt { episode, pose, taken, as_of: 0 });
        rig
    }

    fn see(&mut self) {
        let observation = Arc::new(Observation { step: self.sequence, ..Observation::of(&[]).unwrap() });
        let (episode, sequence) = (1, self.sequence);
        let received = self.clock.now();
        for view in &mut self.views {
            view.show(Snapshot { episode, sequence, observation: Arc::clone(&observation), taken: received });
        }
        let (arrived, pictures, success, fault, taken) = (1, 0, false, None, None);
        let seen = ObservationStamp { episode, sequence, arrived, received, pictures, success, fault, taken };
        self.sightings.push(seen, None, true);
        self.sequence += 1;
    }

    fn period(&mut self) {
        self.served.period(self.clock.now(), Duration::ZERO, 0);
    }

    fn periods(&mut self) -> Vec<(Mode, Option<StopReason>)> {
        let (mut bytes, mut all) = (Vec::new(), Vec::new());
        while self.log.pop(&mut bytes) {
            let period: TickRecord<'_> = rmp_serde::from_slice(&bytes).expect("a period");
            all.push((period.output.mode, period.output.cause));
        }
        all
    }
}

#[test]
fn a_control_period_with_its_ports_allocates_nothing() {
    let mut rig = Rig::new([u32::MAX; 2], u32::MAX);
    rig.period();
    let (mut allocations, mut commands, mut weak_periods) = (0, 0, 0);
    // Runs until a policy has driven for a while, since the system decides when its thread is woken.
    while weak_periods < 2_000 {
        rig.see();
        let counted = allocation_counter::measure(|| rig.served.period(rig.clock.now(), Duration::ZERO, 0));
        allocations += counted.count_total;
        commands += u32::from(rig.commands.next(Duration::ZERO).is_some());
        weak_periods += rig.periods().iter().filter(|(mode, _)| *mode == Mode::Weak).count();
        std::thread::yield_now();
    }
    assert_eq!(allocations, 0);
    assert!(commands >= 2_000, "a command for each period that a policy drove: {commands}");
    let made = allocation_counter::measure(|| drop(std::hint::black_box(vec![1])));
    assert!(made.count_total > 0, "the counter counts");
}

#[test]
fn a_policy_that_panics_is_a_policy_that_does_not_answer() {
    let mut rig = Rig::new([2, 0], 3);
    let stopped = (0..100_000).any(|_| {
        rig.see();
        rig.period();
        // The panicking threads need time to end; a period takes almost none.
        std::thread::yield_now();
        rig.periods().iter().any(|(mode, _)| *mode == Mode::SafeStop)
    });
    assert!(stopped);
}

#[test]
fn a_policy_is_told_which_of_its_chunks_is_executed() {
    let mut rig = Rig::new([u32::MAX; 2], u32::MAX);
    let continued =
        |rig: &Rig| rig.told[0].lock().unwrap().iter().filter(|(_, executing)| executing.is_some()).count();
    for _ in 0..1_000_000 {
        if continued(&rig) >= 5 {
            break;
        }
        rig.see();
        rig.period();
        std::thread::yield_now();
    }
    let of = |policy: usize| {
        let told = rig.told[policy].lock().unwrap();
        told.iter().map(|(_, executing)| *executing).collect::<Vec<_>>()
    };
    let weak = of(0);
    assert_eq!(weak[0], None, "nothing is executed at the start of an episode");
    // Where the system has not woken the policy's thread for longer than a chunk lasts, none is executed.
    let continued: Vec<Executing> = weak.into_iter().flatten().collect();
    assert!(continued.len() >= 5, "{continued:?}");
    assert!(continued.iter().all(|told| told.back == 0 && (1..=8).contains(&told.steps)), "{continued:?}");
    let strong = of(1);
    assert!(!strong.is_empty() && strong.iter().all(Option::is_none), "asked in shadow: {strong:?}");
}

#[test]
fn a_command_of_before_a_suspension_is_not_current_after_it() {
    let mut rig = Rig::new([u32::MAX; 2], u32::MAX);
    let limit = Duration::from_millis(1000);
    for _ in 0..1_000_000 {
        rig.see();
        let made = rig.clock.now();
        rig.served.period(made, Duration::ZERO, 0);
        if let Some(command) = rig.commands.next(Duration::ZERO) {
            assert_eq!(command.made, made);
            assert!(command.is_current(made + limit, limit));
            assert!(!command.is_current(made + limit + Duration::from_nanos(1), limit));
            return;
        }
        std::thread::yield_now();
    }
    panic!("no command was made");
}

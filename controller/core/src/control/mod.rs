//! The controller of a robot as a pure function of what each control period reads.
//! Time comes in as a value; what happens at a boundary is in `boundary.rs`.

mod boundary;
mod chunk_buffer;
mod clock_offset;
mod counters;
mod intake;
mod io;
mod mode;
mod motion;
mod plant_monitor;
mod policy_slot;
mod settings;
mod tracking;

pub use chunk_buffer::Overlap;
pub use clock_offset::{ClockOffset, Exchange};
pub use counters::Counters;
pub use intake::{Content, ContentFault, Intake, Refusal};
pub use io::{
    Diagnostics, Inputs, NoProposal, ObservationStamp, OperatorCommands, Output, PlantHealth, Proposal,
    Reply, StopReason, TickRecord,
};
pub use mode::{Event, Mode};
pub use motion::{Channel, ChannelKind, LimitScope, Motion};
pub use settings::{ControlError, ControlSettings, OutOfBounds, StrongLoss};

use serde::{Deserialize, Serialize};

use crate::trigger::{BuiltIn, Driver, Rule, Trigger};
use crate::{Gate, GateLimits};
use boundary::BoundaryState;
use chunk_buffer::ChunkBuffer;
use plant_monitor::PlantMonitor;
use policy_slot::{PolicySlot, Received};

/// What a controller is made of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ControllerParts<T = BuiltIn> {
    /// Its settings.
    pub settings: ControlSettings,
    /// The gate's limits; `chunk_steps` is how much of a chunk is executed before the next boundary.
    pub limits: GateLimits,
    /// The gate's rule.
    pub rule: T,
    /// Actions in a chunk of the weak and of the strong policy.
    pub horizons: [usize; 2],
    /// The command that the robot stands still at, `[channels]`.
    pub rest: Vec<f32>,
    /// Whether the strong policy is asked at every boundary, obeyed or not: a fire then never waits.
    pub ask_strong: bool,
}

/// The same as written down, enough to make a run's controller again.
pub type ControllerConfig = ControllerParts<Rule>;

impl ControllerConfig {
    /// Whether an episode may start where the plant stands: `pose`, `[channels]`. A position may stand
    /// a little beyond a bound, as a robot does that rests against its stops: by what the first period makes up within every
    /// limit, and by a thousandth of the range at most.
    ///
    /// # Errors
    /// [`ControlError::Start`] for the first position that is too far from `rest`, and [`ControlError::Setting`] for one
    /// that is not finite or out of its channel's bounds.
    pub fn allows_start(&self, pose: &[f32]) -> Result<(), ControlError> {
        let settings = &self.settings;
        for (channel, (bounds, found)) in settings.channels.iter().zip(pose).enumerate() {
            if !bounds.admits_standing(*found) {
                let (field, found) = (format!("pose[{channel}]"), found.to_string());
                let valid = format!("finite, {} to {}", bounds.low, bounds.high);
                return Err(ControlError::Setting { field, found, valid });
            }
        }
        match settings.far_channel(pose, &self.rest) {
            Some(channel) => Err(ControlError::Start {
                channel,
                found: pose[channel],
                rest: self.rest[channel],
                within: settings.start_within,
            }),
            None => Ok(()),
        }
    }

    /// The controller.
    ///
    /// # Errors
    /// Settings that do not fit together.
    pub fn controller(&self) -> Result<Controller, ControlError> {
        Controller::new(ControllerParts {
            settings: self.settings.clone(),
            limits: self.limits.clone(),
            rule: self.rule.trigger()?,
            horizons: self.horizons,
            rest: self.rest.clone(),
            ask_strong: self.ask_strong,
        })
    }
}

/// One robot's controller.
///
/// Call [`Controller::tick`] once per control period. Equal inputs from the start on give equal outputs, so a record of
/// the inputs is enough to check every decision of a run. Between the start of an episode and its end nothing
/// allocates.
#[derive(Clone, Debug)]
pub struct Controller<T = BuiltIn> {
    parts: ControllerParts<T>,
    gate: Gate<T>,
    mode: Mode,
    cause: Option<StopReason>,
    motion: Motion,
    track: ChunkBuffer,
    watch: PlantMonitor,
    weak: PolicySlot,
    strong: PolicySlot,
    stretch: BoundaryState,
    counters: Counters,
    questions: u64,
    episode: u64,
    /// Control step of the episode.
    step: u32,
    /// Whose chunk is on the track.
    driving: Option<Driver>,
    /// Whether a policy's chunk has been taken in this episode.
    has_driven: bool,
    /// Whether the plant stands where the last command says: commands have been sent in every period since the start.
    has_plant: bool,
}

impl<T: Trigger + Clone> Controller<T> {
    /// A controller in [`Mode::Idle`], at rest.
    ///
    /// # Errors
    /// Settings that do not fit together.
    pub fn new(parts: ControllerParts<T>) -> Result<Self, ControlError> {
        let [weak, strong] = parts.horizons;
        parts.settings.validate(&parts.limits, weak.min(strong))?;
        parts.settings.validate_rest(&parts.rest)?;
        let width = parts.settings.channels.len();
        Ok(Self {
            gate: Gate::new(parts.limits.clone(), parts.rule.clone())?,
            mode: Mode::Idle,
            cause: None,
            motion: Motion::new(parts.settings.channels.clone(), &parts.rest, parts.settings.limits),
            track: ChunkBuffer::new(parts.settings.overlap, weak.max(strong), width),
            watch: PlantMonitor::default(),
            weak: PolicySlot::new(weak, width),
            strong: PolicySlot::new(strong, width),
            stretch: BoundaryState::default(),
            counters: Counters::default(),
            questions: 0,
            episode: 0,
            step: 0,
            driving: None,
            has_driven: false,
            has_plant: false,
            parts,
        })
    }

    /// The command of the last period, `[channels]`.
    pub fn command(&self) -> &[f32] {
        self.motion.command()
    }

    /// The mode after the last period.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The episode that was begun last; 0 before the first.
    pub fn episode(&self) -> u64 {
        self.episode
    }

    /// Whether commands have come to rest.
    pub fn is_at_rest(&self) -> bool {
        self.motion.is_at_rest()
    }

    /// What has been counted since the beginning.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// One control period: reads what came, decides, and moves [`Controller::command`] on.
    pub fn tick(&mut self, inputs: &Inputs<'_>) -> Output {
        let mut output = Output::of(self.mode);
        if inputs.skipped > 0 {
            output.notices.add(Diagnostics::OVERRUN);
            self.counters.skipped_periods += u64::from(inputs.skipped);
        }
        if self.mode.drives() {
            // Actions belong to their own periods: what was missed is not made up for.
            self.step = self.step.saturating_add(1).saturating_add(inputs.skipped);
        }
        self.obey(inputs, &mut output.notices);
        self.look(inputs, &mut output.notices);
        self.listen(inputs, &mut output.notices);
        if self.mode.is_on() && self.step >= self.parts.limits.horizon_steps {
            self.happen(Event::Finish);
        }
        if self.mode.is_on() {
            self.run(inputs.now, &mut output);
        }
        self.command_next(&mut output);
        output.mode = self.mode;
        output.cause = self.cause;
        output.step = self.step;
        output.driver = self.driving.filter(|_| self.mode.drives());
        self.counters.count(&output);
        output
    }

    fn happen(&mut self, event: Event) {
        self.mode = self.mode.after(event);
    }

    fn stop(&mut self, cause: StopReason) {
        if !self.mode.is_latched() {
            self.cause = Some(cause);
            self.counters.stops += 1;
        }
        self.happen(Event::Stop);
    }

    /// People come first, the emergency stop before all.
    fn obey(&mut self, inputs: &Inputs<'_>, notices: &mut Diagnostics) {
        let wishes = &inputs.wishes;
        if wishes.e_stop {
            self.cause = Some(StopReason::EStop);
            self.counters.e_stops += u64::from(self.mode != Mode::EStop);
            return self.happen(Event::EStop);
        }
        if wishes.stop {
            self.stop(StopReason::Asked);
        }
        // Who resets a robot that still moves does not know that it moves.
        if wishes.reset && self.mode.is_latched() && self.motion.is_at_rest() {
            self.cause = None;
            self.happen(Event::Reset);
        }
        if let Some(episode) = wishes.start {
            self.start(episode, inputs, notices);
        }
    }

    /// Begins an episode where the plant stands, at rest, near enough, and as it stands now.
    fn start(&mut self, episode: u64, inputs: &Inputs<'_>, notices: &mut Diagnostics) {
        let settings = &self.parts.settings;
        let is_idle = self.mode == Mode::Idle && self.motion.is_at_rest();
        let is_near =
            inputs.pose.as_deref().is_none_or(|pose| settings.far_channel(pose, &self.parts.rest).is_none());
        let age = inputs.pose_taken.map(|taken| inputs.now.saturating_sub(taken));
        if !is_idle || !is_near || age.is_some_and(|age| age > settings.max_age()) {
            // Records without that time say nothing of a start that finds no rest.
            if is_idle || age.is_some() {
                notices.add(Diagnostics::START_REFUSED);
            }
            return;
        }
        if let Some(pose) = inputs.pose.as_deref() {
            // From where the plant stands: a command from elsewhere would be a jump. What has no position is at rest; in
            // records without that time it is where the episode before left it.
            let kinds = [ChannelKind::Position, ChannelKind::Discrete];
            self.motion.place(pose, if age.is_some() { &kinds } else { &kinds[..1] });
        }
        self.begin(episode);
    }

    fn begin(&mut self, episode: u64) {
        // The same settings were valid when the controller was made.
        if let Ok(gate) = Gate::new(self.parts.limits.clone(), self.parts.rule.clone()) {
            self.gate = gate;
        }
        self.happen(Event::Start);
        self.has_plant = true;
        (self.episode, self.step, self.driving, self.has_driven) = (episode, 0, None, false);
        self.stretch = BoundaryState::default();
        self.track.clear();
        self.watch.begin(episode);
        self.weak.begin();
        self.strong.begin();
    }

    /// At the plant.
    fn look(&mut self, inputs: &Inputs<'_>, notices: &mut Diagnostics) {
        let looked = self.watch.look(inputs, self.episode, self.mode, &self.parts.settings, notices);
        self.counters.missing_observations += u64::from(looked.gap);
        // It has been told nothing since, and may be pushed by hand.
        if inputs.plant.lost || inputs.plant.stopped {
            self.has_plant = false;
        }
        let is_young = |seen: ObservationStamp| seen.age(inputs.now) <= self.parts.settings.max_age();
        if let Some(measured) =
            inputs.measured.as_deref().filter(|_| inputs.observation.is_some_and(is_young))
            && self.has_plant
            && self.parts.settings.stray_channel(measured, self.motion.command()).is_some()
        {
            self.has_plant = false;
            self.stop(StopReason::NotFollowing);
        }
        // Before the first episode there is no plant yet whose loss could mean anything.
        if let Some(cause) = looked.stop.filter(|_| self.episode > 0) {
            self.stop(cause);
        }
        if looked.success {
            self.happen(Event::Finish);
        }
    }

    /// To the policies.
    fn listen(&mut self, inputs: &Inputs<'_>, notices: &mut Diagnostics) {
        let settings = &self.parts.settings;
        let sides = [
            (&mut self.weak, &inputs.weak, Diagnostics::WEAK_FAILED, Diagnostics::WEAK_LATE),
            (&mut self.strong, &inputs.strong, Diagnostics::STRONG_FAILED, Diagnostics::STRONG_LATE),
        ];
        for (party, reply, failed, late) in sides {
            if let Some(reply) = reply {
                let bounds = settings.out_of_bounds;
                let limits = (bounds, self.parts.settings.max_age());
                let received = party.receive(reply, self.episode, &settings.channels, limits, notices);
                if received == Received::Failed {
                    notices.add(failed);
                }
            }
            if party.wait(settings.lead_steps) {
                notices.add(late);
            }
        }
    }

    /// Who drives from this period on is known: what is sent in it. A plant that may stand elsewhere than the last command
    /// says is sent nothing before the next start: standing still, too, would move it.
    fn command_next(&mut self, output: &mut Output) {
        let silent = self.cause == Some(StopReason::PlantSilent);
        let is_sent = match self.mode {
            Mode::Weak | Mode::Strong => {
                if let Some(action) = self.track.action(self.step) {
                    output.limited = self.motion.follow(action);
                }
                true
            }
            Mode::Idle => {
                let moving = !self.motion.is_at_rest();
                if moving {
                    self.motion.brake();
                }
                moving
            }
            Mode::Holding => {
                self.motion.brake();
                true
            }
            // Nobody knows what a silent plant does once it has been brought to rest.
            Mode::SafeStop => {
                let at_rest = self.motion.is_at_rest();
                self.motion.brake();
                !(silent && at_rest)
            }
            Mode::EStop => {
                self.motion.freeze();
                true
            }
        };
        self.has_plant &= is_sent;
        output.send = self.has_plant;
    }
}

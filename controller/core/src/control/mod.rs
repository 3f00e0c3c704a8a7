//! Controller of a robot, as a pure function of the inputs of each control period.
//! Time is an input value. Boundaries are handled in `boundary.rs`, an operator who drives in `by_hand.rs`.

mod boundary;
mod by_hand;
mod call;
mod camera;
mod camera_settings;
mod channel;
mod chunk_buffer;
mod chunk_check;
mod clock_offset;
mod control_source;
mod counters;
mod frame_stamp;
mod intake;
mod io;
mod mode;
mod motion;
mod operator;
mod operator_settings;
mod pairing;
mod plant_monitor;
mod policy_slot;
mod settings;
mod teleop;
mod tracking;

pub use call::{CallPhase, CallReport, FirstRefusal, RefusalReason};
pub use camera_settings::{CameraSettings, MAX_CAMERAS};
pub use channel::{Channel, ChannelKind};
pub use chunk_buffer::{ChunkInExecution, Overlap};
pub use clock_offset::{ClockOffset, Exchange};
pub use control_source::{ControlSource, Intervention};
pub use counters::Counters;
pub use frame_stamp::{CameraInputs, FrameFault, FrameStamp};
pub use intake::{Content, ContentFault, Intake, LARGEST, Refusal};
pub use io::{
    Diagnostics, Inputs, NoProposal, ObservationStamp, OperatorCommands, Output, PlantHealth, Proposal,
    Reply, StopReason, TickRecord,
};
pub use mode::{Event, Mode};
pub use motion::{LimitScope, Motion};
pub use operator_settings::OperatorSettings;
pub use pairing::{Paired, Pairing};
pub use settings::{ChunkChecks, ControlError, ControlSettings, StrongLoss, Treatment};
pub use teleop::{CommandValues, MAX_CHANNELS, MAX_OPERATORS, TeleopCommand, TeleopFault, TeleopInputs};

use serde::{Deserialize, Serialize};

use crate::gate::GateError;
use crate::trigger::{BuiltIn, Driver, Rule, Trigger};
use crate::{Arbiter, Authority, Gate, GateLimits};
use boundary::BoundaryState;
use camera::CameraMonitor;
use chunk_buffer::ChunkBuffer;
use operator::OperatorBackup;
use plant_monitor::PlantMonitor;
use policy_slot::{PolicySlot, Received};

/// Parts of a controller.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ControllerParts<T = BuiltIn> {
    /// Settings of the controller.
    pub settings: ControlSettings,
    /// The gate's limits; `chunk_steps` is the number of a chunk's actions that are executed before the next boundary.
    pub limits: GateLimits,
    /// The gate's rule.
    pub rule: T,
    /// Number of actions in a chunk of the weak and of the strong policy.
    pub horizons: [usize; 2],
    /// Command at which the robot stands still, `[channels]`.
    pub rest: Vec<f32>,
    /// Whether the strong policy is asked at every boundary, whether or not it drives, so that a fire never waits.
    pub ask_strong: bool,
    /// Settings of the person who takes the strong policy's place; `None` where the backup is a policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator: Option<OperatorSettings>,
    /// Control step from whose boundary on the strong policy drives to the end, without a gate; `None` where the gate decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub take_over: Option<u32>,
}

impl<T: Trigger + Clone> ControllerParts<T> {
    /// Returns the arbiter of an episode, at its start.
    fn arbiter(&self) -> Result<Arbiter<T>, GateError> {
        Ok(Arbiter::new(match self.take_over {
            Some(step) => Authority::TakeOver(step),
            None => Authority::Gated(Gate::new(self.limits.clone(), self.rule.clone())?),
        }))
    }
}

/// Controller parts with the rule as a plan states it: enough to rebuild a run's controller.
pub type ControllerConfig = ControllerParts<Rule>;

impl ControllerConfig {
    /// Checks whether an episode may start at the plant's `pose`, `[channels]`. A position may lie slightly beyond a
    /// bound, as for a robot that rests against its mechanical stops: at most as far as the first period can move it
    /// back within every limit, and at most a thousandth of the channel's range.
    ///
    /// # Errors
    /// [`ControlError::Start`] for the first position that is too far from `rest`, and [`ControlError::Setting`] for a
    /// value that is not finite or too far out of its channel's bounds.
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

    /// Builds the controller.
    ///
    /// # Errors
    /// [`ControlError`] for settings that are invalid or do not fit together.
    pub fn controller(&self) -> Result<Controller, ControlError> {
        let (rule, take_over) = match &self.rule {
            Rule::TakeOver { step } => (Rule::Never {}.trigger()?, Some(*step)),
            rule => (rule.trigger()?, self.take_over),
        };
        Controller::new(ControllerParts {
            settings: self.settings.clone(),
            limits: self.limits.clone(),
            rule,
            horizons: self.horizons,
            rest: self.rest.clone(),
            ask_strong: self.ask_strong,
            take_over,
            operator: self.operator.clone(),
        })
    }
}

/// Controller of one robot.
///
/// Call [`Controller::tick`] once per control period. Equal inputs from the start on give equal outputs, so a record of
/// the inputs is enough to check every decision of a run. Between the start of an episode and its end no memory is
/// allocated.
#[derive(Clone, Debug)]
pub struct Controller<T = BuiltIn> {
    parts: ControllerParts<T>,
    arbiter: Arbiter<T>,
    mode: Mode,
    cause: Option<StopReason>,
    motion: Motion,
    track: ChunkBuffer,
    watch: PlantMonitor,
    cameras: CameraMonitor,
    weak: PolicySlot,
    strong: PolicySlot,
    /// The person who takes the strong policy's place.
    operator: Option<OperatorBackup>,
    stretch: BoundaryState,
    counters: Counters,
    questions: u64,
    episode: u64,
    /// Control step of the episode.
    step: u32,
    /// Driver whose chunk is executed.
    driving: Option<Driver>,
    /// Whether a policy's chunk has been executed in this episode.
    has_driven: bool,
    /// Whether the plant stands at the last command: commands have been sent in every period since the start.
    has_plant: bool,
}

impl<T: Trigger + Clone> Controller<T> {
    /// Returns a controller in [`Mode::Idle`], at rest.
    ///
    /// # Errors
    /// [`ControlError`] for settings that are invalid or do not fit together.
    pub fn new(parts: ControllerParts<T>) -> Result<Self, ControlError> {
        let [weak, strong] = parts.horizons;
        parts.settings.validate(&parts.limits, weak.min(strong))?;
        parts.settings.validate_rest(&parts.rest)?;
        let width = parts.settings.channels.len();
        let arbiter = parts.arbiter()?;
        if let Some(operator) = &parts.operator {
            operator.validate(&parts.settings, parts.ask_strong)?;
            if parts.take_over.is_some() {
                let found = "take_over".into();
                let valid = "a rule that calls where models.strong is an operator: a person cannot drive from the start".into();
                return Err(ControlError::Setting { field: "rule.kind".into(), found, valid });
            }
            if arbiter.needs_disagreement() {
                let found = "one that reads the distance between both policies' chunks".into();
                let valid = "a rule that reads none where models.strong is an operator".into();
                return Err(ControlError::Setting { field: "rule.kind".into(), found, valid });
            }
        }
        let operator = parts.operator.clone();
        Ok(Self {
            arbiter,
            mode: Mode::Idle,
            cause: None,
            motion: Motion::new(parts.settings.channels.clone(), &parts.rest, parts.settings.limits),
            track: ChunkBuffer::new(parts.settings.overlap, weak.max(strong), width),
            watch: PlantMonitor::default(),
            cameras: CameraMonitor::default(),
            weak: PolicySlot::new(weak, width),
            strong: PolicySlot::new(strong, width),
            operator: operator.map(|settings| OperatorBackup::new(settings, &parts.settings.channels)),
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

    /// Returns the command of the last period, `[channels]`.
    pub fn command(&self) -> &[f32] {
        self.motion.command()
    }

    /// Returns the mode after the last period.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Returns the episode that was started last; 0 before the first.
    pub fn episode(&self) -> u64 {
        self.episode
    }

    /// Returns which chunk of a policy is executed, for the policy's next inference; `None` where another policy, a person or nothing
    /// drives.
    pub fn executing(&self, driver: Driver) -> Option<ChunkInExecution> {
        let by_hand = self.operator.is_some() && self.driving == Some(Driver::Strong);
        if !self.mode.drives() || self.driving != Some(driver) || by_hand {
            return None;
        }
        self.track.executing(self.step)
    }

    /// Returns whether commands have come to rest.
    pub fn is_at_rest(&self) -> bool {
        self.motion.is_at_rest()
    }

    /// Returns the counters since the controller was made.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Runs one control period: reads the inputs, decides, and computes the next [`Controller::command`].
    pub fn tick(&mut self, inputs: &Inputs<'_>) -> Output {
        let mut output = Output::of(self.mode);
        if inputs.skipped > 0 {
            output.notices.add(Diagnostics::OVERRUN);
            self.counters.skipped_periods += u64::from(inputs.skipped);
        }
        if self.mode.drives() {
            // Each action belongs to one period: actions of missed periods are not made up for.
            self.step = self.step.saturating_add(1).saturating_add(inputs.skipped);
        }
        self.obey(inputs, &mut output.notices);
        self.resume(inputs);
        self.look(inputs, &mut output.notices);
        self.listen(inputs, &mut output.notices);
        self.hear_operator(inputs, &mut output.notices);
        if self.mode.is_on() && self.step >= self.parts.limits.horizon_steps {
            self.happen(Event::Finish);
        }
        if self.mode.is_on() {
            self.run(inputs.now, &mut output);
        }
        self.command_next(&mut output);
        output.call = self.report_call();
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

    /// Obeys operator commands, before all other inputs; the emergency stop comes first.
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
        // A reset while commands still move is ignored: the operator may not know that the robot moves.
        if wishes.reset && self.mode.is_latched() && self.motion.is_at_rest() {
            self.cause = None;
            self.happen(Event::Reset);
        }
        if let Some(episode) = wishes.start {
            self.start(episode, inputs, notices);
        }
    }

    /// Starts an episode at the plant's pose, if the controller is idle and at rest, and the pose is close enough to
    /// `rest` and young enough.
    fn start(&mut self, episode: u64, inputs: &Inputs<'_>, notices: &mut Diagnostics) {
        let settings = &self.parts.settings;
        let is_idle = self.mode == Mode::Idle && self.motion.is_at_rest();
        let is_near =
            inputs.pose.as_deref().is_none_or(|pose| settings.far_channel(pose, &self.parts.rest).is_none());
        let age = inputs.pose_taken.map(|taken| inputs.now.saturating_sub(taken));
        if !is_idle || !is_near || age.is_some_and(|age| age > settings.max_age()) {
            // In records without `pose_taken`, a start that finds the controller not idle or not at rest has no diagnostic.
            if is_idle || age.is_some() {
                notices.add(Diagnostics::START_REFUSED);
            }
            return;
        }
        if let Some(pose) = inputs.pose.as_deref() {
            // Commands start at the plant's pose: from anywhere else the first command would be a jump. Discrete
            // channels start at their value in `pose`, or, in records without `pose_taken`, where the previous episode
            // left them.
            let kinds = [ChannelKind::Position, ChannelKind::Discrete];
            self.motion.place(pose, if age.is_some() { &kinds } else { &kinds[..1] });
        }
        self.begin(episode);
    }

    fn begin(&mut self, episode: u64) {
        // This does not fail: the same settings were valid when the controller was made.
        if let Ok(arbiter) = self.parts.arbiter() {
            self.arbiter = arbiter;
        }
        self.happen(Event::Start);
        self.has_plant = true;
        (self.episode, self.step, self.driving, self.has_driven) = (episode, 0, None, false);
        self.stretch = BoundaryState::default();
        self.track.clear();
        self.watch.begin(episode);
        self.cameras.begin(episode);
        self.weak.begin();
        self.strong.begin();
        if let Some(operator) = &mut self.operator {
            operator.withdraw();
        }
    }

    /// Stops after a pause of the controller itself, as of a suspended process. The plant had no commands meanwhile and may have
    /// been moved: a command to stand still would move it back.
    fn resume(&mut self, inputs: &Inputs<'_>) {
        let pause = self.parts.settings.period().saturating_mul(inputs.skipped);
        if pause > self.parts.settings.plant_timeout() {
            self.has_plant = false;
            if self.mode.is_on() {
                self.stop(StopReason::Suspended);
            }
        }
    }

    /// Checks the plant and the newest observation: stops on a fault, finishes the episode on success.
    fn look(&mut self, inputs: &Inputs<'_>, notices: &mut Diagnostics) {
        let looked = self.watch.look(inputs, self.episode, self.mode, &self.parts.settings, notices);
        self.counters.missing_observations += u64::from(looked.gap);
        let mut stop = looked.stop;
        if self.mode.is_on() {
            let (when, settings) = ((inputs.now, inputs.skipped), &self.parts.settings);
            let cameras = self.cameras.look(inputs.cameras.as_ref(), when, self.episode, settings, notices);
            self.counters.missing_frames += u64::from(cameras.gap);
            stop = stop.or(cameras.is_lost.then_some(StopReason::CameraStale));
        } else {
            self.cameras.wait(inputs.cameras.as_ref());
        }
        // A plant that is lost or has stopped takes no commands, and may be moved by hand.
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
        // Before the first episode no plant is in use, so its loss is no fault.
        if let Some(cause) = stop.filter(|_| self.episode > 0) {
            self.stop(cause);
        }
        if looked.success {
            self.happen(Event::Finish);
        }
    }

    /// Receives the policies' replies and counts their missed deadlines.
    fn listen(&mut self, inputs: &Inputs<'_>, notices: &mut Diagnostics) {
        let settings = &self.parts.settings;
        let mut is_refused = false;
        let sides = [
            (&mut self.weak, &inputs.weak, Diagnostics::WEAK_FAILED, Diagnostics::WEAK_LATE),
            (&mut self.strong, &inputs.strong, Diagnostics::STRONG_FAILED, Diagnostics::STRONG_LATE),
        ];
        for (party, reply, failed, late) in sides {
            if let Some(reply) = reply {
                let bounds = settings.out_of_bounds;
                let limits = (bounds, settings.largest_age());
                let received = party.receive(reply, self.episode, &settings.channels, limits, notices);
                if received == Received::Failed {
                    notices.add(failed);
                }
                is_refused |= received == Received::OutOfBounds;
            }
            if party.wait(settings.lead_steps) {
                notices.add(late);
            }
        }
        if is_refused && self.mode.is_on() {
            self.stop(StopReason::ChunkRefused);
        }
    }

    /// Computes the command of this period from the new mode, and whether to send it. A plant that may stand elsewhere
    /// than the last command is sent nothing before the next start: even a command to stand still would move it.
    fn command_next(&mut self, output: &mut Output) {
        let silent = self.cause == Some(StopReason::PlantSilent);
        let is_sent = match self.mode {
            Mode::Weak | Mode::Strong => {
                let by_hand = self.operator.as_ref().and_then(OperatorBackup::target);
                if let Some(action) = by_hand.or_else(|| self.track.action(self.step)) {
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
            // Once commands are at rest, a silent plant is sent nothing more: its state is unknown.
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

//! Model of the shell around the controller in a run: observations pass the real `Intake`, episodes start as in `aegis
//! run`, and a command is sent only to the claim and the episode for which it was made.

use std::borrow::Cow;
use std::time::Duration;

use aegis_core::control::{
    ChannelKind, Content, ContentFault, Controller, Inputs, Intake, Mode, ObservationStamp, OperatorCommands,
    PlantHealth, Refusal,
};

use super::draw::{Draw, Setting};
use super::judge::{Ledger, Place};
use super::mind::{Mind, Questions, View};
use super::plant::{Command, Line, Sight, ToController, ToPlant};

/// Periods after which a request to the plant is abandoned.
const TIMEOUT: usize = 24;

/// Fault built into a shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// Any new plant is claimed and driven on, and the controller is not informed.
    IgnoresClaims,
    /// Commands oscillate where they should be at rest.
    Trembles,
    /// Commands are fifty times too large.
    Overdrives,
    /// Observations are dated by their arrival.
    AgesByReceipt,
}

/// Control period: whether a policy drove before it, and whether it was served.
#[derive(Clone, Copy, Debug)]
pub struct Slot {
    pub drove: bool,
    pub served: bool,
}

/// State of the part that starts episodes.
#[derive(Clone, Debug)]
enum Drive {
    Waiting,
    Claiming { since: usize, resets: bool },
    Resetting { since: usize, episode: u64 },
    Warming { left: u32, episode: u64 },
    Looking { since: usize, from: Duration, episode: u64 },
    Driving { begun: bool },
}

/// Permission to send: to one claim, commands of the episodes after `after`.
#[derive(Clone, Copy, Debug)]
struct Sender {
    claim: u64,
    after: u64,
}

/// Controller and the shell around it.
pub struct Shell {
    setting: Setting,
    broken: Option<Broken>,
    controller: Controller,
    pub ledger: Ledger,
    pub questions: Questions,
    /// One slot for each control period.
    pub slots: Vec<Slot>,
    minds: [Mind; 2],
    drive: Drive,
    newest_episode: u64,
    sender: Option<Sender>,
    /// The newest command, until it is sent.
    command: Option<Command>,
    /// Plant process, claim and episode of this run.
    instance: u64,
    claim: u64,
    episode: u64,
    intake: Intake,
    view: Option<View>,
    sighted: Option<(ObservationStamp, Duration)>,
    /// Episode and number of the newest observation that a command can refer to, and the time at which it was taken.
    newest: (u64, u32, Option<Duration>),
    health: PlantHealth,
    wishes: OperatorCommands,
    pose: Vec<f32>,
    /// Operator commands that wait for the part that starts episodes.
    wants_reset: bool,
    wants_start: bool,
    skipped: u32,
}

impl Shell {
    pub fn new(setting: &Setting, broken: Option<Broken>, now: Duration) -> Self {
        let recipe = &setting.recipe;
        Self {
            broken,
            controller: recipe.controller().expect("the settings are valid"),
            ledger: Ledger::new(&recipe.settings.channels, &recipe.rest),
            questions: Questions::new(),
            slots: Vec::new(),
            minds: Default::default(),
            drive: Drive::Waiting,
            newest_episode: 0,
            sender: None,
            command: None,
            instance: 0,
            claim: 0,
            episode: 0,
            intake: Intake::default(),
            view: None,
            sighted: None,
            newest: (0, 0, None),
            health: PlantHealth { heard: now, lost: false, stopped: false, round_trip: None },
            wishes: OperatorCommands::default(),
            pose: recipe.rest.clone(),
            wants_reset: false,
            wants_start: false,
            skipped: 0,
            setting: setting.clone(),
        }
    }

    /// Takes a message from the plant.
    pub fn hear(&mut self, draw: &mut Draw, message: ToController, now: Duration) {
        match message {
            ToController::Claimed { instance, claim } => {
                let Drive::Claiming { resets, .. } = self.drive else { return };
                (self.instance, self.claim) = (instance, claim);
                self.health = PlantHealth { heard: now, lost: false, stopped: false, round_trip: None };
                self.sender = Some(Sender { claim, after: self.newest_episode });
                self.wishes.reset |= resets;
                self.drive = Drive::Waiting;
            }
            ToController::Begun(sight) => self.begun(draw, &sight, now),
            ToController::Moved(sight) if sight.claim == self.claim => self.show(&sight, now),
            ToController::Moved(_) => {}
            // No plant has been claimed yet, so none can be lost.
            ToController::Status { .. } if self.instance == 0 => {}
            ToController::Status { instance, claim, episode, stopped } => {
                if (instance, claim) == (self.instance, self.claim) {
                    self.health.heard = now;
                    self.health.stopped = stopped && episode == self.episode;
                } else {
                    self.health.lost = true;
                    if self.ignores_claims() && matches!(self.drive, Drive::Driving { .. }) {
                        self.health.heard = now;
                        self.drive = Drive::Waiting;
                    }
                }
            }
        }
    }

    /// Takes the first observation after a reset of the plant.
    fn begun(&mut self, draw: &mut Draw, sight: &Sight, now: Duration) {
        let Drive::Resetting { episode, .. } = self.drive else { return };
        if (sight.claim, sight.episode) != (self.claim, episode) {
            return;
        }
        (self.newest_episode, self.episode) = (episode, episode);
        self.health.stopped = false;
        self.intake.begin(episode);
        self.show(sight, now);
        self.drive = Drive::Warming { left: draw.whole(0..=3), episode };
    }

    /// Returns the plant's pose by an observation of `episode` that was taken at or after `from` and is young enough.
    fn pose(&self, episode: u64, from: Duration, now: Duration) -> Option<Vec<f32>> {
        let Setting { recipe, kind, .. } = &self.setting;
        let young = |view: &&View| {
            let age = now.saturating_sub(view.received);
            view.episode == episode && view.received >= from && age <= recipe.settings.max_age()
        };
        let view = self.view.as_ref().filter(young)?;
        let mut pose = recipe.rest.clone();
        if *kind == ChannelKind::Position {
            pose.iter_mut().zip(&view.joints).for_each(|(value, joint)| *value = *joint as f32);
        }
        Some(pose)
    }

    /// Takes an observation of this run's claim.
    fn show(&mut self, sight: &Sight, now: Duration) {
        let content = Content::of([("joint_positions", &sight.joints[..])]);
        let pictures = content.digest;
        let taken = self.intake.take(sight.episode, sight.sequence, sight.time, content);
        let fault = match &taken {
            Err(Refusal::Content(fault, _)) => Some(*fault),
            _ => None,
        };
        let seen = self.seen(sight, pictures, fault, now);
        if taken.is_ok() {
            let Sight { episode, sequence, taken, .. } = *sight;
            let (joints, received) = (sight.joints.clone(), seen.taken_at());
            self.view = Some(View { episode, sequence, joints, taken, received });
        }
        self.sighted = Some(match self.sighted.take() {
            Some((earlier, before)) => {
                let joined = earlier.joined(seen);
                let is_newer = (joined.episode, joined.sequence) == (seen.episode, seen.sequence);
                (joined, if is_newer { sight.taken } else { before })
            }
            None => (seen, sight.taken),
        });
    }

    /// Makes the observation stamp that the controller receives; only place that does.
    fn seen(
        &self,
        sight: &Sight,
        digest: u64,
        fault: Option<ContentFault>,
        now: Duration,
    ) -> ObservationStamp {
        let taken = (self.broken != Some(Broken::AgesByReceipt)).then_some(sight.taken);
        ObservationStamp {
            episode: sight.episode,
            sequence: sight.sequence,
            arrived: 1,
            received: now,
            pictures: digest,
            success: sight.success,
            fault,
            taken,
        }
    }

    /// Draws operator commands.
    pub fn operate(&mut self, draw: &mut Draw) {
        self.wishes.e_stop |= draw.chance(self.setting.wishes / 2.0);
        self.wishes.stop |= draw.chance(self.setting.wishes);
        if draw.chance(if self.controller.mode().is_latched() { 0.2 } else { 0.01 }) {
            // A lost plant is claimed anew before the reset reaches the controller.
            if self.health.lost {
                self.wants_reset = true;
            } else {
                self.wishes.reset = true;
            }
        }
        self.wants_start |= draw.chance(0.2);
    }

    /// Claims the plant, resets it and starts an episode, as far as the mode permits.
    pub fn drive(&mut self, draw: &mut Draw, period: usize, now: Duration, line: &mut Line<ToPlant>) {
        let mode = self.controller.mode();
        let holds = self.claim != 0 && !self.health.lost;
        match &mut self.drive {
            Drive::Waiting if mode.is_latched() && !self.wants_reset => {}
            Drive::Waiting if mode.is_latched() || !holds => {
                let resets = mode.is_latched() && std::mem::take(&mut self.wants_reset);
                if holds {
                    self.wishes.reset = true;
                } else {
                    self.sender = None;
                    line.push(draw, now, ToPlant::Claim);
                    self.drive = Drive::Claiming { since: period, resets };
                }
            }
            Drive::Waiting => {
                if std::mem::take(&mut self.wants_start) {
                    let episode = self.newest_episode + 1;
                    if let Some(sender) = &mut self.sender {
                        sender.after = self.newest_episode;
                    }
                    line.push(draw, now, ToPlant::Reset { claim: self.claim, episode });
                    self.drive = Drive::Resetting { since: period, episode };
                }
            }
            Drive::Claiming { since, .. } if period - *since <= TIMEOUT => {}
            Drive::Claiming { .. } => self.drive = Drive::Waiting,
            Drive::Resetting { since, .. } if period - *since <= TIMEOUT => {}
            Drive::Resetting { episode, .. } => {
                self.newest_episode = self.newest_episode.max(*episode);
                self.drive = Drive::Waiting;
            }
            Drive::Warming { left, .. } if *left > 0 => *left -= 1,
            Drive::Warming { episode, .. } => {
                self.drive = Drive::Looking { since: period, from: now, episode: *episode };
            }
            Drive::Looking { since, from, episode } => {
                let (episode, from, is_over) = (*episode, *from, period - *since > TIMEOUT);
                match self.pose(episode, from, now) {
                    Some(pose) if self.setting.recipe.allows_start(&pose).is_ok() => {
                        self.wishes.start = Some(episode);
                        self.pose = pose;
                        self.drive = Drive::Driving { begun: false };
                    }
                    Some(_) => self.drive = Drive::Waiting,
                    None if is_over => self.drive = Drive::Waiting,
                    None => {}
                }
            }
            Drive::Driving { begun } => {
                *begun |= mode != Mode::Idle;
                let ended = *begun && mode == Mode::Idle && self.controller.is_at_rest();
                if mode.is_latched() || ended {
                    self.drive = Drive::Waiting;
                }
            }
        }
    }

    /// Advances both policies by one period.
    pub fn think(&mut self, draw: &mut Draw) {
        self.minds.iter_mut().for_each(Mind::work);
        self.begin(draw);
    }

    fn begin(&mut self, draw: &mut Draw) {
        for mind in &mut self.minds {
            mind.begin(draw, &self.setting, self.view.as_ref(), &mut self.questions);
        }
    }

    /// Skips a control period.
    pub fn skip(&mut self) {
        self.slots.push(Slot { drove: self.controller.mode().drives(), served: false });
        self.skipped += 1;
    }

    /// Serves a control period.
    pub fn tick(&mut self, draw: &mut Draw, period: usize, now: Duration) {
        self.slots.push(Slot { drove: self.controller.mode().drives(), served: true });
        let [weak, strong] = self.minds.each_mut().map(Mind::hear);
        let wishes = std::mem::take(&mut self.wishes);
        let sighted = self.sighted.take();
        let inputs = Inputs {
            now,
            skipped: std::mem::take(&mut self.skipped),
            observation: sighted.map(|(seen, _)| seen),
            plant: PlantHealth { lost: self.health.lost && !self.ignores_claims(), ..self.health },
            weak,
            strong,
            wishes,
            pose: wishes.start.map(|_| Cow::Owned(self.pose.clone())),
            pose_taken: wishes.start.map(|_| now),
            measured: None,
            cameras: None,
            teleop: None,
        };
        if let Some((ObservationStamp { episode, sequence, fault: None, .. }, taken)) = sighted
            && (episode, sequence) > (self.newest.0, self.newest.1)
        {
            self.newest = (episode, sequence, Some(taken));
        }
        let output = self.controller.tick(&inputs);
        assert!(!wishes.e_stop || output.mode == Mode::EStop, "an emergency stop is obeyed at once");
        let (episode, values) = (self.controller.episode(), self.controller.command());
        if let Some(place) = self.ledger.take(&inputs, &output, episode, values) {
            let values = self.spoil(place, values.to_vec());
            let (claim, known) = (0, self.newest.2);
            self.command = Some(Command { claim, episode, values, place, made: period, known });
        }
        for (mind, request) in self.minds.iter_mut().zip([output.ask_weak, output.ask_strong]) {
            if let Some(request) = request {
                mind.ask(request, period);
            }
        }
        self.begin(draw);
    }

    fn ignores_claims(&self) -> bool {
        self.broken == Some(Broken::IgnoresClaims)
    }

    fn spoil(&self, place: Place, mut values: Vec<f32>) -> Vec<f32> {
        match self.broken {
            Some(Broken::Trembles) if !place.mode.drives() => {
                values[0] += if place.number.is_multiple_of(2) { 1e-3 } else { -1e-3 };
            }
            Some(Broken::Overdrives) => values[0] *= 50.0,
            _ => {}
        }
        values
    }

    /// Returns the newest command, once, if it was made for an episode of the current claim.
    pub fn send(&mut self) -> Option<Command> {
        let Sender { claim, after } = self.sender?;
        let command = self.command.take()?;
        let is_for_it = command.episode > after || self.ignores_claims();
        is_for_it.then_some(Command { claim, ..command })
    }
}

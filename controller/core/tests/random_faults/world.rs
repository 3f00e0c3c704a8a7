//! Runs of a controller in its shell against a plant, over connections with delays, one control period after another;
//! the commands that the plant executed are judged.

use std::collections::BTreeMap;
use std::time::Duration;

use aegis_core::control::{ChannelKind, LimitScope, Mode, Overlap};

use super::draw::{Blow, Draw, Faults, HORIZON, PERIOD, Setting};
use super::judge::{Rule, Violation, judge, longest_wait, oldest_known, oldest_read};
use super::plant::{Command, Entry, Line, Plant, ToController, ToPlant};
use super::shell::{Broken, Shell};

/// Number of control periods in a run.
const PERIODS: usize = 300;
/// Time of the controller's clock in the first period.
const START: Duration = Duration::from_secs(1);

/// Finished run.
pub struct Run {
    pub setting: Setting,
    pub shell: Shell,
    pub log: Vec<Entry>,
}

/// Tally of many runs, which shows that every checked situation occurs.
#[derive(Debug, Default)]
pub struct Tally {
    /// Number of executed commands, by the name of their mode.
    pub commands: BTreeMap<String, usize>,
    /// Number of runs whose plant executed a policy's command, and of all other runs.
    pub driven: usize,
    pub undriven: usize,
    /// Number of executed commands directly after commands that were never executed.
    pub after_lost: usize,
    /// Number of plants that were lost and claimed again.
    pub claims: u64,
    /// Distance that all joints moved, in the joints' units.
    pub way: f64,
    /// Largest age of an observation, beyond `max_age`, when a command that answers it was decided.
    pub oldest: Duration,
}

fn time(period: usize) -> Duration {
    START + PERIOD * u32::try_from(period).unwrap_or(u32::MAX)
}

impl Run {
    /// Plays a run.
    pub fn play(mut draw: Draw, setting: Setting, broken: Option<Broken>) -> Self {
        let mut shell = Shell::new(&setting, broken, START);
        let (mut plant, mut faults) = (Plant::new(&setting), Faults::default());
        let (mut into, mut out) = (Line::new(setting.into), Line::new(setting.out));
        for period in 0..PERIODS {
            let now = time(period);
            for message in out.take(now) {
                shell.hear(&mut draw, message, now);
            }
            match faults.draw(&mut draw, setting.faults) {
                Some(Blow::Stops) => plant.stop(),
                Some(Blow::Lost) => plant.lose(&mut draw),
                None => {}
            }
            shell.operate(&mut draw);
            shell.drive(&mut draw, period, now, &mut into);
            shell.think(&mut draw);
            if faults.skipped > 0 {
                shell.skip();
            } else {
                shell.tick(&mut draw, period, now);
            }
            if let Some(command) = shell.send().filter(|_| faults.deaf == 0) {
                into.push(&mut draw, now, ToPlant::Command(command));
            }
            // The plant's periods begin between two periods of the controller.
            let now = now + PERIOD / 2;
            for message in into.take(now) {
                if let Some(answer) = plant.hear(message, now, &faults) {
                    out.push(&mut draw, now, answer);
                }
            }
            if let Some(sight) = plant.tick(now, &faults).filter(|_| faults.blind == 0) {
                if faults.again || faults.late {
                    out.push_late(&mut draw, now, ToController::Moved(sight.clone()));
                }
                if !faults.late {
                    out.push(&mut draw, now, ToController::Moved(sight));
                }
            }
            if faults.silent == 0 {
                out.push(&mut draw, now, plant.status());
            }
        }
        Self { setting, shell, log: plant.log }
    }

    /// Returns all violations.
    pub fn judge(&self) -> Vec<Violation> {
        let executed: Vec<_> = self.log.iter().map(|entry| entry.executed.clone()).collect();
        let settings = &self.setting.recipe.settings;
        let mut found = judge(settings, &self.shell.ledger.stands, &executed);
        let age = |entry: &Entry| {
            let command = &entry.command;
            let text = self.judge_age(command).err()?;
            let text = format!("command {} of episode {}: {text}", command.place.number, command.episode);
            Some(Violation { rule: Rule::Age, text })
        };
        found.extend(self.log.iter().filter_map(age));
        found
    }

    /// Checks that a policy's command answers observations that are young enough, by the time at which the plant took them.
    fn judge_age(&self, command: &Command) -> Result<(), String> {
        if !command.place.mode.drives() {
            return Ok(()); // The command comes to rest, which depends on no observation.
        }
        let settings = &self.setting.recipe.settings;
        let made = time(command.made);
        let known = command.known.ok_or("nothing was known")?;
        if made.saturating_sub(known) > oldest_known(settings) {
            return Err(format!("the newest that was known was {:?} old", made.saturating_sub(known)));
        }
        // A blended action answers two requests, and its number names neither.
        if settings.overlap != Overlap::Replace {
            return Ok(());
        }
        let number = command.values.last().map_or(0, |number| *number as u64);
        let question = self.shell.questions.get(&number).ok_or("no question was asked")?;
        if question.void || question.episode != command.episode {
            return Err(format!("question {number} is of another episode, or has another answer"));
        }
        let asked = time(question.asked);
        if asked.saturating_sub(question.taken) > settings.max_age() {
            return Err(format!(
                "it was asked {:?} after what was read",
                asked.saturating_sub(question.taken)
            ));
        }
        let since = &self.shell.slots[question.asked + 1..=command.made];
        let waited = since.iter().filter(|slot| !slot.drove && slot.served).count();
        let age = made.saturating_sub(question.taken);
        if age > oldest_read(settings, HORIZON) {
            return Err(format!("what was read was {age:?} old"));
        }
        if waited > longest_wait(settings) as usize {
            return Err(format!("it was waited for through {waited} periods"));
        }
        Ok(())
    }
}

impl Tally {
    /// Adds a run to the tally.
    pub fn take(&mut self, run: &Run) {
        let mut drives = false;
        for entry in &run.log {
            let (command, executed) = (&entry.command, &entry.executed);
            let mode = command.place.mode;
            *self.commands.entry(format!("{mode:?}")).or_default() += 1;
            let ways = executed.before.iter().zip(&executed.after);
            self.way += ways.map(|(before, after)| (after - before).abs()).sum::<f64>();
            drives |= mode.drives();
            let question =
                command.values.last().and_then(|number| run.shell.questions.get(&(*number as u64)));
            if let Some(question) = question.filter(|_| mode.drives()) {
                let age = time(command.made).saturating_sub(question.taken);
                let beyond = age.saturating_sub(run.setting.recipe.settings.max_age());
                self.oldest = self.oldest.max(beyond);
            }
        }
        for pair in run.log.windows(2) {
            let [before, after] = [&pair[0].executed, &pair[1].executed];
            self.after_lost += usize::from(after.place.number > before.place.number + 1);
            self.claims += u64::from(after.claim != before.claim);
        }
        *(if drives { &mut self.driven } else { &mut self.undriven }) += 1;
    }

    /// Returns the number of executed commands that were decided in a mode.
    pub fn of(&self, mode: Mode) -> usize {
        self.commands.get(&format!("{mode:?}")).copied().unwrap_or(0)
    }
}

/// Draws a setting with many faults, in which a `broken` shell causes violations; without a broken shell, one whose
/// limits do not always apply.
pub fn harsh(draw: &mut Draw, latency: Option<u32>, broken: Option<Broken>) -> Setting {
    let mut setting = Setting::draw(draw, ChannelKind::Position, latency);
    setting.wishes = 0.02;
    setting.faults = setting.faults.max(0.03);
    let settings = &mut setting.recipe.settings;
    match broken {
        None => {
            settings.limits = LimitScope::UntilCaughtUp;
            setting.wild = 1.0;
        }
        Some(Broken::AgesByReceipt) => settings.max_age_ms = 150.0,
        Some(_) => {}
    }
    setting
}

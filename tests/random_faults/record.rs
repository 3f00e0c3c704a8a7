//! Matches a run's record with the logs of the plants that it drove: the decision behind each executed command, and the age of
//! the observation that the command answers, counted from when the plant took it.
//!
//! The offset between the run's clock and the plant's clock is estimated from this bound: no observation arrives earlier than its
//! publication plus the line's latency. The observation with the smallest difference gives the offset. Ages computed with this
//! offset are never larger than the true ages.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use aegis_core::control::{ControlSettings, Diagnostics, TickRecord};
use aegis_recorder::run_log::RunReader;
use serde_json::Value;

use super::judge::{Executed, Ledger, Place, Rule, Stand, Violation, judge, oldest_known};
use crate::foreign::{executed, is_period};

/// Tolerance of ages: lateness of a control period, and error of the controller's estimate of when an observation was taken.
const TOLERANCE: Duration = Duration::from_millis(100);

/// Episode and sequence number of an observation or of a command.
type Number = (u64, u32);

/// An answered inference request: when it was asked, and which observation the policy read.
struct Answered {
    asked: Duration,
    read: Number,
}

/// Decisions of a run, from its record.
pub struct Record {
    settings: ControlSettings,
    stands: Vec<Stand>,
    /// Place and decision time of every command that was to be sent, on the run's clock.
    commands: HashMap<Number, (Place, Duration)>,
    /// Arrival time of each observation, on the run's clock.
    came: Vec<(Number, Duration)>,
    /// Accepted answers of both policies.
    answers: Vec<Answered>,
}

impl Record {
    /// Reads the record in a run's folder and repeats every decision, which has to give the recorded command.
    pub fn read(folder: &Path) -> Self {
        let mut reader = RunReader::open(&folder.join("run.aegis")).expect("it was recorded");
        let recipe = reader.header.recipe.clone();
        let mut controller = recipe.controller().expect("it drove");
        let mut ledger = Ledger::new(&recipe.settings.channels, &recipe.rest);
        let (mut commands, mut came, mut answers) = (HashMap::new(), Vec::new(), Vec::new());
        let (mut questions, mut episode, mut sequence) = (HashMap::new(), 0, 0);
        while let Some(bytes) = reader.next_period().expect("it is whole") {
            let TickRecord { inputs, command, .. } = rmp_serde::from_slice(&bytes).expect("a period");
            let output = controller.tick(&inputs);
            assert_eq!(controller.command(), &command[..], "it was decided so");
            if controller.episode() != episode {
                (episode, sequence) = (controller.episode(), 0);
            }
            if let Some(place) = ledger.take(&inputs, &output, episode, controller.command()) {
                sequence += 1;
                commands.insert((episode, sequence), (place, inputs.now));
            }
            if let Some(seen) = inputs.observation {
                came.push(((seen.episode, seen.sequence), seen.received));
            }
            let dropped = [Diagnostics::AGED_CHUNK, Diagnostics::FOREIGN_REPLY];
            let is_dropped = dropped.into_iter().any(|notice| output.notices.has(notice));
            for reply in [&inputs.weak, &inputs.strong].into_iter().flatten() {
                if let Some(asked) = questions.remove(&reply.request).filter(|_| !is_dropped)
                    && reply.proposal.is_ok()
                {
                    answers.push(Answered { asked, read: (reply.episode, reply.observed) });
                }
            }
            for request in [output.ask_weak, output.ask_strong].into_iter().flatten() {
                questions.insert(request, inputs.now);
            }
        }
        Self { settings: recipe.settings, stands: ledger.stands, commands, came, answers }
    }

    /// Judges what each plant of the run executed. The latency of each direction is at least `latency`. Returns the executed
    /// commands and the violations.
    pub fn judge(&self, logs: &[Vec<Value>], latency: Duration) -> (Vec<Executed>, Vec<Violation>) {
        let (mut all, mut found) = (Vec::new(), Vec::new());
        for log in logs {
            let plant = Plant::of(log);
            let commands = plant.commands.iter().map(|(executed, read)| {
                let number = (executed.episode, executed.sequence);
                let (place, made) = self.commands.get(&number).expect("what was executed was decided");
                (executed.at(*place), *made, (executed.episode, *read))
            });
            let commands: Vec<(Executed, Duration, Number)> = commands.collect();
            found.extend(self.judge_ages(&plant, &commands, latency));
            all.extend(commands.into_iter().map(|(executed, ..)| executed));
        }
        found.extend(judge(&self.settings, &self.stands, &all));
        (all, found)
    }

    fn judge_ages(
        &self,
        plant: &Plant,
        commands: &[(Executed, Duration, Number)],
        latency: Duration,
    ) -> Vec<Violation> {
        let latency = latency.as_secs_f64();
        let offsets = self.came.iter().filter_map(|(number, came)| {
            plant.published.get(number).map(|published| came.as_secs_f64() - published - latency)
        });
        let offset = offsets.fold(f64::INFINITY, f64::min);
        // The offset is infinite if no observation of this plant arrived; then no command answers one of its observations.
        let age = |at: &Duration, read: &Number| {
            let published = plant.published.get(read)?;
            Some(at.as_secs_f64() - (published + offset))
        };
        let tolerance = TOLERANCE.as_secs_f64();
        let mut found = Vec::new();
        let known = oldest_known(&self.settings).as_secs_f64();
        for (executed, made, read) in commands.iter().filter(|(one, ..)| one.place.mode.drives()) {
            let text = match age(made, read) {
                Some(age) if age <= known + tolerance => continue,
                Some(age) => format!("it answers {read:?}, {age} s old"),
                None => format!("it answers {read:?}, which was never published"),
            };
            let number = executed.place.number;
            found.push(Violation { rule: Rule::Age, text: format!("command {number}: {text}") });
        }
        let young = self.settings.max_age().as_secs_f64();
        for Answered { asked, read } in &self.answers {
            if let Some(age) = age(asked, read).filter(|age| *age > young + tolerance) {
                let text = format!("a chunk counts that was inferred from {read:?}, {age} s old");
                found.push(Violation { rule: Rule::Age, text });
            }
        }
        found
    }
}

/// A command in a plant's log.
struct Logged {
    claim: u64,
    episode: u64,
    sequence: u32,
    reset: u64,
    values: Vec<f32>,
    before: Vec<f64>,
    after: Vec<f64>,
}

impl Logged {
    fn at(&self, place: Place) -> Executed {
        let (values, before, after) = (self.values.clone(), self.before.clone(), self.after.clone());
        let Self { claim, episode, reset, .. } = *self;
        Executed { place, claim, episode, reset, values, before, after }
    }
}

/// Contents of a plant's log.
struct Plant {
    /// Every executed command, once, with the sequence number of the observation that it answers.
    commands: Vec<(Logged, u32)>,
    /// Publication time of each observation, seconds on the plant's clock.
    published: HashMap<Number, f64>,
}

impl Plant {
    fn of(log: &[Value]) -> Self {
        let (mut commands, mut published) = (Vec::new(), HashMap::new());
        let (mut reset, mut last) = (0, None);
        for (before, line) in log.iter().zip(log.iter().skip(1)) {
            let whole = |key: &str| line[key].as_u64();
            let small = |key: &str| whole(key).and_then(|number| u32::try_from(number).ok());
            let time = line["t"].as_f64().expect("every line has a time");
            let is_refused = line["event"].as_str().is_some_and(|event| event.starts_with("refused"));
            if line["message"] == "Claim" && !is_refused {
                reset = 0;
            }
            if let Some(episode) = whole("episode").filter(|_| line["message"] == "Reset" && !is_refused) {
                reset = episode;
                // The answer to a reset is observation 0; a repeated reset gets the same observation.
                published.entry((reset, 0)).or_insert(time);
            }
            if !is_period(line) {
                continue;
            }
            if let Some(values) = line["command"].as_array() {
                let numbers = (whole("session"), whole("episode"), small("sequence"), small("observation"));
                let (Some(claim), Some(episode), Some(sequence), Some(observation)) = numbers else {
                    panic!("a command without its numbers: {line}");
                };
                // A rate command is executed again in each period until the next command arrives.
                if last != Some((claim, episode, sequence)) {
                    last = Some((claim, episode, sequence));
                    let values = values.iter().map(|value| value.as_f64().map_or(f32::NAN, |v| v as f32));
                    let (values, before, after) = (values.collect(), executed(before), executed(line));
                    let logged = Logged { claim, episode, sequence, reset, values, before, after };
                    commands.push((logged, observation));
                }
            }
            if let Some(sequence) = small("published") {
                published.entry((reset, sequence)).or_insert(time);
            }
        }
        Self { commands, published }
    }
}

//! A run's record beside the logs of the plants that it drove: which decision each executed command was, and how old the
//! observations were that it answers, by when the plant took them.
//!
//! Two clocks are brought together by what is bound to hold of them: no observation comes before it was published and the
//! line's own time is over. The one that came soonest gives the offset; ages by it are never larger than they are.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use aegis_core::control::{ControlSettings, Diagnostics, TickRecord};
use aegis_recorder::run_log::RunReader;
use serde_json::Value;

use super::judge::{Executed, Ledger, Place, Rule, Stand, Violation, judge, oldest_known};
use crate::foreign::{executed, is_period};

/// How late a period may begin, and how far the controller's idea of when an observation was taken may be from the truth.
const TOLERANCE: Duration = Duration::from_millis(100);

/// Episode and number of an observation, or of a command.
type Number = (u64, u32);

/// A question to a policy with its answer.
struct Answered {
    asked: Duration,
    read: Number,
}

/// What a run decided.
pub struct Record {
    settings: ControlSettings,
    stands: Vec<Stand>,
    /// Every command that was to be sent, and when it was decided, on the run's clock.
    commands: HashMap<Number, (Place, Duration)>,
    /// When each observation came, on the run's clock.
    came: Vec<(Number, Duration)>,
    /// Answers that counted.
    answers: Vec<Answered>,
}

impl Record {
    /// Reads a run's folder, and decides everything once more.
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

    /// Judges what each plant of the run executed, the lines to which take `latency` each way at the least.
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
        // Of a plant that was never heard nothing was answered.
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

/// A command as a plant's log has it.
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

/// What a plant's log says.
struct Plant {
    /// Every command that was executed, once, with the number of the observation that it answers.
    commands: Vec<(Logged, u32)>,
    /// When each observation was published, seconds on the plant's clock.
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
                // The answer to a reset is observation 0. Asked again it is the same.
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
                // A rate is executed again in each period until the next comes.
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

//! Log of the misbehaving plant: one JSON line per control period, received message and fault, each flushed.

use std::io::{self, Write};

use aegis_link::wire::{Action, Message, Phase};
use serde::Serialize;

/// Kind of event that a log line records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// The process has started.
    Start,
    /// A control period was executed.
    Period,
    /// A message was received: its delay has passed.
    Message,
    /// A fault command was received.
    Fault,
    /// The plant was freed from a silent controller.
    Freed,
}

/// One log line. In the line of a period, `command` and the numbers after it are those of the executed action; in the
/// line of a message, those of the message.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Line {
    /// Time on the plant's clock with its offset, seconds; never set back.
    pub t: f64,
    /// Kind of event.
    pub what: What,
    /// Control periods since the start.
    pub period: u64,
    /// Phase, as in the heartbeat.
    pub phase: Phase,
    /// Joint positions after the event, radians.
    pub executed: Vec<f64>,
    /// Values of the action; `null` where there was no action. A value that is not finite is written as `null`.
    pub command: Option<Vec<f64>>,
    /// Session of the message.
    pub session: Option<u64>,
    /// Episode of the message.
    pub episode: Option<u64>,
    /// Sequence number of the action within its episode.
    pub sequence: Option<u32>,
    /// Sequence number of the observation that the action answers.
    pub observation: Option<u32>,
    /// Sequence number of the new observation that was published.
    pub published: Option<u32>,
    /// Name of the message.
    pub message: Option<&'static str>,
    /// Further event, in words.
    pub event: Option<String>,
    /// Largest change of any joint in one control period since the start, radians.
    pub jump: f64,
}

impl Line {
    /// Copies the values and numbers of an action into the line.
    pub fn take_action(&mut self, action: &Action) {
        self.session = Some(action.session);
        self.episode = Some(action.episode);
        self.sequence = Some(action.sequence);
        self.observation = Some(action.observation);
        self.command = Some(action.action.iter().copied().map(f64::from).collect());
    }

    /// Copies the name and the numbers of a message into the line.
    pub fn take_message(&mut self, message: &Message) {
        self.message = Some(message.name());
        match message {
            Message::Action(action) => self.take_action(action),
            Message::Reset(reset) => {
                (self.session, self.episode) = (Some(reset.session), Some(reset.episode));
            }
            Message::Step(step) => {
                (self.session, self.episode) = (Some(step.session), Some(step.episode));
                self.sequence = Some(step.sequence);
            }
            Message::FramesRequest(look) => {
                (self.session, self.episode) = (Some(look.session), Some(look.episode));
            }
            Message::Pulse(pulse) => self.session = Some(pulse.session),
            Message::Release(release) => self.session = Some(release.session),
            _ => {}
        }
    }
}

/// Writer of log lines.
#[derive(Debug)]
pub struct Journal<W> {
    writer: W,
}

impl<W: Write> Journal<W> {
    /// Creates a journal that writes to `writer`.
    pub fn new(writer: W) -> Self {
        Self { writer }
    }

    /// Writes and flushes one line, so that a killed process leaves at most its last line incomplete.
    ///
    /// # Errors
    /// Errors of the writer.
    pub fn write(&mut self, line: &Line) -> io::Result<()> {
        let mut bytes = serde_json::to_vec(line)?;
        bytes.push(b'\n');
        self.writer.write_all(&bytes)?;
        self.writer.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line() -> Line {
        Line {
            t: 1000.5,
            what: What::Period,
            period: 10,
            phase: Phase::Running,
            executed: vec![0.5, -0.25],
            command: None,
            session: None,
            episode: None,
            sequence: None,
            observation: None,
            published: Some(4),
            message: None,
            event: None,
            jump: 0.125,
        }
    }

    #[test]
    fn a_line_is_json_with_every_field() {
        let mut journal = Journal::new(Vec::new());
        journal.write(&line()).unwrap();
        let expected = r#"{"t":1000.5,"what":"period","period":10,"phase":"running","executed":[0.5,-0.25],"command":null,"session":null,"episode":null,"sequence":null,"observation":null,"published":4,"message":null,"event":null,"jump":0.125}"#;
        assert_eq!(String::from_utf8(journal.writer).unwrap(), format!("{expected}\n"));
    }

    #[test]
    fn an_action_is_logged_as_it_was_executed_and_what_is_not_finite_is_null() {
        let values = vec![0.5, f32::NAN];
        let action =
            Action { session: 9, episode: 1, sequence: 2, observation: 3, stamp_ns: 4, action: values };
        let mut logged = line();
        logged.take_message(&action.into());
        let text = serde_json::to_string(&logged).unwrap();
        for part in [
            r#""command":[0.5,null],"session":9,"episode":1,"sequence":2,"observation":3"#,
            r#""message":"Action""#,
        ] {
            assert!(text.contains(part), "{part} is missing from {text}");
        }
    }
}

//! Log of the misbehaving plant: one JSON line per control period, received message and fault, each flushed.

use std::io::{self, Write};

use aegis_link::wire::{Action, Message, Phase};
use serde::Serialize;

/// What a line is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// The process has started.
    Start,
    /// A control period was executed.
    Period,
    /// A message was received: its latency is over.
    Message,
    /// Somebody commanded a fault.
    Fault,
    /// The plant was freed from a silent controller.
    Freed,
}

/// One line. In the line of a period, `command` and the numbers behind it are those of the action that it executed; in
/// that of a message, those of the message.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Line {
    /// Seconds on the plant's clock with its offset; never set back.
    pub t: f64,
    /// What it is about.
    pub what: What,
    /// Control periods since the start.
    pub period: u64,
    /// As the heartbeat says.
    pub phase: Phase,
    /// Joint positions after it, radians.
    pub executed: Vec<f64>,
    /// Values of the action; `null` where nothing was commanded. A value that is not finite is `null`.
    pub command: Option<Vec<f64>>,
    /// Claim of the message.
    pub session: Option<u64>,
    /// Episode of the message.
    pub episode: Option<u64>,
    /// Number of the action within its episode.
    pub sequence: Option<u32>,
    /// Number of the observation that the action answers.
    pub observation: Option<u32>,
    /// Number of the new observation that was published.
    pub published: Option<u32>,
    /// Name of the message.
    pub message: Option<&'static str>,
    /// What happened besides.
    pub event: Option<String>,
    /// Largest change of any joint in one control period so far, radians.
    pub jump: f64,
}

impl Line {
    /// Takes over the values and numbers of an action.
    pub fn take_action(&mut self, action: &Action) {
        self.session = Some(action.session);
        self.episode = Some(action.episode);
        self.sequence = Some(action.sequence);
        self.observation = Some(action.observation);
        self.command = Some(action.action.iter().copied().map(f64::from).collect());
    }

    /// Takes over the name and the numbers of a message.
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

/// Where lines go.
#[derive(Debug)]
pub struct Journal<W> {
    writer: W,
}

impl<W: Write> Journal<W> {
    /// Writes to `writer`.
    pub fn new(writer: W) -> Self {
        Self { writer }
    }

    /// Writes one line at once and flushes it: a kill leaves at most the last line cut.
    ///
    /// # Errors
    /// Those of the writer.
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

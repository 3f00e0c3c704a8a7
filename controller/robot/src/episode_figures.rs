//! Figures of one episode, from its control periods one after another: who drove for how long, and how the episode ended.

use aegis_core::control::{Mode, TickRecord};

use aegis_recorder::EpisodeEnd;

/// Figures of an episode; of the last one, where the periods have several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EpisodeFigures {
    /// Whether an episode has begun.
    pub begun: bool,
    /// Number of control periods in which a policy drove.
    pub steps: u32,
    /// Number of control periods in which the strong policy drove.
    pub strong_steps: u32,
    /// Number of fires of the gate.
    pub fires: u32,
    /// How the episode ended; `None` before it does.
    pub end: Option<EpisodeEnd>,
    before: Option<Mode>,
}

impl EpisodeFigures {
    /// Takes the next control period.
    pub fn take(&mut self, period: &TickRecord<'_>) {
        let (before, output) = (self.before.unwrap_or(Mode::Idle), &period.output);
        self.before = Some(output.mode);
        if period.begins() {
            *self = Self { begun: true, before: self.before, ..Self::default() };
        }
        if before.is_on() || period.begins() {
            self.steps += u32::from(matches!(output.mode, Mode::Weak | Mode::Strong));
            self.strong_steps += u32::from(output.mode == Mode::Strong);
            self.fires += u32::from(output.decision.as_ref().is_some_and(|decision| decision.fired));
        }
        if let Some(end) = EpisodeEnd::of(period, before) {
            self.end = Some(end);
        }
    }

    /// Returns whether the plant reported that the goal was reached.
    pub fn success(&self) -> bool {
        self.end == Some(EpisodeEnd::Goal)
    }
}

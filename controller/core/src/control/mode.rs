//! Mode of the controller, as a state machine: six modes, eight events, one total transition function.
//! Only a reset leaves the latched modes; an e-stop is reached from every mode in one step.

use serde::{Deserialize, Serialize};

/// Mode of the controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// No episode is on. Commands come to rest; once they are at rest, none are sent.
    Idle,
    /// The weak policy drives.
    Weak,
    /// The strong policy drives.
    Strong,
    /// An episode is on and no action is available: commands come to rest and stay there.
    Holding,
    /// A fault occurred, or an operator commanded a stop: commands come to rest within their limits. Latched.
    SafeStop,
    /// An e-stop was commanded: commands are at rest from this period on. Latched.
    EStop,
}

/// Event that can change the mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// An episode begins.
    Start,
    /// The weak policy has an action for this period and is to drive.
    WeakReady,
    /// The strong policy has an action for this period and is to drive.
    StrongReady,
    /// The policy that drives, or is to drive, has no action for this period.
    OutOfActions,
    /// The episode is over.
    Finish,
    /// A fault that requires a stop, or an operator's stop.
    Stop,
    /// The emergency stop.
    EStop,
    /// An operator explicitly permits leaving a latched mode.
    Reset,
}

impl Mode {
    /// Every mode.
    pub const ALL: [Self; 6] =
        [Self::Idle, Self::Weak, Self::Strong, Self::Holding, Self::SafeStop, Self::EStop];

    /// Returns whether a policy's actions are sent.
    pub fn drives(self) -> bool {
        matches!(self, Self::Weak | Self::Strong)
    }

    /// Returns whether an episode is on.
    pub fn is_on(self) -> bool {
        matches!(self, Self::Holding | Self::Weak | Self::Strong)
    }

    /// Returns whether the mode is latched.
    pub fn is_latched(self) -> bool {
        matches!(self, Self::SafeStop | Self::EStop)
    }

    /// Returns the mode after an event.
    pub fn after(self, event: Event) -> Self {
        match (self, event) {
            (_, Event::EStop) => Self::EStop,
            (Self::EStop | Self::SafeStop, Event::Reset) => Self::Idle,
            (Self::EStop, _) => Self::EStop,
            (_, Event::Stop) => Self::SafeStop,
            (Self::SafeStop, _) => Self::SafeStop,
            (Self::Idle, Event::Start) => Self::Holding,
            (Self::Idle, _) => Self::Idle,
            (_, Event::Finish) => Self::Idle,
            (_, Event::WeakReady) => Self::Weak,
            (_, Event::StrongReady) => Self::Strong,
            (_, Event::OutOfActions) => Self::Holding,
            (mode, Event::Start | Event::Reset) => mode,
        }
    }
}

impl Event {
    /// Every event.
    pub const ALL: [Self; 8] = [
        Self::Start,
        Self::WeakReady,
        Self::StrongReady,
        Self::OutOfActions,
        Self::Finish,
        Self::Stop,
        Self::EStop,
        Self::Reset,
    ];
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks every cell of the transition table, which is written out independently of the code.
    #[test]
    fn every_mode_answers_every_event() {
        use Mode::{EStop, Holding, Idle, SafeStop, Strong, Weak};
        // Start, WeakReady, StrongReady, OutOfActions, Finish, Stop, EStop, Reset
        let table = [
            (Idle, [Holding, Idle, Idle, Idle, Idle, SafeStop, EStop, Idle]),
            (Weak, [Weak, Weak, Strong, Holding, Idle, SafeStop, EStop, Weak]),
            (Strong, [Strong, Weak, Strong, Holding, Idle, SafeStop, EStop, Strong]),
            (Holding, [Holding, Weak, Strong, Holding, Idle, SafeStop, EStop, Holding]),
            (SafeStop, [SafeStop, SafeStop, SafeStop, SafeStop, SafeStop, SafeStop, EStop, Idle]),
            (EStop, [EStop, EStop, EStop, EStop, EStop, EStop, EStop, Idle]),
        ];
        assert_eq!(table.map(|(mode, _)| mode), Mode::ALL);
        for (mode, expected) in table {
            assert_eq!(Event::ALL.map(|event| mode.after(event)), expected, "{mode:?}");
        }
    }

    #[test]
    fn no_way_leads_past_a_latch_or_into_motion_unasked() {
        // All sequences of four events: the checks hold for every transition.
        let count = Event::ALL.len().pow(4);
        for start in Mode::ALL {
            for number in 0..count {
                let mut mode = start;
                for place in 0..4 {
                    let event = Event::ALL[number / Event::ALL.len().pow(place) % Event::ALL.len()];
                    let next = mode.after(event);
                    if mode.is_latched() && !next.is_latched() {
                        assert_eq!((event, next), (Event::Reset, Mode::Idle));
                    }
                    if next.drives() && !mode.drives() {
                        assert_eq!(mode, Mode::Holding, "an episode is on before anything moves");
                    }
                    if event == Event::EStop {
                        assert_eq!(next, Mode::EStop);
                    }
                    mode = next;
                }
            }
        }
    }
}

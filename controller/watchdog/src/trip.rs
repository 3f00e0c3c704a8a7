//! Trips of a watchdog: the kind, and the values that show it. Pure.

use std::fmt::{self, Display, Formatter};

use serde::Serialize;

/// Kind of a trip.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// No command came for longer than `silence_ms`, while a command moved the plant.
    Ceased,
    /// A value changed by more than its channel's `step`.
    Jump,
    /// A value is beyond its channel's `low` or `high`.
    OutOfBounds,
    /// A value is not finite.
    NotFinite,
    /// An action has another number of values than the file has channels.
    Width,
    /// An action came that does not belong to the session that holds the plant.
    SecondController,
    /// An action is of an earlier episode, or its number is not above that of the action before it; or the plant's steps went back.
    OldStep,
    /// A message on the actions' key cannot be decoded as an action.
    Unreadable,
    /// The plant no longer reports what it executes, although it is driven.
    NoEcho,
    /// The plant no longer sends heartbeats, although it is claimed.
    PlantSilent,
    /// More messages came than the watchdog could read.
    Overrun,
}

/// A trip.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Trip {
    /// Kind.
    pub kind: Kind,
    /// The channel's name, where the trip concerns one.
    pub channel: Option<String>,
    /// Value that was found: of the channel, or a time in milliseconds. `None` where there is none or it is not finite.
    pub value: Option<f64>,
    /// Limit that the value is beyond.
    pub limit: Option<f64>,
    /// Session that the message belongs to; 0 for none.
    pub session: u64,
    /// Episode that the message belongs to; 0 for none.
    pub episode: u64,
    /// Sequence number of the action that was sent, or of the control step that was executed.
    pub step: u32,
    /// Explanation for a person, with the value and the limit.
    pub reason: String,
}

impl Kind {
    /// Returns the kind's name in records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ceased => "ceased",
            Self::Jump => "jump",
            Self::OutOfBounds => "out_of_bounds",
            Self::NotFinite => "not_finite",
            Self::Width => "width",
            Self::SecondController => "second_controller",
            Self::OldStep => "old_step",
            Self::Unreadable => "unreadable",
            Self::NoEcho => "no_echo",
            Self::PlantSilent => "plant_silent",
            Self::Overrun => "overrun",
        }
    }
}

impl Display for Trip {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.kind.name(), self.reason)?;
        if self.episode > 0 {
            write!(formatter, " (episode {}, step {})", self.episode, self.step)?;
        }
        Ok(())
    }
}

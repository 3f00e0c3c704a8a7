//! Messages between a plant and its watchdog: what the plant offers, what it executes, and the request to stop it. A plant
//! that does not know them is driven as before; a watchdog refuses it.

use serde::{Deserialize, Serialize};

use super::bounded;
use super::message::{ACTION, NAME};

/// Maximum length of the reason for a stop, bytes.
const REASON: usize = 512;

/// A watchdog asks what the plant offers it. Changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attach {
    /// Name of the watchdog, for people.
    #[serde(deserialize_with = "bounded::text::<_, NAME>")]
    pub watchdog: String,
}

/// Answers [`Attach`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attached {
    /// Number drawn when the serving process started.
    pub instance: u64,
    /// Values per action.
    pub action_width: u32,
    /// Control period, nanoseconds.
    pub period_ns: u64,
    /// Time without an action after which a free-running plant stops by itself, nanoseconds.
    pub command_timeout_ns: u64,
}

/// Asks the plant to stop, and to begin and execute nothing for a while. Answered with a status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StopRequest {
    /// Reason in words, which the plant gives to a controller whose request it refuses meanwhile.
    #[serde(deserialize_with = "bounded::text::<_, REASON>")]
    pub reason: String,
    /// Time from now on in which the plant refuses resets and steps and drops actions, nanoseconds; at most ten seconds count.
    pub hold_ns: u64,
}

/// What a free-running plant has executed in one control period; published in every period of an episode.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Executed {
    /// Session that holds the plant.
    pub session: u64,
    /// Number of the episode.
    pub episode: u64,
    /// Number of the control step that was executed, from 1.
    pub sequence: u32,
    /// Nanoseconds on the plant's monotonic clock.
    pub stamp_ns: u64,
    /// Sequence number of the action that was executed; 0 where the plant stood still by itself.
    pub command: u32,
    /// The action that was executed; empty where the plant stood still by itself.
    #[serde(deserialize_with = "bounded::list::<_, _, ACTION>")]
    pub action: Vec<f32>,
}

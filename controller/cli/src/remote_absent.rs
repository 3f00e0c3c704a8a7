//! Replaces `remote.rs` in a program that is built without the feature `robot`: such a program drives no plant of another
//! process.

use std::convert::Infallible;

use aegis_core::Plant;
use aegis_experiments::run::runner::SetupError;
use clap::Args;

use crate::exit::{Exit, Failure, failure};

/// Verbs that need the feature `robot`.
const ABSENT: [&str; 7] = ["bench", "keys", "operate", "ros2", "run", "serve-policy", "sim serve"];

/// The arguments for remote plants; without the feature there are none.
#[derive(Args, Clone, Debug, Default)]
pub struct RemoteArguments {}

/// What a plant says of itself when it is claimed.
pub struct Described {
    /// Number of tasks.
    pub tasks: usize,
    /// Control period, nanoseconds.
    pub period_ns: u64,
}

/// Where remote plants are served. Without the feature no value of this type exists.
pub struct Place(Infallible);

impl Place {
    /// Returns the first plant and its endpoint in words.
    pub fn name(&self) -> &str {
        match self.0 {}
    }

    /// Returns the number of plants.
    pub fn count(&self) -> usize {
        match self.0 {}
    }

    /// Connects to the endpoint.
    pub fn open(&self) -> Result<Remote, Failure> {
        match self.0 {}
    }
}

/// A set of remote plants. Without the feature no value of this type exists.
pub struct Remote(Infallible);

impl RemoteArguments {
    /// Returns `None`: without the feature there are no remote plants.
    pub fn named(&self) -> Option<String> {
        None
    }

    /// Returns `None`: without the feature there are no remote plants.
    pub fn checked(&self) -> Result<Option<Place>, Failure> {
        Ok(None)
    }

    /// Returns `None`: without the feature there are no remote plants.
    pub fn open(&self) -> Result<Option<Remote>, Failure> {
        Ok(None)
    }
}

impl Remote {
    /// Claims the plant of one worker.
    pub fn claim(&self, _worker: usize) -> Result<Box<dyn Plant>, SetupError> {
        match self.0 {}
    }

    /// Claims the only plant, in lock-step.
    pub fn claim_described(&self) -> Result<(Box<dyn Plant>, Described), Failure> {
        match self.0 {}
    }

    /// Claims the only plant at its own rate.
    pub fn claim_standing(&self) -> Result<Box<dyn Plant>, Failure> {
        match self.0 {}
    }
}

/// Refuses a verb that this program was built without, or that does not exist. `before` contains the words in front of the
/// verb, each followed by a space; the first of `words` is the verb.
pub fn absent(before: &str, words: &[String]) -> Result<(), Failure> {
    let found = format!("{before}{}", words.first().map_or("", String::as_str));
    let reason = if ABSENT.contains(&&*found) {
        format!(
            "aegis {found}: not in this program, which `cargo xtask demo` built for the demo alone; `cargo build --release` \
             builds all of it"
        )
    } else {
        format!("aegis {found}: no such verb; `aegis --help` lists them")
    };
    Err(failure(Exit::Input, reason))
}

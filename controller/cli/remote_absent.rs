//! What stands in for `remote.rs` in a program that is built without the feature `robot`: no plant of another process.

use std::convert::Infallible;

use aegis_core::Plant;
use aegis_experiments::runner::SetupError;
use clap::Args;

use crate::exit::{Exit, Failure, failure};

/// Verbs that need the feature.
const ABSENT: [&str; 6] = ["bench", "keys", "operate", "run", "serve-policy", "sim serve"];

/// No argument.
#[derive(Args)]
pub struct RemoteArguments {}

/// Never there.
pub struct Remote(Infallible);

impl RemoteArguments {
    /// Always none.
    pub fn open(&self) -> Result<Option<Remote>, Failure> {
        Ok(None)
    }
}

impl Remote {
    /// How many plants there are.
    pub fn count(&self) -> usize {
        match self.0 {}
    }

    /// Claims the plant of one worker.
    pub fn claim(&self, _worker: usize) -> Result<Box<dyn Plant>, SetupError> {
        match self.0 {}
    }
}

/// Refuses a verb that is not in this program; `before` are the words before it, with their spaces.
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

//! Replaces `served.rs` in a program that is built without the feature `robot`: such a program asks no other process.

use std::path::Path;

use aegis_core::Policy;
use aegis_experiments::run::runner::SetupError;
use aegis_policies::server::Protocol;
use aegis_policies::{ModelCard, OnnxPolicy, OnnxRuntime};

use crate::exit::{Exit, Failure, failure};

const ABSENT: &str = "a policy of another process is not in this program, which `cargo xtask demo` built for the demo alone; \
                      `cargo build --release` builds all of it";

/// Opens the policy of a card, which has to be a model in a file.
pub fn open_policy(runtime: &OnnxRuntime, card: &Path) -> Result<Box<dyn Policy>, SetupError> {
    if ModelCard::load(card)?.server.is_some() {
        return Err(format!("{}: server: {ABSENT}", card.display()).into());
    }
    Ok(Box::new(OnnxPolicy::open(runtime, card)?))
}

/// Refuses to write the card of another process's policy.
pub fn card(endpoint: &str) -> Result<String, Failure> {
    Err(failure(Exit::Input, format!("{endpoint}: {ABSENT}")))
}

/// Refuses to write the card of a policy behind a WebSocket server.
pub fn websocket_card(
    endpoint: &str,
    _: Protocol,
    _: Option<&str>,
    _: Option<&Path>,
) -> Result<String, Failure> {
    Err(failure(Exit::Input, format!("{endpoint}: {ABSENT}")))
}

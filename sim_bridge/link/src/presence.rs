//! Who can be reached: names in the liveliness tokens of plants and policies at the end of a session.

use std::time::Duration;

use zenoh::Wait;

use crate::error::LinkError;

/// Time limit for liveliness tokens to be reported.
pub(crate) const PRESENCE: Duration = Duration::from_secs(2);

/// Returns the names of the plants that are served, sorted.
///
/// # Errors
/// Errors that Zenoh reports.
pub fn served_plants(session: &zenoh::Session) -> Result<Vec<String>, LinkError> {
    names(session, "aegis/*/alive")
}

/// Returns the names of the policies that are served under names of their own, sorted.
///
/// # Errors
/// Errors that Zenoh reports.
pub fn served_policies(session: &zenoh::Session) -> Result<Vec<String>, LinkError> {
    names(session, "aegis/*/policy/own/*")
}

/// Returns the second part of each token's key.
fn names(session: &zenoh::Session, tokens: &str) -> Result<Vec<String>, LinkError> {
    let present = session.liveliness().get(tokens).timeout(PRESENCE).wait()?;
    let name = |key: &str| key.split('/').nth(1).map(str::to_owned);
    let found = std::iter::from_fn(|| present.recv().ok());
    let mut names: Vec<String> =
        found.filter_map(|reply| name(reply.result().ok()?.key_expr().as_str())).collect();
    names.sort();
    names.dedup();
    Ok(names)
}

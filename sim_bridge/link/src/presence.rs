//! Who can be reached: names in the liveliness tokens of plants and policies at the end of a session.

use std::time::{Duration, Instant};

use zenoh::Wait;

use crate::error::LinkError;

/// Time limit for liveliness tokens to be reported once.
const PRESENCE: Duration = Duration::from_secs(2);
/// Longest wait for a token: a process may have begun just before, and both may be on a busy machine.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(10);
/// Time between two looks.
const AGAIN: Duration = Duration::from_millis(100);

/// Waits for tokens under these keys. Returns what `part` takes of each key, sorted; empty where none is there within [`TIMEOUT`].
pub(crate) fn awaited(
    session: &zenoh::Session,
    tokens: &str,
    part: impl Fn(&str) -> Option<String>,
) -> Result<Vec<String>, LinkError> {
    let begin = Instant::now();
    loop {
        let found = present(session, tokens, &part)?;
        if !found.is_empty() || begin.elapsed() > TIMEOUT {
            return Ok(found);
        }
        std::thread::sleep(AGAIN);
    }
}

/// Returns the names of the plants that are served, sorted.
///
/// # Errors
/// Errors that Zenoh reports.
pub fn served_plants(session: &zenoh::Session) -> Result<Vec<String>, LinkError> {
    present(session, "aegis/*/alive", plant_or_policy)
}

/// Waits for the first policy that is served under a name of its own. Returns the names of all, sorted; none after ten seconds.
///
/// # Errors
/// Errors that Zenoh reports.
pub fn served_policies(session: &zenoh::Session) -> Result<Vec<String>, LinkError> {
    awaited(session, "aegis/*/policy/own/*", plant_or_policy)
}

/// Returns the name in a token's key.
fn plant_or_policy(key: &str) -> Option<String> {
    key.split('/').nth(1).map(str::to_owned)
}

/// Returns what `part` takes of each token's key, sorted.
fn present(
    session: &zenoh::Session,
    tokens: &str,
    part: impl Fn(&str) -> Option<String>,
) -> Result<Vec<String>, LinkError> {
    let present = session.liveliness().get(tokens).timeout(PRESENCE).wait()?;
    let found = std::iter::from_fn(|| present.recv().ok());
    let mut names: Vec<String> =
        found.filter_map(|reply| part(reply.result().ok()?.key_expr().as_str())).collect();
    names.sort();
    names.dedup();
    Ok(names)
}

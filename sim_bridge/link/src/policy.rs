//! A policy in another process: served over Zenoh as the strong policy of a plant, or under a name of its own, and asked with a
//! deadline. An answer is accepted only for its own request. A server of another model is refused before the plant moves.

mod remote;
mod serve;

pub use remote::RemotePolicy;
pub use serve::serve_policy;

use crate::{KeyExprs, LinkError};

/// Where a policy is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// As the strong policy of the plant of this name, by a process that is connected to the plant's.
    Strong,
    /// Under this name, by a process that listens.
    Own,
}

impl Place {
    /// Returns a policy in words.
    fn words(self, name: &str) -> String {
        match self {
            Self::Strong => format!("policy {:?}", format!("{name}/policy/strong")),
            Self::Own => format!("policy {name:?}"),
        }
    }
}

/// Returns the key of a policy.
fn key(name: &str, place: Place) -> Result<String, LinkError> {
    KeyExprs::of(name)?;
    let leaf = match place {
        Place::Strong => "strong",
        Place::Own => "own",
    };
    Ok(format!("aegis/{name}/policy/{leaf}"))
}

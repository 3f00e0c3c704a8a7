//! Any plant over Zenoh: the wire format, the host that serves a plant, and the plant at the other end of the line.
//! `wire`, `host`, `endpoint`, `access` and `certificates` are pure: values in, values out. `serve`, `plant` and `session` are the shells.
//!
//! `docs/protocol.md` states the wire format field by field.

pub mod access;
mod certificates;
mod counted;
pub mod credentials;
pub mod endpoint;
pub mod free_running;
mod heartbeat;
pub mod host;
mod inbox;
pub mod plant;
pub mod policy;
pub mod serve;
pub mod session;
pub mod wire;

pub use access::Principal;
pub use credentials::Credentials;
pub use endpoint::{Carrier, Endpoint, Guarded, LinkError, Role};
pub use free_running::{CommandSender, FreeRunningPlant, Heard, Operators};
pub use host::{Host, HostLimits, PlantInfo};
pub use plant::{Claimant, Counters, Timeouts, ZenohPlant};
pub use policy::{RemotePolicy, serve_policy};
pub use serve::serve;
pub use session::{listening, open, open_guarded};

/// A number that tells this process from any other that serves the same plant.
pub fn instance() -> u64 {
    plant::nonce()
}

/// The key expressions of one plant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyExprs {
    /// Queries of the controller: claim, reset, step, look, release.
    pub request: String,
    /// The plant's heartbeat, ten times a second.
    pub status: String,
    /// The controller's heartbeat, ten times a second.
    pub pulse: String,
    /// Actions of a free-running controller.
    pub action: String,
    /// Observations of a free-running plant.
    pub observation: String,
    /// What people want of the controller: stop, e-stop, reset.
    pub operator: String,
    /// Liveliness token of whoever serves the plant.
    pub alive: String,
    /// All of a policy that answers for the plant from elsewhere.
    pub policy: String,
}

impl KeyExprs {
    /// The keys of the plant `name`.
    ///
    /// # Errors
    /// A name that is not 1 to 64 letters, digits, `_` or `-`.
    pub fn of(name: &str) -> Result<Self, LinkError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if name.is_empty() || name.len() > 64 || !name.chars().all(plain) {
            return Err(LinkError::Name { found: name.into() });
        }
        let key = |leaf: &str| format!("aegis/{name}/{leaf}");
        Ok(Self {
            request: key("request"),
            status: key("status"),
            pulse: key("pulse"),
            action: key("action"),
            observation: key("observation"),
            operator: key("operator"),
            alive: key("alive"),
            policy: key("policy/**"),
        })
    }
}

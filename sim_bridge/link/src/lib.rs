//! Any plant over Zenoh: the wire format, the host that serves a plant, and the remote plant at the controller's end.
//! `wire`, `host`, `endpoint`, `access` and `certificates` are pure: values in, values out. `serve`, `plant` and
//! `session` do the input and output.
//!
//! `docs/reference/protocol.md` states the wire format field by field.
//!
//! ```
//! use aegis_link::Endpoint;
//!
//! let endpoint: Endpoint = "tcp/192.0.2.1:7447".parse()?;
//! let error = endpoint.guard(false, None).unwrap_err().to_string();
//! assert!(error.contains("plain TCP off loopback lets anybody there read and move the plant"));
//! # Ok::<(), aegis_link::LinkError>(())
//! ```

pub mod access;
pub mod cameras;
mod certificates;
mod counted;
pub mod credentials;
pub mod endpoint;
mod error;
pub mod free_running;
mod heartbeat;
pub mod host;
mod inbox;
pub mod plant;
pub mod policy;
mod presence;
pub mod serve;
pub mod session;
mod standing;
mod stop_order;
mod subscription;
pub mod teleop;
pub mod watchdog;
pub mod wire;

pub use access::Principal;
pub use access::Role;
pub use cameras::{CameraPublisher, TimePoint};
pub use credentials::Credentials;
pub use endpoint::{Carrier, Endpoint, Guarded};
pub use error::LinkError;
pub use free_running::{CommandSender, FreeRunningPlant, Heard, Operators};
pub use host::{Host, HostLimits, PlantInfo};
pub use plant::{Claimant, Counters, Timeouts, ZenohPlant};
pub use policy::{RemotePolicy, serve_policy};
pub use presence::{served_plants, served_policies};
pub use serve::{Callbacks, serve, serve_with};
pub use session::{listening, open, open_guarded};
pub use teleop::{CallPublisher, TeleopSubscription};

/// Draws a number that distinguishes this process from any other that serves the same plant.
pub fn instance() -> u64 {
    plant::nonce()
}

/// The key expressions of one plant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyExprs {
    /// Requests of the controller: claim, reset, step, picture request, release.
    pub request: String,
    /// The plant's heartbeat, ten times a second.
    pub status: String,
    /// The controller's heartbeat, ten times a second.
    pub pulse: String,
    /// Actions of a free-running controller.
    pub action: String,
    /// What a free-running plant executes, once a control period.
    pub executed: String,
    /// Requests of a watchdog: what the plant offers it, and the stop.
    pub watchdog: String,
    /// Observations of a free-running plant.
    pub observation: String,
    /// Camera frames of a free-running plant.
    pub camera: String,
    /// Operator commands to the controller: start, stop, e-stop, reset.
    pub operator: String,
    /// Commands of a person who drives the plant by hand, to the controller.
    pub teleop: String,
    /// The controller's calls to people who may drive the plant by hand.
    pub call: String,
    /// Liveliness token of the process that serves the plant.
    pub alive: String,
    /// All keys of a policy that is served for the plant by another process.
    pub policy: String,
}

impl KeyExprs {
    /// Returns the keys of the plant `name`.
    ///
    /// # Errors
    /// [`LinkError::Name`] for a name that is not 1 to 64 letters, digits, `_` or `-`.
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
            executed: key("executed"),
            watchdog: key("watchdog"),
            observation: key("observation"),
            camera: key("camera"),
            operator: key("operator"),
            teleop: key("teleop"),
            call: key("call"),
            alive: key("alive"),
            policy: key("policy/**"),
        })
    }
}

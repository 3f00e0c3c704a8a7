//! Opening a Zenoh session with bounds: one endpoint, no scouting, limited messages, shared memory for large ones.
//! Plain TCP leaves this machine only when somebody says so in as many words.

use std::net::IpAddr;
use std::str::FromStr;
use std::time::{Duration, Instant};

use zenoh::Wait;
use zenoh::shm::ShmProviderState;

use crate::wire::MAX_MESSAGE;

/// How long a serving session waits for the memory that it will share; without it, pictures are copied.
const SHARED_MEMORY_WAIT: Duration = Duration::from_secs(2);

/// Why a link does not stand.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// No endpoint.
    #[error("endpoint {found:?}: {reason}; valid is tcp/HOST:PORT, for example tcp/127.0.0.1:7447")]
    Endpoint {
        /// What was given.
        found: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No name for a plant.
    #[error("plant name {found:?}: valid are 1 to 64 letters, digits, `_` and `-`")]
    Name {
        /// What was given.
        found: String,
    },
    /// Somebody else serves a plant of this name here.
    #[error("plant {name:?} is already served here")]
    Served {
        /// The name.
        name: String,
    },
    /// Nobody answers.
    #[error("nobody serves plant {name:?} there")]
    Nobody {
        /// The name.
        name: String,
    },
    /// The plant answers and refuses.
    #[error("plant {name:?} refuses: {reason}")]
    Refused {
        /// The name.
        name: String,
        /// The plant's reason.
        reason: String,
    },
    /// Zenoh's own error.
    #[error("Zenoh: {0}")]
    Zenoh(String),
}

impl From<zenoh::Error> for LinkError {
    fn from(error: zenoh::Error) -> Self {
        Self::Zenoh(error.to_string())
    }
}

/// Which side of the link this process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Listens and serves plants.
    Serve,
    /// Connects and drives them.
    Drive,
}

/// A Zenoh locator whose host has been looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    locator: String,
    loopback: bool,
}

impl FromStr for Endpoint {
    type Err = LinkError;

    fn from_str(text: &str) -> Result<Self, LinkError> {
        let wrong = |reason: &str| LinkError::Endpoint { found: text.into(), reason: reason.into() };
        let address = text.strip_prefix("tcp/").ok_or_else(|| wrong("not TCP"))?;
        let (host, port) = address.rsplit_once(':').ok_or_else(|| wrong("it has no port"))?;
        port.parse::<u16>().map_err(|_| wrong("the port is no number from 0 to 65535"))?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err(wrong("it has no host"));
        }
        let loopback = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
        Ok(Self { locator: text.into(), loopback })
    }
}

impl Endpoint {
    /// Refuses an endpoint that others can reach, for what goes over it is neither encrypted nor authenticated.
    ///
    /// # Errors
    /// [`LinkError::Endpoint`] off loopback unless `plaintext_allowed`.
    pub fn guard(&self, plaintext_allowed: bool) -> Result<(), LinkError> {
        if self.loopback || plaintext_allowed {
            return Ok(());
        }
        let reason =
            "plain TCP off loopback lets anybody there move the plant; allow it explicitly or use loopback";
        Err(LinkError::Endpoint { found: self.locator.clone(), reason: reason.into() })
    }
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.locator)
    }
}

/// Opens a session at one endpoint.
///
/// # Errors
/// [`LinkError::Zenoh`] where nobody listens there, or somebody listens already.
pub fn open(role: Role, endpoint: &Endpoint) -> Result<zenoh::Session, LinkError> {
    let locator = format!("[{:?}]", endpoint.locator);
    let limit = MAX_MESSAGE.to_string();
    let mut config = zenoh::Config::default();
    let (mode, side) = match role {
        Role::Serve => ("\"peer\"", "listen"),
        Role::Drive => ("\"client\"", "connect"),
    };
    for (key, value) in [
        ("mode", mode),
        (&format!("{side}/endpoints"), locator.as_str()),
        (&format!("{side}/timeout_ms"), "5000"),
        (&format!("{side}/exit_on_failure"), "true"),
        ("scouting/multicast/enabled", "false"),
        ("scouting/gossip/enabled", "false"),
        // The default is 1 GiB.
        ("transport/link/rx/max_message_size", limit.as_str()),
        // Large messages go through shared memory where both ends share a host.
        ("transport/shared_memory/enabled", "true"),
    ] {
        config.insert_json5(key, value)?;
    }
    if role == Role::Serve {
        config.insert_json5("connect/endpoints", "[]")?;
    } else {
        config.insert_json5("listen/endpoints", "[]")?;
    }
    let session = zenoh::open(config).wait()?;
    if role == Role::Serve {
        make_shared_memory(&session);
    }
    Ok(session)
}

/// Has Zenoh make the memory that it shares now: it would begin with the first large message, and copy that one. Asks
/// again instead of waiting on what Zenoh hands out, for whoever waits there takes the answer away from Zenoh itself.
fn make_shared_memory(session: &zenoh::Session) {
    let until = Instant::now() + SHARED_MEMORY_WAIT;
    while matches!(session.get_shm_provider(), ShmProviderState::Initializing(_)) && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Where a serving session listens: with port 0, the port that the system chose.
///
/// # Errors
/// [`LinkError::Zenoh`] for a session that does not listen.
pub fn listening(session: &zenoh::Session) -> Result<Endpoint, LinkError> {
    let locators = session.info().locators().wait();
    let first = locators.first().ok_or_else(|| LinkError::Zenoh("the session listens nowhere".into()))?;
    first.to_string().parse()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_passes_unasked() {
        for text in ["tcp/127.0.0.1:7447", "tcp/localhost:0", "tcp/[::1]:1", "tcp/127.8.9.1:65535"] {
            assert!(text.parse::<Endpoint>().unwrap().guard(false).is_ok(), "{text}");
        }
        for text in ["tcp/0.0.0.0:7447", "tcp/192.0.2.1:7447", "tcp/robot.local:7447", "tcp/[::]:7447"] {
            let endpoint: Endpoint = text.parse().unwrap();
            let message = endpoint.guard(false).unwrap_err().to_string();
            assert!(message.contains(text) && message.contains("loopback"), "{message}");
            assert!(endpoint.guard(true).is_ok());
        }
    }

    #[test]
    fn an_endpoint_that_is_none_says_what_would_be() {
        for text in ["127.0.0.1:7447", "udp/127.0.0.1:1", "tcp/127.0.0.1", "tcp/127.0.0.1:70000", "tcp/:1"] {
            let message = text.parse::<Endpoint>().unwrap_err().to_string();
            assert!(message.contains("tcp/127.0.0.1:7447"), "{message}");
        }
    }
}

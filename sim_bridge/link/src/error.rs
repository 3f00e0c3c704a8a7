//! Errors of a link: why a session, a claim or a message failed.

use std::path::PathBuf;

/// Reason why a link cannot be established or used.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The text is not a valid endpoint, or the endpoint is not allowed.
    #[error(
        "endpoint {found:?}: {reason}; valid is tls/HOST:PORT with keys, or on this machine tcp/HOST:PORT, for example \
         tcp/127.0.0.1:7447"
    )]
    Endpoint {
        /// What was given.
        found: String,
        /// What is wrong with the endpoint.
        reason: String,
    },
    /// A picture cannot be compressed.
    #[error("camera frame: cannot compress: {0}")]
    Picture(String),
    /// The text is not a valid plant name.
    #[error("plant name: found {found:?}; valid is 1 to 64 letters, digits, `_` and `-`")]
    Name {
        /// What was given.
        found: String,
    },
    /// A file among a principal's keys cannot be used.
    #[error("{}: {found}; valid is {valid}", .file.display())]
    Credentials {
        /// The file, or the folder.
        file: PathBuf,
        /// What was found.
        found: String,
        /// What is valid.
        valid: String,
    },
    /// Another process already serves a plant of this name here.
    #[error("plant {name:?} is already served here")]
    Served {
        /// The plant's name.
        name: String,
    },
    /// The server ends, and the plant has not come to rest by its own means.
    #[error(
        "plant {name:?}: the server ends, and the plant has not come to rest; use its emergency stop; {reason}"
    )]
    Moving {
        /// The plant's name.
        name: String,
        /// What the plant says of it.
        reason: String,
    },
    /// No controller of the plant was subscribed to receive an operator command.
    #[error("plant {name:?}: nobody hears the operator's key; valid is a plant that `aegis run` drives")]
    Unheard {
        /// The plant's name.
        name: String,
    },
    /// No process serves at the endpoint, or one end refuses the other's certificate.
    #[error(
        "endpoint {found:?}: cannot connect: {reason}; valid is where a plant is served, by `aegis sim serve` or a process of your own"
    )]
    Drive {
        /// The endpoint.
        found: String,
        /// What Zenoh reports.
        reason: String,
    },
    /// The session cannot listen at the endpoint.
    #[error(
        "endpoint {found:?}: cannot listen: {reason}; valid is an address of this machine with a free port"
    )]
    Serve {
        /// The endpoint.
        found: String,
        /// What Zenoh reports.
        reason: String,
    },
    /// No process serves the plant.
    #[error("nobody serves plant {name:?} there, or it does not answer{}", served(others))]
    Nobody {
        /// The plant's name.
        name: String,
        /// Names of the plants that are served there.
        others: Vec<String>,
    },
    /// A process serves the plant and does not answer a watchdog.
    #[error(
        "plant {name:?}: it answers no watchdog, so it neither says what it executes nor stops when it is asked to; valid is a \
         plant that `aegis sim serve` or aegis_link.py of this version serves, or another that has `watchdog` and `executed` of \
         docs/reference/protocol.md"
    )]
    NoEcho {
        /// The plant's name.
        name: String,
    },
    /// No process serves the policy.
    #[error(
        "nobody serves {name} there (no answer in 10 s); start `aegis serve-policy`, or the policy's own process, before this one"
    )]
    NoPolicy {
        /// The policy, in words.
        name: String,
    },
    /// The policy's process states another model.
    #[error("{name}: it serves model {found}; valid is {valid}")]
    OtherModel {
        /// The policy, in words.
        name: String,
        /// The models that are served.
        found: String,
        /// What is valid.
        valid: String,
    },
    /// The plant answers and refuses.
    #[error("plant {name:?} refuses: {reason}")]
    Refused {
        /// The plant's name.
        name: String,
        /// The plant's reason.
        reason: String,
    },
    /// The plant's answer cannot be decoded as a message of this version.
    #[error(
        "plant {name:?}: its answer to a {question} cannot be read: {reason}; valid is what docs/reference/protocol.md says of it"
    )]
    Unread {
        /// The plant's name.
        name: String,
        /// Name of the message that was answered.
        question: &'static str,
        /// What is wrong with the answer, with the field.
        reason: String,
    },
    /// An error that Zenoh reports.
    #[error("Zenoh: {0}")]
    Zenoh(String),
}

impl From<zenoh::Error> for LinkError {
    fn from(error: zenoh::Error) -> Self {
        Self::Zenoh(words(&error))
    }
}

/// Returns the text of a Zenoh error without the location in Zenoh's source at the end of each of its parts.
pub(crate) fn words(error: &zenoh::Error) -> String {
    let text = error.to_string();
    let mut kept = String::new();
    let mut rest = text.as_str();
    while let Some((before, after)) = rest.split_once(" at /") {
        kept.push_str(before);
        let (place, behind) = after.split_once(".rs:").unwrap_or((after, ""));
        let number = behind.len() - behind.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        if number > 0 && !place.contains(' ') {
            let behind = &behind[number..];
            rest = behind.strip_prefix('.').unwrap_or(behind);
        } else {
            kept.push_str(" at /");
            rest = after;
        }
    }
    kept.push_str(rest);
    kept.trim_end().trim_end_matches('.').to_owned()
}

/// Returns a clause that lists what is served instead; empty where nothing is.
fn served(others: &[String]) -> String {
    if others.is_empty() { String::new() } else { format!("; served there: {}", others.join(", ")) }
}

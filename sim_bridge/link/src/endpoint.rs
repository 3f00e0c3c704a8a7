//! Where a link goes, and whether it may: endpoints as they are written, and the guard that every one of them passes.
//! Pure. Off loopback a link is encrypted and authenticated, unless somebody gives that up in as many words.

use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

use crate::credentials::Credentials;

/// Why a link does not stand.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// No endpoint.
    #[error(
        "endpoint {found:?}: {reason}; valid is tls/HOST:PORT with keys, or on this machine tcp/HOST:PORT, for example \
         tcp/127.0.0.1:7447"
    )]
    Endpoint {
        /// What was given.
        found: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No name for a plant.
    #[error("plant name: found {found:?}; valid is 1 to 64 letters, digits, `_` and `-`")]
    Name {
        /// What was given.
        found: String,
    },
    /// A file among a party's keys that cannot be used.
    #[error("{}: {found}; valid is {valid}", .file.display())]
    KeyExprs {
        /// The file, or the folder.
        file: PathBuf,
        /// What was found.
        found: String,
        /// What would be valid.
        valid: String,
    },
    /// Somebody else serves a plant of this name here.
    #[error("plant {name:?} is already served here")]
    Served {
        /// The name.
        name: String,
    },
    /// Nobody controls a plant, so nobody was told.
    #[error("plant {name:?}: nobody hears the operator's key; valid is a plant that `aegis run` drives")]
    Unheard {
        /// The name.
        name: String,
    },
    /// Nobody serves at an endpoint, or one end refuses the other's certificate.
    #[error(
        "endpoint {found:?}: cannot connect: {reason}; valid is where a plant is served, as `aegis sim serve` does"
    )]
    Drive {
        /// The endpoint.
        found: String,
        /// What Zenoh reports.
        reason: String,
    },
    /// An endpoint that cannot be listened at.
    #[error(
        "endpoint {found:?}: cannot listen: {reason}; valid is an address of this machine with a free port"
    )]
    Serve {
        /// The endpoint.
        found: String,
        /// What Zenoh reports.
        reason: String,
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
    /// The plant answers with what is no message, or none of this version.
    #[error(
        "plant {name:?}: its answer to a {question} cannot be read: {reason}; valid is what docs/protocol.md says of it"
    )]
    Unread {
        /// The name.
        name: String,
        /// Name of the message that it answers.
        question: &'static str,
        /// What is wrong with the answer, with the field.
        reason: String,
    },
    /// Zenoh's own error.
    #[error("Zenoh: {0}")]
    Zenoh(String),
}

impl From<zenoh::Error> for LinkError {
    fn from(error: zenoh::Error) -> Self {
        Self::Zenoh(words(&error))
    }
}

/// What a Zenoh error says, without the place in Zenoh's source that each of its parts ends with.
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

/// Which side of the link this process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Listens and serves plants.
    Serve,
    /// Connects and drives them.
    Drive,
}

/// What carries the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// Plain TCP: whoever is on the line can read and write.
    Tcp,
    /// TLS 1.3; both ends show a certificate.
    Tls,
}

impl Carrier {
    /// As it begins an endpoint.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Tls => "tls",
        }
    }
}

/// A Zenoh locator whose host has been looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    locator: String,
    carrier: Carrier,
    loopback: bool,
}

impl FromStr for Endpoint {
    type Err = LinkError;

    fn from_str(text: &str) -> Result<Self, LinkError> {
        let wrong = |reason: &str| LinkError::Endpoint { found: text.into(), reason: reason.into() };
        let carriers = [Carrier::Tcp, Carrier::Tls];
        let (carrier, address) = text
            .split_once('/')
            .and_then(|(name, rest)| Some((carriers.into_iter().find(|one| one.name() == name)?, rest)))
            .ok_or_else(|| wrong("neither TCP nor TLS"))?;
        let (host, port) = address.rsplit_once(':').ok_or_else(|| wrong("it has no port"))?;
        port.parse::<u16>().map_err(|_| wrong("the port is no number from 0 to 65535"))?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if bare.is_empty() {
            return Err(wrong("it has no host"));
        }
        // Zenoh reads settings behind `?` and `#`, and one of them would turn the guard's checks off again.
        let plain =
            |text: &str, more: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c));
        let (address, zone) = bare.split_once('%').unwrap_or((bare, ""));
        let numeric = address.parse::<IpAddr>().is_ok() && plain(zone, "-._");
        if !numeric && !plain(bare, "-._") {
            return Err(wrong("the host is neither a name nor an address"));
        }
        let loopback = bare == "localhost" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
        Ok(Self { locator: text.into(), carrier, loopback })
    }
}

impl Endpoint {
    /// What carries the bytes.
    pub fn carrier(&self) -> Carrier {
        self.carrier
    }

    /// As Zenoh takes it.
    pub fn locator(&self) -> &str {
        &self.locator
    }

    /// Lets an endpoint pass that nobody else can reach, or that has keys. TLS without keys is refused, and keys
    /// without TLS, and plain TCP off loopback unless `plaintext_allowed`.
    ///
    /// # Errors
    /// [`LinkError::Endpoint`] says what is missing.
    pub fn guard(self, plaintext_allowed: bool, keys: Option<Credentials>) -> Result<Guarded, LinkError> {
        let wrong =
            |reason: &str| Err(LinkError::Endpoint { found: self.locator.clone(), reason: reason.into() });
        match (self.carrier, &keys) {
            (Carrier::Tls, None) => wrong(
                "TLS needs keys; `aegis keys` makes them for development, and keys name them (--keys FOLDER, or `keys` in \
                 a robot file)",
            ),
            (Carrier::Tcp, Some(_)) => {
                wrong("plain TCP uses no keys; begin it with tls/, or leave the keys out")
            }
            (Carrier::Tcp, None) if !self.loopback && !plaintext_allowed => wrong(
                "plain TCP off loopback lets anybody there read and move the plant; begin it with tls/ and make keys \
                 with `aegis keys`, or pass --allow-plaintext-network",
            ),
            _ => Ok(Guarded { endpoint: self, keys }),
        }
    }
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.locator)
    }
}

/// An endpoint that [`Endpoint::guard`] let pass; only such a one is opened.
#[derive(Clone, Debug)]
pub struct Guarded {
    endpoint: Endpoint,
    keys: Option<Credentials>,
}

impl Guarded {
    /// The endpoint.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The keys, which every TLS endpoint has.
    pub fn keys(&self) -> Option<&Credentials> {
        self.keys.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(text: &str) -> Endpoint {
        text.parse().unwrap()
    }

    #[test]
    fn only_loopback_passes_unasked() {
        for text in ["tcp/127.0.0.1:7447", "tcp/localhost:0", "tcp/[::1]:1", "tcp/127.8.9.1:65535"] {
            assert!(endpoint(text).guard(false, None).is_ok(), "{text}");
        }
        for text in ["tcp/0.0.0.0:7447", "tcp/192.0.2.1:7447", "tcp/robot.local:7447", "tcp/[::]:7447"] {
            let message = endpoint(text).guard(false, None).unwrap_err().to_string();
            for word in [text, "loopback", "tls/", "aegis keys", "--allow-plaintext-network"] {
                assert!(message.contains(word), "{word} is missing from: {message}");
            }
            assert!(endpoint(text).guard(true, None).is_ok());
        }
    }

    #[test]
    fn tls_passes_with_keys_alone_and_keys_with_tls_alone() {
        let folder = Credentials::at("here");
        for text in ["tls/192.0.2.1:7447", "tls/127.0.0.1:0", "tls/[::]:7447"] {
            for allowed in [false, true] {
                let message = endpoint(text).guard(allowed, None).unwrap_err().to_string();
                assert!(message.contains(text) && message.contains("--keys FOLDER"), "{message}");
            }
            let guarded = endpoint(text).guard(false, Some(folder.clone())).unwrap();
            assert_eq!((guarded.endpoint().carrier(), guarded.keys()), (Carrier::Tls, Some(&folder)));
        }
        let message = endpoint("tcp/127.0.0.1:1").guard(true, Some(folder)).unwrap_err().to_string();
        assert!(message.contains("plain TCP uses no keys"), "{message}");
    }

    #[test]
    fn what_zenoh_says_is_kept_without_the_places_in_its_source() {
        let error = zenoh::Error::from(
            "Unable to connect to any of [tcp/127.0.0.1:9]. Timeout! at /root/zenoh/orchestrator.rs:388."
                .to_owned(),
        );
        assert_eq!(words(&error), "Unable to connect to any of [tcp/127.0.0.1:9]. Timeout!");
        let error = zenoh::Error::from(
            "no: bad certificate at /a/tls.rs:1. at /b/link.rs:20. - Caused by keys at /etc/keys: none"
                .to_owned(),
        );
        assert_eq!(words(&error), "no: bad certificate - Caused by keys at /etc/keys: none");
    }

    #[test]
    fn an_endpoint_that_is_none_says_what_would_be() {
        for text in [
            "127.0.0.1:7447",
            "udp/127.0.0.1:1",
            "tcp/127.0.0.1",
            "tls/127.0.0.1:70000",
            "tcp/:1",
            "tls/robot#enable_mtls=false;x:7447",
            "tcp/robot?a=b:7447",
            "tls/robot.local:1:7447",
        ] {
            let message = text.parse::<Endpoint>().unwrap_err().to_string();
            assert!(message.contains(text) && message.contains("tcp/127.0.0.1:7447"), "{message}");
        }
    }
}

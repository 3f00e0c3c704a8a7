//! Endpoints: parsing, and the guard that every endpoint must pass before a session opens.
//! Pure. Off loopback a link is encrypted and authenticated, unless the caller explicitly allows plaintext.

use std::net::IpAddr;
use std::str::FromStr;

use crate::credentials::Credentials;
use crate::error::LinkError;

/// Transport that carries the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// Plain TCP: anyone on the network path can read and write.
    Tcp,
    /// TLS 1.3; both ends show a certificate.
    Tls,
}

impl Carrier {
    /// Returns the transport's name, the prefix of an endpoint.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Tls => "tls",
        }
    }
}

/// A Zenoh locator whose host has been validated.
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
    /// Returns the transport that carries the bytes.
    pub fn carrier(&self) -> Carrier {
        self.carrier
    }

    /// Returns the endpoint as a Zenoh locator.
    pub fn locator(&self) -> &str {
        &self.locator
    }

    /// Passes an endpoint that is on loopback or that uses TLS with keys. TLS without keys and keys without TLS are refused,
    /// and plain TCP off loopback is refused unless `plaintext_allowed`.
    ///
    /// # Errors
    /// [`LinkError::Endpoint`] states what is missing.
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

/// An endpoint that passed [`Endpoint::guard`]; a session opens only at such an endpoint.
#[derive(Clone, Debug)]
pub struct Guarded {
    endpoint: Endpoint,
    keys: Option<Credentials>,
}

impl Guarded {
    /// Returns the endpoint.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Returns the keys; `Some` for every TLS endpoint.
    pub fn keys(&self) -> Option<&Credentials> {
        self.keys.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::words;

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

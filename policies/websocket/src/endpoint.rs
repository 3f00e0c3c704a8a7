//! Endpoints of WebSocket servers, checked before a connection opens: a server on another machine needs TLS. Pure.

use std::net::IpAddr;
use std::str::FromStr;

/// Port of `wss://` where none is given.
const TLS_PORT: u16 = 443;

/// Address of a WebSocket server, whose host has been validated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    text: String,
    host: String,
    port: u16,
    is_tls: bool,
}

/// Error of an endpoint that is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "found {found:?}: {reason}; valid is ws://127.0.0.1:PORT on this machine, or wss://HOST[:PORT][/PATH]"
)]
pub struct EndpointError {
    found: String,
    reason: &'static str,
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let wrong = |reason| EndpointError { found: text.into(), reason };
        if text.contains('@') {
            // The text may have a password, so it is not shown.
            let reason = "it has a user's name or password";
            return Err(EndpointError { found: "an address with @".into(), reason });
        }
        let (scheme, rest) = text.split_once("://").ok_or_else(|| wrong("it has no scheme"))?;
        let is_tls = match scheme {
            "ws" => false,
            "wss" => true,
            _ => return Err(wrong("the scheme is neither ws nor wss")),
        };
        let (address, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let plain =
            |text: &str, more: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c));
        if !plain(path, "-._~/") {
            return Err(wrong("the path has characters other than letters, digits and -._~/"));
        }
        // A colon within brackets is an IPv6 address's.
        let colon = address.rfind(':').filter(|place| !address[*place..].contains(']'));
        let (host, port) = match colon {
            Some(place) => {
                let port = address[place + 1..].parse();
                (&address[..place], port.map_err(|_| wrong("the port is not a number from 0 to 65535"))?)
            }
            None if is_tls => (address, TLS_PORT),
            None => return Err(wrong("it has no port")),
        };
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let ip = bare.parse::<IpAddr>().ok();
        if bare.is_empty() || (ip.is_none() && !plain(bare, "-._")) {
            return Err(wrong("the host is neither a name nor an address"));
        }
        let is_here = bare == "localhost" || ip.is_some_and(|ip| ip.is_loopback());
        if !is_tls && !is_here {
            return Err(wrong(
                "on a network, plain ws lets anyone read the pictures and reply in the server's place",
            ));
        }
        Ok(Self { text: text.into(), host: bare.into(), port, is_tls })
    }
}

impl Endpoint {
    /// Returns host and port.
    pub fn address(&self) -> (&str, u16) {
        (&self.host, self.port)
    }

    /// Returns whether TLS carries the bytes.
    pub fn is_tls(&self) -> bool {
        self.is_tls
    }

    /// Returns the endpoint as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_is_for_this_machine_and_tls_for_any() {
        for (text, host, port, is_tls) in [
            ("ws://127.0.0.1:8000", "127.0.0.1", 8000, false),
            ("ws://localhost:0", "localhost", 0, false),
            ("ws://[::1]:8000/v1", "::1", 8000, false),
            ("wss://policy.example/a/b", "policy.example", 443, true),
            ("wss://192.0.2.1:8443", "192.0.2.1", 8443, true),
            ("wss://[2001:db8::1]", "2001:db8::1", 443, true),
        ] {
            let endpoint: Endpoint = text.parse().unwrap();
            assert_eq!((endpoint.address(), endpoint.is_tls()), ((host, port), is_tls), "{text}");
        }
        for (text, reason) in [
            ("127.0.0.1:8000", "no scheme"),
            ("http://127.0.0.1:8000", "neither ws nor wss"),
            ("ws://127.0.0.1", "no port"),
            ("ws://127.0.0.1:70000", "not a number"),
            ("ws://192.0.2.1:8000", "on a network"),
            ("ws://robot.local:8000", "on a network"),
            ("ws://localhost.example:8000", "on a network"),
            ("wss://", "neither a name"),
            ("wss://user:word@host", "a user's name or password"),
            ("wss://host/a?key=1", "the path has"),
            ("ws://127.0.0.1@evil.example:8000", "a user's name or password"),
        ] {
            let error = text.parse::<Endpoint>().unwrap_err().to_string();
            assert!(error.contains(reason) && error.contains("ws://127.0.0.1:PORT"), "{text}: {error}");
            assert!(!error.contains("word@"), "{error}");
        }
    }
}

//! Opening a Zenoh session with bounds: one endpoint that passed the guard, no scouting, limited message sizes and rates.
//! A pure function makes the settings; over TLS they include certificates and access rights.

use std::io::ErrorKind;
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use zenoh::Wait;
use zenoh::shm::ShmProviderState;

use crate::KeyExprs;
use crate::access::Role;
use crate::access::access_control;
use crate::credentials::{AUTHORITY, CERTIFICATE, PRIVATE};
use crate::endpoint::{Endpoint, Guarded};
use crate::error::{LinkError, words};
use crate::wire::MAX_MESSAGE;

/// Longest wait until a process listens at an endpoint.
const LISTENER: Duration = Duration::from_secs(5);
/// Longest wait for the answer of a process that listens, which may be on a busy machine.
const ANSWER: Duration = Duration::from_secs(20);
/// Time that a serving session waits for Zenoh to create its shared memory; without shared memory, pictures are copied.
const SHARED_MEMORY_WAIT: Duration = Duration::from_secs(2);
/// Least size of a message that goes through shared memory, bytes: that of a small picture.
const SHARED_FROM: usize = 12 * 1024;
/// Maximum number of peers of a session; each may occupy [`MAX_MESSAGE`] bytes with an incomplete message.
const MAX_PEERS: usize = 32;
/// Maximum rate of requests of one peer to one plant, hertz: twice what a lock-step controller reaches on one machine.
const MAX_REQUESTS: f64 = 20_000.0;
/// Maximum rate of actions of one peer to one plant, hertz: above any robot's control rate.
const MAX_ACTIONS: f64 = 5_000.0;
/// Maximum rate of requests of one watchdog to one plant, hertz: a hundred times the rate at which a stop is asked for again.
const MAX_STOPS: f64 = 1_000.0;
/// Maximum rate of commands of one person's program, hertz: a thousand times a second is faster than any input device.
const MAX_TELEOPS: f64 = 1_000.0;
/// Maximum rate of heartbeats of one peer to one plant, hertz: ten times the protocol's rate.
const MAX_PULSES: f64 = 100.0;
/// Time that a peer which reads nothing may block a sender over TLS, microseconds; Zenoh then drops the peer.
const MAX_BLOCKED_US: u64 = 1_000_000;

/// Maximum number of 64 KiB batches per priority that wait to be sent over TLS; Zenoh's upper limit. A session relays
/// messages between its peers on the same thread that sends. A message without room in the queue would block that thread,
/// which alone could empty the queue, until the peer is dropped.
const MAX_BATCHES: usize = 16;

/// Opens a plaintext session on loopback.
///
/// # Errors
/// [`LinkError::Endpoint`] for an endpoint that is not on loopback or that needs keys; [`LinkError::Drive`] where no
/// process listens at the endpoint; [`LinkError::Serve`] where another process already listens there.
pub fn open(role: Role, endpoint: &Endpoint) -> Result<zenoh::Session, LinkError> {
    open_guarded(role, &endpoint.clone().guard(false, None)?, &[])
}

/// Opens a session for `plants`, the names that are served or driven over it; over TLS the session carries no other plant.
///
/// # Errors
/// [`LinkError::Drive`] where no process listens at the endpoint, or one end refuses the other's certificate;
/// [`LinkError::Serve`] where another process already listens there; [`LinkError::Name`] for an invalid plant name;
/// [`LinkError::Endpoint`] for an IPv6 address to connect to over TLS.
pub fn open_guarded(role: Role, guarded: &Guarded, plants: &[String]) -> Result<zenoh::Session, LinkError> {
    let found = guarded.endpoint().locator();
    if role == Role::Drive && guarded.keys().is_some() && found.contains('[') {
        let reason = "Zenoh connects to no IPv6 address over TLS; give the host's name".into();
        return Err(LinkError::Endpoint { found: found.into(), reason });
    }
    if role == Role::Drive && guarded.keys().is_none() {
        await_listener(found).map_err(|reason| LinkError::Drive { found: found.to_owned(), reason })?;
    }
    let mut config = zenoh::Config::default();
    for (key, value) in settings(role, guarded, plants)? {
        config.insert_json5(&key, &value.to_string())?;
    }
    let session = zenoh::open(config).wait().map_err(|error| {
        let (found, reason) = (found.to_owned(), words(&error));
        match role {
            Role::Drive => LinkError::Drive { found, reason },
            Role::Serve => LinkError::Serve { found, reason },
        }
    })?;
    if role == Role::Serve && guarded.keys().is_none() {
        make_shared_memory(&session);
    }
    Ok(session)
}

/// Waits until a process listens at the address of a locator, such as `tcp/127.0.0.1:7447`. It may have been started just before.
fn await_listener(locator: &str) -> Result<(), String> {
    let address = locator.split_once('/').map_or(locator, |(_, address)| address);
    let begin = Instant::now();
    loop {
        let refused = match address.to_socket_addrs() {
            // Zenoh says what is wrong with an address that cannot be tried here.
            Err(_) => return Ok(()),
            Ok(found) => {
                let mut tried = found.map(|one| TcpStream::connect_timeout(&one, LISTENER));
                let refused = |result: &std::io::Result<_>| {
                    result.as_ref().is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
                };
                tried.all(|result| refused(&result))
            }
        };
        if !refused {
            return Ok(());
        }
        if begin.elapsed() > LISTENER {
            return Err(format!("nobody listens there ({} s)", LISTENER.as_secs()));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Returns every setting that differs from Zenoh's defaults, as pairs of key and value.
fn settings(role: Role, guarded: &Guarded, plants: &[String]) -> Result<Vec<(String, Value)>, LinkError> {
    let endpoint = guarded.endpoint();
    let (mode, side, other, patience) = match role {
        Role::Serve => ("peer", "listen", "connect", LISTENER),
        Role::Drive => ("client", "connect", "listen", ANSWER),
    };
    let mut all = vec![
        ("mode".into(), mode.into()),
        (format!("{side}/endpoints"), json!([endpoint.locator()])),
        (format!("{side}/timeout_ms"), json!(patience.as_millis() as u64)),
        (format!("{side}/exit_on_failure"), true.into()),
        (format!("{other}/endpoints"), json!([])),
        ("scouting/multicast/enabled".into(), false.into()),
        ("scouting/gossip/enabled".into(), false.into()),
        ("transport/link/protocols".into(), json!([endpoint.carrier().name()])),
        // The default is 1 GiB.
        ("transport/link/rx/max_message_size".into(), MAX_MESSAGE.into()),
        ("transport/unicast/max_sessions".into(), MAX_PEERS.into()),
        // Large messages use shared memory where both ends are on one host and no access control is needed.
        ("transport/shared_memory/enabled".into(), guarded.keys().is_none().into()),
        // Only pictures: ends on one host that share no memory, as in containers, would lose what goes through it.
        ("transport/shared_memory/transport_optimization/message_size_threshold".into(), SHARED_FROM.into()),
    ];
    if let Some(keys) = guarded.keys() {
        let tls = |name: &str, value: Value| (format!("transport/link/tls/{name}"), value);
        all.extend([
            tls("enable_mtls", true.into()),
            tls("verify_name_on_connect", true.into()),
            tls("close_link_on_expiration", true.into()),
            tls("root_ca_certificate", keys.path(AUTHORITY).into()),
            tls(&format!("{side}_certificate"), keys.path(CERTIFICATE).into()),
            tls(&format!("{side}_private_key"), keys.path(PRIVATE).into()),
            ("access_control".into(), access_control(role, plants)?),
            (
                "transport/link/tx/queue/congestion_control/block/wait_before_close".into(),
                MAX_BLOCKED_US.into(),
            ),
        ]);
        if role == Role::Serve {
            all.push(("downsampling".into(), rates(plants)?));
            all.push(("transport/link/tx/queue/size/data".into(), MAX_BATCHES.into()));
        }
    }
    Ok(all)
}

/// Returns Zenoh's `downsampling` setting for a session that serves `plants`. Rates are counted for each peer separately,
/// so that a peer that floods does not reduce the rates of the others.
fn rates(plants: &[String]) -> Result<Value, LinkError> {
    let (mut queries, mut puts) = (Vec::new(), Vec::new());
    if plants.is_empty() {
        return Ok(json!([]));
    }
    for plant in plants {
        let keys = KeyExprs::of(plant)?;
        queries.push(json!({ "key_expr": keys.request, "freq": MAX_REQUESTS }));
        queries.push(json!({ "key_expr": keys.watchdog, "freq": MAX_STOPS }));
        puts.push(json!({ "key_expr": keys.action, "freq": MAX_ACTIONS }));
        puts.push(json!({ "key_expr": keys.pulse, "freq": MAX_PULSES }));
        puts.push(json!({ "key_expr": keys.teleop, "freq": MAX_TELEOPS }));
    }
    Ok(json!([
        { "id": "requests", "flows": ["ingress"], "messages": ["query"], "rules": queries },
        { "id": "commands", "flows": ["ingress"], "messages": ["put"], "rules": puts },
    ]))
}

/// Makes Zenoh create its shared memory now: otherwise Zenoh would start with the first large message and copy that one.
/// The function polls instead of waiting on the provider that Zenoh returns, because such a wait would take the result
/// away from Zenoh itself.
fn make_shared_memory(session: &zenoh::Session) {
    let until = Instant::now() + SHARED_MEMORY_WAIT;
    while matches!(session.get_shm_provider(), ShmProviderState::Initializing(_)) && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Returns the endpoint at which a serving session listens; for port 0, with the port that the system chose.
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
    use crate::credentials::Credentials;

    #[test]
    fn zenoh_takes_every_setting_and_tls_has_certificates_and_denies() {
        for role in [Role::Serve, Role::Drive] {
            let endpoint: Endpoint = "tls/192.0.2.1:7447".parse().unwrap();
            let guarded = endpoint.guard(false, Some(Credentials::at("a=b/keys"))).unwrap();
            let mut config = zenoh::Config::default();
            for (key, value) in settings(role, &guarded, &["one".into(), "two".into()]).unwrap() {
                config
                    .insert_json5(&key, &value.to_string())
                    .unwrap_or_else(|error| panic!("{key}: {error}"));
            }
            let set = |key| config.get_json(key).unwrap();
            assert_eq!(set("transport/link/tls/enable_mtls"), "true");
            assert_eq!(set("transport/link/protocols"), r#"["tls"]"#);
            assert_eq!(set("access_control/default_permission"), r#""deny""#);
            assert_eq!(set("access_control/enabled"), "true");
        }
    }

    #[test]
    fn settings_of_a_plant_are_those_of_the_python_side() {
        let cases: Value = serde_json::from_str(include_str!("../tests/serve_settings.json")).unwrap();
        for case in cases.as_array().unwrap() {
            let endpoint: Endpoint = case["endpoint"].as_str().unwrap().parse().unwrap();
            let guarded = endpoint.guard(false, case["keys"].as_str().map(Credentials::at)).unwrap();
            let plants: Vec<String> = serde_json::from_value(case["plants"].clone()).unwrap();
            let found = settings(Role::Serve, &guarded, &plants).unwrap();
            let expected = case["settings"].as_object().unwrap();
            assert_eq!(found.len(), expected.len());
            for (key, value) in found {
                assert_eq!(Some(&value), expected.get(&key), "{key}");
            }
        }
    }

    #[test]
    fn a_plain_session_opens_on_this_machine_alone() {
        for text in ["tcp/0.0.0.0:0", "tls/127.0.0.1:0"] {
            let opened = open(Role::Serve, &text.parse().unwrap());
            assert!(matches!(opened, Err(LinkError::Endpoint { .. })), "{text}");
        }
        let guarded =
            "tls/[::1]:1".parse::<Endpoint>().unwrap().guard(false, Some(Credentials::at("k"))).unwrap();
        let message = open_guarded(Role::Drive, &guarded, &[]).unwrap_err().to_string();
        assert!(message.contains("tls/[::1]:1") && message.contains("IPv6"), "{message}");
    }
}

//! Opening a Zenoh session with bounds: one endpoint that the guard let pass, no scouting, limited messages and rates.
//! The settings are values, made by a pure function; over TLS they hold both ends' certificates and who may do what.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use zenoh::Wait;
use zenoh::shm::ShmProviderState;

use crate::KeyExprs;
use crate::access::access_control;
use crate::credentials::{AUTHORITY, CERTIFICATE, PRIVATE};
use crate::endpoint::{Endpoint, Guarded, LinkError, Role, words};
use crate::wire::MAX_MESSAGE;

/// How long a serving session waits for the memory that it will share; without it, pictures are copied.
const SHARED_MEMORY_WAIT: Duration = Duration::from_secs(2);
/// Peers of a serving session; each may hold a message of [`MAX_MESSAGE`] that is not whole yet.
const MAX_PEERS: usize = 32;
/// Requests of one peer to one plant, hertz: twice what a lock-step controller reaches on one machine.
const MAX_REQUESTS: f64 = 20_000.0;
/// Actions of one peer to one plant, hertz: above any robot's control rate.
const MAX_ACTIONS: f64 = 5_000.0;
/// Heartbeats of one peer to one plant, hertz: ten times what the protocol asks for.
const MAX_PULSES: f64 = 100.0;
/// How long a peer that reads nothing may hold up whoever sends to it over TLS, microseconds; Zenoh then drops the peer.
const MAX_BLOCKED_US: u64 = 1_000_000;

/// Batches of 64 KiB, for each priority, that wait to be sent over TLS; Zenoh's most. A session passes messages between its
/// peers on the thread that also sends: one for which there is no room waits there for itself, until the peer is dropped.
const MAX_BATCHES: usize = 16;

/// Opens a plain session on this machine.
///
/// # Errors
/// [`LinkError::Endpoint`] for an endpoint that others can reach, or that needs keys; [`LinkError::Drive`] where nobody
/// listens there; [`LinkError::Serve`] where somebody listens already.
pub fn open(role: Role, endpoint: &Endpoint) -> Result<zenoh::Session, LinkError> {
    open_guarded(role, &endpoint.clone().guard(false, None)?, &[])
}

/// Opens a session for `plants`, the names that are served or driven over it; over TLS it carries no other.
///
/// # Errors
/// [`LinkError::Drive`] where nobody listens there, or one end refuses the other's certificate; [`LinkError::Serve`]
/// where somebody listens already; [`LinkError::Name`] for a plant's name that is none; [`LinkError::Endpoint`] for an IPv6 address to
/// connect to over TLS.
pub fn open_guarded(role: Role, guarded: &Guarded, plants: &[String]) -> Result<zenoh::Session, LinkError> {
    let found = guarded.endpoint().locator();
    if role == Role::Drive && guarded.keys().is_some() && found.contains('[') {
        let reason = "Zenoh connects to no IPv6 address over TLS; give the host's name".into();
        return Err(LinkError::Endpoint { found: found.into(), reason });
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

/// All that differs from Zenoh's defaults.
fn settings(role: Role, guarded: &Guarded, plants: &[String]) -> Result<Vec<(String, Value)>, LinkError> {
    let endpoint = guarded.endpoint();
    let (mode, side, other) = match role {
        Role::Serve => ("peer", "listen", "connect"),
        Role::Drive => ("client", "connect", "listen"),
    };
    let mut all = vec![
        ("mode".into(), mode.into()),
        (format!("{side}/endpoints"), json!([endpoint.locator()])),
        (format!("{side}/timeout_ms"), 5000.into()),
        (format!("{side}/exit_on_failure"), true.into()),
        (format!("{other}/endpoints"), json!([])),
        ("scouting/multicast/enabled".into(), false.into()),
        ("scouting/gossip/enabled".into(), false.into()),
        ("transport/link/protocols".into(), json!([endpoint.carrier().name()])),
        // The default is 1 GiB.
        ("transport/link/rx/max_message_size".into(), MAX_MESSAGE.into()),
        ("transport/unicast/max_sessions".into(), MAX_PEERS.into()),
        // Large messages go through shared memory where both ends share a host and nobody has to be kept out.
        ("transport/shared_memory/enabled".into(), guarded.keys().is_none().into()),
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

/// Zenoh's `downsampling` for a session that serves `plants`: counted for each peer alone, so that one that floods
/// takes nothing from the others.
fn rates(plants: &[String]) -> Result<Value, LinkError> {
    let (mut queries, mut puts) = (Vec::new(), Vec::new());
    if plants.is_empty() {
        return Ok(json!([]));
    }
    for plant in plants {
        let keys = KeyExprs::of(plant)?;
        queries.push(json!({ "key_expr": keys.request, "freq": MAX_REQUESTS }));
        puts.push(json!({ "key_expr": keys.action, "freq": MAX_ACTIONS }));
        puts.push(json!({ "key_expr": keys.pulse, "freq": MAX_PULSES }));
    }
    Ok(json!([
        { "id": "requests", "flows": ["ingress"], "messages": ["query"], "rules": queries },
        { "id": "commands", "flows": ["ingress"], "messages": ["put"], "rules": puts },
    ]))
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

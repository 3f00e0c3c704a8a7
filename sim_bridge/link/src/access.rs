//! Access rights, as settings of Zenoh's access control. A certificate's common name states its principal, and this
//! module lists the rights of each principal. Pure. Everything that is not listed here is denied, in both directions.
//!
//! A certificate named `controller` is valid for every plant, one named `controller.NAME` for the plant NAME alone.

use serde_json::{Value, json};

use crate::KeyExprs;
use crate::error::LinkError;

/// Role of a certificate's owner: the certificate's common name, or the part of it before the plant's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Principal {
    /// Serves plants.
    Plant,
    /// Drives plants and asks policies.
    Controller,
    /// Receives heartbeats and observations, and nothing else.
    Watcher,
    /// Sends operator commands to controllers, drives plants by hand when a controller calls, and receives what a watcher receives.
    Operator,
    /// Serves a plant's policy, under `aegis/NAME/policy`.
    Policy,
    /// Reads what is sent to a plant and what the plant executes, and asks the plant to stop.
    Watchdog,
}

impl Principal {
    /// All principals.
    pub const ALL: [Self; 6] =
        [Self::Plant, Self::Controller, Self::Watcher, Self::Operator, Self::Policy, Self::Watchdog];

    /// Returns the principal's name as written in a certificate.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plant => "plant",
            Self::Controller => "controller",
            Self::Watcher => "watcher",
            Self::Operator => "operator",
            Self::Policy => "policy",
            Self::Watchdog => "watchdog",
        }
    }

    /// Returns the common name of this principal's certificate: for every plant, or for `plant` alone.
    pub fn common_name(self, plant: Option<&str>) -> String {
        plant.map_or_else(|| self.name().into(), |plant| format!("{}.{plant}", self.name()))
    }

    /// Returns whether other principals connect to this one, so that its certificate must prove its host's name.
    pub fn listens(self) -> bool {
        matches!(self, Self::Plant | Self::Policy)
    }

    /// Returns whether this principal connects to others.
    pub fn connects(self) -> bool {
        self != Self::Plant
    }
}

/// Right of the principal at the other end to use a key. Each right needs messages in both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Right {
    Publish,
    Receive,
    Ask,
    Answer,
    /// Declares a liveliness token.
    Live,
    /// Observes liveliness tokens.
    Watch,
}

impl Right {
    /// Returns the kinds of message that the right allows: from the principal to this process, and from this process to the
    /// principal.
    fn messages(self) -> [&'static [&'static str]; 2] {
        let watch: &[_] = &["liveliness_query", "declare_liveliness_subscriber"];
        match self {
            Self::Publish => [&["put"], &["declare_subscriber"]],
            Self::Receive => [&["declare_subscriber"], &["put"]],
            Self::Ask => [&["query"], &["reply", "declare_queryable"]],
            Self::Answer => [&["reply", "declare_queryable"], &["query"]],
            Self::Live => [&["liveliness_token"], watch],
            Self::Watch => [watch, &["liveliness_token"]],
        }
    }
}

/// Returns the rights of a principal on the keys of one plant.
fn rights(party: Principal, keys: &KeyExprs) -> Vec<(Right, &str)> {
    let KeyExprs {
        request,
        status,
        pulse,
        action,
        executed,
        watchdog,
        observation,
        camera,
        operator,
        teleop,
        call,
        alive,
        policy,
    } = keys;
    let rights: &[(Right, &[&String])] = match party {
        Principal::Controller => &[
            (Right::Ask, &[request, policy]),
            (Right::Publish, &[pulse, action, call]),
            (Right::Receive, &[status, observation, camera, operator, policy, teleop]),
            (Right::Watch, &[alive, policy]),
        ],
        Principal::Watcher => &[(Right::Receive, &[status, observation, camera]), (Right::Watch, &[alive])],
        Principal::Operator => &[
            (Right::Publish, &[operator, teleop]),
            (Right::Receive, &[status, observation, camera, call]),
            (Right::Watch, &[alive]),
        ],
        Principal::Policy => {
            &[(Right::Answer, &[policy]), (Right::Publish, &[policy]), (Right::Live, &[policy])]
        }
        Principal::Watchdog => &[
            (Right::Ask, &[watchdog]),
            (Right::Receive, &[status, action, executed]),
            (Right::Watch, &[alive]),
        ],
        // The plant's rights as seen by the principals that connect to it. The plant's session relays between its peers, so
        // a policy's answers, an operator's commands and a controller's actions arrive from the plant.
        Principal::Plant => &[
            (Right::Answer, &[request, policy, watchdog]),
            (Right::Receive, &[pulse, action, operator, policy, teleop, call]),
            (
                Right::Publish,
                &[status, observation, camera, operator, policy, action, executed, teleop, call],
            ),
            (Right::Live, &[alive, policy]),
            (Right::Ask, &[policy]),
            (Right::Watch, &[policy]),
        ],
    };
    rights.iter().flat_map(|(right, keys)| keys.iter().map(move |key| (*right, key.as_str()))).collect()
}

/// Returns Zenoh's `access_control` setting for a session that serves or drives `plants`.
///
/// # Errors
/// [`LinkError::Name`] for an invalid plant name.
pub fn access_control(role: Role, plants: &[String]) -> Result<Value, LinkError> {
    let parties: &[Principal] = match role {
        Role::Serve => &[
            Principal::Controller,
            Principal::Watcher,
            Principal::Operator,
            Principal::Policy,
            Principal::Watchdog,
        ],
        // When connecting, Zenoh trusts every public certificate authority besides the key folder's; the common name
        // distinguishes this project's certificates from public ones.
        Role::Drive => &[Principal::Plant, Principal::Policy],
    };
    let (mut rules, mut subjects, mut policies) = (Vec::new(), Vec::new(), Vec::new());
    for party in parties {
        for plant in plants {
            let keys = KeyExprs::of(plant)?;
            let subject = party.common_name(Some(plant));
            let mut names = Vec::new();
            for (right, key) in rights(*party, &keys) {
                for (flow, messages) in ["ingress", "egress"].into_iter().zip(right.messages()) {
                    let id = format!("{subject}: {right:?} {key}, {flow}");
                    rules.push(json!({
                        "id": id, "permission": "allow", "flows": [flow], "messages": messages, "key_exprs": [key],
                    }));
                    names.push(id);
                }
            }
            let common_names = [party.common_name(None), subject.clone()];
            subjects.push(json!({ "id": subject, "cert_common_names": common_names }));
            policies.push(json!({ "rules": names, "subjects": [subject] }));
        }
    }
    Ok(json!({
        "enabled": true, "default_permission": "deny", "rules": rules, "subjects": subjects, "policies": policies,
    }))
}

/// Side of the link on which this process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Listens and serves plants.
    Serve,
    /// Connects to plants and drives them.
    Drive,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns what Zenoh would allow between a session of `role` and a peer named `name`: (flow, message, key).
    fn allowed(role: Role, name: &str) -> Vec<(String, String, String)> {
        let control = access_control(role, &["one".into(), "two".into()]).unwrap();
        let list = |value: &Value| value.as_array().unwrap().clone();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let mut all = Vec::new();
        for subject in list(&control["subjects"]) {
            if !list(&subject["cert_common_names"]).contains(&name.into()) {
                continue;
            }
            for policy in list(&control["policies"]).iter().filter(|p| p["subjects"][0] == subject["id"]) {
                for rule in
                    list(&control["rules"]).iter().filter(|r| list(&policy["rules"]).contains(&r["id"]))
                {
                    for message in list(&rule["messages"]) {
                        all.push((text(&rule["flows"][0]), text(&message), text(&rule["key_exprs"][0])));
                    }
                }
            }
        }
        all
    }

    #[test]
    fn a_watcher_sends_nothing_that_carries_data() {
        let watcher = allowed(Role::Serve, "watcher");
        assert!(watcher.iter().any(|(flow, message, _)| flow == "egress" && message == "put"));
        for (flow, message, key) in &watcher {
            assert!(
                flow == "egress" || !["put", "query", "reply", "delete"].contains(&message.as_str()),
                "{key}"
            );
            assert!(
                ["status", "observation", "camera", "alive"].iter().any(|leaf| key.ends_with(leaf)),
                "{key}"
            );
        }
    }

    #[test]
    fn a_watchdog_reads_what_moves_the_plant_and_asks_for_nothing_but_a_stop() {
        let watchdog = allowed(Role::Serve, "watchdog.one");
        let sends = |message: &str| {
            !["declare_subscriber", "liveliness_query", "declare_liveliness_subscriber"].contains(&message)
        };
        let sent: Vec<_> =
            watchdog.iter().filter(|(flow, message, _)| flow == "ingress" && sends(message)).collect();
        assert_eq!(sent, [&("ingress".into(), "query".into(), "aegis/one/watchdog".into())]);
        let reads =
            |key: &str| watchdog.contains(&("egress".into(), "put".into(), format!("aegis/one/{key}")));
        assert!(reads("action") && reads("executed") && reads("status") && !reads("operator"));
    }

    #[test]
    fn only_an_operator_drives_by_hand_and_only_a_controller_calls() {
        for name in ["controller", "watcher", "operator", "policy", "watchdog"] {
            let rights = allowed(Role::Serve, name);
            let publishes =
                |leaf: &str| rights.contains(&("ingress".into(), "put".into(), format!("aegis/one/{leaf}")));
            assert_eq!(
                (publishes("teleop"), publishes("call")),
                (name == "operator", name == "controller"),
                "{name}"
            );
        }
    }

    #[test]
    fn a_certificate_for_one_plant_is_for_no_other_and_an_unknown_name_for_none() {
        let one = allowed(Role::Serve, "controller.one");
        assert!(one.iter().all(|(_, _, key)| key.starts_with("aegis/one/")) && !one.is_empty());
        assert_eq!(allowed(Role::Serve, "controller").len(), 2 * one.len());
        for name in ["stranger", "controller.three", "plant", "controller.", "Controller", ""] {
            assert!(allowed(Role::Serve, name).is_empty(), "{name}");
        }
        for name in ["controller", "watcher", "example.org"] {
            assert!(allowed(Role::Drive, name).is_empty(), "{name}");
        }
    }

    #[test]
    fn what_a_controller_may_send_the_plant_may_take_and_the_other_way_round() {
        let plant = allowed(Role::Drive, "plant");
        let flip = |flow: &str| if flow == "ingress" { "egress" } else { "ingress" }.to_owned();
        for party in ["controller", "watcher", "operator", "policy", "watchdog"] {
            for (flow, message, key) in allowed(Role::Serve, party) {
                let mirror = (flip(&flow), message, key);
                assert!(plant.contains(&mirror), "{party}: {mirror:?}");
            }
        }
    }

    #[test]
    fn nobody_deletes_and_no_key_is_beyond_a_plant() {
        for name in ["controller", "watcher", "operator", "policy", "watchdog"] {
            for (_, message, key) in allowed(Role::Serve, name) {
                assert!(
                    message != "delete" && (key.starts_with("aegis/one/") || key.starts_with("aegis/two/"))
                );
            }
        }
        assert!(access_control(Role::Serve, &["**".into()]).is_err());
    }
}

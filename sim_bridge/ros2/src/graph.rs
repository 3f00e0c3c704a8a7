//! Which nodes publish and subscribe to which topics, by their tokens; and whether a topic is as a robot's file says. Pure.

use std::collections::BTreeMap;

use crate::names::{Endpoint, Kind, Topic};

/// Most tokens that are kept; the names of more cannot be told apart from those of somebody who floods.
const CAPACITY: usize = 20_000;

/// Endpoints of a domain, except those of one session: this program's own.
#[derive(Clone, Debug)]
pub struct Graph {
    own: String,
    endpoints: BTreeMap<String, Endpoint>,
}

impl Graph {
    /// Creates a graph without endpoints. Those of the Zenoh session `own` are passed over.
    pub fn new(own: &str) -> Self {
        Self { own: own.to_owned(), endpoints: BTreeMap::new() }
    }

    /// Takes a token that has appeared.
    pub fn appeared(&mut self, token: &str) {
        if let Some(endpoint) = Endpoint::parse(token)
            && endpoint.session != self.own
            && self.endpoints.len() < CAPACITY
        {
            self.endpoints.insert(token.to_owned(), endpoint);
        }
    }

    /// Takes a token that has gone.
    pub fn gone(&mut self, token: &str) {
        self.endpoints.remove(token);
    }

    /// Returns whether a node has an endpoint of this kind on a topic, of any type.
    pub fn has(&self, topic: &Topic, kind: Kind) -> bool {
        self.of(topic, kind).next().is_some()
    }

    /// Returns what is wrong with the type of a topic of which endpoints of this kind exist, none of them with the valid type.
    pub fn mismatch(&self, topic: &Topic, kind: Kind) -> Option<String> {
        self.of(topic, kind).next()?;
        self.typed(topic, kind, "has").err()
    }

    /// Checks a topic that is read: exactly one node publishes it, with the valid type.
    ///
    /// # Errors
    /// What was found and what is valid, with the nodes' names.
    pub fn source(&self, topic: &Topic) -> Result<(), String> {
        self.typed(topic, Kind::Publisher, "publishes")?;
        self.alone(topic, 1)
    }

    /// Checks a topic to which commands are sent: a node subscribes to it, with the valid type, and no other node publishes to it.
    ///
    /// # Errors
    /// What was found and what is valid, with the nodes' names.
    pub fn sink(&self, topic: &Topic) -> Result<(), String> {
        self.typed(topic, Kind::Subscription, "subscribes to")?;
        self.alone(topic, 0)
    }

    /// Checks that nodes exist that serve a service.
    ///
    /// # Errors
    /// What was found and what is valid.
    pub fn service(&self, topic: &Topic) -> Result<(), String> {
        self.typed(topic, Kind::Service, "serves")
    }

    fn of<'a>(&'a self, topic: &'a Topic, kind: Kind) -> impl Iterator<Item = &'a Endpoint> {
        self.endpoints.values().filter(move |one| one.kind == kind && one.topic == topic.name)
    }

    /// Checks that an endpoint of this kind exists, and that at least one has the valid type.
    fn typed(&self, topic: &Topic, kind: Kind, verb: &str) -> Result<(), String> {
        let Topic { name, kind: valid, hash } = topic;
        let valid = valid.name();
        let is_valid = |one: &&Endpoint| one.type_name == valid && one.hash == *hash;
        if self.of(topic, kind).any(|one| is_valid(&one)) {
            return Ok(());
        }
        match self.of(topic, kind).next() {
            None => Err(format!("topic {name}: no node {verb} it; valid is one, with type {valid}")),
            Some(Endpoint { node, type_name, hash: found, .. }) => Err(format!(
                "topic {name}: node {node} {verb} it with type {type_name}, {found}; valid is {valid}, {hash}"
            )),
        }
    }

    /// Checks that no more than `valid` nodes publish a topic.
    fn alone(&self, topic: &Topic, valid: usize) -> Result<(), String> {
        let nodes: Vec<&str> = self.of(topic, Kind::Publisher).map(|one| &*one.node).collect();
        if nodes.len() <= valid {
            return Ok(());
        }
        let others = if valid == 0 { "none beside this program" } else { "one" };
        Err(format!(
            "topic {}: found {} publishers, of {}; valid is {others}",
            topic.name,
            nodes.len(),
            nodes.join(", ")
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::{NodeName, Qos};
    use crate::types::{Distribution, RosType};

    fn node(name: &str) -> NodeName {
        let (distribution, namespace) = (Distribution::Jazzy, "/".into());
        NodeName { domain: 0, distribution, namespace, name: name.into() }
    }

    fn token(name: &str, kind: Kind, topic: &Topic) -> String {
        node(name).endpoint(name, 1, kind, topic, Qos::Reliable(1))
    }

    #[test]
    fn a_topic_has_one_publisher_of_its_type() {
        let topic = node("me").topic("/joint_states", RosType::JointState);
        let mut graph = Graph::new("me");
        let error = graph.source(&topic).unwrap_err();
        assert_eq!(
            error,
            "topic /joint_states: no node publishes it; valid is one, with type sensor_msgs/msg/JointState"
        );
        let other =
            Topic { kind: RosType::Bool, hash: RosType::Bool.hash(Distribution::Jazzy), ..topic.clone() };
        graph.appeared(&token("wrong", Kind::Publisher, &other));
        let error = graph.source(&topic).unwrap_err();
        for part in ["node /wrong", "std_msgs/msg/Bool", other.hash, "sensor_msgs/msg/JointState", topic.hash]
        {
            assert!(error.contains(part), "{part}: {error}");
        }
        graph.gone(&token("wrong", Kind::Publisher, &other));
        graph.appeared(&token("robot", Kind::Publisher, &topic));
        graph.appeared(&token("me", Kind::Publisher, &topic));
        assert_eq!(graph.source(&topic), Ok(()), "what this program announces does not count");
        graph.appeared(&token("second", Kind::Publisher, &topic));
        let error = graph.source(&topic).unwrap_err();
        assert!(error.contains("found 2 publishers, of /robot, /second; valid is one"), "{error}");
        graph.gone(&token("second", Kind::Publisher, &topic));
        assert_eq!(graph.source(&topic), Ok(()));
    }

    #[test]
    fn the_same_type_with_another_hash_is_another_type() {
        let topic = node("me").topic("/joint_states", RosType::JointState);
        let humble = Topic { hash: RosType::JointState.hash(Distribution::Humble), ..topic.clone() };
        let mut graph = Graph::new("me");
        graph.appeared(&token("old", Kind::Publisher, &humble));
        let error = graph.source(&topic).unwrap_err();
        assert!(error.contains("TypeHashNotSupported") && error.contains(topic.hash), "{error}");
    }

    #[test]
    fn commands_go_to_a_subscriber_and_nobody_else_sends_some() {
        let topic = node("me").topic("/commands", RosType::Float64MultiArray);
        let mut graph = Graph::new("me");
        assert!(graph.sink(&topic).unwrap_err().contains("no node subscribes to it"));
        graph.appeared(&token("controller", Kind::Subscription, &topic));
        assert_eq!(graph.sink(&topic), Ok(()));
        graph.appeared(&token("panel", Kind::Publisher, &topic));
        let error = graph.sink(&topic).unwrap_err();
        assert!(error.contains("found 1 publishers, of /panel; valid is none beside"), "{error}");
    }
}

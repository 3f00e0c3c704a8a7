//! Names of nodes and topics, and the Zenoh keys that `rmw_zenoh` makes of them: keys of data, and liveliness tokens, which
//! announce every node, publisher, subscription, service and client. The format is that of `docs/design.md` of ros2/rmw_zenoh.

use crate::types::{Distribution, RosType, ros_name};

/// First part of every token; no wildcard matches it.
const ADMIN_SPACE: &str = "@ros2_lv";
/// Number of parts of the token of a publisher, subscription, service or client.
const PARTS: usize = 13;

/// Kind of an endpoint of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Publisher of a topic.
    Publisher,
    /// Subscription of a topic.
    Subscription,
    /// Server of a service.
    Service,
    /// Client of a service.
    Client,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Publisher, Self::Subscription, Self::Service, Self::Client];

    fn code(self) -> &'static str {
        match self {
            Self::Publisher => "MP",
            Self::Subscription => "MS",
            Self::Service => "SS",
            Self::Client => "SC",
        }
    }
}

/// Quality of service that an endpoint announces. In Zenoh every pair of endpoints matches; tools show what is announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Qos {
    /// Reliable and volatile, with this depth: the default of ROS.
    Reliable(u32),
    /// Best effort and volatile, with this depth: sensor data.
    SensorData(u32),
}

impl Qos {
    /// Returns the compact form of tokens, in which a default is left out.
    fn encoded(self) -> String {
        match self {
            Self::Reliable(depth) => format!("::,{depth}:,:,:,,"),
            Self::SensorData(depth) => format!("2::,{depth}:,:,:,,"),
        }
    }
}

/// A node within a domain: whose tokens and keys are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeName {
    /// Domain, as `ROS_DOMAIN_ID`.
    pub domain: u32,
    /// Distribution of the robot.
    pub distribution: Distribution,
    /// Namespace, which begins with `/`.
    pub namespace: String,
    /// Name of the node.
    pub name: String,
}

/// A topic or service with its type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// Name with its namespace, which begins with `/`.
    pub name: String,
    /// Type.
    pub kind: RosType,
    /// Hash of the type, as keys carry it.
    pub hash: &'static str,
}

impl NodeName {
    /// Returns a topic or service by the name that a user gives: absolute with a leading `/`, else relative to the namespace.
    pub fn topic(&self, name: &str, kind: RosType) -> Topic {
        let name = match name.strip_prefix('/') {
            Some(_) => name.to_owned(),
            None => format!("{}/{name}", self.namespace.trim_end_matches('/')),
        };
        Topic { name, kind, hash: kind.hash(self.distribution) }
    }

    /// Returns the key of a topic's messages, or of a service's requests.
    pub fn key(&self, topic: &Topic) -> String {
        format!("{}/{}/{}/{}", self.domain, topic.name.trim_start_matches('/'), topic.kind.dds(), topic.hash)
    }

    /// Returns the token that announces the node. `session` is the identity of its Zenoh session.
    pub fn token(&self, session: &str) -> String {
        format!("{ADMIN_SPACE}/{}/{session}/0/0/NN/%/{}/{}", self.domain, mangled(&self.namespace), self.name)
    }

    /// Returns the token that announces endpoint `number` of the node.
    pub fn endpoint(&self, session: &str, number: u32, kind: Kind, topic: &Topic, qos: Qos) -> String {
        format!(
            "{ADMIN_SPACE}/{}/{session}/0/{number}/{}/%/{}/{}/{}/{}/{}/{}",
            self.domain,
            kind.code(),
            mangled(&self.namespace),
            self.name,
            mangled(&topic.name),
            topic.kind.dds(),
            topic.hash,
            qos.encoded()
        )
    }

    /// Returns the expression that matches every token of the domain.
    pub fn tokens(&self) -> String {
        format!("{ADMIN_SPACE}/{}/**", self.domain)
    }
}

/// An endpoint that a token announces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Identity of the Zenoh session of its node.
    pub session: String,
    /// Kind.
    pub kind: Kind,
    /// Node with its namespace.
    pub node: String,
    /// Topic or service.
    pub topic: String,
    /// Type, as ROS writes it.
    pub type_name: String,
    /// Hash of the type.
    pub hash: String,
}

impl Endpoint {
    /// Parses a token; returns `None` for the token of a node, and for what is no token.
    pub fn parse(token: &str) -> Option<Self> {
        let parts: Vec<&str> = token.split('/').collect();
        let [space, _, session, _, _, code, _, namespace, name, topic, kind, hash, _] = parts[..] else {
            return None;
        };
        debug_assert_eq!(parts.len(), PARTS);
        let found = Kind::ALL.into_iter().find(|one| one.code() == code).filter(|_| space == ADMIN_SPACE)?;
        let namespace = namespace.replace('%', "/");
        Some(Self {
            session: session.to_owned(),
            kind: found,
            node: format!("{}/{name}", namespace.trim_end_matches('/')),
            topic: topic.replace('%', "/"),
            type_name: ros_name(&kind.replace('%', "/")),
            hash: hash.to_owned(),
        })
    }
}

fn mangled(name: &str) -> String {
    name.replace('/', "%")
}

/// Checks a name of a topic, service or namespace: parts of letters, digits and `_` that begin with no digit, between single `/`.
pub fn is_name(name: &str) -> bool {
    let name = name.strip_prefix('/').unwrap_or(name);
    let part = |part: &str| {
        part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            && part.chars().next().is_some_and(|first| !first.is_ascii_digit())
    };
    name.len() <= 200 && name.split('/').all(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(namespace: &str) -> NodeName {
        let (distribution, name) = (Distribution::Jazzy, "aegis".into());
        NodeName { domain: 2, distribution, namespace: namespace.into(), name }
    }

    /// The examples of rmw_zenoh's design page, with a type of this crate.
    #[test]
    fn keys_and_tokens_have_the_parts_that_the_design_page_lists() {
        let hash = RosType::Bool.hash(Distribution::Jazzy);
        let topic = node("/").topic("/chatter", RosType::Bool);
        assert_eq!(node("/").key(&topic), format!("2/chatter/std_msgs::msg::dds_::Bool_/{hash}"));
        assert_eq!(node("/").token("aac3"), "@ros2_lv/2/aac3/0/0/NN/%/%/aegis");
        assert_eq!(
            node("/").endpoint("aac3", 10, Kind::Subscription, &topic, Qos::Reliable(10)),
            format!(
                "@ros2_lv/2/aac3/0/10/MS/%/%/aegis/%chatter/std_msgs::msg::dds_::Bool_/{hash}/::,10:,:,:,,"
            )
        );
        let inner = node("/robot1").topic("chatter", RosType::Bool);
        assert_eq!(
            node("/robot1").key(&inner),
            format!("2/robot1/chatter/std_msgs::msg::dds_::Bool_/{hash}")
        );
        assert_eq!(node("/robot1").token("aac3"), "@ros2_lv/2/aac3/0/0/NN/%/%robot1/aegis");
    }

    #[test]
    fn a_token_says_what_it_announces_and_what_is_none_is_passed_over() {
        let topic = node("/robot1").topic("joint_states", RosType::JointState);
        let token = node("/robot1").endpoint("aac3", 7, Kind::Publisher, &topic, Qos::SensorData(5));
        let endpoint = Endpoint::parse(&token).unwrap();
        assert_eq!((endpoint.kind, &*endpoint.session), (Kind::Publisher, "aac3"));
        assert_eq!((&*endpoint.node, &*endpoint.topic), ("/robot1/aegis", "/robot1/joint_states"));
        assert_eq!(endpoint.type_name, "sensor_msgs/msg/JointState");
        assert_eq!(endpoint.hash, topic.hash);
        for other in [&node("/").token("aac3"), "", "a/b", "@ros2_lv/2/x/0/0/XX/%/%/n/%t/a/b/c"] {
            assert_eq!(Endpoint::parse(other), None, "{other}");
        }
    }

    #[test]
    fn names_are_those_of_ros() {
        for name in ["/joint_states", "arm/joint_states", "/a/b_2"] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", "/", "a//b", "/2a", "a b", "a/*", "~/x", "ä"] {
            assert!(!is_name(name), "{name}");
        }
    }
}

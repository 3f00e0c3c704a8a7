//! ROS 2 types that this crate reads and writes: their names as ROS and DDS write them, and their hashes.

use serde::Deserialize;

/// Distribution of ROS 2, which decides whether keys carry the hash of a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Distribution {
    /// Humble, whose keys carry no hash.
    Humble,
    /// Jazzy.
    Jazzy,
    /// Kilted. The types of this crate have the hashes that they have in Jazzy.
    Kilted,
}

/// What Humble writes in the place of a hash.
const NO_HASH: &str = "TypeHashNotSupported";

/// A message or service type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RosType {
    /// `sensor_msgs/msg/JointState`.
    JointState,
    /// `sensor_msgs/msg/CompressedImage`.
    CompressedImage,
    /// `trajectory_msgs/msg/JointTrajectory`.
    JointTrajectory,
    /// `std_msgs/msg/Float64MultiArray`.
    Float64MultiArray,
    /// `geometry_msgs/msg/Twist`.
    Twist,
    /// `geometry_msgs/msg/TwistStamped`.
    TwistStamped,
    /// `std_msgs/msg/Bool`.
    Bool,
    /// `std_srvs/srv/Trigger`.
    Trigger,
}

impl RosType {
    /// Every type.
    pub const ALL: [Self; 8] = [
        Self::JointState,
        Self::CompressedImage,
        Self::JointTrajectory,
        Self::Float64MultiArray,
        Self::Twist,
        Self::TwistStamped,
        Self::Bool,
        Self::Trigger,
    ];

    /// Returns the name as ROS writes it, as `sensor_msgs/msg/JointState`.
    pub fn name(self) -> &'static str {
        match self {
            Self::JointState => "sensor_msgs/msg/JointState",
            Self::CompressedImage => "sensor_msgs/msg/CompressedImage",
            Self::JointTrajectory => "trajectory_msgs/msg/JointTrajectory",
            Self::Float64MultiArray => "std_msgs/msg/Float64MultiArray",
            Self::Twist => "geometry_msgs/msg/Twist",
            Self::TwistStamped => "geometry_msgs/msg/TwistStamped",
            Self::Bool => "std_msgs/msg/Bool",
            Self::Trigger => "std_srvs/srv/Trigger",
        }
    }

    /// Returns the name as DDS writes it, as `sensor_msgs::msg::dds_::JointState_`.
    pub fn dds(self) -> String {
        let (package, name) = self.name().rsplit_once('/').unwrap_or_default();
        format!("{}::dds_::{name}_", package.replace('/', "::"))
    }

    /// Returns the hash by REP-2016 as keys of a distribution carry it.
    pub fn hash(self, distribution: Distribution) -> &'static str {
        match distribution {
            Distribution::Humble => NO_HASH,
            Distribution::Jazzy | Distribution::Kilted => self.rihs(),
        }
    }

    fn rihs(self) -> &'static str {
        match self {
            Self::JointState => "RIHS01_a13ee3a330e346c9d87b5aa18d24e11690752bd33a0350f11c5882bc9179260e",
            Self::CompressedImage => {
                "RIHS01_15640771531571185e2efc8a100baf923961a4d15d5569652e6cb6691e8e371a"
            }
            Self::JointTrajectory => {
                "RIHS01_179b33eba59d676f6d967ac71fe35e7ca2f64b2f3928f4a018cec115e213796e"
            }
            Self::Float64MultiArray => {
                "RIHS01_1025ddc6b9552d191f89ef1a8d2f60f3d373e28b283d8891ddcc974e8c55397f"
            }
            Self::Twist => "RIHS01_9c45bf16fe0983d80e3cfe750d6835843d265a9a6c46bd2e609fcddde6fb8d2a",
            Self::TwistStamped => "RIHS01_5f0fcd4f81d5d06ad9b4c4c63e3ea51b82d6ae4d0558f1d475229b1121db6f64",
            Self::Bool => "RIHS01_feb91e995ff9ebd09c0cb3d2aed18b11077585839fb5db80193b62d74528f6c9",
            Self::Trigger => "RIHS01_eeff2cd6fa5ad9d27cdf4dec64818317839b62f212a91e6b5304b634b2062c5f",
        }
    }
}

/// Returns the name that ROS writes for a type name of DDS; any other text as it is.
pub fn ros_name(dds: &str) -> String {
    match dds.rsplit_once("::dds_::") {
        Some((package, name)) => {
            format!("{}/{}", package.replace("::", "/"), name.strip_suffix('_').unwrap_or(name))
        }
        None => dds.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_dds_and_ros_convert_into_each_other() {
        assert_eq!(RosType::JointState.dds(), "sensor_msgs::msg::dds_::JointState_");
        assert_eq!(RosType::Trigger.dds(), "std_srvs::srv::dds_::Trigger_");
        for one in RosType::ALL {
            assert_eq!(ros_name(&one.dds()), one.name());
            assert_eq!(one.hash(Distribution::Humble), "TypeHashNotSupported");
        }
        assert_eq!(ros_name("other"), "other");
    }
}

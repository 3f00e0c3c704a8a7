//! What a robot announces to controllers: its features and channels. Pure.

use aegis_core::feature::SchemaError;
use aegis_core::{ActionChannel, Feature, Schema};

use crate::file::{CommandKind, POSITIONS, RosFile, VELOCITIES};

/// Returns what a robot announces.
///
/// # Errors
/// A name or a size that no plant can announce.
pub fn schema(file: &RosFile) -> Result<Schema, SchemaError> {
    let joints = &file.joint_states;
    let names: Vec<&str> = joints.names.iter().map(String::as_str).collect();
    let unit = |rate: &str| match &joints.prismatic[..] {
        [] => format!("rad{rate}"),
        prismatic => format!("rad{rate}; m{rate}: {}", prismatic.join(", ")).chars().take(500).collect(),
    };
    let mut features = vec![Feature::vector(POSITIONS, &names, &unit(""))];
    if joints.velocities {
        features.push(Feature::vector(VELOCITIES, &names, &unit("/s")));
    }
    let cameras = file.cameras.iter();
    features.extend(
        cameras.map(|camera| {
            Feature::camera(camera.name.as_str(), camera.height as usize, camera.width as usize)
        }),
    );
    let channels = file.commands.channels.iter().map(|channel| {
        let is_linear = joints.prismatic.contains(&channel.name) || channel.name.starts_with("linear.");
        let unit = if is_linear { "m" } else { "rad" };
        let (name, semantics, still) = match file.commands.kind {
            CommandKind::Trajectory => (format!("{}_position", channel.name), unit.to_owned(), None),
            CommandKind::Velocity => (format!("{}_velocity", channel.name), format!("{unit}/s"), Some(0.0)),
            CommandKind::Twist | CommandKind::TwistStamped => {
                (channel.name.clone(), format!("{unit}/s"), Some(0.0))
            }
        };
        ActionChannel { name: name.into(), semantics: semantics.into(), bounds: channel.bounds(), still }
    });
    Schema::new(features, channels.collect())
}

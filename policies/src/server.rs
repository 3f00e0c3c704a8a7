//! The table `[server]` of a card: a process that serves the policy, and what the policy reads.

use serde::Deserialize;

use crate::inputs::{ImageInput, Input, Term, VectorInput};

/// Largest deadline, milliseconds: an hour.
const LONGEST_MS: u64 = 3_600_000;

/// A process that serves a policy, and what the policy reads.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerSpec {
    /// Endpoint on this machine, `tcp/127.0.0.1:PORT`.
    pub endpoint: String,
    /// Name under which the policy is served.
    pub name: String,
    /// Limit for the answer to one inference, milliseconds.
    pub deadline_ms: u64,
    /// Names of the features that are sent.
    #[serde(default)]
    pub features: Vec<String>,
    /// Cameras whose pictures are sent.
    #[serde(default)]
    pub cameras: Vec<ServedCamera>,
    /// Whether an inference depends on earlier inferences of the episode.
    #[serde(default = "yes")]
    pub remembers: bool,
}

/// A camera whose pictures a served policy reads, as the plant gives them.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServedCamera {
    /// Name of the camera.
    pub camera: String,
    /// Number of rows.
    pub height: u32,
    /// Pixels per row.
    pub width: u32,
}

fn yes() -> bool {
    true
}

impl ServerSpec {
    /// Checks what does not depend on the process.
    pub(crate) fn check(&self) -> Result<(), String> {
        if !(1..=LONGEST_MS).contains(&self.deadline_ms) {
            return Err(format!(
                "server.deadline_ms: found {}; valid is 1 to {LONGEST_MS} milliseconds",
                self.deadline_ms
            ));
        }
        let twice = |names: &[&str]| {
            let is_earlier = |(index, name): &(usize, &&str)| names[..*index].contains(*name);
            names.iter().enumerate().find(is_earlier).map(|(_, name)| (*name).to_owned())
        };
        let features: Vec<&str> = self.features.iter().map(String::as_str).collect();
        let cameras: Vec<&str> = self.cameras.iter().map(|one| &*one.camera).collect();
        for (field, names) in [("features", features), ("cameras", cameras)] {
            if let Some(name) = twice(&names) {
                return Err(format!("server.{field}: found {name:?} twice; valid is each once"));
            }
        }
        Ok(())
    }

    /// Returns the inputs that the features and cameras stand for.
    pub(crate) fn inputs(&self) -> Vec<Input> {
        let terms: Vec<Term> = self.features.iter().map(Term::of).collect();
        let vector = VectorInput { tensor: "features".into(), shape: Vec::new(), terms, history: 1 };
        let features = (!self.features.is_empty()).then_some(Input::Vector(vector));
        let image = |one: &ServedCamera| {
            Input::Image(ImageInput::exact(&one.camera, &one.camera, one.height, one.width))
        };
        features.into_iter().chain(self.cameras.iter().map(image)).collect()
    }
}

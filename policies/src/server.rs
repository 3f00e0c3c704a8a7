//! The table `[server]` of a card: a process that serves the policy, and what the policy reads.

use std::path::PathBuf;

use aegis_files::sha256_of;
use serde::Deserialize;

use crate::inputs::{ImageInput, Input, Term, VectorInput};

/// Largest deadline, milliseconds: an hour.
const LONGEST_MS: u64 = 3_600_000;
/// Largest length of a server's metadata in a card, bytes.
pub const MOST_METADATA: usize = 1 << 16;

/// Protocol of a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// This project's own protocol, over Zenoh.
    #[default]
    Aegis,
    /// The protocol of openpi: MessagePack over a WebSocket.
    #[serde(rename = "openpi")]
    OpenPi,
    /// The protocol of vla-eval's model servers: MessagePack messages with sequence numbers over a WebSocket.
    VlaEval,
}

impl Protocol {
    /// Returns the name that cards give to the protocol.
    pub fn name(self) -> &'static str {
        match self {
            Self::Aegis => "aegis",
            Self::OpenPi => "openpi",
            Self::VlaEval => "vla_eval",
        }
    }
}

/// Element type of the vectors that are sent to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VectorType {
    /// 32 bits.
    Float32,
    /// 64 bits.
    Float64,
}

/// A process that serves a policy, and what the policy reads.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerSpec {
    /// Protocol of the server.
    #[serde(default)]
    pub protocol: Protocol,
    /// Endpoint: `tcp/127.0.0.1:PORT` on this machine, or for the other protocols `ws://127.0.0.1:PORT` or `wss://HOST`.
    pub endpoint: String,
    /// Name under which the policy is served; only for this project's own protocol.
    #[serde(default)]
    pub name: String,
    /// Deadline for the reply to one inference, milliseconds.
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
    /// Metadata that the server sends when a connection opens, as JSON; only for servers behind a WebSocket. The card's digest is that
    /// of this text.
    pub metadata: Option<String>,
    /// Name of the environment variable that holds the key for the server.
    pub api_key_env: Option<String>,
    /// Path, relative to the card, of the certificates (PEM) of the authorities that a `wss://` server's certificate may come from;
    /// those of the system where omitted.
    pub authority: Option<PathBuf>,
    /// Separator at which a key is split into the keys of nested maps. Without it a key of openpi is not split, and a key of vla-eval
    /// is split at `/`.
    pub separator: Option<String>,
    /// Element type of the vectors that are sent. Without it openpi's are `float64` and vla-eval's `float32`, as their own clients
    /// send them.
    pub dtype: Option<VectorType>,
}

/// A camera whose unchanged pictures a served policy reads.
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
    /// Returns the keys into which a key of the request is split, outermost first.
    pub fn path<'a>(&'a self, key: &'a str) -> Vec<&'a str> {
        let separator = match (&self.separator, self.protocol) {
            (Some(separator), _) => separator,
            (None, Protocol::VlaEval) => "/",
            (None, _) => "",
        };
        if separator.is_empty() { vec![key] } else { key.split(separator).collect() }
    }

    /// Returns the element type of the vectors that are sent.
    pub fn vector_type(&self) -> VectorType {
        let usual =
            if self.protocol == Protocol::VlaEval { VectorType::Float32 } else { VectorType::Float64 };
        self.dtype.unwrap_or(usual)
    }

    /// Checks the fields that do not depend on the process. `sha256` and `inputs` are those of the card.
    pub(crate) fn check(&self, sha256: &str, inputs: &[Input]) -> Result<(), String> {
        if !(1..=LONGEST_MS).contains(&self.deadline_ms) {
            return Err(format!(
                "server.deadline_ms: found {}; valid is 1 to {LONGEST_MS} milliseconds",
                self.deadline_ms
            ));
        }
        match self.protocol {
            Protocol::Aegis => self.check_own(inputs),
            Protocol::OpenPi | Protocol::VlaEval => self.check_websocket(sha256, inputs),
        }
    }

    /// Checks a server of this project's own protocol.
    fn check_own(&self, inputs: &[Input]) -> Result<(), String> {
        if !inputs.is_empty() {
            let valid = "server.features and server.cameras, which list what a served policy reads";
            return Err(format!("inputs: found beside [server]; valid is {valid}"));
        }
        let others = [
            ("metadata", self.metadata.is_some()),
            ("api_key_env", self.api_key_env.is_some()),
            ("authority", self.authority.is_some()),
            ("separator", self.separator.is_some()),
            ("dtype", self.dtype.is_some()),
        ];
        if let Some((field, _)) = others.into_iter().find(|(_, is_there)| *is_there) {
            return Err(format!(
                "server.{field}: found with protocol \"aegis\"; valid is protocol \"openpi\" or \"vla_eval\""
            ));
        }
        if self.name.is_empty() {
            return Err(
                "server.name: missing; valid is the name under which the process serves the policy".into()
            );
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

    /// Checks a server behind a WebSocket.
    fn check_websocket(&self, sha256: &str, inputs: &[Input]) -> Result<(), String> {
        let protocol = self.protocol.name();
        let others = [
            ("name", !self.name.is_empty()),
            ("features", !self.features.is_empty()),
            ("cameras", !self.cameras.is_empty()),
        ];
        if let Some((field, _)) = others.into_iter().find(|(_, is_there)| *is_there) {
            return Err(format!(
                "server.{field}: found with protocol {protocol:?}; valid is a table [[inputs]] for each key of the question"
            ));
        }
        if inputs.is_empty() {
            return Err(format!(
                "inputs: missing; valid with protocol {protocol:?} is a table [[inputs]] for each key of the question"
            ));
        }
        for (index, input) in inputs.iter().enumerate() {
            check_input(input).map_err(|reason| format!("inputs[{index}].{reason}"))?;
        }
        if self.path("").len() != 1 || self.separator.as_deref() == Some("") {
            return Err(
                "server.separator: found an empty text; valid is one or more characters, such as \"/\""
                    .into(),
            );
        }
        let written = "the server's metadata, as `aegis model card ws://127.0.0.1:PORT` writes them";
        let Some(metadata) = &self.metadata else {
            return Err(format!("server.metadata: missing; valid is {written}"));
        };
        if metadata.len() > MOST_METADATA {
            let found = metadata.len();
            return Err(format!("server.metadata: found {found} bytes; valid is at most {MOST_METADATA}"));
        }
        let digest = sha256_of(metadata.as_bytes());
        if digest != sha256 {
            return Err(format!(
                "sha256: found {sha256}; valid is {digest}, the digest of server.metadata ({written})"
            ));
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

/// Refuses an input that a request to a server cannot have.
fn check_input(input: &Input) -> Result<(), String> {
    match input {
        Input::Vector(VectorInput { history, .. }) if *history > 1 => {
            Err(format!("history: found {history}; valid for a served policy is 1, because its server keeps earlier observations itself"))
        }
        Input::Image(ImageInput { mean, std, .. }) if mean.is_some() || std.is_some() => {
            Err("mean: found with a served policy; valid is neither mean nor std, because pictures are sent as bytes".into())
        }
        Input::Vector(_) | Input::Image(_) | Input::Instruction(_) | Input::Constant(_) => Ok(()),
        Input::Tokens(_)
            | Input::Mask(_)
            | Input::Noise(_)
            | Input::State(_)
            | Input::Prefix(_)
            | Input::PrefixLength(_) => Err(
            "kind: found a kind for models in a file; valid for a served policy are \"vector\", \"image\", \"instruction\" and \"constant\""
                .into(),
        ),
    }
}

//! Opening of a policy by its card: a model in a file, or a policy that another process serves.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aegis_core::{Inference, Observation, Policy, PolicyError, Schema};
use aegis_link::access::Role;
use aegis_link::policy::Place;
use aegis_link::{Endpoint, LinkError, RemotePolicy};
use aegis_policies::served::ServedContract;
use aegis_policies::server::{Protocol, ServerSpec};
use aegis_policies::{ModelCard, OnnxPolicy, OnnxRuntime};
use aegis_websocket::WebSocketPolicy;

/// Error of opening a policy.
pub type SetupError = Box<dyn std::error::Error + Send + Sync>;

/// A policy that another process on this machine serves, as its card describes it.
pub struct ServedPolicy {
    contract: ServedContract,
    remote: RemotePolicy,
    /// The Zenoh session of `remote`, kept open until the policy is dropped.
    _session: zenoh::Session,
}

/// Opens the policy of a card.
///
/// # Errors
/// As [`OnnxPolicy::open`]; for a served policy as [`ServedPolicy::open`] and [`WebSocketPolicy::open`].
pub fn open_policy(runtime: &OnnxRuntime, card: &Path) -> Result<Box<dyn Policy>, SetupError> {
    let Some(contract) = ServedContract::of(ModelCard::load(card)?) else {
        return Ok(Box::new(OnnxPolicy::open(runtime, card)?));
    };
    Ok(match contract.server().protocol {
        Protocol::Aegis => Box::new(ServedPolicy::open(contract)?),
        Protocol::OpenPi | Protocol::VlaEval => Box::new(WebSocketPolicy::open(contract)?),
    })
}

/// Connects to the process at an endpoint that serves policies.
///
/// # Errors
/// An endpoint that is invalid or on another machine, or at which no process answers.
pub fn connect(endpoint: &str) -> Result<zenoh::Session, SetupError> {
    let parsed: Endpoint = endpoint.parse()?;
    let guarded = parsed.guard(false, None).map_err(|_| {
        let valid = "tcp/127.0.0.1:PORT, a process on this machine; `aegis serve-policy` serves a policy of another machine to a robot";
        format!("found {endpoint:?}; valid is {valid}")
    })?;
    aegis_link::open_guarded(Role::Drive, &guarded, &[]).map_err(|error| {
        let reason = match &error {
            LinkError::Drive { reason, .. } => reason.clone(),
            other => other.to_string(),
        };
        let valid = "the endpoint of a process that serves a policy and is not stopped; start it first, as `python serve_policy.py`";
        format!("found {endpoint:?}: cannot connect: {reason}; valid is {valid}").into()
    })
}

impl ServedPolicy {
    /// Finds the process of a served policy, which has to state the card's digest and describe what the card says.
    ///
    /// # Errors
    /// The card, its field, what was found and what is valid: for an endpoint at which nobody serves the policy, another model, and
    /// another contract.
    pub fn open(contract: ServedContract) -> Result<Self, SetupError> {
        let (card, server) = (contract.card(), contract.server());
        let path = card.path.display();
        let session =
            connect(&server.endpoint).map_err(|error| format!("{path}: server.endpoint: {error}"))?;
        let deadline = Duration::from_millis(server.deadline_ms);
        let found = RemotePolicy::find(&session, (&server.name, Place::Own), Some(&card.sha256), deadline);
        let mut remote = found.map_err(|error| format!("{path}: server: {error}"))?;
        let described = remote.describe().map_err(|error| format!("{path}: server: {error}"))?;
        check(card, server, &described).map_err(|reason| format!("{path}: {reason}"))?;
        Ok(Self { contract, remote, _session: session })
    }
}

/// Checks that a process describes what a card says.
fn check(
    card: &ModelCard,
    server: &ServerSpec,
    described: &aegis_link::wire::Described,
) -> Result<(), String> {
    let size = |size: usize| u32::try_from(size).unwrap_or(u32::MAX);
    let (chunk, cameras) =
        (&card.chunk, |height: u32, width: u32, name: &str| format!("{name} {height}×{width}"));
    let ours: Vec<String> =
        server.cameras.iter().map(|one| cameras(one.height, one.width, &one.camera)).collect();
    let theirs: Vec<String> =
        described.cameras.iter().map(|one| cameras(one.height, one.width, &one.camera)).collect();
    let activation = card.activation.as_ref().map(|one| (size(one.tokens), size(one.width)));
    let stated = (described.activation_tokens, described.activation_width);
    let shown = |list: &[String]| if list.is_empty() { "none".to_owned() } else { list.join(", ") };
    let fields = [
        ("chunk.horizon", chunk.horizon.to_string(), described.horizon.to_string()),
        ("chunk.width", chunk.width.to_string(), described.width.to_string()),
        ("chunk.names", shown(&chunk.names), shown(&described.names)),
        ("server.features", shown(&server.features), shown(&described.features)),
        ("server.cameras", shown(&ours), shown(&theirs)),
        ("server.remembers", server.remembers.to_string(), described.remembers.to_string()),
    ];
    for (field, found, valid) in fields {
        // A card may name the values of a policy that does not name them itself.
        let is_named_by_card = field == "chunk.names" && described.names.is_empty();
        if found != valid && !is_named_by_card {
            return Err(format!(
                "{field}: found {found}; valid is {valid}, as the process at {} says",
                server.endpoint
            ));
        }
    }
    match activation {
        Some(found) if found != stated => Err(format!(
            "activation: found {} tokens of {} values; valid is {} of {}, as the process at {} says",
            found.0, found.1, stated.0, stated.1, server.endpoint
        )),
        _ => Ok(()),
    }
}

impl Policy for ServedPolicy {
    fn bind(&mut self, schema: &Arc<Schema>) -> Result<(), PolicyError> {
        self.contract.bind(schema)
    }

    fn begin(&mut self, seed: u64) {
        self.remote.begin(seed);
    }

    fn remembers(&self) -> bool {
        self.contract.server().remembers
    }

    fn infer(&mut self, observation: &Observation) -> Result<Inference, PolicyError> {
        let question = self.contract.question(observation)?;
        let answer = self.remote.infer(&question)?;
        self.contract.answer(&answer)
    }

    fn reads_frames(&self) -> bool {
        !self.contract.server().cameras.is_empty()
    }
}

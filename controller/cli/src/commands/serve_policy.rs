//! `aegis serve-policy`: serves a plant's strong policy from another machine, such as one with a GPU, until the process is
//! told to stop. Connects to the process that serves the plant, which forwards the controller's requests. Or serves any policy to
//! openpi's clients.

mod openpi;

use std::path::PathBuf;

use aegis_link::{Principal, serve_policy};
use aegis_policies::OnnxPolicy;
use aegis_policies::card::ModelCard;
use aegis_policies::inputs::Input;
use aegis_websocket::endpoint::Endpoint;
use clap::{Args, ValueEnum};

use crate::exit::{Exit, Failure, OrExit, end_signal, failure, say};
use crate::host::HostArguments;
use crate::remote::PlantArguments;
use crate::study_loader::onnx_runtime;

/// Arguments of `aegis serve-policy`.
#[derive(Args)]
#[command(after_help = "Examples:\n  aegis serve-policy policies/models/strong.toml --plant libero\n  \
                        aegis serve-policy strong.toml --plant arm --provider cuda \\\n    \
                        --connect tls/robot.local:7447 --keys keys/policy\n\n\
                        The robot file then says [remote_strong] with a deadline, and names the same card.\n\n  \
                        aegis serve-policy policies/models/strong.toml --protocol openpi --listen ws://127.0.0.1:8000\n\n\
                        A key of an openpi client's question is then a feature or a camera of the card, \"prompt\" or \"task\"; what is \
                        needed is in the metadata that a client gets when it connects.")]
pub struct ServePolicyArguments {
    /// Card of the policy
    #[arg(value_name = "CARD")]
    card: PathBuf,
    /// To whom: the controller of a plant, or clients of openpi
    #[arg(long, value_enum, default_value_t = ServeProtocol::Aegis)]
    protocol: ServeProtocol,
    /// Where clients of openpi connect, on this machine; port 0 takes a free one
    #[arg(long, value_name = "ws://127.0.0.1:PORT", conflicts_with = "plant")]
    listen: Option<Endpoint>,
    #[command(flatten)]
    plant: Option<PlantArguments>,
    #[command(flatten)]
    host: HostArguments,
}

/// Whom a policy is served to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ServeProtocol {
    /// The controller of a plant, over Zenoh
    Aegis,
    /// Clients of openpi, over a WebSocket
    #[value(name = "openpi")]
    OpenPi,
}

/// Runs `aegis serve-policy`.
pub fn run(arguments: &ServePolicyArguments) -> Result<(), Failure> {
    let runtime = || onnx_runtime()?.with_settings(arguments.host.settings()?).or_exit(Exit::Input);
    let refused = |reason: &str| Err(failure(Exit::Input, reason));
    let plant = match (arguments.protocol, &arguments.plant, &arguments.listen) {
        (ServeProtocol::Aegis, Some(plant), None) => plant,
        (ServeProtocol::Aegis, _, Some(_)) => {
            return refused("--listen: found with --protocol aegis; valid is --protocol openpi");
        }
        (ServeProtocol::Aegis, None, None) => {
            return refused("--plant: missing; valid is the name of the plant whose strong policy is served");
        }
        (ServeProtocol::OpenPi, None, Some(endpoint)) => {
            return openpi::serve(&runtime()?, &arguments.card, endpoint, &*end_signal()?);
        }
        (ServeProtocol::OpenPi, ..) => {
            let reason = "--listen: missing, or found beside --plant; valid with --protocol openpi is --listen ws://127.0.0.1:PORT alone";
            return refused(reason);
        }
    };
    let guarded = plant.guard(Principal::Policy)?;
    let runtime = runtime()?;
    let mut policy = OnnxPolicy::open(&runtime, &arguments.card).or_exit(Exit::Input)?;
    refuse_prefix(policy.card())?;
    let card = policy.card();
    let (model, provider) = (card.model_sha256(), policy.provider().to_string());
    let stop = end_signal()?;
    let (session, plant) = (plant.open(&guarded)?, &plant.plant);
    let ready = || say!("{plant}: {} on {provider}, model {model}", arguments.card.display());
    serve_policy(&session, plant, &model, &mut policy, &stop, ready).or_exit(Exit::Failed)
}

/// Refuses a policy that reads the chunk in execution, which no request to a server states.
fn refuse_prefix(card: &ModelCard) -> Result<(), Failure> {
    match card.inputs.iter().find(|input| matches!(input, Input::Prefix(_))) {
        None => Ok(()),
        Some(input) => {
            let (path, tensor) = (card.path.display(), input.tensor());
            let reason = "valid for a served policy are inputs of other kinds, because a request does not state which chunk is executed; \
                          name the card itself in the robot file or plan";
            Err(failure(Exit::Input, format!("{path}: {tensor}: found kind \"prefix\"; {reason}")))
        }
    }
}

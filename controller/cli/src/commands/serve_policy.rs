//! `aegis serve-policy`: serves a plant's strong policy from another machine, such as one with a GPU, until the process is
//! told to stop. Connects to the process that serves the plant, which forwards the controller's requests.

use std::path::PathBuf;

use aegis_link::{Principal, serve_policy};
use aegis_policies::OnnxPolicy;
use clap::Args;

use crate::exit::{Exit, Failure, OrExit, end_signal, say};
use crate::host::HostArguments;
use crate::remote::PlantArguments;
use crate::study_loader::onnx_runtime;

/// Arguments of `aegis serve-policy`.
#[derive(Args)]
#[command(after_help = "Examples:\n  aegis serve-policy policies/models/strong.toml --plant libero\n  \
                        aegis serve-policy strong.toml --plant arm --provider cuda \\\n    \
                        --connect tls/robot.local:7447 --keys keys/policy\n\n\
                        The robot file then says [remote_strong] with a deadline, and names the same card.")]
pub struct ServePolicyArguments {
    /// Card of the policy
    #[arg(value_name = "CARD")]
    card: PathBuf,
    #[command(flatten)]
    plant: PlantArguments,
    #[command(flatten)]
    host: HostArguments,
}

/// Runs `aegis serve-policy`.
pub fn run(arguments: &ServePolicyArguments) -> Result<(), Failure> {
    let guarded = arguments.plant.guard(Principal::Policy)?;
    let runtime = onnx_runtime()?.with_settings(arguments.host.settings()?).or_exit(Exit::Input)?;
    let mut policy = OnnxPolicy::open(&runtime, &arguments.card).or_exit(Exit::Input)?;
    let card = policy.card();
    let (model, provider) = (card.model_sha256(), policy.provider().to_string());
    let stop = end_signal()?;
    let (session, plant) = (arguments.plant.open(&guarded)?, &arguments.plant.plant);
    let ready = || say!("{plant}: {} on {provider}, model {model}", arguments.card.display());
    serve_policy(&session, plant, &model, &mut policy, &stop, ready).or_exit(Exit::Failed)
}

//! `aegis serve-policy`: a plant's strong policy on another machine, as one with a GPU, until the process is told to stop.
//! It connects to whoever serves the plant, which passes the controller's questions on.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aegis_link::{Endpoint, Role, serve_policy};
use aegis_policies::OnnxPolicy;
use clap::Args;

use crate::exit::{Exit, Failure, OrExit, failure, say};
use crate::host::HostArguments;
use crate::remote::guard;
use crate::study::onnx_runtime;

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
    /// Name of the plant whose strong policy it is
    #[arg(long, value_name = "NAME")]
    plant: String,
    /// Zenoh endpoint of whoever serves the plant
    #[arg(long, value_name = "tcp|tls/HOST:PORT", default_value = "tcp/127.0.0.1:7447")]
    connect: Endpoint,
    /// Folder of the policy's keys, which `aegis keys` makes; TLS needs them
    #[arg(long, value_name = "FOLDER")]
    keys: Option<PathBuf>,
    /// Allow an endpoint off this machine, over plain TCP
    #[arg(long)]
    allow_plaintext_network: bool,
    #[command(flatten)]
    host: HostArguments,
}

/// Runs the verb.
pub fn run(arguments: &ServePolicyArguments) -> Result<(), Failure> {
    let guarded = guard(&arguments.connect, arguments.keys.as_deref(), arguments.allow_plaintext_network)?;
    let runtime = onnx_runtime()?.with_settings(arguments.host.settings()?).or_exit(Exit::Input)?;
    let mut policy = OnnxPolicy::open(&runtime, &arguments.card).or_exit(Exit::Input)?;
    let card = policy.card();
    if let Some(frame) = card.frames.first() {
        let (name, camera) = (arguments.card.display(), &frame.camera);
        let reason = format!("{name} reads camera {camera}; valid are policies that read no camera");
        return Err(failure(Exit::Input, reason));
    }
    let (model, provider) = (card.sha256.clone(), policy.provider().to_string());
    let stop = Arc::new(AtomicBool::new(false));
    ctrlc::set_handler({
        let stop = Arc::clone(&stop);
        move || stop.store(true, Ordering::Relaxed)
    })
    .or_exit(Exit::Failed)?;
    let plants = [arguments.plant.clone()];
    let session = aegis_link::open_guarded(Role::Drive, &guarded, &plants).or_exit(Exit::Failed)?;
    let ready = || say!("{}: {} on {provider}, model {model}", arguments.plant, arguments.card.display());
    serve_policy(&session, &arguments.plant, &model, &mut policy, &stop, ready).or_exit(Exit::Failed)
}

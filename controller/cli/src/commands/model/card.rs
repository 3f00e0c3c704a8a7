//! `aegis model card`: writes a first card for a model on a plant.

use std::path::{Path, PathBuf};

use aegis_policies::graph::Graph;
use aegis_policies::server::Protocol;
use aegis_policies::sketch;
use clap::Args;

use super::observe::PlantChoice;
use super::{check_no_card, is_beside};
use crate::exit::{Exit, Failure, OrExit, failure, say};
use crate::files::{check_new, write};
use crate::served;
use crate::study_loader::onnx_runtime;

/// Arguments of `aegis model card`.
#[derive(Args)]
#[command(after_help = "Examples:\n  aegis model card mine.onnx --suite libero_goal --out mine.toml\n  \
                        aegis model card mine.onnx --connect tcp/127.0.0.1:7447 --plant robot\n  \
                        aegis model card tcp/127.0.0.1:7450 --out mine.toml\n  \
                        aegis model card ws://127.0.0.1:8000 --protocol openpi --out mine.toml\n\n\
                        The card is refused until every TODO in it is replaced; docs/reference/policies.md has the fields.")]
pub struct CardArguments {
    /// The model, an ONNX file; weights that it keeps in other files are read from the same folder. Or the endpoint of a process that
    /// serves a policy, such as tcp/127.0.0.1:7450 or ws://127.0.0.1:8000
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// Protocol of a server behind ws:// or wss://
    #[arg(long, value_enum, default_value_t = WebSocketProtocol::OpenPi)]
    protocol: WebSocketProtocol,
    /// Name of the environment variable that holds the key for such a server
    #[arg(long, value_name = "NAME")]
    api_key_env: Option<String>,
    /// Certificates (PEM) of the authority of such a server's certificate; those of the system when left out
    #[arg(long, value_name = "FILE")]
    authority: Option<PathBuf>,
    #[command(flatten)]
    plant: PlantChoice,
    /// File of the card, in the model's folder; standard output when left out
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Protocols of servers behind a WebSocket.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum WebSocketProtocol {
    /// openpi's
    #[value(name = "openpi")]
    OpenPi,
    /// That of vla-eval's model servers
    #[value(name = "vla_eval")]
    VlaEval,
}

impl From<WebSocketProtocol> for Protocol {
    fn from(protocol: WebSocketProtocol) -> Self {
        match protocol {
            WebSocketProtocol::OpenPi => Self::OpenPi,
            WebSocketProtocol::VlaEval => Self::VlaEval,
        }
    }
}

/// Runs `aegis model card`.
pub fn run(arguments: &CardArguments) -> Result<(), Failure> {
    let given = arguments.model.to_string_lossy();
    let begins = |with: &[&str]| with.iter().any(|carrier| given.starts_with(carrier));
    let is_websocket = begins(&["ws://", "wss://"]);
    if (is_websocket || begins(&["tcp/", "tls/", "udp/"])) && !arguments.model.exists() {
        if let Some(out) = &arguments.out {
            check_new(out)?;
        }
        let text = match is_websocket {
            true => served::websocket_card(
                &given,
                arguments.protocol.into(),
                arguments.api_key_env.as_deref(),
                arguments.authority.as_deref(),
            ),
            false => served::card(&given),
        };
        return put(arguments.out.as_deref(), &text?);
    }
    check_no_card(&arguments.model)?;
    let graph = Graph::read(&arguments.model).or_exit(Exit::Input)?;
    if let Some(out) = &arguments.out {
        check_place(out, &arguments.model)?;
    }
    let text = sketch::card(&onnx_runtime()?, &graph, &*arguments.plant.schema()?).or_exit(Exit::Input)?;
    put(arguments.out.as_deref(), &text)
}

/// Writes a card, or prints it.
fn put(out: Option<&Path>, text: &str) -> Result<(), Failure> {
    let Some(out) = out else {
        say!("{}", text.trim_end());
        return Ok(());
    };
    write(out, text.as_bytes())?;
    match text.matches("\"TODO").count() {
        0 => say!("{}", out.display()),
        open => say!("{}: {open} fields have to be filled in", out.display()),
    }
    Ok(())
}

/// Refuses an existing file, and a folder other than the model's, relative to which the card names the model.
fn check_place(out: &Path, model: &Path) -> Result<(), Failure> {
    let refused = |reason: String| Err(failure(Exit::Input, format!("--out: {}: {reason}", out.display())));
    check_new(out)?;
    if !is_beside(out, model) {
        return refused(format!(
            "found another folder than that of {}; valid is the model's folder, because the card names a file beside it",
            model.display()
        ));
    }
    Ok(())
}

//! Policies that another process serves: opening them by their cards, and the card of one.

use std::fmt::Write;
use std::time::Duration;

use aegis_link::policy::Place;
use aegis_link::wire::Described;
use aegis_link::{RemotePolicy, served_policies};
use aegis_policies::server::Protocol;
pub use aegis_robot::open_policy;

use crate::exit::{Exit, Failure, OrExit, failure};

/// Time for a process to describe its policy, and the deadline of a card that is written for it, milliseconds.
const DEADLINE_MS: u64 = 10_000;

/// Returns a card for the policy that a process serves, from what the process says of it.
pub fn card(endpoint: &str) -> Result<String, Failure> {
    let refused = |reason: String| failure(Exit::Input, format!("{endpoint}: {reason}"));
    let session = aegis_robot::connect(endpoint).map_err(|error| refused(error.to_string()))?;
    let names = served_policies(&session).or_exit(Exit::Failed)?;
    let [name] = &names[..] else {
        let found = if names.is_empty() { "no policy".to_owned() } else { names.join(" and ") };
        return Err(refused(format!(
            "found {found} under a name of its own; valid is a process that serves one, as serve_policy.py"
        )));
    };
    let deadline = Duration::from_millis(DEADLINE_MS);
    let mut remote = RemotePolicy::find(&session, (name, Place::Own), None, deadline)
        .map_err(|error| refused(error.to_string()))?;
    Ok(written(endpoint, name, &remote.describe().map_err(|error| refused(error.to_string()))?))
}

/// Returns the text of a card.
fn written(endpoint: &str, name: &str, described: &Described) -> String {
    let Described {
        model,
        horizon,
        width,
        names,
        activation_tokens,
        activation_width,
        features,
        cameras,
        remembers,
        ..
    } = described;
    let list = |names: &[String]| format!("{names:?}");
    // Writing into a String cannot fail.
    let mut text = format!(
        "# Written from what the process at {endpoint} says of its policy.\nsha256 = {model:?}\n\n[server]\n"
    );
    let _ = writeln!(text, "endpoint = {endpoint:?}\nname = {name:?}");
    let _ = writeln!(
        text,
        "# A later answer is an error of an experiment, and a fault of a run.\ndeadline_ms = {DEADLINE_MS}"
    );
    let _ = writeln!(text, "features = {}", list(features));
    let each = cameras.iter().map(|one| {
        format!("{{ camera = {:?}, height = {}, width = {} }}", one.camera, one.height, one.width)
    });
    let _ = writeln!(text, "cameras = [{}]\nremembers = {remembers}", each.collect::<Vec<_>>().join(", "));
    let _ = writeln!(text, "\n[chunk]\ntensor = \"actions\"\nhorizon = {horizon}\nwidth = {width}");
    if !names.is_empty() {
        let _ = writeln!(text, "names = {}", list(names));
    }
    if *activation_tokens > 0 {
        let _ = writeln!(
            text,
            "\n[activation]\ntensor = \"activation\"\ntokens = {activation_tokens}\nwidth = {activation_width}"
        );
    }
    text
}

/// Returns a first card for the policy behind a WebSocket server: what the server says of itself, and a question by the convention of
/// its protocol for LIBERO. No protocol says the size of a chunk, so that stays to be filled in.
pub fn websocket_card(
    endpoint: &str,
    protocol: Protocol,
    api_key_env: Option<&str>,
) -> Result<String, Failure> {
    let metadata = aegis_websocket::metadata(endpoint, protocol, api_key_env);
    let metadata =
        metadata.map_err(|reason| failure(Exit::Input, reason.replace("server.endpoint: ", "")))?;
    let quoted = |text: &str| toml::Value::from(text).to_string();
    let key = api_key_env.map_or(String::new(), |name| format!("api_key_env = {}\n", quoted(name)));
    let inputs = match protocol {
        Protocol::VlaEval => VLA_EVAL_LIBERO,
        Protocol::OpenPi | Protocol::Aegis => OPENPI_LIBERO,
    };
    Ok(format!(
        "# Written from what the server at {endpoint} says of itself.\nsha256 = {sha256:?}\n\n[server]\nprotocol = {protocol:?}\n\
         endpoint = {endpoint:?}\n# A later answer is an error of an experiment, and a fault of a run.\ndeadline_ms = {DEADLINE_MS}\n\
         # Whether an inference depends on earlier ones of the episode.\nremembers = true\n{key}metadata = {metadata}\n\n{inputs}\n\
         [chunk]\ntensor = \"actions\"\nhorizon = \"TODO: number of actions of an answer\"\n\
         width = \"TODO: number of values of an action\"\n",
        sha256 = aegis_files::sha256_of(metadata.as_bytes()),
        protocol = protocol.name(),
        metadata = quoted(&metadata),
    ))
}

/// What openpi's own evaluation asks on LIBERO.
const OPENPI_LIBERO: &str = r#"# openpi's convention for LIBERO; write what this server reads in its place.
[[inputs]]
tensor = "observation/image"
kind = "image"
camera = "agentview"
height = 224
width = 224
rotate = 180
resize = "pad"
render = [256, 256]

[[inputs]]
tensor = "observation/wrist_image"
kind = "image"
camera = "robot0_eye_in_hand"
height = 224
width = 224
rotate = 180
resize = "pad"
render = [256, 256]

[[inputs]]
tensor = "observation/state"
kind = "vector"
terms = [
    { feature = "eef_position" },
    { feature = "eef_quaternion", transform = "axis_angle" },
    { feature = "gripper_positions" },
]

[[inputs]]
tensor = "prompt"
kind = "instruction"
"#;

/// What vla-eval's own LIBERO benchmark asks.
const VLA_EVAL_LIBERO: &str = r#"# The convention of vla-eval's LIBERO benchmark; write what this server reads in its place. A `/` leads into a map.
[[inputs]]
tensor = "images/agentview"
kind = "image"
camera = "agentview"
height = 256
width = 256
rotate = 180

[[inputs]]
tensor = "states"
kind = "vector"
terms = [
    { feature = "eef_position" },
    { feature = "eef_quaternion", transform = "axis_angle" },
    { feature = "gripper_positions" },
]

[[inputs]]
tensor = "task_description"
kind = "instruction"
"#;

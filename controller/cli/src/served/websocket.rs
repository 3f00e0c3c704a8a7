//! First cards for policies behind WebSocket servers.

use std::fmt::Write;
use std::path::Path;

use aegis_policies::inputs::TASK;
use aegis_policies::server::Protocol;
use serde_json::Value;

use crate::exit::{Exit, Failure, failure};

/// Time for a process to describe its policy, and the deadline of a card that is written for it, milliseconds.
pub const DEADLINE_MS: u64 = 10_000;
/// Beginning of what this program's own server says of itself.
const OWN: &str = "aegis ";

/// Returns a first card for the policy behind a WebSocket server: what the server says of itself, and a question by the convention of
/// its protocol for LIBERO. No protocol says the size of a chunk, so that stays to be filled in. This program's own server says all
/// that a card needs.
pub fn websocket_card(
    endpoint: &str,
    protocol: Protocol,
    api_key_env: Option<&str>,
    authority: Option<&Path>,
) -> Result<String, Failure> {
    let metadata = aegis_websocket::metadata(endpoint, protocol, api_key_env, authority);
    let metadata =
        metadata.map_err(|reason| failure(Exit::Input, reason.replace("server.endpoint: ", "")))?;
    let said: Value = serde_json::from_str(&metadata).unwrap_or_default();
    let is_own = said["server"].as_str().is_some_and(|server| server.starts_with(OWN));
    let rest = match (protocol, is_own) {
        (Protocol::VlaEval, _) => unknown(VLA_EVAL_LIBERO),
        (_, true) => described(&said),
        (_, false) => unknown(OPENPI_LIBERO),
    };
    let remembers = said["remembers"].as_bool().unwrap_or(true);
    let mut key = api_key_env.map_or(String::new(), |name| format!("api_key_env = {}\n", quoted(name)));
    if let Some(authority) = authority {
        key += &format!("# Relative to this card.\nauthority = {}\n", quoted(&authority.to_string_lossy()));
    }
    Ok(format!(
        "# Written from what the server at {endpoint} says of itself.\nsha256 = {sha256:?}\n\n[server]\nprotocol = {protocol:?}\n\
         endpoint = {endpoint:?}\n# A later answer is an error of an experiment, and a fault of a run.\ndeadline_ms = {DEADLINE_MS}\n\
         # Whether an inference depends on earlier ones of the episode.\nremembers = {remembers}\n{key}metadata = {metadata}\n\n{rest}",
        sha256 = aegis_files::sha256_of(metadata.as_bytes()),
        protocol = protocol.name(),
        metadata = quoted(&metadata),
    ))
}

fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

/// Returns inputs by a convention, and a chunk that is to be filled in.
fn unknown(inputs: &str) -> String {
    format!(
        "{inputs}\n[chunk]\ntensor = \"actions\"\nhorizon = \"TODO: number of actions of an answer\"\n\
         width = \"TODO: number of values of an action\"\n"
    )
}

/// Returns inputs and outputs as this program's own server says them (`serve_policy/openpi.rs`).
fn described(said: &Value) -> String {
    let mut text = String::new();
    let input = |key: &str, kind: &str| format!("[[inputs]]\ntensor = {}\nkind = \"{kind}\"\n", quoted(key));
    for key in said["keys"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        // Writing into a String cannot fail.
        let _ = match key {
            "prompt" => writeln!(text, "{}", input(key, "instruction")),
            TASK => {
                writeln!(text, "{}shape = [1]\nterms = [{{ feature = \"{TASK}\" }}]\n", input(key, "vector"))
            }
            feature => {
                writeln!(text, "{}terms = [{{ feature = {} }}]\n", input(key, "vector"), quoted(feature))
            }
        };
    }
    for (camera, size) in said["cameras"].as_object().into_iter().flatten() {
        let (height, width) = (&size[0], &size[1]);
        let _ = writeln!(
            text,
            "{}camera = {}\nheight = {height}\nwidth = {width}\n",
            input(camera, "image"),
            quoted(camera)
        );
    }
    let (horizon, width) = (&said["actions"][0], &said["actions"][1]);
    let _ = writeln!(text, "[chunk]\ntensor = \"actions\"\nhorizon = {horizon}\nwidth = {width}");
    if said["names"].as_array().is_some_and(|names| !names.is_empty()) {
        let _ = writeln!(text, "names = {}", said["names"]);
    }
    if let [tokens, width] = &said["activation"].as_array().map_or(&[][..], Vec::as_slice) {
        let _ = writeln!(text, "\n[activation]\ntensor = \"activation\"\ntokens = {tokens}\nwidth = {width}");
    }
    text
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

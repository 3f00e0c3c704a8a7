//! Policies that another process serves: opening them by their cards, and the card of one.

mod websocket;

use std::fmt::Write;
use std::time::Duration;

use aegis_link::policy::Place;
use aegis_link::wire::Described;
use aegis_link::{RemotePolicy, served_policies};
pub use aegis_robot::open_policy;
use websocket::DEADLINE_MS;
pub use websocket::websocket_card;

use crate::exit::{Exit, Failure, OrExit, failure};

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

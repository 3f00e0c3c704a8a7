//! Policies behind openpi's own server, against the same ONNX files in this process: the same actions bit for bit, the same demo, and
//! what a user sees when the server is late, dies, answers what it may not, or is another.
#![allow(clippy::expect_used, clippy::unwrap_used)] // Helpers of tests, which clippy takes for other code.

use std::fmt::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use aegis_core::{Frame, Inference, Observation, Plant, Policy, PolicyError, Start};
use aegis_policies::OnnxPolicy;
use aegis_policies::layout::Layout;
use aegis_sim::{LiberoPlant, Suite};

use crate::common::{self, Served, folder, repository, scenes};
use crate::served::opened;

mod run;
mod serve_policy;
mod vla_eval;

const METADATA: &str = r#"{"model": "shipped"}"#;

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).unwrap().port()
}

/// Returns a Python command with other projects' servers and clients at hand.
fn python(script: &str) -> Command {
    let servers = repository().join(".deps/servers");
    assert!(servers.is_dir(), "{}: missing; run `cargo xtask test`", servers.display());
    let mut command = Command::new(repository().join(".deps/python/bin/python"));
    command.env("PYTHONPATH", servers).env("PYTHONDONTWRITEBYTECODE", "1");
    command.arg(repository().join("tests/fixtures").join(script));
    command
}

/// Starts openpi's server for a shipped model.
fn served(model: &str, port: u16, metadata: &str, fault: &str) -> Served {
    let mut command = python("serve_openpi.py");
    command.arg(repository().join(format!("policies/models/{model}.onnx")));
    command.arg(port.to_string()).arg(metadata).args((!fault.is_empty()).then_some(fault));
    let (process, ready) = Served::start(command.stderr(Stdio::null()));
    assert_eq!(ready, "serving");
    process
}

/// Returns the terms of the layout that the shipped policies read, as a card has them.
fn terms() -> String {
    let mut text = String::from("terms = [\n");
    for term in Layout::LowDim.terms() {
        let _ = write!(text, "    {{ feature = {:?}", term.feature);
        let _ = term.slice.map_or(Ok(()), |[from, to]| write!(text, ", slice = [{from}, {to}]"));
        let _ = term.relative_to.map_or(Ok(()), |feature| write!(text, ", relative_to = {feature:?}"));
        let _ = term.transform.map_or(Ok(()), |_| write!(text, ", transform = \"rotation_6d\""));
        let _ = term.one_hot.map_or(Ok(()), |classes| write!(text, ", one_hot = {classes}"));
        text += " },\n";
    }
    text + "]\n"
}

/// Writes the card of a shipped policy behind openpi's server: the one that `aegis model card` writes, filled in.
fn card(place: &Path, model: &str, port: u16, deadline_ms: u32) -> PathBuf {
    let endpoint = format!("ws://127.0.0.1:{port}");
    let output = common::aegis().args(["model", "card", &endpoint]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let (head, _) = text.split_once("# openpi's convention").unwrap();
    let head = head.replace("deadline_ms = 10000", &format!("deadline_ms = {deadline_ms}"));
    let head = head.replace("remembers = true", "remembers = false");
    let activation = match model {
        "weak" => "[activation]\ntensor = \"action_tokens\"\ntokens = 10\nwidth = 64\n",
        _ => "",
    };
    let text = format!(
        "{head}[[inputs]]\ntensor = \"state\"\nkind = \"vector\"\n{}\n[[inputs]]\ntensor = \"prompt\"\nkind = \"instruction\"\n\n\
         [chunk]\ntensor = \"actions\"\nhorizon = 10\nwidth = 7\n{activation}",
        terms()
    );
    let path = place.join(format!("{model}.toml"));
    std::fs::write(&path, text).unwrap();
    path
}

fn observation() -> Observation {
    let mut plant = LiberoPlant::new(Suite::load(&scenes().canonicalize().unwrap()).unwrap());
    plant.reset(Start { task: 3, initial_state: 1 }).unwrap()
}

fn refused(result: Result<Inference, PolicyError>, words: &[&str]) {
    let error = result.expect_err(words[0]).to_string();
    words.iter().for_each(|word| assert!(error.contains(word), "{word}: {error}"));
}

#[test]
fn the_shipped_policies_behind_openpis_server_give_the_actions_that_they_give_in_process() {
    let place = folder("servers-bits");
    let mut seen = observation();
    for model in ["strong", "weak"] {
        let port = free_port();
        let _process = served(model, port, METADATA, "");
        let mut there = opened(&card(&place, model, port, 20_000)).unwrap();
        let shipped = repository().join(format!("policies/models/{model}.toml"));
        let mut here = OnnxPolicy::open(&common::runtime(), &shipped).unwrap();
        for round in 0..20 {
            let bits = |found: &Inference| {
                let activation = found.activation.iter().flat_map(|activation| activation.values());
                found.chunk.values().iter().chain(activation).map(|value| value.to_bits()).collect::<Vec<_>>()
            };
            let (found, valid) = (there.infer(&seen).unwrap(), here.infer(&seen).unwrap());
            assert_eq!(found.activation.is_some(), model == "weak");
            assert_eq!(bits(&found), bits(&valid), "{model}, round {round}");
            seen.values.iter_mut().for_each(|value| *value = (*value * 1.37 + f64::from(round)).sin());
        }
    }
}

#[test]
fn the_demo_with_both_policies_behind_openpis_server_is_the_demo() {
    let place = folder("servers-demo");
    let ports = [free_port(), free_port()];
    let _processes = [served("weak", ports[0], METADATA, ""), served("strong", ports[1], METADATA, "")];
    let mut said = Vec::new();
    for is_served in [false, true] {
        let place = place.join(if is_served { "served" } else { "here" });
        let plan = common::copy_of_study(&place);
        if is_served {
            let models = place.join("policies/models");
            // The probe is of the weak policy's model, and the card of a server states the digest of its metadata.
            let shipped = std::fs::read_to_string(models.join("weak.toml")).unwrap();
            let digest = |text: &str| text.split("sha256 = \"").nth(1).unwrap()[..64].to_owned();
            for (model, port) in [("weak", ports[0]), ("strong", ports[1])] {
                card(&models, model, port, 60_000);
            }
            let served = std::fs::read_to_string(models.join("weak.toml")).unwrap();
            common::edit(&models.join("probe.json"), &digest(&shipped), &digest(&served));
        }
        let output = common::aegis()
            .args(["demo", "--episodes", "4", "--task", "4", "--workers", "2", "--json", "--plan"])
            .arg(&plan)
            .arg("--out")
            .arg(place.join("out"))
            .output()
            .unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{error}");
        assert!(!error.contains("warning"), "{error}");
        let read = |name: &str| std::fs::read_to_string(place.join("out").join(name)).unwrap();
        said.push((read("episodes.jsonl"), read("summary.json")));
    }
    assert!(said[0].0.lines().count() >= 12, "{}", said[0].0);
    assert_eq!(said[0], said[1], "every episode with its digest of the states that the plant went through");
}

#[test]
fn what_a_server_does_wrong_is_an_error_that_says_it_and_the_next_episode_begins_anew() {
    let seen = observation();
    // What the server does at the third inference, and what is said.
    for (fault, deadline_ms, words) in [
        ("die", 20_000, "it ended the connection"),
        ("half", 20_000, "it ended the connection"),
        ("hang", 300, "its deadline is 300.000 ms"),
        ("late", 300, "its deadline is 300.000 ms"),
        ("shape", 20_000, "found 9 of 7; valid is 10 actions of 7 values, as in its card"),
        ("nan", 20_000, "value 0 is not finite"),
        ("raise", 20_000, "it failed: ValueError: the policy's own error"),
        ("lacks", 20_000, "its answer lacks \"actions\"; it has"),
        ("text", 20_000, "its answer's \"actions\" is no array of numbers"),
        ("garbage", 20_000, "its answer cannot be read: found Reserved"),
        ("huge", 20_000, "found a message of 2000"),
    ] {
        let (place, port) = (folder(&format!("servers-{fault}")), free_port());
        let process = served("strong", port, METADATA, fault);
        let mut policy = opened(&card(&place, "strong", port, deadline_ms)).unwrap();
        policy.begin(1);
        let valid = policy.infer(&seen).unwrap_or_else(|error| panic!("{fault}: {error}"));
        policy.infer(&seen).unwrap_or_else(|error| panic!("{fault}: {error}"));
        let endpoint = format!("ws://127.0.0.1:{port}");
        let is_shape = matches!(fault, "shape" | "nan" | "hang" | "late");
        refused(policy.infer(&seen), &[words, if is_shape { "" } else { &endpoint }]);
        // In the middle of an episode it stays so.
        refused(policy.infer(&seen), &["at the beginning of an episode", words]);
        drop(process);
        let _process = served("strong", port, METADATA, "");
        refused(policy.infer(&seen), &["at the beginning of an episode", words]);
        policy.begin(2);
        assert_eq!(policy.infer(&seen).unwrap(), valid, "{fault}");
    }
}

#[test]
fn a_late_answer_is_for_nobody() {
    let (place, port, seen) = (folder("servers-stale"), free_port(), observation());
    let _process = served("strong", port, METADATA, "late");
    let path = card(&place, "strong", port, 300);
    let (mut policy, mut here) = (opened(&path).unwrap(), {
        let shipped = repository().join("policies/models/strong.toml");
        OnnxPolicy::open(&common::runtime(), &shipped).unwrap()
    });
    policy.begin(1);
    for _ in 0..2 {
        policy.infer(&seen).unwrap();
    }
    refused(policy.infer(&seen), &["its deadline is 300.000 ms"]);
    // The server is still at work on that question; the first question of the next episode is answered for itself.
    let mut other = seen.clone();
    other.values.iter_mut().for_each(|value| *value += 0.01);
    let valid = here.infer(&other).unwrap();
    assert_ne!(valid.chunk, here.infer(&seen).unwrap().chunk);
    policy.begin(2);
    assert_eq!(policy.infer(&other).unwrap(), valid);
}

#[test]
fn a_server_that_is_not_there_yet_or_is_another_is_refused_with_what_is_valid() {
    let (place, port, seen) = (folder("servers-other"), free_port(), observation());
    let process = served("strong", port, METADATA, "");
    let path = card(&place, "strong", port, 20_000);
    let mut policy = opened(&path).unwrap();
    policy.begin(1);
    policy.infer(&seen).unwrap();
    drop(process);
    let error = opened(&path).map(drop).unwrap_err();
    for word in ["strong.toml", "server.endpoint", &format!("ws://127.0.0.1:{port}"), "cannot connect"] {
        assert!(error.contains(word), "{word}: {error}");
    }
    // It loads, and listens later.
    let mut loading = python("serve_openpi.py");
    loading.arg(repository().join("policies/models/strong.onnx"));
    loading.args([&port.to_string(), METADATA, "slow"]).stdin(Stdio::piped());
    let (mut process, ready) = Served::start(loading.stderr(Stdio::null()));
    assert_eq!(ready, "loading");
    assert!(opened(&path).map(drop).unwrap_err().contains("cannot connect"));
    drop(process.0.stdin.take());
    let found = std::iter::repeat_with(|| opened(&path)).find_map(Result::ok);
    found.unwrap().infer(&seen).unwrap();
    drop(process);
    // The same place, another model.
    let _process = served("weak", port, r#"{"model": "other"}"#, "");
    policy.begin(2);
    let valid = [
        r#"server.metadata: found {"model": "shipped"}"#,
        r#"has {"model": "other"}"#,
        "aegis model card ws://",
    ];
    refused(policy.infer(&seen), &valid);
    let error = opened(&path).map(drop).unwrap_err();
    valid.iter().for_each(|word| assert!(error.contains(word), "{word}: {error}"));
}

#[test]
fn a_card_says_what_openpis_evaluation_asks_and_the_pictures_are_those_of_its_client() {
    let (place, port) = (folder("servers-libero"), free_port());
    let _process = served("strong", port, METADATA, "pictures");
    let endpoint = format!("ws://127.0.0.1:{port}");
    let path = place.join("card.toml");
    let said = common::aegis().args(["model", "card", &endpoint, "--out"]).arg(&path).output().unwrap();
    assert!(String::from_utf8_lossy(&said.stdout).contains("2 fields have to be filled in"));
    common::edit(&path, "horizon = \"TODO: number of actions of an answer\"", "horizon = 1");
    common::edit(&path, "width = \"TODO: number of values of an action\"", "width = 7");
    let more = "separator = \".\"\nremembers = false\n";
    common::edit(&path, "remembers = true\n", more);
    let picture = "kind = \"image\"\ncamera = \"agentview\"\nheight = 256\nwidth = 256\n";
    common::edit(
        &path,
        "[chunk]",
        &format!(
            "[[inputs]]\ntensor = \"whole\"\n{picture}\n[[inputs]]\ntensor = \"camera.left\"\n{picture}layout = \"chw\"\n\n[chunk]"
        ),
    );
    let mut policy = opened(&path).unwrap();
    assert!(policy.reads_frames());
    let mut seen = observation();
    let colour = |place: usize| ((place * 7919 + place / 768 * 31) % 251) as u8;
    let frame = |camera: &str| Frame {
        camera: camera.into(),
        width: 256,
        height: 256,
        rgb: (0..256 * 256 * 3).map(colour).collect(),
    };
    seen.frames = [frame("agentview"), frame("robot0_eye_in_hand")].into();
    let found = policy.infer(&seen).unwrap();
    // Pillow and fast_image_resize round differently here and there, by one of 255.
    assert!(found.chunk.values()[0] <= 1.0, "{found:?}");
    seen.frames = [].into();
    refused(policy.infer(&seen), &["card.toml: inputs[0]: the picture of camera agentview is missing"]);
}

#[test]
fn a_key_comes_from_the_environment_and_a_wrong_one_is_refused_by_the_server() {
    let (place, port) = (folder("servers-key"), free_port());
    // The fixture says that it serves once it is connected to, which no key is needed for.
    let _process = served("strong", port, METADATA, "key");
    let endpoint = format!("ws://127.0.0.1:{port}");
    let card = |key: Option<&str>, more: &[&str]| {
        let mut command = common::aegis();
        command.args(["model", "card", &endpoint]).args(more).current_dir(&place);
        command.env_remove("POLICY_KEY").envs(key.map(|key| ("POLICY_KEY", key)));
        command
    };
    let named = ["--api-key-env", "POLICY_KEY"];
    common::refuses(&mut card(None, &[]), 2, &[&endpoint, "HTTP status 401 Unauthorized: wrong key"]);
    common::refuses(&mut card(Some("other"), &named), 2, &["HTTP status 401"]);
    common::refuses(&mut card(None, &named), 2, &["POLICY_KEY is not set"]);
    let output = card(Some("secret"), &named).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("api_key_env = \"POLICY_KEY\"") && !text.contains("secret"), "{text}");
}

#[test]
fn a_server_elsewhere_needs_a_certificate_of_an_authority_that_is_known() {
    let (place, port, seen) = (folder("servers-tls"), free_port(), observation());
    let keys = place.join("keys");
    let made = common::aegis().args(["keys", "--out"]).arg(&keys).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let _process = served("strong", port, METADATA, &format!("tls:{}", keys.join("plant").display()));
    let endpoint = format!("wss://localhost:{port}");
    let card = |more: &[&str]| {
        let mut command = common::aegis();
        command.args(["model", "card", &endpoint]).args(more).current_dir(&place);
        command
    };
    let authority = "keys/plant/ca.pem";
    let output = card(&["--authority", authority]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains(&format!("authority = \"{authority}\"")), "{text}{output:?}");
    common::refuses(&mut card(&[]), 2, &[&endpoint, "invalid peer certificate: UnknownIssuer"]);
    common::refuses(&mut card(&["--authority", "card.toml"]), 2, &["server.authority: card.toml"]);
    let (head, _) = text.split_once("# openpi's convention").unwrap();
    let rest = format!(
        "[[inputs]]\ntensor = \"state\"\nkind = \"vector\"\n{}\n[[inputs]]\ntensor = \"prompt\"\nkind = \"instruction\"\n\
         [chunk]\ntensor = \"actions\"\nhorizon = 10\nwidth = 7\n",
        terms()
    );
    let path = place.join("card.toml");
    std::fs::write(&path, format!("{head}{rest}")).unwrap();
    let shipped = repository().join("policies/models/strong.toml");
    let valid = OnnxPolicy::open(&common::runtime(), &shipped).unwrap().infer(&seen).unwrap();
    assert_eq!(opened(&path).unwrap().infer(&seen).unwrap(), valid);
    // By another name than the certificate's.
    common::edit(&path, "wss://localhost:", "wss://127.0.0.2:");
    let error = opened(&path).map(drop).unwrap_err();
    assert!(error.contains("certificate"), "{error}");
    // Plain where TLS is spoken.
    common::edit(&path, "wss://127.0.0.2:", "ws://127.0.0.1:");
    assert!(opened(&path).map(drop).unwrap_err().contains("cannot connect"));
}

#[test]
fn a_card_that_no_server_can_be_asked_by_is_refused_by_field() {
    let (place, port) = (folder("servers-card"), free_port());
    let _process = served("strong", port, METADATA, "");
    let path = card(&place, "strong", port, 20_000);
    let text = std::fs::read_to_string(&path).unwrap();
    for (from, to, words) in [
        ("deadline_ms = 20000", "deadline_ms = 0", "server.deadline_ms: found 0"),
        ("endpoint = \"ws://127.0.0.1", "endpoint = \"ws://192.0.2.1", "on a network"),
        ("protocol = \"openpi\"", "protocol = \"aegis\"", "inputs: found beside [server]"),
        ("remembers = false", "name = \"mine\"", "server.name: found with protocol \"openpi\""),
        ("remembers = false", "features = [\"a\"]", "server.features: found with protocol \"openpi\""),
        ("shipped", "shopped", "sha256: found"),
        ("kind = \"instruction\"", "kind = \"noise\"", "inputs[1].kind: found a kind for models in a file"),
        (
            "feature = \"eef_position\" }",
            "feature = \"elbow\" }",
            "inputs[0]: terms[0].feature: found \"elbow\"",
        ),
        ("[chunk]", "[extra]", "unknown field `extra`"),
    ] {
        assert!(text.contains(from), "{from}: {text}");
        std::fs::write(&path, text.replacen(from, to, 1)).unwrap();
        let found = opened(&path)
            .and_then(|mut policy| policy.infer(&observation()).map(drop).map_err(|error| error.to_string()));
        let error = found.unwrap_err();
        assert!(error.contains(words) && error.contains("strong.toml"), "{words}: {error}");
    }
}

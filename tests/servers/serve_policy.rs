//! `aegis serve-policy --protocol openpi`, asked by openpi's own client and by ours.

use std::path::{Path, PathBuf};

use aegis_core::{Observation, Policy};
use aegis_policies::OnnxPolicy;
use serde_json::{Value, json};

use super::{observation, opened, python};
use crate::common::{self, Served, folder, repository};
use crate::served::keeps_episodes_apart;

/// Starts `aegis serve-policy` for a card; returns it with its endpoint.
fn serving(card: &Path) -> (Served, String) {
    let mut command = common::aegis();
    command.arg("serve-policy").arg(card).args(["--protocol", "openpi", "--listen", "ws://127.0.0.1:0"]);
    let (process, ready) = Served::start(&mut command);
    let (endpoint, words) = ready.split_once(": ").unwrap();
    assert!(words.contains("by openpi's protocol"), "{ready}");
    (process, endpoint.to_owned())
}

/// Returns a question of openpi's client with every feature of an observation.
fn question(seen: &Observation) -> Value {
    let mut question: serde_json::Map<String, Value> = seen
        .schema
        .features()
        .iter()
        .filter_map(|one| Some((one.name.to_string(), seen.feature(&one.name).filter(|it| !it.is_empty())?)))
        .map(|(name, values)| (name, json!(values)))
        .collect();
    question.insert("task".into(), json!(seen.task));
    question.insert("prompt".into(), json!(&*seen.instruction));
    question.into()
}

/// Asks a server by openpi's own client.
fn asked(endpoint: &str, question: &Value) -> Value {
    let port = endpoint.rsplit(':').next().unwrap();
    let output = python("ask_openpi.py").arg(port).arg(question.to_string()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn openpis_own_client_gets_the_actions_of_the_process_and_plain_errors() {
    let seen = observation();
    let question = question(&seen);
    let bits = |rows: &Value| -> Vec<u32> {
        let rows = rows.as_array().unwrap().iter().flat_map(|row| row.as_array().unwrap());
        rows.map(|number| (number.as_f64().unwrap() as f32).to_bits()).collect()
    };
    for model in ["strong", "weak"] {
        let card = repository().join(format!("policies/models/{model}.toml"));
        let (_process, endpoint) = serving(&card);
        let said = asked(&endpoint, &question);
        let mut here = OnnxPolicy::open(&common::runtime(), &card).unwrap();
        let valid = here.infer(&seen).unwrap();
        let valid_bits: Vec<u32> = valid.chunk.values().iter().map(|value| value.to_bits()).collect();
        for answer in said["actions"].as_array().unwrap() {
            assert_eq!(bits(answer), valid_bits, "{model}");
        }
        let activation =
            valid.activation.map(|found| found.values().iter().map(|value| value.to_bits()).collect());
        assert_eq!(said["activation"].as_array().map(|_| bits(&said["activation"])), activation);
        assert_eq!(said["health"], json!([200, "OK\n"]));
        let metadata = &said["metadata"];
        assert_eq!((&metadata["actions"], &metadata["remembers"]), (&json!([10, 7]), &json!(false)));
        assert!(metadata["keys"].as_array().unwrap().contains(&json!("eef_position")), "{metadata}");
        assert_eq!(metadata["model"], json!(here.card().model_sha256()));
        for (what, words) in [
            ("lacking", "feature: found \"eef_position\""),
            ("text", "other: found no array"),
            ("nan", "joint_positions: value 0 is not finite"),
            ("list", "found no map; valid is a map with a key for each feature and camera"),
        ] {
            let said = said[what].as_str().unwrap();
            assert!(said.contains(words) && said.contains("error: "), "{what}: {said}");
        }
    }
}

/// Writes a card that asks a server for what it says that it needs.
fn card(place: &Path, endpoint: &str, more: &str) -> PathBuf {
    let path = place.join("asked.toml");
    let written = common::aegis().args(["model", "card", endpoint, "--out"]).arg(&path).output().unwrap();
    assert!(written.status.success(), "{}", String::from_utf8_lossy(&written.stderr));
    assert!(!std::fs::read_to_string(&path).unwrap().contains("TODO"), "it says everything");
    common::edit(&path, "[chunk]", &format!("{more}[chunk]"));
    path
}

#[test]
fn a_policy_that_is_served_and_asked_by_this_program_gives_the_same_bits() {
    let place = folder("servers-own");
    let shipped = repository().join("policies/models/weak.toml");
    let (process, endpoint) = serving(&shipped);
    let mut there = opened(&card(&place, &endpoint, "")).unwrap();
    let mut here = OnnxPolicy::open(&common::runtime(), &shipped).unwrap();
    let seen = observation();
    assert_eq!(there.infer(&seen).unwrap(), here.infer(&seen).unwrap());
    common::signal(&process.0, "TERM");
    let mut process = process;
    assert!(process.0.wait().unwrap().success(), "a signal ends it");
}

#[test]
fn a_policy_that_remembers_is_one_for_each_connection_and_episode() {
    let place = folder("servers-memory");
    std::fs::copy(repository().join("tests/fixtures/recurrent.onnx"), place.join("recurrent.onnx")).unwrap();
    let text = format!(
        "file = \"recurrent.onnx\"\nsha256 = \"{}\"\n[[inputs]]\ntensor = \"state\"\nkind = \"vector\"\n\
         terms = [{{ feature = \"eef_position\" }}, {{ feature = \"eef_quaternion\", transform = \"axis_angle\" }}, \
         {{ feature = \"gripper_positions\" }}]\n[[inputs]]\ntensor = \"hidden\"\nkind = \"state\"\noutput = \"next\"\n\
         [chunk]\ntensor = \"actions\"\nhorizon = 10\nwidth = 7\n",
        aegis_files::sha256(&place.join("recurrent.onnx")).unwrap()
    );
    std::fs::write(place.join("recurrent.toml"), text).unwrap();
    let (_process, endpoint) = serving(&place.join("recurrent.toml"));
    let card = card(&place, &endpoint, "");
    keeps_episodes_apart(opened(&card).unwrap(), opened(&card).unwrap(), &observation());
}

#[test]
fn what_cannot_be_served_so_is_refused_by_argument() {
    let card = repository().join("policies/models/strong.toml");
    for (arguments, words) in [
        ("--protocol openpi", "required arguments were not provided"),
        ("--listen ws://127.0.0.1:0", "--listen: found with --protocol aegis"),
        ("--protocol openpi --listen wss://127.0.0.1:0", "--listen: found wss://127.0.0.1:0"),
        ("--protocol openpi --listen ws://0.0.0.0:0", "on a network"),
        ("", "--plant <NAME>"),
    ] {
        let mut command = common::aegis();
        command.arg("serve-policy").arg(&card).args(arguments.split(' ').filter(|one| !one.is_empty()));
        common::refuses(&mut command, 2, &[words]);
    }
}

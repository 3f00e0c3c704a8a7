//! Policies behind vla-eval's own model server.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use aegis_core::{Frame, Observation, Policy};
use aegis_policies::OnnxPolicy;

use super::{free_port, opened, python, refused, terms};
use crate::common::{self, Served, folder, repository};

/// Starts vla-eval's server for a shipped model.
fn served(model: &str, port: u16, fault: &str) -> Served {
    let mut command = python("serve_vla_eval.py");
    command.arg(repository().join(format!("policies/models/{model}.onnx")));
    command.arg(port.to_string()).args((!fault.is_empty()).then_some(fault)).stderr(Stdio::null());
    let (process, ready) = Served::start(&mut command);
    assert_eq!(ready, "serving");
    process
}

/// Writes the card of a shipped policy behind vla-eval's server, with one camera of few pixels.
fn card(place: &Path, model: &str, port: u16, (deadline_ms, horizon): (u32, u32)) -> PathBuf {
    let endpoint = format!("ws://127.0.0.1:{port}");
    let output =
        common::aegis().args(["model", "card", &endpoint, "--protocol", "vla_eval"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for part in [
        "\\\"model_server\\\": \\\"File\\\"",
        "tensor = \"images/agentview\"",
        "tensor = \"task_description\"",
    ] {
        assert!(text.contains(part) || text.contains(&part.replace('\\', "")), "{part}: {text}");
    }
    let (head, _) = text.split_once("# The convention").unwrap();
    let head = head.replace("deadline_ms = 10000", &format!("deadline_ms = {deadline_ms}"));
    let activation = match model {
        "weak" => "[activation]\ntensor = \"action_tokens\"\ntokens = 10\nwidth = 64\n",
        _ => "",
    };
    let text = format!(
        "{head}[[inputs]]\ntensor = \"images/front\"\nkind = \"image\"\ncamera = \"front\"\nheight = 4\nwidth = 6\n\n\
         [[inputs]]\ntensor = \"states\"\nkind = \"vector\"\n{}\n[[inputs]]\ntensor = \"task_description\"\nkind = \"instruction\"\n\n\
         [chunk]\ntensor = \"actions\"\nhorizon = {horizon}\nwidth = 7\n{activation}",
        terms()
    );
    let path = place.join(format!("{model}.toml"));
    std::fs::write(&path, text).unwrap();
    path
}

fn observation() -> Observation {
    let mut seen = super::observation();
    seen.frames = [Frame { camera: "front".into(), width: 6, height: 4, rgb: vec![9; 72] }].into();
    seen
}

#[test]
fn the_shipped_policies_behind_vla_evals_server_give_the_actions_that_they_give_in_process() {
    let place = folder("vla-eval-bits");
    for model in ["strong", "weak"] {
        let port = free_port();
        let _process = served(model, port, "");
        let mut there = opened(&card(&place, model, port, (20_000, 10))).unwrap();
        assert!(there.reads_frames() && there.remembers());
        let shipped = repository().join(format!("policies/models/{model}.toml"));
        let mut here = OnnxPolicy::open(&common::runtime(), &shipped).unwrap();
        let mut seen = observation();
        for episode in 0..2 {
            there.begin(episode);
            for round in 0..5 {
                assert_eq!(there.infer(&seen).unwrap(), here.infer(&seen).unwrap(), "{model}, {round}");
                seen.values.iter_mut().for_each(|value| *value = (*value * 1.37 + f64::from(round)).sin());
            }
        }
    }
}

#[test]
fn a_server_that_keeps_a_chunk_gives_its_actions_one_by_one_and_forgets_them_at_a_new_episode() {
    let (place, port, seen) = (folder("vla-eval-single"), free_port(), observation());
    let _process = served("strong", port, "single");
    let mut there = opened(&card(&place, "strong", port, (20_000, 1))).unwrap();
    let shipped = repository().join("policies/models/strong.toml");
    let valid = OnnxPolicy::open(&common::runtime(), &shipped).unwrap().infer(&seen).unwrap();
    let rows: Vec<&[f32]> = valid.chunk.values().chunks_exact(7).collect();
    for episode in 0..2 {
        there.begin(episode);
        for row in &rows[..3] {
            assert_eq!(there.infer(&seen).unwrap().chunk.values(), *row);
        }
    }
}

#[test]
fn what_the_server_does_wrong_is_an_error_that_says_it() {
    let seen = observation();
    for (fault, deadline_ms, words) in [
        ("die", 20_000, "it ended the connection"),
        ("hang", 300, "its deadline is 300.000 ms"),
        ("raise", 20_000, "it failed: observation_failed: ValueError: the policy's own error"),
        ("shape", 20_000, "found 9 of 7; valid is 10 actions of 7 values, as in its card"),
    ] {
        let (place, port) = (folder(&format!("vla-eval-{fault}")), free_port());
        let process = served("strong", port, fault);
        let mut policy = opened(&card(&place, "strong", port, (deadline_ms, 10))).unwrap();
        policy.begin(1);
        let valid = policy.infer(&seen).unwrap_or_else(|error| panic!("{fault}: {error}"));
        policy.infer(&seen).unwrap_or_else(|error| panic!("{fault}: {error}"));
        refused(policy.infer(&seen), &[words]);
        refused(policy.infer(&seen), &["at the beginning of an episode", words]);
        drop(process);
        let _process = served("strong", port, "");
        policy.begin(2);
        assert_eq!(policy.infer(&seen).unwrap(), valid, "{fault}");
    }
    let (place, port) = (folder("vla-eval-start"), free_port());
    let _process = served("strong", port, "start");
    let mut policy = opened(&card(&place, "strong", port, (20_000, 10))).unwrap();
    policy.begin(1);
    refused(policy.infer(&seen), &["it failed: episode_start_failed: ValueError: no such task"]);
}

//! Policies in a Python process, served by `aegis_policy.py`, against the same ONNX files in this process: the same actions bit for
//! bit, the same study, and what happens when the process dies, hangs, or answers what it may not.
#![allow(clippy::expect_used, clippy::unwrap_used)] // Helpers of tests, which clippy takes for other code.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use aegis_core::policy::repeats;
use aegis_core::{Inference, Observation, Policy, Start};
use aegis_policies::OnnxPolicy;
use aegis_sim::{LiberoPlant, Suite};

use crate::common::{self, Served, cache, folder, repository};
use crate::matrix::{Journey, kinds, suite};
use crate::robot::{self, Run, real_time_slot};

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).unwrap().port()
}

/// Starts the Python process that serves a fixture in `place`, and returns it with its endpoint.
fn served(place: &Path, model: &str, fault: &str) -> (Served, String) {
    let port = free_port();
    let mut command = Command::new(repository().join(".deps/python/bin/python"));
    command.arg(repository().join("tests/fixtures/serve_onnx.py")).arg(place).arg(model);
    command.arg(port.to_string()).args((!fault.is_empty()).then_some(fault));
    let (process, ready) = Served::start(&mut command);
    assert!(ready.starts_with("serving"), "{ready}");
    (process, format!("tcp/127.0.0.1:{port}"))
}

/// Copies a fixture to a folder of its own.
fn copied(name: &str, model: &str) -> PathBuf {
    let place = folder(name);
    let file = format!("{model}.onnx");
    std::fs::copy(repository().join("tests/fixtures").join(&file), place.join(file)).unwrap();
    place
}

/// Writes the card of a served policy as a user does, with this deadline.
fn card(place: &Path, endpoint: &str, deadline_ms: u32) -> PathBuf {
    let path = place.join("served.toml");
    let written = common::aegis().args(["model", "card", endpoint, "--out"]).arg(&path).output().unwrap();
    assert!(written.status.success(), "{}", String::from_utf8_lossy(&written.stderr));
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("deadline_ms = 10000", &format!("deadline_ms = {deadline_ms}")))
        .unwrap();
    path
}

fn observation() -> Observation {
    let scenes = cache().join("scenes/libero_10").canonicalize().unwrap();
    let mut plant = LiberoPlant::new(Suite::load(&scenes).unwrap());
    aegis_core::Plant::reset(&mut plant, Start { task: 0, initial_state: 1 }).unwrap()
}

/// Opens a card as a run and a study do, whatever serves its policy.
pub fn opened(card: &Path) -> Result<Box<dyn Policy>, String> {
    aegis_robot::open_policy(&common::runtime(), card).map_err(|error| error.to_string())
}

fn refused(result: Result<Inference, aegis_core::PolicyError>, words: &str) {
    let error = result.expect_err(words).to_string();
    assert!(error.contains(words), "{words}: {error}");
}

#[test]
fn a_policy_that_is_served_gives_the_actions_and_the_study_that_it_gives_in_process() {
    let place = folder("served-study");
    let scenes = place.join("libero_10");
    suite(&scenes);
    let kinds = kinds();
    let half = kinds.iter().find(|kind| kind.model == "half").unwrap();
    let mut reports = Vec::new();
    for is_served in [false, true] {
        let place = place.join(if is_served { "served" } else { "here" });
        std::fs::create_dir_all(&place).unwrap();
        let journey = Journey { kind: half, place: place.clone(), scenes: &scenes };
        journey.prepare();
        journey.strong();
        journey.plan();
        // Lives until the study is done.
        let _processes = is_served.then(|| {
            ["half", "recurrent"].map(|model| {
                let (process, endpoint) = served(&place, model, "");
                let role = if model == "half" { "policy" } else { "strong" };
                let before = std::fs::read_to_string(place.join(format!("{role}.toml"))).unwrap();
                let text = journey.runs(&format!("model card {endpoint}"));
                assert!(before.contains("horizon = 10") && text.contains("horizon = 10"), "{text}");
                // The probe names the tensor that it reads, and the actions of this fixture are scaled by its card.
                let text = text.replace("tensor = \"activation\"", "tensor = \"hidden\"");
                let scale = if role == "strong" { "width = 7\nscale = 0.01" } else { "width = 7" };
                let text = text.replacen("horizon = 10\nwidth = 7", &format!("horizon = 10\n{scale}"), 1);
                std::fs::write(place.join(format!("{role}.toml")), text).unwrap();
                process
            })
        });
        if is_served {
            let checked = journey.runs("model check policy.toml --suite libero_10");
            assert!(checked.contains("asked twice: the same answer, bit for bit"), "{checked}");
        }
        for range in ["discovery", "calibration"] {
            journey.runs(&format!("collect {range} --plan plan.toml --out {range}.parquet"));
        }
        journey.runs(
            "probe fit --plan plan.toml --discovery discovery.parquet --calibration calibration.parquet",
        );
        journey.runs("plan register plan.toml");
        journey.runs("experiment run --plan plan.toml --out run --workers 2");
        journey.runs("experiment report --plan plan.toml run");
        assert!(journey.runs("experiment verify --plan plan.toml run").contains("verified"));
        let read = |name: &str| std::fs::read_to_string(place.join(name)).unwrap();
        let json = |name: &str| serde_json::from_str::<serde_json::Value>(&read(name)).unwrap();
        assert_eq!(read("run/report.md").contains("not frozen: in the process at"), is_served);
        let report = json("run/report.json");
        reports.push((json("probe.json"), report["report"].clone()));
    }
    assert_eq!(reports[0].1["arms"].as_array().map(Vec::len), Some(3));
    assert_eq!(reports[0], reports[1]);
}

#[test]
fn the_same_file_served_and_in_process_gives_the_same_bits() {
    let place = copied("served-bits", "half");
    let (_process, endpoint) = served(&place, "half", "");
    let mut there = opened(&card(&place, &endpoint, 10_000)).unwrap();
    let text = format!(
        "file = \"half.onnx\"\nsha256 = \"{}\"\n[[inputs]]\ntensor = \"state\"\nkind = \"vector\"\n\
         terms = [{{ feature = \"joint_positions\" }}, {{ feature = \"gripper_positions\" }}]\n\
         [chunk]\ntensor = \"actions\"\nhorizon = 10\nwidth = 7\n\
         [activation]\ntensor = \"hidden\"\ntokens = 1\nwidth = 7\n",
        aegis_files::sha256(&place.join("half.onnx")).unwrap()
    );
    std::fs::write(place.join("here.toml"), text).unwrap();
    let mut here = OnnxPolicy::open(&common::runtime(), &place.join("here.toml")).unwrap();
    let mut seen = observation();
    for round in 0..20 {
        seen.values.iter_mut().for_each(|value| *value = (*value * 1.37 + f64::from(round)).sin());
        assert_eq!(here.infer(&seen).unwrap(), there.infer(&seen).unwrap(), "round {round}");
    }
    assert!(repeats(&mut *there, &seen, 5).unwrap());
}

#[test]
fn a_served_policy_that_remembers_keeps_the_episodes_of_its_askers_apart() {
    let place = copied("served-memory", "recurrent");
    let (_process, endpoint) = served(&place, "recurrent", "");
    let card = card(&place, &endpoint, 10_000);
    keeps_episodes_apart(opened(&card).unwrap(), opened(&card).unwrap(), &observation());
}

/// Checks two clients of one policy whose first value counts the inferences of its episode.
pub fn keeps_episodes_apart(mut one: Box<dyn Policy>, mut other: Box<dyn Policy>, seen: &Observation) {
    assert!(one.remembers());
    let count = |policy: &mut Box<dyn Policy>| policy.infer(seen).unwrap().chunk.values()[0];
    one.begin(1);
    other.begin(1);
    assert_eq!([count(&mut one), count(&mut one), count(&mut other), count(&mut one)], [1.0, 2.0, 1.0, 3.0]);
    one.begin(1);
    assert_eq!([count(&mut one), count(&mut other)], [1.0, 2.0], "a new episode begins anew");
}

#[test]
fn a_process_that_fails_is_an_error_that_says_how() {
    let seen = observation();
    // What the process does at the third inference, or answers from the fourth request on, and what is said.
    for (fault, deadline_ms, words) in [
        ("die", 20_000, "nobody answers; has its process ended?"),
        ("hang", 300, "deadline"),
        ("late", 300, "deadline"),
        ("shape", 10_000, "Half.infer: actions: found shape (9, 7); valid is (10, 7)"),
        ("activation", 10_000, "Half.infer: activation: found shape (6,)"),
        ("nan", 10_000, "not finite"),
        ("raise", 10_000, "Half: ValueError: the module's own error"),
        ("other", 10_000, "its answer belongs to another question"),
        ("swap", 10_000, "answers; valid is"),
        ("short", 10_000, "10 actions of 7 values, as in its card"),
        ("garbage", 10_000, "its answer cannot be read"),
    ] {
        let place = copied(&format!("served-{fault}"), "half");
        let (process, endpoint) = served(&place, "half", fault);
        let mut policy = opened(&card(&place, &endpoint, deadline_ms)).unwrap();
        policy.begin(1);
        for _ in 0..2 {
            policy.infer(&seen).unwrap_or_else(|error| panic!("{fault}: {error}"));
        }
        refused(policy.infer(&seen), words);
        if fault == "late" {
            // The late answer is for nobody: what follows is an answer to its own question.
            let answered = std::iter::repeat_with(|| policy.infer(&seen)).find_map(Result::ok);
            assert_eq!(answered.unwrap().chunk.horizon(), 10);
        }
        drop(process);
    }
}

#[test]
fn a_policy_that_answers_differently_when_asked_twice_is_told_of() {
    let place = copied("served-random", "half");
    let (_process, endpoint) = served(&place, "half", "random");
    let card = card(&place, &endpoint, 10_000);
    assert!(!repeats(&mut *opened(&card).unwrap(), &observation(), 0).unwrap());
    let mut check = common::aegis();
    let output = check.args(["model", "check"]).arg(&card).args(["--suite", "libero_10"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        said.contains("asked twice: answers differ when it is asked twice"),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn a_card_that_its_process_does_not_fit_is_refused_by_field() {
    let place = copied("served-card", "half");
    let (process, endpoint) = served(&place, "half", "");
    let path = card(&place, &endpoint, 10_000);
    let text = std::fs::read_to_string(&path).unwrap();
    let with = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}: {text}");
        std::fs::write(&path, text.replacen(from, to, 1)).unwrap();
        opened(&path).map(|_| ()).expect_err(to)
    };
    let digest = aegis_files::sha256(&place.join("half.onnx")).unwrap();
    for (from, to, words) in [
        (&*digest, &*"0".repeat(64), "it serves model"),
        ("horizon = 10", "horizon = 9", "chunk.horizon: found 9; valid is 10"),
        ("width = 7\n\n", "width = 6\n\n", "chunk.width: found 6; valid is 7"),
        (
            "\"joint_positions\", ",
            "",
            "server.features: found gripper_positions; valid is joint_positions, gripper",
        ),
        ("remembers = false", "remembers = true", "server.remembers: found true; valid is false"),
        ("tokens = 1", "tokens = 2", "activation: found 2 tokens of 7 values; valid is 1 of 7"),
        ("name = \"half\"", "name = \"nobody\"", "nobody serves policy \"nobody\""),
        ("endpoint = \"tcp/127.0.0.1:", "endpoint = \"tcp/192.0.2.1:", "a process on this machine"),
        ("endpoint = \"tcp/127.0.0.1:", "endpoint = \"tls/127.0.0.1:", "a process on this machine"),
    ] {
        let error = with(from, to);
        assert!(error.contains(words) && error.contains("served.toml"), "{words}: {error}");
    }
    std::fs::write(&path, &text).unwrap();
    opened(&path).map(drop).unwrap();
    drop(process);
    let error = opened(&path).map(drop).unwrap_err();
    assert!(error.contains("server.endpoint") && error.contains("cannot connect"), "{error}");
    // A card is not written over, and not for nobody.
    let mut again = common::aegis();
    common::refuses(again.args(["model", "card", &endpoint, "--out"]).arg(&path), 2, &["is there already"]);
    let mut nobody = common::aegis();
    common::refuses(nobody.args(["model", "card", &endpoint]), 2, &[&endpoint, "cannot connect"]);
}

#[test]
fn a_policy_in_python_drives_in_real_time_and_its_end_is_a_safe_stop() {
    let _slot = real_time_slot();
    let place = copied("served-robot", "half");
    let (process, endpoint) = served(&place, "half", "");
    let path = card(&place, &endpoint, 5000);
    // Joint positions are no motion of the hand: here it only matters who drives.
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replacen("width = 7", "width = 7\nscale = 0.001", 1)).unwrap();
    let plant = robot::Plant::serve("tcp/127.0.0.1:0");
    let card = format!("strong = \"{}\"", path.display());
    let edits = [
        ("[rule]\nkind = \"conformal\"", "[rule]\nkind = \"blind\"\nschedule = { at = [6] }"),
        ("strong = \"../policies/models/strong.toml\"", &*card),
        ("strong_patience_steps = 4", "strong_patience_steps = 40"),
    ];
    let mut run = Run::start("robot-served", &plant.endpoint, &edits, &["--exit-on-stop"]);
    run.until("Strong");
    drop(process);
    run.until("SafeStop");
    let (code, folder) = run.code();
    assert_eq!(code, Some(4));
    let summary = std::fs::read_to_string(folder.join("summary.json")).unwrap();
    assert!(summary.contains("stopped: strong_lost"), "{summary}");
    let events = std::fs::read_to_string(folder.join("events.jsonl")).unwrap();
    assert!(events.contains("nobody answers; has its process ended?"), "{events}");
}

#[test]
fn the_template_is_served_and_checked_as_the_guide_says() {
    let place = folder("served-template");
    let port = free_port();
    let endpoint = format!("tcp/127.0.0.1:{port}");
    let template = repository().join("sim_bridge/link/python/serve_policy.py");
    let mut command = Command::new(repository().join(".deps/python/bin/python"));
    command.arg(template).args(["--name", "mine", "--listen", &endpoint]);
    let (_process, ready) = Served::start(&mut command);
    assert_eq!(ready, format!("serving mine at {endpoint}"));
    let guide = std::fs::read_to_string(repository().join("docs/guide/python-policy.md")).unwrap();
    for verb in
        ["model card tcp/127.0.0.1:7450 --out mine.toml", "model check mine.toml --suite libero_spatial"]
    {
        assert!(guide.contains(&format!("aegis {verb}")), "{verb}");
        let verb = verb.replace("tcp/127.0.0.1:7450", &endpoint);
        let output = common::aegis().args(verb.split(' ')).current_dir(&place).output().unwrap();
        let (said, error) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{verb}: {said}{error}");
        assert!(verb.contains("card") || said.contains("asked twice: the same answer"), "{said}");
    }
}

//! Tests `aegis model card` and `aegis model check`: a first card for a graph of another exporter, and what is found of a policy that does
//! not fit its plant: dead inputs, joints in another order, a picture upside down, actions that are not those of the training code.
#![allow(clippy::expect_used, clippy::unwrap_used)] // Helpers of tests, which clippy takes for other code.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use aegis_core::{ActionChannel, Feature, Observation, Plant, Policy, Schema, Start};
use aegis_policies::OnnxPolicy;
use aegis_policies::check::{Finding, Verdict, follows, influence};
use aegis_sim::{Cameras, LiberoPlant, Suite};
use ndarray::Array;
use ndarray_npy::NpzWriter;

use crate::common::{self, aegis, cache, folder, refuses, repository, succeeds};
use crate::foreign::ForeignPlant;
use crate::inputs::card;

const JOINTS: [&str; 7] = ["joint1", "joint2", "joint3", "joint4", "joint5", "joint6", "joint7"];
/// Terms of a state of seven joints and two fingers.
const STATE: &str = "{ feature = \"joint_positions\" }, { feature = \"gripper_positions\" }";
/// The same, with the joints turned by one.
const TURNED: &str = "{ feature = \"joint_positions\", slice = [1, 7] }, { feature = \"joint_positions\", slice = [0, 1] }, \
                      { feature = \"gripper_positions\" }";

/// Returns the tables of `half.onnx`: ten actions, each the first seven of nine numbers.
fn half(terms: &str, chunk: &str) -> String {
    format!(
        "[[inputs]]\ntensor = \"state\"\nkind = \"vector\"\nterms = [{terms}]\n\n\
         [chunk]\ntensor = \"actions\"\nhorizon = 10\nwidth = 7\n{chunk}\n"
    )
}

/// Returns the tables of `two.onnx`: eight numbers and a picture of 16 by 16 pixels.
fn two(rotate: u32) -> String {
    format!(
        "[[inputs]]\ntensor = \"state\"\nkind = \"vector\"\nterms = [{{ feature = \"joint_positions\" }}, \
         {{ feature = \"gripper_positions\", slice = [0, 1] }}]\n\n\
         [[inputs]]\ntensor = \"picture\"\nkind = \"image\"\ncamera = \"agentview\"\nheight = 16\nwidth = 16\nlayout = \"chw\"\n\
         rotate = {rotate}\n\n[chunk]\ntensor = \"actions\"\nhorizon = 16\nwidth = 7\n"
    )
}

/// Returns an observation of a robot that takes joint positions.
fn robot() -> Observation {
    let channel = |name: &&str| ActionChannel {
        name: Arc::from(*name),
        semantics: "rad".into(),
        bounds: [-3.0, 3.0],
        still: None,
    };
    let features = vec![
        Feature::vector("joint_positions", &JOINTS, "rad"),
        Feature::vector("gripper_positions", &["left", "right"], "m"),
    ];
    let schema = Schema::new(features, JOINTS.iter().map(channel).collect()).unwrap();
    let mut seen = Observation::of(&[("any", &[0.0])]).unwrap();
    seen.values = (1..10).map(|value| f64::from(value) * 0.1).collect();
    seen.schema = Arc::new(schema);
    seen
}

fn opened(card: &Path) -> OnnxPolicy {
    OnnxPolicy::open(&common::runtime(), card).unwrap()
}

fn only(findings: &[Finding]) -> (Verdict, &str) {
    assert_eq!(findings.len(), 1, "{findings:?}");
    (findings[0].verdict, &findings[0].text)
}

fn libero(cameras: Option<Cameras>) -> LiberoPlant {
    let suite = Suite::load(&cache().join("scenes/libero_spatial")).unwrap();
    match cameras {
        Some(cameras) => LiberoPlant::with_cameras(suite, cameras),
        None => LiberoPlant::new(suite),
    }
}

#[test]
fn values_that_never_matter_are_named_by_feature() {
    let path = card(&folder("contract-dead"), "half", &half(STATE, ""));
    let mut policy = opened(&path);
    policy.bind(&robot().schema).unwrap();
    let found = influence::dead_inputs(&mut policy, &[robot()]).unwrap();
    let texts: Vec<&str> = found.iter().map(|finding| finding.text.as_str()).collect();
    assert!(found.iter().all(|finding| finding.verdict == Verdict::Fault) && found.len() == 2, "{texts:?}");
    assert!(texts[0].starts_with("state[7], gripper_positions.left: no change of it"), "{}", texts[0]);
    assert!(texts[1].starts_with("state[8], gripper_positions.right: no change of it"), "{}", texts[1]);
}

#[test]
fn a_permuted_order_is_found_where_actions_follow_positions_and_only_there() {
    let place = folder("contract-order");
    let order = |names: &[&str]| {
        let path = card(&place, "half", &half(STATE, &format!("names = {names:?}")));
        let found = follows::joints_followed(&mut opened(&path), &[robot()]).unwrap();
        let (verdict, text) = only(&found);
        (verdict, text.to_owned())
    };
    assert_eq!(order(&JOINTS).0, Verdict::Good);
    // A sign that only one channel has the other way round, by the card's chunk or by a term.
    let signed = |terms: &str, more: &str| {
        let path = card(&place, "half", &half(terms, more));
        let found = follows::joints_followed(&mut opened(&path), &[robot()]).unwrap();
        let (verdict, text) = only(&found);
        (verdict, text.to_owned())
    };
    let names = format!("names = {JOINTS:?}");
    let third = "scale = [1, 1, -1, 1, 1, 1, 1]";
    let (verdict, text) = signed(STATE, &format!("{names}\n{third}"));
    assert!(verdict == Verdict::Fault && text.contains("the sign is inverted: joint3 falls"), "{text}");
    let term = STATE.replacen("\" }", &format!("\", {third} }}"), 1);
    let (verdict, text) = signed(&term, &names);
    assert!(verdict == Verdict::Fault && text.contains("the sign is inverted: joint3 falls"), "{text}");
    let (verdict, text) = signed(STATE, &format!("{names}\nscale = -1"));
    assert!(verdict == Verdict::Good && text.contains("inverted signs are not inferable"), "{text}");
    let mut turned = JOINTS;
    turned.rotate_left(1);
    let (verdict, text) = order(&turned);
    assert!(verdict == Verdict::Fault && text.contains("joint2 follows the position of joint1"), "{text}");
    // A plant whose channels have other names: nothing says which joint a channel moves.
    let seen = robot();
    let channels = (1..8)
        .map(|index| ActionChannel { name: format!("c{index}").into(), ..seen.schema.actions()[0].clone() });
    let schema = Schema::new(seen.schema.features().to_vec(), channels.collect()).unwrap();
    let path = card(&place, "half", &half(STATE, ""));
    let other = Observation { schema: Arc::new(schema), ..seen };
    let found = follows::joints_followed(&mut opened(&path), &[other]).unwrap();
    let (verdict, text) = only(&found);
    assert!(
        verdict == Verdict::Unknown && text.contains("0 channels have the name of a component"),
        "{text}"
    );
}

/// Writes what a training code would have recorded of `half.onnx` on LIBERO: the states of some resets with a little noise, and
/// the actions that the graph gives for them.
fn recorded(place: &Path, off: f32) -> PathBuf {
    let mut plant = libero(None);
    let mut rows = Vec::new();
    for row in 0..12_u8 {
        let start = Start { task: usize::from(row % 2), initial_state: usize::from(row) };
        let seen = plant.reset(start).unwrap();
        let state =
            ["joint_positions", "gripper_positions"].into_iter().flat_map(|name| seen.feature(name).unwrap());
        rows.extend(state.map(|value| *value as f32));
    }
    let states = Array::from_shape_vec((12, 9), rows).unwrap();
    let actions = Array::from_shape_fn((12, 10, 7), |(row, _, value)| states[(row, value)] + off);
    let path = place.join("recorded.npz");
    let mut file = NpzWriter::new_compressed(std::fs::File::create(&path).unwrap());
    file.add_array("state", &states).unwrap();
    file.add_array("action", &actions).unwrap();
    file.finish().unwrap();
    path
}

fn check(card: &Path, more: &[&str]) -> std::process::Command {
    let mut command = aegis();
    command.args(["model", "check"]).arg(card).args(more);
    command
}

#[test]
fn what_the_training_code_recorded_tells_a_right_card_from_a_permuted_one_and_a_wrong_graph() {
    let place = folder("contract-recorded");
    let path = card(&place, "half", &half(STATE, ""));
    let recording = recorded(&place, 0.0);
    // Two values of this graph are dead, so the exit code is 1; what was recorded agrees.
    let said = |command: &mut std::process::Command| {
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let recording = recording.to_str().unwrap();
    let (code, text) = said(&mut check(&path, &["--recorded", recording]));
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("good    recorded actions: largest difference"), "{text}");
    assert!(text.contains("good    recorded values: state: each of 9 values is near"), "{text}");
    assert!(text.contains("fault   dead inputs: state[7], gripper_positions.finger1"), "{text}");
    assert!(text.contains("unknown order of joints: not inferable"), "{text}");
    let turned = card(&place, "half", &half(TURNED, ""));
    let (_, text) = said(&mut check(&turned, &["--recorded", recording]));
    assert!(text.contains("fault   recorded values: the order is permuted: state["), "{text}");
    assert!(text.contains("holds joint_positions.joint2 and was recorded with the values of"), "{text}");
    let (_, text) = said(&mut check(&path, &["--recorded", recorded(&place, 0.5).to_str().unwrap()]));
    assert!(text.contains("fault   recorded actions: largest difference 5.0"), "{text}");
}

#[test]
fn a_picture_upside_down_is_found_by_what_was_recorded() {
    let place = folder("contract-picture");
    let mut plant = libero(Some(Cameras::new(&["agentview"], 16, 16).unwrap()));
    let mut pixels = Vec::new();
    for initial_state in 0..6 {
        plant.reset(Start { task: 0, initial_state }).unwrap();
        let frame = plant.frames().unwrap().remove(0);
        for colour in 0..3 {
            pixels.extend(frame.rgb.iter().skip(colour).step_by(3).map(|byte| f32::from(*byte) / 255.0));
        }
    }
    let pictures = Array::from_shape_vec((6, 3, 16, 16), pixels).unwrap();
    let recording = place.join("pictures.npz");
    let mut file = NpzWriter::new(std::fs::File::create(&recording).unwrap());
    file.add_array("picture", &pictures).unwrap();
    file.finish().unwrap();
    let recording = recording.to_str().unwrap();
    let upright = succeeds(&mut check(&card(&place, "two", &two(0)), &["--recorded", recording]));
    assert!(upright.contains("good    recorded pictures: picture, camera agentview"), "{upright}");
    let turned = card(&place, "two", &two(180));
    refuses(
        &mut check(&turned, &["--recorded", recording]),
        1,
        &["two.toml: 1 fault on libero_spatial, task 0"],
    );
    let text =
        String::from_utf8(check(&turned, &["--recorded", recording]).output().unwrap().stdout).unwrap();
    assert!(text.contains("fault   recorded pictures") && text.contains("turned by 180°"), "{text}");
}

#[test]
fn a_first_card_is_refused_by_its_open_fields_and_runs_once_they_are_filled_in() {
    let place = folder("contract-card");
    let model = place.join("two.onnx");
    std::fs::copy(repository().join("tests/fixtures/two.onnx"), &model).unwrap();
    let out = place.join("two.toml");
    let sketch = |out: &Path| {
        let mut command = aegis();
        command.args(["model", "card"]).arg(&model).args(["--suite", "libero_goal", "--out"]).arg(out);
        command
    };
    assert!(succeeds(&mut sketch(&out)).contains("1 fields have to be filled in"));
    let text = std::fs::read_to_string(&out).unwrap();
    for part in [
        "transform = \"axis_angle\"",
        "camera = \"agentview\"",
        "layout = \"chw\"",
        "horizon = 16",
        "[activation]",
    ] {
        assert!(text.contains(part), "{part} is missing from\n{text}");
    }
    refuses(&mut check(&out, &[]), 2, &["two.toml: fields to fill in: inputs[1].rotate: TODO: 180 where"]);
    refuses(&mut sketch(&out), 2, &["two.toml: is there already"]);
    refuses(&mut sketch(&place.join("elsewhere/two.toml")), 2, &["another folder than that of"]);
    let open = text.lines().find(|line| line.starts_with("rotate")).unwrap();
    common::edit(&out, open, "rotate = 180");
    let found = succeeds(&mut check(&out, &["--suite", "libero_goal"]));
    for part in [
        "good    binding: state <- eef_position (m, world frame: grip site), eef_quaternion (world frame: hand body)",
        "good    binding: actions -> delta_x (1 is 0.05 m a control step, world frame)",
        "good    dead inputs: 9 values and pictures, and each changes the action; observations tried: 4",
        "good    extreme values: every action is finite",
        "chunk seam: largest change",
    ] {
        assert!(found.contains(part), "{part} is missing from\n{found}");
    }
}

#[test]
fn a_robot_is_not_moved_by_a_check() {
    let plant = ForeignPlant::start(&["--libero-observation", "--pose", "0.1,0.2,0.3,0.4,0.5,0.6"]);
    let path = card(&folder("contract-robot"), "half", &half(STATE, ""));
    let output = check(&path, &["--connect", &plant.endpoint, "--plant", "foreign"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("warning binding: the plant announces no names of its channels"), "{text}");
    assert!(text.contains("unknown chunk seam: not measured: the plant is not moved"), "{text}");
    let log = plant.log();
    assert!(log.iter().any(|line| line["message"] == "Reset"), "it was asked for an observation");
    assert!(!log.iter().any(|line| line["message"] == "Action"), "and sent no command");
}

#[test]
fn a_graph_that_draws_its_own_numbers_and_a_card_that_hides_every_action_are_found() {
    let place = folder("contract-hidden");
    let said = |card: &Path| {
        let output = check(card, &[]).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let inputs = "[[inputs]]\ntensor = \"state\"\nkind = \"vector\"\nterms = [{ feature = \"joint_positions\" }]\n\n\
                  [chunk]\ntensor = \"actions\"\nhorizon = 1\nwidth = 7\n";
    let (code, text) = said(&card(&place, "random", inputs));
    assert!(code == Some(1) && text.contains("fault   actions: the graph gives different actions"), "{text}");
    let (_, text) = said(&card(&place, "two", &two(0).replace("width = 7\n", "width = 7\nscale = 0\n")));
    assert!(
        text.contains("fault   dead inputs: joint_positions: no change of it changes an executed action"),
        "{text}"
    );
    let (_, text) = said(&card(&place, "two", &two(0).replace("width = 7\n", "width = 7\nscale = 100\n")));
    assert!(text.contains("warning actions: delta_x: found") && text.contains("executes -1 to 1"), "{text}");
    assert!(text.contains("each times [100.0]"), "{text}");
}

#[test]
fn a_recording_that_cannot_be_used_is_refused_with_what_would_be_valid() {
    let place = folder("contract-bad");
    let path = card(&place, "half", &half(STATE, ""));
    let none = place.join("none.npz");
    let refused =
        |words: &[&str]| refuses(&mut check(&path, &["--recorded", none.to_str().unwrap()]), 2, words);
    refused(&["none.npz: cannot read"]);
    std::fs::write(&none, "not a zip").unwrap();
    refused(&["none.npz: not an .npz file of numpy.savez"]);
    let write = |arrays: &[(&str, usize)]| {
        let mut file = NpzWriter::new(std::fs::File::create(&none).unwrap());
        for (name, rows) in arrays {
            file.add_array(*name, &Array::<f32, _>::zeros((*rows, 9))).unwrap();
        }
        file.finish().unwrap();
    };
    write(&[("observation", 3)]);
    refused(&["found arrays observation", "valid are some of state, actions, action"]);
    write(&[("state", 3), ("action", 4)]);
    refused(&["array state: found 3 rows; valid is 4, as action has"]);
    // A header that announces more than there is takes no memory.
    let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (50000000000, 9), }";
    let mut array = b"\x93NUMPY\x01\x00".to_vec();
    array.extend(u16::try_from(header.len() + 1).unwrap().to_le_bytes());
    array.extend(format!("{header}\n").bytes());
    let mut file = zip::ZipWriter::new(std::fs::File::create(&none).unwrap());
    file.start_file("state.npy", zip::write::SimpleFileOptions::default()).unwrap();
    std::io::Write::write_all(&mut file, &array).unwrap();
    file.finish().unwrap();
    refused(&["array state.npy: found 450000000000 values in its header; valid is the number that its"]);
    write(&[("state", 0)]);
    refused(&["array state: found shape [0, 9]; valid is one row or more"]);
    let output = {
        write(&[("state", 3), ("action", 3)]);
        check(&path, &["--recorded", none.to_str().unwrap()]).output().unwrap()
    };
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("found 9 values a row; valid is 70, a chunk, or 7, an action"), "{text}");
}

#[test]
fn findings_are_one_object_also_where_a_check_cannot_be_made() {
    let place = folder("contract-json");
    let found = |command: &mut std::process::Command, code: i32| {
        let output = command.arg("--json").output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()
    };
    let path = card(&place, "half", &half(STATE, ""));
    let outcome = found(&mut check(&path, &[]), 1);
    let findings = outcome["findings"].as_array().unwrap();
    let faults = findings.iter().filter(|finding| finding["verdict"] == "fault").count();
    assert_eq!((outcome["faults"].as_u64(), faults), (Some(2), 2), "{outcome}");
    for finding in findings {
        assert!(finding["check"].is_string() && finding["text"].is_string(), "{finding}");
    }
    assert!(outcome["error"].as_str().unwrap().contains("2 faults on libero_spatial, task 0"), "{outcome}");
    let absent = card(&place, "half", &half(&STATE.replace("gripper", "finger"), ""));
    let outcome = found(&mut check(&absent, &[]), 2);
    assert_eq!(outcome["findings"].as_array().unwrap().len(), 0, "{outcome}");
    assert!(outcome["error"].as_str().unwrap().contains("found \"finger_positions\""), "{outcome}");
}

#[test]
fn a_graph_that_does_not_end_is_no_check_without_end() {
    let state = "[[inputs]]\ntensor = \"state\"\nkind = \"vector\"\nterms = [{ feature = \"joint_positions\" }]\n\n\
                 [chunk]\ntensor = \"actions\"\nhorizon = 1\nwidth = 7\n";
    let path = card(&folder("contract-endless"), "endless", state);
    refuses(
        &mut check(&path, &["--deadline-ms", "100"]),
        2,
        &["endless.onnx: warm-up: inference took", "its deadline is 100.000 ms", "--deadline-ms sets"],
    );
    refuses(&mut check(&path, &["--deadline-ms", "0"]), 2, &["--deadline-ms", "0 is not in 1.."]);
}

#[test]
fn a_suite_is_a_name_and_a_policy_with_too_few_classes_for_it_is_told() {
    let place = folder("contract-suite");
    let nine = "{ feature = \"joint_positions\", slice = [0, 4] }, { feature = \"task\", one_hot = 5 }";
    let path = card(&place, "half", &half(nine, ""));
    for name in ["", "../x", "a/b", ".hidden", "two words"] {
        let said = format!("suite: found {name:?}; valid is a name of letters");
        refuses(&mut check(&path, &["--suite", name]), 2, &[&said, "installed are", "libero_spatial"]);
    }
    let output = check(&path, &["--task", "4"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let said = "inputs[0].terms[1].one_hot: found 5, the number of classes of task; valid is 10 or more: suite libero_spatial";
    assert!(text.contains("warning binding: ") && text.contains(said), "{text}");
    refuses(
        &mut check(&path, &["--task", "7"]),
        1,
        &["half.toml: inputs[0].terms[1].one_hot: found 5", "task 7"],
    );
}

#[test]
fn a_card_may_name_files_elsewhere_and_the_check_says_so() {
    let place = folder("contract-elsewhere");
    let path = card(&place, "half", &half(STATE, ""));
    let deep = place.join("deep");
    std::fs::create_dir(&deep).unwrap();
    let moved = deep.join("half.toml");
    std::fs::rename(&path, &moved).unwrap();
    common::edit(&moved, "file = \"half.onnx\"", "file = \"../half.onnx\"");
    let said = |card: &Path| String::from_utf8_lossy(&check(card, &[]).output().unwrap().stdout).into_owned();
    let text = said(&moved);
    assert!(
        text.contains("warning files: file: ") && text.contains("outside of the card's folder"),
        "{text}"
    );
    std::os::unix::fs::symlink("../half.onnx", deep.join("half.onnx")).unwrap();
    common::edit(&moved, "file = \"../half.onnx\"", "file = \"half.onnx\"");
    assert!(said(&moved).contains("warning files: file: "), "a link leads there too");
    std::fs::remove_file(deep.join("half.onnx")).unwrap();
    std::fs::copy(place.join("half.onnx"), deep.join("half.onnx")).unwrap();
    assert!(!said(&moved).contains(" files: "));
}

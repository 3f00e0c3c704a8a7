//! Tests of recordings of a made-up episode, read back with Rerun's own decoder. The episode has two chunks: one of the
//! weak policy, then a fire and one of the strong policy, which succeeds at the last step.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};

use aegis_core::scene::{Body, Mesh};
use aegis_core::{
    Chunk, ChunkRecord, Decision, Driver, Frame, Observation, Pose, Recorder, Score, StepRecord, Thresholds,
};
use aegis_recorder::{EpisodeInfo, EpisodeRecording, RecorderError, Sink, Target};
use re_sdk::external::re_log_encoding::Decoder;
use re_sdk::log::{Chunk as Rows, LogMsg};
use re_sdk::{EntityPath, StoreKind};

const CHUNK_STEPS: u32 = 3;
const ACTION: [f32; 7] = [0.5, 0.0, -0.5, 0.0, 0.0, 0.0, -1.0];

/// Makes an empty folder that only the named test uses.
fn folder(test: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(test);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn body(name: &str, fixed: bool) -> Body {
    let mesh = Mesh {
        vertices: vec![[0.0; 3], [0.1, 0.0, 0.0], [0.0, 0.1, 0.0]],
        triangles: vec![[0, 1, 2]],
        colour: [200, 200, 200, 255],
    };
    Body { name: name.into(), meshes: vec![mesh], fixed }
}

fn pose(x: f64) -> Pose {
    Pose { position: [x, 0.0, 1.0], ..Pose::IDENTITY }
}

fn observation(taken: u32) -> Observation {
    let features = [("eef_position", &pose(f64::from(taken) * 0.01).position[..])];
    let instruction = "move the box".into();
    let plant_time = f64::from(taken) * 0.05;
    Observation { step: taken, plant_time, instruction, ..Observation::of(&features).unwrap() }
}

fn sink(path: &Path) -> Result<Sink, RecorderError> {
    Sink::open(Target::File(path.to_owned()))
}

fn blank() -> EpisodeRecording {
    let info = EpisodeInfo {
        task: 0,
        instruction: "move the box".into(),
        title: "aegis · task 0 · initial state 0".into(),
        chunk_steps: CHUNK_STEPS,
        guard_steps: 1,
        disturbance: None,
    };
    EpisodeRecording::new(info, vec![body("table", true), body("box", false)])
}

/// Makes a recording with a chunk of the weak policy, then a chunk of `second`.
fn film(thresholds: Thresholds, second: Driver) -> EpisodeRecording {
    let mut recorder = blank();
    recorder.poses(0, 0.0, &[pose(0.0), pose(0.0)]);
    for (part, driver) in [Driver::Weak, second].into_iter().enumerate() {
        let strong = driver == Driver::Strong;
        let begin = part as u32 * CHUNK_STEPS;
        let chunk = Chunk::new(7, ACTION.repeat(CHUNK_STEPS as usize)).unwrap();
        recorder.chunk(&ChunkRecord {
            benefit: None,
            step: begin,
            decision: Decision {
                driver,
                score: Score::new(if strong { 0.9 } else { f64::NAN }),
                thresholds,
                wanted: driver,
                reading: None,
                armed: strong,
                guarded: !strong,
                fired: strong,
                handed_over: strong,
                budget_left: 1,
            },
            pooled: vec![],
            weak: chunk.clone(),
            strong: strong.then_some(chunk),
        });
        for step in begin..begin + CHUNK_STEPS {
            let observation = observation(step + 1);
            let success = strong && step + 1 == 2 * CHUNK_STEPS;
            recorder.step(&StepRecord { step, driver, action: &ACTION, observation: &observation, success });
            // The box does not move until the strong policy drives.
            let moved = if strong { f64::from(step) * 0.01 } else { 0.0 };
            recorder.poses(step + 1, observation.plant_time, &[pose(0.0), pose(moved)]);
        }
    }
    recorder
}

fn record(path: &Path, thresholds: Thresholds) {
    film(thresholds, Driver::Strong).draw(None, sink(path).unwrap()).unwrap();
}

/// Returns the rows of the recording and of its blueprint.
fn read(path: &Path) -> BTreeMap<&'static str, Vec<Rows>> {
    let file = BufReader::new(File::open(path).unwrap());
    let mut stores = BTreeMap::<_, Vec<_>>::new();
    for message in Decoder::<LogMsg>::decode_eager(file).unwrap() {
        if let LogMsg::ArrowMsg(store, chunk) = message.unwrap() {
            let kind = if store.kind() == StoreKind::Blueprint { "blueprint" } else { "recording" };
            stores.entry(kind).or_default().push(Rows::from_arrow_msg(&chunk).unwrap());
        }
    }
    stores
}

fn rows(store: &[Rows], entity: &str) -> usize {
    let entity = EntityPath::from(entity);
    store.iter().filter(|chunk| *chunk.entity_path() == entity).map(Rows::num_rows).sum()
}

#[test]
fn a_recording_holds_scene_signals_events_and_layout() {
    let folder = folder("whole");
    let path = folder.join("episode.rrd");
    let thresholds = Thresholds { fire: 0.8, hand_back: 0.4 };
    record(&path, thresholds);

    let stores = read(&path);
    assert!(stores.contains_key("blueprint"), "the layout travels with the recording");
    let store = &stores["recording"];
    let timelines: BTreeSet<_> =
        store.iter().flat_map(|chunk| chunk.timelines().keys().map(ToString::to_string)).collect();
    assert_eq!(Vec::from_iter(timelines), ["control_step", "plant_time"], "no wall clock");

    assert_eq!(rows(store, "world/bodies/table"), 1, "a fixed body is placed once");
    assert_eq!(rows(store, "world/bodies/box"), 4, "at the start, and when it moved");
    assert_eq!(rows(store, "world/trail"), 6);
    assert_eq!(rows(store, "world/plan/weak"), 2);
    assert_eq!(
        rows(store, "gate/score"),
        1 + 2,
        "style, and values that are numbers: a boundary and the end"
    );
    assert_eq!(rows(store, "gate/threshold"), 1 + 3);
    assert_eq!(rows(store, "who/driver"), 1 + 3, "style, both drivers, and the end");
    assert_eq!(rows(store, "events"), 4, "NaN, fire, hand-over, success");
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "nothing else is left");
}

#[test]
fn a_twin_is_beside_it_and_shares_what_does_not_move() {
    let path = folder("twin").join("episode.rrd");
    let thresholds = Thresholds { fire: 0.8, hand_back: 0.4 };
    let [episode, twin] = [Driver::Strong, Driver::Weak].map(|second| film(thresholds, second));
    episode.draw(Some(&twin), sink(&path).unwrap()).unwrap();
    let store = &read(&path)["recording"];
    for (entity, expected) in [
        ("world/bodies/table", 1),
        ("twin/bodies/table", 0),
        ("twin/bodies/box", 1),
        ("world/trail", 6),
        ("twin/trail", 6),
        ("events", 5),
    ] {
        assert_eq!(rows(store, entity), expected, "{entity}");
    }
}

#[test]
fn a_viewer_that_is_not_there_is_said() {
    let connect = |url: &str| {
        let sink = Sink::open(Target::Connect(url.into())).unwrap();
        blank().draw(None, sink).unwrap_err().to_string()
    };
    let error = connect("nowhere");
    assert!(error.contains("no viewer at nowhere") && error.contains("rerun-sdk==0.36.3"), "{error}");
}

#[test]
fn what_cameras_saw_is_shown_where_somebody_asked() {
    let path = folder("cameras").join("episode.rrd");
    let mut film = film(Thresholds { fire: 0.8, hand_back: 0.4 }, Driver::Weak);
    let picture = |camera: &str| Frame { camera: camera.into(), width: 2, height: 1, rgb: vec![0; 6] };
    for step in [0, 3] {
        film.pictures(step, &[picture("agentview"), picture("wrist")]);
    }
    film.draw(None, sink(&path).unwrap()).unwrap();
    let store = &read(&path)["recording"];
    assert_eq!(["camera/agentview", "camera/wrist"].map(|camera| rows(store, camera)), [2, 2]);
}

#[test]
fn infinite_thresholds_are_left_out_of_the_plot() {
    let path = folder("infinite").join("episode.rrd");
    let never = Thresholds { fire: f64::INFINITY, hand_back: f64::NEG_INFINITY };
    record(&path, never);
    let store = &read(&path)["recording"];
    for entity in ["gate/threshold", "gate/return_threshold"] {
        assert_eq!(rows(store, entity), 0, "{entity}");
    }
}

#[test]
fn equal_episodes_give_equal_recordings() {
    let folder = folder("equal");
    let thresholds = Thresholds { fire: 0.8, hand_back: 0.4 };
    let content = |name: &str| {
        let path = folder.join(name);
        record(&path, thresholds);
        let mut content = Vec::new();
        for (kind, store) in read(&path) {
            let chunks = store.iter();
            // Rerun generates the ids of chunks and rows; the ids do not depend on the episode.
            content.extend(chunks.map(|chunk| {
                let mut components: Vec<_> =
                    chunk.components().values().map(|column| format!("{column:?}")).collect();
                components.sort();
                format!("{kind} {} {:?} {components:?}", chunk.entity_path(), chunk.timelines())
            }));
        }
        content.sort();
        content
    };
    assert_eq!(content("one.rrd"), content("two.rrd"));
}

#[test]
fn a_path_that_cannot_be_written_is_named_before_the_episode_runs() {
    let folder = folder("unwritable");
    fs::write(folder.join("file"), "no folder").unwrap();
    let path = folder.join("file/episode.rrd");
    let error = sink(&path).unwrap_err().to_string();
    assert!(error.starts_with(&format!("{}: cannot write the recording: ", path.display())), "{error}");
}

#[test]
fn a_failed_or_dropped_recording_leaves_no_file() {
    let folder = folder("failed");
    let path = folder.join("episode.rrd");
    let mut film = blank();
    film.poses(4, 0.2, &[pose(0.0)]);
    let error = film.draw(None, sink(&path).unwrap()).unwrap_err().to_string();
    assert_eq!(error, "poses at control step 4: found 1; valid is 2, one per body");
    drop(sink(&path).unwrap());
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
}

//! Tests `aegis export lerobot`: the files of a data set are read back by the Parquet crate, and every row is compared with what the
//! run or the study recorded. `policies/train/check_lerobot_dataset.py` opens the same files with LeRobot's own loader.
#![allow(clippy::expect_used, clippy::unwrap_used)] // Helpers of tests, which clippy takes for other code.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use aegis_core::control::{Mode, TickRecord};
use aegis_core::{Driver, Feature};
use aegis_experiments::data::trace::{Row, TraceFile};
use aegis_recorder::observations::{OBSERVATION_FILE, ObservationEntry, ObservationReader, PictureFormat};
use aegis_recorder::run_log::RunReader;
use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;

use crate::common::{self, edit, folder, refuses, succeeds};
use crate::experiment;
use crate::foreign::{ForeignPlant, robot_file};
use crate::motion::{REST, channel};
use crate::robot::{Run, real_time_slot, replays};

const CAMERAS: [&str; 2] = ["agentview", "robot0_eye_in_hand"];

/// A data set as its files say it.
struct Dataset {
    info: Value,
    stats: Value,
    /// Numbers of each column, by row.
    numbers: BTreeMap<String, Vec<Vec<f64>>>,
    pictures: BTreeMap<String, Vec<Vec<u8>>>,
    tasks: Vec<String>,
    /// Columns of the table of episodes that hold a number or a text.
    episodes: BTreeMap<String, Vec<String>>,
}

fn batches(path: &Path) -> Vec<arrow::array::RecordBatch> {
    let file = std::fs::File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap();
    reader.map(Result::unwrap).collect()
}

fn numbers(array: &ArrayRef) -> Vec<Vec<f64>> {
    let values = |array: &ArrayRef| -> Vec<f64> {
        let array = match array.data_type() {
            DataType::Boolean => cast(array, &DataType::Int64).unwrap(),
            _ => array.clone(),
        };
        cast(&array, &DataType::Float64).unwrap().as_primitive::<Float64Type>().values().to_vec()
    };
    match array.data_type() {
        DataType::FixedSizeList(_, width) => {
            let list = array.as_fixed_size_list();
            values(list.values()).chunks(*width as usize).map(<[f64]>::to_vec).collect()
        }
        _ => values(array).into_iter().map(|value| vec![value]).collect(),
    }
}

impl Dataset {
    fn read(root: &Path) -> Self {
        let json = |name: &str| -> Value {
            serde_json::from_slice(&std::fs::read(root.join(name)).unwrap()).unwrap()
        };
        let mut found = Self {
            info: json("meta/info.json"),
            stats: json("meta/stats.json"),
            numbers: BTreeMap::new(),
            pictures: BTreeMap::new(),
            tasks: Vec::new(),
            episodes: BTreeMap::new(),
        };
        for path in common::files_below(&root.join("data"), "parquet") {
            for batch in batches(&path) {
                for (field, array) in batch.schema().fields().iter().zip(batch.columns()) {
                    if let DataType::Struct(_) = field.data_type() {
                        let bytes = array.as_struct().column_by_name("bytes").unwrap().as_binary::<i32>();
                        let stored = bytes.iter().map(|bytes| bytes.unwrap().to_vec());
                        found.pictures.entry(field.name().clone()).or_default().extend(stored);
                    } else {
                        found.numbers.entry(field.name().clone()).or_default().extend(numbers(array));
                    }
                }
            }
        }
        for batch in batches(&root.join("meta/tasks.parquet")) {
            let texts = batch.column_by_name("__index_level_0__").unwrap();
            found.tasks.extend(texts.as_string::<i32>().iter().map(|text| text.unwrap().to_owned()));
        }
        for batch in batches(&root.join("meta/episodes/chunk-000/file-000.parquet")) {
            for (field, array) in batch.schema().fields().iter().zip(batch.columns()) {
                let texts = match field.data_type() {
                    DataType::List(_) => continue,
                    DataType::Utf8 => array.clone(),
                    _ => cast(array, &DataType::Utf8).unwrap(),
                };
                let texts =
                    texts.as_string::<i32>().iter().map(|text| text.unwrap().to_owned()).collect::<Vec<_>>();
                found.episodes.entry(field.name().clone()).or_default().extend(texts);
            }
        }
        found
    }

    fn rows(&self) -> usize {
        self.numbers["index"].len()
    }

    fn column(&self, name: &str) -> Vec<f64> {
        self.numbers[name].iter().map(|row| row[0]).collect()
    }
}

/// One control period of a run, as the run recorded it.
#[derive(Debug)]
struct Expected {
    values: Vec<f64>,
    pictures: Vec<Vec<u8>>,
    action: Vec<f32>,
    source: f64,
    risk: f64,
    intervention: bool,
    /// Seconds since the first control period of the episode.
    time: f64,
}

type Frames = BTreeMap<(u64, String), Vec<(u64, PictureFormat, Vec<u8>)>>;

/// Returns the features that a run's plant announced, and each of the run's control periods in which a command of an episode was
/// sent, with the newest observation by then and the newest frames that are no younger than the observation.
fn expected(run: &Path) -> (Vec<Feature>, Vec<Expected>) {
    let (mut observations, mut frames, mut features) = (BTreeMap::new(), Frames::new(), Vec::new());
    for entry in ObservationReader::open(&run.join(OBSERVATION_FILE)).unwrap() {
        match entry {
            ObservationEntry::Episode(episode) => features = episode.features,
            ObservationEntry::Observation(found) => {
                let before =
                    observations.insert((found.episode, found.sequence), (found.stamp_ns, found.values));
                assert!(before.is_none(), "each observation once");
            }
            ObservationEntry::Frame(found) => {
                let of = frames.entry((found.episode, found.camera)).or_default();
                of.push((found.stamp_ns, found.format, found.data));
            }
            ObservationEntry::Begin(_) | ObservationEntry::End(_) => {}
        }
    }
    let mut reader = RunReader::open(&run.join("run.aegis")).unwrap();
    let (mut rows, mut episode, mut newest, mut risk, mut called) = (Vec::new(), 0, (0, 0), f64::NAN, false);
    let mut began = std::time::Duration::ZERO;
    while let Some(bytes) = reader.next_period().unwrap() {
        let period: TickRecord<'_> = rmp_serde::from_slice(&bytes).unwrap();
        let (inputs, output) = (&period.inputs, &period.output);
        if let Some(stamp) = inputs.observation.filter(|stamp| stamp.fault.is_none()) {
            newest = newest.max((stamp.episode, stamp.sequence));
        }
        if period.begins() {
            (episode, risk, called) = (inputs.wishes.start.unwrap(), f64::NAN, false);
            began = inputs.now;
        }
        if let Some(decision) = &output.decision {
            risk = decision.score.risk();
            called = decision.driver == Driver::Strong;
        }
        let source = match output.mode {
            Mode::Weak => 0.0,
            Mode::Strong => 1.0,
            Mode::Holding => 3.0,
            _ => continue,
        };
        let Some((stamp_ns, values)) =
            observations.get(&newest).filter(|_| output.send && newest.0 == episode)
        else {
            continue;
        };
        let pictures = CAMERAS.iter().filter_map(|camera| {
            let frames = frames.get(&(episode, (*camera).to_owned()))?;
            let earlier =
                frames.iter().filter(|(stamp, ..)| stamp <= stamp_ns).max_by_key(|(stamp, ..)| *stamp);
            let (_, format, data) = earlier.or_else(|| frames.iter().min_by_key(|(stamp, ..)| *stamp))?;
            assert_eq!(*format, PictureFormat::Png, "this plant sends pixels");
            Some(data.clone())
        });
        rows.push(Expected {
            values: values.clone(),
            pictures: pictures.collect(),
            action: period.command.to_vec(),
            source,
            risk,
            intervention: called,
            time: (inputs.now - began).as_secs_f64(),
        });
    }
    (features, rows)
}

/// Starts a robot that is not the simulator, with two cameras, and records a run of it. The gate fires by a schedule, at the third
/// boundary of each episode, and holds for two chunks.
fn record(name: &str, setting: &str) -> (ForeignPlant, Run, PathBuf) {
    let pose = REST.replace(' ', "");
    let plant = ForeignPlant::start(&[
        "--libero-observation",
        "--cameras",
        "--command-timeout-ms",
        "60000",
        "--pose",
        &pose,
    ]);
    let folder = folder(name);
    let robot = robot_file(&folder, &plant.endpoint, &channel(), REST, 10.0);
    edit(&robot, "horizon_steps = 220", "horizon_steps = 48");
    edit(&robot, "hold_chunks = 4", "hold_chunks = 2");
    edit(&robot, "return_chunks = 2", "return_chunks = 0");
    edit(&robot, "kind = \"conformal\"", "kind = \"blind\"\nschedule = { at = [2] }");
    edit(&robot, "ask_strong = true", &format!("{setting}\nask_strong = true"));
    let run = Run::of(&robot, folder.join("run"), &["--auto-start"]);
    (plant, run, folder)
}

fn export(sources: &[&Path], out: &Path) -> Command {
    let mut command = common::aegis();
    command.args(["export", "lerobot"]).args(sources).arg("--out").arg(out);
    command
}

/// Compares every row of a data set with the expected ones.
fn compare(found: &Dataset, features: &[Feature], expected: &[Expected]) {
    assert_eq!(found.rows(), expected.len());
    let columns = &found.info["features"];
    let (mut place, mut state, mut environment) = (0, Vec::new(), Vec::new());
    for feature in features.iter().filter(|feature| !CAMERAS.contains(&&*feature.name)) {
        let of = if feature.name.starts_with("object/") { &mut environment } else { &mut state };
        let names = feature.names.iter().map(|name| format!("{}.{name}", feature.name));
        of.extend(names.zip(place..));
        place += feature.size();
    }
    for (name, parts) in [("observation.state", &state), ("observation.environment_state", &environment)] {
        let names: Vec<&String> = parts.iter().map(|(name, _)| name).collect();
        assert_eq!(columns[name]["names"], serde_json::json!(names));
        for (row, expected) in found.numbers[name].iter().zip(expected) {
            let values: Vec<f64> =
                parts.iter().map(|(_, index)| f64::from(expected.values[*index] as f32)).collect();
            assert_eq!(*row, values, "{name}");
        }
    }
    for (index, row) in expected.iter().enumerate() {
        let number = |name: &str| found.numbers[name][index][0];
        let action: Vec<f64> = row.action.iter().map(|value| f64::from(*value)).collect();
        assert_eq!(found.numbers["action"][index], action, "row {index}");
        assert_eq!(number("control_source"), row.source, "row {index}");
        assert_eq!(number("intervention") > 0.0, row.intervention, "row {index}: {row:?}");
        let risk = (number("risk") as f32).to_bits();
        assert!(
            risk == (row.risk as f32).to_bits() || row.risk.is_nan() && number("risk").is_nan(),
            "row {index}"
        );
        assert!((number("controller_time") - row.time).abs() < 1e-9, "row {index}");
        assert_eq!(number("timestamp") as f32, (number("frame_index") / 20.0) as f32);
        for (camera, picture) in CAMERAS.iter().zip(&row.pictures) {
            assert_eq!(
                found.pictures[&format!("observation.images.{camera}")][index],
                *picture,
                "row {index}"
            );
        }
    }
}

#[test]
fn a_run_becomes_a_data_set_whose_rows_are_what_was_recorded() {
    let _slot = real_time_slot();
    let (_plant, run, place) = record("export-run", "record_observations = true");
    let (code, run) = run.code();
    assert_eq!(code, Some(0));
    replays(&run);
    let summary: Value = serde_json::from_slice(&std::fs::read(run.join("summary.json")).unwrap()).unwrap();
    let saved = &summary["recorded_observations"];
    assert_eq!(
        (&saved["dropped_observations"], &saved["dropped_frames"]),
        (&0.into(), &0.into()),
        "{summary}"
    );
    let out = place.join("whole");
    let output = export(&[&run], &out).output().unwrap();
    let [said, noted] =
        [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    assert!(output.status.success() && said.contains("2 episodes") && noted.is_empty(), "{said}{noted}");
    let (features, rows) = expected(&run);
    let found = Dataset::read(&out);
    compare(&found, &features, &rows);
    assert!(rows.iter().all(|row| row.pictures.len() == 2) && rows.len() > 60, "{}", rows.len());
    // A fire at the third boundary of each episode, and a hold of two chunks.
    let called = rows.iter().filter(|row| row.intervention).count();
    assert!((2 * 10..=2 * 20).contains(&called), "{called} of {}", rows.len());

    assert_eq!((&found.info["codebase_version"], &found.info["fps"]), (&"v3.0".into(), &20.into()));
    assert_eq!(found.info["total_frames"], rows.len());
    assert_eq!(found.info["features"]["control_source"]["values"]["hold"], 3);
    assert_eq!((found.tasks.len(), &found.episodes["end"]), (1, &vec!["horizon".to_owned(); 2]));
    assert_eq!(found.episodes["success"], ["false", "false"]);
    let ends: Vec<usize> =
        found.episodes["dataset_to_index"].iter().map(|end| end.parse().unwrap()).collect();
    assert_eq!(ends[1], rows.len());
    let done: Vec<usize> = (0..rows.len()).filter(|row| found.column("next.done")[*row] > 0.0).collect();
    assert_eq!(done, [ends[0] - 1, ends[1] - 1]);
    let actions: Vec<f64> = rows.iter().map(|row| f64::from(row.action[0])).collect();
    let mean = actions.iter().sum::<f64>() / actions.len() as f64;
    let spread = actions.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / actions.len() as f64;
    let stats = &found.stats["action"];
    assert!((stats["mean"][0].as_f64().unwrap() - mean).abs() < 1e-9, "{stats}");
    assert!((stats["std"][0].as_f64().unwrap() - spread.sqrt()).abs() < 1e-9, "{stats}");
    assert_eq!(stats["count"][0], rows.len());
    let colours = &found.stats["observation.images.agentview"];
    assert!((0.3..0.7).contains(&colours["mean"][0][0][0].as_f64().unwrap()), "{colours}");

    // Only what lies between fire and hand-back: one episode for each fire.
    let some = place.join("interventions");
    succeeds(export(&[&run], &some).arg("--only-interventions"));
    let parts = Dataset::read(&some);
    let within: Vec<Expected> = rows.into_iter().filter(|row| row.intervention).collect();
    compare(&parts, &features, &within);
    assert_eq!(parts.episodes["episode_index"], ["0", "1"]);
    assert_eq!(parts.column("frame_index")[..3], [0.0, 1.0, 2.0]);

    // One of two episodes, of two runs. The gate of the second one does not fire.
    let robot = place.join("controller/libero.toml");
    edit(&robot, "schedule = { at = [2] }", "schedule = { at = [90] }");
    let (code, other) = Run::of(&robot, place.join("other"), &["--auto-start"]).code();
    assert_eq!(code, Some(0));
    let one = place.join("one");
    succeeds(export(&[&run, &other], &one).args(["--episodes", "2"]));
    let both = Dataset::read(&one);
    assert!(both.rows() > ends[1] - ends[0] + 30, "{}", both.rows());
    assert_eq!(both.episodes["episode_index"], ["0", "1"]);
    let none = "--only-interventions: no chosen episode has an intervention";
    refuses(
        export(&[&other], &place.join("x")).arg("--only-interventions"),
        2,
        &[none, "no episode that was chosen has one"],
    );

    // A run counts once, also a copy of it, and has its own observations.
    refuses(&mut export(&[&run, &run], &place.join("x")), 2, &["run.aegis: found the same content as in"]);
    let mixed = place.join("mixed");
    std::fs::create_dir(&mixed).unwrap();
    std::fs::copy(run.join("run.aegis"), mixed.join("run.aegis")).unwrap();
    std::fs::copy(other.join(OBSERVATION_FILE), mixed.join(OBSERVATION_FILE)).unwrap();
    refuses(
        &mut export(&[&mixed], &place.join("x")),
        2,
        &["observations.aegis: episode 1: observation", "found an arrival at", "of different runs"],
    );
    let within = "found a place within the source";
    refuses(&mut export(&[&other, &run], &run.join("data/set")), 2, &["--out: ", within]);
    for (name, value) in
        [("--arm", "blind"), ("--pictures", "24x32"), ("--plan", "study.toml"), ("--threads", "2")]
    {
        refuses(
            export(&[&run], &place.join("x")).args([name, value]),
            2,
            &[name, "found for runs alone, which do not use it"],
        );
    }

    // A record that was damaged is read up to its last whole period.
    let record = std::fs::read(run.join("run.aegis")).unwrap();
    let mut damaged = record.clone();
    damaged[record.len() * 3 / 4] ^= 1;
    std::fs::write(run.join("run.aegis"), &damaged).unwrap();
    let output = export(&[&run], &place.join("part")).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && said.contains("run.aegis: damaged: frame"), "{said}");
    let part = Dataset::read(&place.join("part"));
    assert!((ends[0]..ends[1]).contains(&part.rows()), "{}", part.rows());
    assert_eq!(part.episodes["end"].last().unwrap(), "unfinished");
    std::fs::write(run.join("run.aegis"), &record).unwrap();
    refuses(
        export(&[&run], &place.join("x")).args(["--episodes", "7"]),
        2,
        &["run.aegis: --episodes: found 7"],
    );
    refuses(export(&[&run], &place.join("x")).arg("--only-successful"), 2, &["found no row to write"]);
    refuses(&mut export(&[&run], &one), 2, &["one: is there already, and is kept"]);
    refuses(export(&[&run], &place.join("x")).args(["--episodes", "3/45"]), 2, &["found starts of a study"]);

    // Frames that do not fit, and a file that was cut within an entry.
    let bytes = std::fs::read(run.join(OBSERVATION_FILE)).unwrap();
    std::fs::write(run.join(OBSERVATION_FILE), &bytes[..bytes.len() * 3 / 4]).unwrap();
    let output = export(&[&run], &place.join("cut")).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.success() && said.contains("observations.aegis: it ends early, within entry"),
        "{said}"
    );
    assert!(said.contains("rows are left out: their observations are not in observations.aegis"), "{said}");
    let cut = Dataset::read(&place.join("cut"));
    let (features, rows) = expected(&run);
    compare(&cut, &features, &rows);
    assert!(cut.rows() < found.rows());
    // A changed bit ends what can be read, and is said.
    let mut damaged = bytes.clone();
    damaged[bytes.len() / 2] ^= 1;
    std::fs::write(run.join(OBSERVATION_FILE), &damaged).unwrap();
    let output = export(&[&run], &place.join("damaged")).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && said.contains("observations.aegis: damaged: frame"), "{said}");
    std::fs::remove_file(run.join(OBSERVATION_FILE)).unwrap();
    refuses(
        &mut export(&[&run], &place.join("x")),
        2,
        &["observations.aegis: found none", "record_observations = true"],
    );
    refuses(&mut export(&[&place], &place.join("x")), 2, &["found neither run nor study"]);
    let left: Vec<_> = std::fs::read_dir(&place).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| name != "x" && !name.to_string_lossy().starts_with(".aegis")), "{left:?}");
}

#[test]
fn a_run_that_is_killed_is_exported_up_to_its_end_and_one_without_the_setting_has_no_observations() {
    let _slot = real_time_slot();
    let (_plant, mut run, place) = record("export-killed", "record_observations = true");
    run.until("Strong");
    run.until("Weak");
    run.signal("KILL");
    let (_, folder) = run.code();
    let out = place.join("out");
    let output = export(&[&folder], &out).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && said.contains("run.aegis: it ends early"), "{said}");
    assert!(said.contains("observations.aegis: it ends early"), "{said}");
    let found = Dataset::read(&out);
    let (features, rows) = expected(&folder);
    compare(&found, &features, &rows);
    assert_eq!(found.episodes["end"].last().unwrap(), "unfinished");

    let (_plant, run, place) = record("export-without", "record_observations = false");
    let (code, folder) = run.code();
    assert_eq!(code, Some(0));
    assert!(!folder.join(OBSERVATION_FILE).exists());
    let summary = std::fs::read_to_string(folder.join("summary.json")).unwrap();
    assert!(!summary.contains("recorded_observations"));
    refuses(&mut export(&[&folder], &place.join("out")), 2, &["record_observations = true"]);
}

#[test]
fn a_disk_that_is_full_ends_the_file_of_observations_and_neither_the_run_nor_its_record() {
    let _slot = real_time_slot();
    let (_plant, mut run, place) = record("export-disk", "record_observations = true");
    run.until("Weak");
    run.limit_files(150_000);
    run.until("observations are no longer saved");
    let (code, folder) = run.code();
    assert_eq!(code, Some(0));
    replays_but_for_observations(&folder);
    let summary: Value =
        serde_json::from_slice(&std::fs::read(folder.join("summary.json")).unwrap()).unwrap();
    let saved = &summary["recorded_observations"];
    let count = |name: &str| saved[name].as_u64().unwrap();
    assert!(
        count("dropped_observations") > 0 && count("dropped_frames") > 0 && count("frames") > 0,
        "{summary}"
    );
    assert_eq!(summary["episodes"].as_array().unwrap().len(), 2);
    let output = export(&[&folder], &place.join("out")).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && said.contains("observations.aegis: it ends early"), "{said}");
    assert!(said.contains("episode 2 is left out: its observations are not in observations.aegis"), "{said}");
    let (features, rows) = expected(&folder);
    compare(&Dataset::read(&place.join("out")), &features, &rows);
}

/// Checks that of a run's folder nothing but the file of observations is cut.
fn replays_but_for_observations(run: &Path) {
    let mut check = common::aegis();
    let output = check.args(["replay", "--check"]).arg(run).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("observations.aegis: it ends early") && said.matches(".aegis:").count() == 1,
        "{said}"
    );
}

#[test]
fn stored_episodes_are_simulated_again_and_their_rows_are_those_of_the_trace() {
    let place = folder("export-study");
    let plan = experiment::registered(&place);
    let study = place.join("study");
    succeeds(&mut experiment::run(&plan, &study));
    let command = |out: &Path, arguments: &[&str]| {
        let mut command = common::aegis_on_few_tasks();
        command.args(["export", "lerobot"]).arg(&study).arg("--plan").arg(&plan).arg("--out").arg(out);
        command.args(arguments);
        command
    };
    let out = place.join("blind");
    let said = succeeds(&mut command(&out, &["--arm", "blind"]));
    assert!(said.contains("4 episodes, "), "{said}");
    let found = Dataset::read(&out);
    let mut ends = Vec::new();
    for task in 0..4 {
        let path = study.join(format!("traces/task{task:02}-state0045-replicate0.parquet"));
        let trace = TraceFile::read(std::fs::read(&path).unwrap()).unwrap();
        let of =
            |arm: &str| -> Vec<Row> { trace.rows.iter().filter(|row| row.arm == arm).cloned().collect() };
        let (weak, blind) = (of("weak"), of("blind"));
        let fork = blind.first().expect("it fires in each episode").step;
        // Up to its fork the arm is the weak one.
        let rows: Vec<&Row> = weak.iter().take_while(|row| row.step < fork).chain(&blind).collect();
        let begin = ends.last().copied().unwrap_or(0);
        let mut risk = f64::NAN;
        for (step, row) in rows.iter().enumerate() {
            let index = begin + step;
            let number = |name: &str| found.numbers[name][index][0];
            let action: Vec<f64> = row.action.iter().map(|value| f64::from(*value)).collect();
            assert_eq!((&found.numbers["action"][index], number("frame_index")), (&action, step as f64));
            let strong = f64::from(u8::from(row.strong));
            assert_eq!((number("control_source"), number("intervention")), (strong, strong));
            risk = row.boundary.map_or(risk, |boundary| boundary.score);
            assert_eq!(number("risk"), f64::from(risk as f32), "task {task}, step {step}");
            assert_eq!(number("success") > 0.0, rows.last().unwrap().success);
            // The end effector after a step is that before the next one; it has no sensor noise.
            if step + 1 < rows.len() {
                let names = found.info["features"]["observation.state"]["names"].as_array().unwrap();
                let at = names.iter().position(|name| name == "eef_position.x").unwrap();
                let next = &found.numbers["observation.state"][index + 1][at..at + 3];
                assert_eq!(
                    next,
                    row.end_effector.map(|value| f64::from(value as f32)),
                    "task {task}, step {step}"
                );
            }
        }
        ends.push(begin + rows.len());
    }
    assert_eq!((found.rows(), found.column("task_index")[ends[0]]), (ends[3], 1.0));
    let strong = found.column("control_source").iter().filter(|source| **source == 1.0).count();
    assert!(strong > 0);

    // Pictures that no policy reads, of one start, and only what came after its fire.
    let some = place.join("some");
    let arguments = ["--arm", "blind", "--episodes", "1/45", "--only-interventions", "--pictures", "24x32"];
    succeeds(&mut command(&some, &arguments));
    let parts = Dataset::read(&some);
    let rows: Vec<usize> =
        (ends[0]..ends[1]).filter(|row| found.column("intervention")[*row] > 0.0).collect();
    assert_eq!(parts.rows(), rows.len());
    for (index, row) in rows.iter().enumerate() {
        for name in ["action", "observation.state", "observation.environment_state", "risk"] {
            assert_eq!(parts.numbers[name][index], found.numbers[name][*row], "{name}, row {row}");
        }
    }
    let pictures = &parts.pictures["observation.images.robot0_eye_in_hand"];
    assert!(pictures.len() == rows.len() && pictures[0] != pictures[rows.len() - 1]);
    assert_eq!(pictures[0][16..24], [0, 0, 0, 32, 0, 0, 0, 24], "width and height of a PNG file");

    refuses(&mut command(&place.join("x"), &["--arm", "nobody"]), 2, &["--arm: found nobody"]);
    refuses(&mut command(&place.join("x"), &["--episodes", "0/77"]), 2, &["an episode in the store"]);
    refuses(&mut command(&place.join("x"), &["--episodes", "3"]), 2, &["valid for a study are starts"]);
    refuses(
        &mut command(&place.join("x"), &["--arm", "weak", "--only-interventions"]),
        2,
        &["no chosen episode of weak has an intervention", "found no row to write"],
    );
    // A second source with pictures, where the first has none.
    let mut both = command(&place.join("x"), &["--arm", "blind"]);
    refuses(both.arg(&study).args(["--pictures", "0x0"]), 2, &["valid"]);
    assert!(!place.join("x").exists());

    // A signal ends an export, of which nothing is left.
    let mut ended = command(&place.join("x"), &["--arm", "blind", "--pictures", "96x96"]).spawn().unwrap();
    let is_part = |name: &std::ffi::OsStr| name.to_string_lossy().starts_with(".aegis-");
    let has_part = || std::fs::read_dir(&place).unwrap().any(|entry| is_part(&entry.unwrap().file_name()));
    while !has_part() {
        assert!(ended.try_wait().unwrap().is_none(), "it ended before it began to write");
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    assert!(Command::new("kill").args(["-INT", &ended.id().to_string()]).status().unwrap().success());
    assert_eq!(ended.wait().unwrap().code(), Some(5));
    assert!(!has_part() && !place.join("x").exists());

    // A store whose results were edited: what is simulated again is another episode.
    let edited = |connection: &rusqlite::Connection| {
        let query = "UPDATE episodes SET result = replace(result, '\"steps\":60', '\"steps\":59') WHERE arm = 'aegis'";
        connection.execute(query, []).unwrap()
    };
    assert!(edited(&rusqlite::Connection::open(study.join("episodes.sqlite")).unwrap()) > 0);
    refuses(&mut command(&place.join("x"), &[]), 1, &["run again it is another episode"]);
    assert!(!place.join("x").exists());
}
